MODEL (
  name marts.agg_adverts_daily,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (event_date, advert_id, slot, position, page_type, platform)
);

-- One row per day, advert, slot, position, page type and platform: how often the advert was shown there and
-- how often clicked, robots and events from the future left out. A click counts where and when it was made.
with events as (
    select * from intermediate.int_events__events_deduplicated
    where
        event_type in ('advert_impression', 'advert_click')
        and not is_bot
        and not is_future
        and event_date between @start_date and @end_date
),

counted as (
    select
        event_date,
        advert_id,
        slot,
        position,
        page_type,
        platform,
        count(*) filter (where event_type = 'advert_impression') as impressions_count,
        count(*) filter (where event_type = 'advert_click') as clicks_count
    from events
    group by event_date, advert_id, slot, position, page_type, platform
)

select
    event_date,
    advert_id,
    slot,
    position,
    page_type,
    platform,
    cast(impressions_count as bigint) as impressions_count,
    cast(clicks_count as bigint) as clicks_count,
    cast(clicks_count as double) / nullif(impressions_count, 0) as click_rate
from counted
