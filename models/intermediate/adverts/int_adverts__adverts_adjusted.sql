-- One row per day and advert that was shown or clicked: its clicks, and its exposure, which is its impressions as if
-- all had been at the reference place; and its segment at the end of that day.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_adjusted'}
) }}

-- depends_on: {{ ref('int_adverts__adverts_touched') }}
with counted as (
    select * from {{ ref('int_adverts__places_counted') }}
    where {{ in_days_to_replace('event_date') }}
),

estimated as (
    select * from {{ ref('int_adverts__places_estimated') }}
),

placed as (
    select
        counted.*,
        counted.page_type is null or counted.slot is null or counted.position is null as is_place_unknown,
        estimated.place_ratio,
        estimated.place_log_error
    from counted
    left join estimated
        on
            cast(date_trunc('week', counted.event_date) as date) = estimated.week_start_date
            and counted.page_type = estimated.page_type
            and counted.slot = estimated.slot
            and counted.platform = estimated.platform
            and counted.position = estimated.position
),

adjusted as (
    select
        event_date,
        advert_id,
        sum(impressions_count) as impressions_count,
        sum(clicks_count) as clicks_count,
        sum(case when is_place_unknown then impressions_count else 0 end) as unplaced_impressions_count,
        sum(case when not is_place_unknown and place_ratio is null then impressions_count else 0 end)
            as uncompared_impressions_count,
        sum(case when place_ratio is not null then clicks_count else 0 end) as compared_clicks_count,
        coalesce(sum(impressions_count * place_ratio), 0) as exposure,
        coalesce(sum(impressions_count * place_ratio * cast(place_log_error as decimal(9, 6))), 0) as exposure_error
    from placed
    group by event_date, advert_id
),

segments as (
    {{ segments_of_adverts('adjusted') }}
)

select
    adjusted.event_date,
    adjusted.advert_id,
    segments.seller_id,
    segments.segment,
    cast(adjusted.impressions_count as bigint) as impressions_count,
    cast(adjusted.clicks_count as bigint) as clicks_count,
    cast(adjusted.unplaced_impressions_count as bigint) as unplaced_impressions_count,
    cast(adjusted.uncompared_impressions_count as bigint) as uncompared_impressions_count,
    cast(adjusted.compared_clicks_count as bigint) as compared_clicks_count,
    cast(adjusted.exposure as decimal(18, 6)) as exposure,
    cast(adjusted.exposure_error as decimal(18, 6)) as exposure_error
from adjusted
inner join segments
    on
        adjusted.event_date = segments.event_date
        and adjusted.advert_id = segments.advert_id
