{#-
    A query of the segment of adverts on days: of each row of `relation`, by its event_date and advert_id, what was known at
    the end of that day. One that is known later only is taken as it was known first. seeds/advert_segments.csv names
    the bands of prices and ages.
-#}
{% macro segments_of_adverts(relation) %}
    select
        days.event_date,
        days.advert_id,
        versions.seller_id,
        coalesce(split_part(versions.make_model, ' ', 1), 'unknown make')
        || ', ' || coalesce(prices.segment, 'unknown price')
        || ', ' || coalesce(ages.segment, 'unknown age')
        || coalesce(', ' || versions.seller_type, '') as segment
    from {{ relation }} as days
    left join {{ ref('int_adverts__adverts_versioned') }} as versions
        on
            days.advert_id = versions.advert_id
            and {{ counts_from('versions') }} < {{ local_day_start(add_days('days.event_date', 1)) }}
            and {{ counts_until('versions') }} >= {{ local_day_start(add_days('days.event_date', 1)) }}
    left join {{ ref('advert_segments') }} as prices
        on
            prices.measure = 'price'
            and versions.price >= prices.from_value
            and (versions.price < prices.to_value or prices.to_value is null)
    left join {{ ref('advert_segments') }} as ages
        on
            ages.measure = 'age_days'
            and {{ days_between(local_date('versions.listed_at'), 'days.event_date') }} >= ages.from_value
            and (
                {{ days_between(local_date('versions.listed_at'), 'days.event_date') }} < ages.to_value
                or ages.to_value is null
            )
{% endmacro %}
