-- One row per session fragment: the part of one session that lies within one day of its stream. A stream is what one
-- device does in one product under one session id of the client's, or under none. Events without consent to analytics
-- are in no session.
--
-- In a stream without a session id a gap longer than the limit ends a fragment; a session id wins over the gap, so
-- such a stream has one fragment a day. Fragments of one day need nothing from another day: where they continue over
-- midnight is the next step's question.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

{% set in_days = in_days_to_replace('event_date') %}
{% set in_time = in_order_of(['occurred_at', 'event_id']) %}

with events as (
    select
        event_id,
        event_type,
        event_date,
        occurred_at,
        product,
        platform,
        device_key,
        user_key,
        session_id,
        active_ms,
        is_bot,
        {{ stitching_consent() }} as has_stitching_consent
    from {{ ref('int_events__events_deduplicated') }}
    where has_analytics_consent and not is_future and {{ in_days }}
),

streams_summed as (
    select
        event_date,
        product,
        device_key,
        session_id,
        min_by(platform, {{ in_time }}) as platform,
        max_by(user_key, {{ in_time }}) filter (where user_key is not null) as user_key,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        cast(count(*) as bigint) as events_count,
        cast(count(*) filter (where event_type = 'content_view') as bigint) as content_views_count,
        cast(
            coalesce(sum(active_ms) filter (where event_type = 'content_progress'), 0) as bigint
        ) as active_ms,
        bool_or(is_bot) as is_bot,
        bool_and(has_stitching_consent) as has_stitching_consent,
        session_id is null
        and max(occurred_at) > min(occurred_at) + interval {{ var('session_gap_minutes') }} minute as may_pause
    from events
    group by event_date, product, device_key, session_id
),

-- Only a stream without a session id that lasts longer than the limit can hold a gap. These are few: adding up is
-- enough for the others, and costs a quarter of putting their events in order (docs/performance.md).
long_streams as (
    select
        event_date,
        product,
        device_key
    from streams_summed
    where may_pause
),

-- The events once more: a step read twice would be kept whole in memory.
events_without_id as (
    select
        event_id,
        event_type,
        event_date,
        occurred_at,
        product,
        platform,
        device_key,
        user_key,
        active_ms,
        is_bot,
        {{ stitching_consent() }} as has_stitching_consent
    from {{ ref('int_events__events_deduplicated') }}
    where session_id is null and has_analytics_consent and not is_future and {{ in_days }}
),

neighbours_found as (
    select
        events_without_id.*,
        row_number() over stream_day as event_number,
        lag(events_without_id.occurred_at) over stream_day as previous_at,
        lead(events_without_id.occurred_at) over stream_day as next_at
    from events_without_id
    inner join long_streams
        on
            events_without_id.event_date = long_streams.event_date
            and events_without_id.product = long_streams.product
            and events_without_id.device_key = long_streams.device_key
    window
        stream_day as (
            partition by events_without_id.event_date, events_without_id.product, events_without_id.device_key
            order by events_without_id.occurred_at asc nulls last, events_without_id.event_id asc nulls last
        )
),

starts_marked as (
    select
        *,
        previous_at is null
        or occurred_at > previous_at + interval {{ var('session_gap_minutes') }} minute as is_start
    from neighbours_found
),

numbered as (
    select
        *,
        sum(case when is_start then 1 else 0 end) over (
            partition by event_date, product, device_key
            order by event_number asc nulls last
            rows between unbounded preceding and current row
        ) as fragment_number
    from starts_marked
),

parts_summed as (
    select
        event_date,
        product,
        device_key,
        cast(fragment_number as integer) as fragment_number,
        -- One event of each fragment starts it.
        max(platform) filter (where is_start) as platform,
        max_by(user_key, event_number) filter (where user_key is not null) as user_key,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        cast(count(*) as bigint) as events_count,
        cast(count(*) filter (where event_type = 'content_view') as bigint) as content_views_count,
        cast(
            coalesce(sum(active_ms) filter (where event_type = 'content_progress'), 0) as bigint
        ) as active_ms,
        bool_or(is_bot) as is_bot,
        bool_and(has_stitching_consent) as has_stitching_consent,
        bool_or(previous_at is null) as is_first_of_day,
        bool_or(next_at is null) as is_last_of_day
    from numbered
    group by event_date, product, device_key, fragment_number
),

fragments as (
    select
        event_date,
        product,
        device_key,
        session_id,
        1 as fragment_number,
        platform,
        user_key,
        started_at,
        ended_at,
        events_count,
        content_views_count,
        active_ms,
        is_bot,
        has_stitching_consent,
        true as is_first_of_day,
        true as is_last_of_day
    from streams_summed
    where not may_pause
    union all
    select
        event_date,
        product,
        device_key,
        cast(null as string) as session_id,
        fragment_number,
        platform,
        user_key,
        started_at,
        ended_at,
        events_count,
        content_views_count,
        active_ms,
        is_bot,
        has_stitching_consent,
        is_first_of_day,
        is_last_of_day
    from parts_summed
)

-- The key of its first fragment is a session's key: the same columns make it.
select
    {{ surrogate_key(['product', 'device_key', 'started_at', 'session_id']) }} as fragment_key,
    event_date,
    product,
    device_key,
    session_id,
    fragment_number,
    platform,
    user_key,
    started_at,
    ended_at,
    events_count,
    content_views_count,
    active_ms,
    is_bot,
    has_stitching_consent,
    is_first_of_day,
    is_last_of_day
from fragments
