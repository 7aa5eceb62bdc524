-- One row per day, advert, slot, position, page type and platform: how often the advert was shown there and how
-- often clicked, robots and events from the future left out. A click counts where and when it was made.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with places as (
    select * from {{ ref('int_adverts__places_counted') }}
    where {{ in_days_to_replace('event_date') }}
),

-- In random order or not.
summed as (
    select
        event_date,
        advert_id,
        slot,
        position,
        page_type,
        platform,
        cast(sum(impressions_count) as bigint) as impressions_count,
        cast(sum(clicks_count) as bigint) as clicks_count
    from places
    group by event_date, advert_id, slot, position, page_type, platform
)

select
    event_date,
    advert_id,
    slot,
    position,
    page_type,
    platform,
    impressions_count,
    clicks_count,
    cast(clicks_count as double) / nullif(impressions_count, 0) as click_rate
from summed
