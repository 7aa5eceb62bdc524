{#-
    A query of the section of contents on days: of each row of `relation`, by its event_date and content_id, the one that
    was known at the end of that day. One that is known later only is taken as it was known first.
-#}
{% macro sections_of_contents(relation) %}
    select distinct
        days.event_date,
        days.content_id,
        coalesce(versions.section, 'no section') as section
    from {{ relation }} as days
    left join {{ ref('int_content__contents_versioned') }} as versions
        on
            days.content_id = versions.content_id
            and {{ counts_from('versions') }} < {{ local_day_start(add_days('days.event_date', 1)) }}
            and {{ counts_until('versions') }} >= {{ local_day_start(add_days('days.event_date', 1)) }}
{% endmacro %}
