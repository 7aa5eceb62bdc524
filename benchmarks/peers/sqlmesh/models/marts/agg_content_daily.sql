MODEL (
  name marts.agg_content_daily,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (event_date, product, content_type, content_id)
);

-- One row per day, product, content type and content: its audience that day, robots left out.
with engagement as (
    select * from marts.fct_content_engagement
    where not is_bot and event_date between @start_date and @end_date
),

summed as (
    select
        event_date,
        product,
        content_type,
        content_id,
        sum(views_count) as views_count,
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count,
        -- Summed as whole milliseconds: the sum of doubles would depend on their order.
        sum(cast(round(engaged_seconds * 1000) as bigint)) as active_ms,
        sum(reactions_count) as reactions_count
    from engagement
    group by event_date, product, content_type, content_id
)

select
    event_date,
    product,
    content_type,
    content_id,
    cast(views_count as bigint) as views_count,
    cast(devices_count as bigint) as devices_count,
    cast(readers_count as bigint) as readers_count,
    cast(enjoyers_count as bigint) as enjoyers_count,
    cast(active_ms as double) / 1000 as engaged_seconds,
    cast(reactions_count as bigint) as reactions_count,
    cast(readers_count as double) / nullif(devices_count, 0) as read_rate
from summed
