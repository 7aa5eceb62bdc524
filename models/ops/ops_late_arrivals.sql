-- One row per day, product and platform: how many of its events were received late, and how late, and how
-- many are from the future. The day is the one the events happened on, and the first copy of an event counts.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with events as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where {{ in_days_to_replace('event_date') }}
),

-- A client's clock may run ahead of the collector's: then nothing is late.
measured as (
    select
        event_date,
        product,
        platform,
        is_future,
        is_sent_late,
        greatest({{ milliseconds_between('occurred_at', 'received_at') }}, 0) as lateness_milliseconds
    from events
),

counted as (
    select
        event_date,
        product,
        platform,
        cast(count(*) as bigint) as events_count,
        cast(
            count_if(lateness_milliseconds > {{ var('late_after_hours') * 3600000 }}) as bigint
        ) as late_events_count,
        cast(count_if(is_future) as bigint) as future_events_count,
        cast(count_if(is_sent_late) as bigint) as sent_late_events_count,
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
    sent_late_events_count,
    cast(late_events_count as double) / nullif(events_count, 0) as late_rate,
    cast(max_lateness_milliseconds as double) / 1000 as max_lateness_seconds
from counted
