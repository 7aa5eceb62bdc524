MODEL (
  name ops.ops_late_arrivals,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (event_date, product, platform)
);

-- One row per day, product and platform: how many of its events were received late, and how late. The day is
-- the one the events happened on, and an event counts as late by its first copy.
with events as (
    select * from intermediate.int_events__events_deduplicated
    where event_date between @start_date and @end_date
),

-- A client's clock may run ahead of the collector's: then nothing is late.
measured as (
    select
        event_date,
        product,
        platform,
        is_future,
        greatest(date_diff('millisecond', occurred_at, received_at), 0) as lateness_milliseconds
    from events
),

counted as (
    select
        event_date,
        product,
        platform,
        cast(count(*) as bigint) as events_count,
        cast(
            count_if(lateness_milliseconds > @VAR('late_after_hours') * 3600000) as bigint
        ) as late_events_count,
        cast(count_if(is_future) as bigint) as future_events_count,
        max(lateness_milliseconds) as max_lateness_milliseconds
    from measured
    group by event_date, product, platform
)

select
    event_date,
    product,
    platform,
    events_count,
    late_events_count,
    future_events_count,
    cast(late_events_count as double) / nullif(events_count, 0) as late_rate,
    cast(max_lateness_milliseconds as double) / 1000 as max_lateness_seconds
from counted
