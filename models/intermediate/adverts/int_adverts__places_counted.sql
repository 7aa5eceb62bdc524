-- One row per day, advert, slot, position, page type, platform and whether the order was random: how often the advert
-- was shown there and how often clicked, robots and events from the future left out. A click counts where and when it
-- was made. An order of which nothing is said is no random one.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with events as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where
        event_type in ('advert_impression', 'advert_click')
        and not is_bot
        and not is_future
        and {{ in_days_to_replace('event_date') }}
),

counted as (
    select
        event_date,
        advert_id,
        slot,
        position,
        page_type,
        platform,
        coalesce(is_random_order, false) as is_random_order,
        count(*) filter (where event_type = 'advert_impression') as impressions_count,
        count(*) filter (where event_type = 'advert_click') as clicks_count
    from events
    group by event_date, advert_id, slot, position, page_type, platform, coalesce(is_random_order, false)
)

select
    event_date,
    advert_id,
    slot,
    position,
    page_type,
    platform,
    is_random_order,
    cast(impressions_count as bigint) as impressions_count,
    cast(clicks_count as bigint) as clicks_count
from counted
