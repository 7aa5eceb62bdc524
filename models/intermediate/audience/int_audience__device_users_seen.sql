-- One row per day, device and user who was logged in on it, with the last event that says so: what devices are stitched
-- by. Events without consent to stitching, of robots and from the future say nothing.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with events as (
    select
        event_date,
        device_key,
        user_key,
        occurred_at,
        event_id
    from {{ ref('int_events__events_deduplicated') }}
    where
        device_key is not null
        and user_key is not null
        and {{ stitching_consent() }}
        and not is_bot
        and not is_future
        and {{ in_days_to_replace('event_date') }}
),

summed as (
    select
        event_date,
        device_key,
        user_key,
        max(occurred_at) as last_seen_at,
        max_by(event_id, {{ in_order_of(['occurred_at', 'event_id']) }}) as last_event_id
    from events
    group by event_date, device_key, user_key
)

select
    event_date,
    device_key,
    user_key,
    last_seen_at,
    last_event_id
from summed
