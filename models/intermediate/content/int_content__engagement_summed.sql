-- One row per device, content and day: what the device did with the content that day, not yet judged by the
-- rules of engagement. Product, type and platform are those of the day's first event, should events disagree; the
-- person is the last one known. Events without consent to analytics are left out. A view: who reads it says which days.
{{ config(materialized='view') }}

{% set in_time = in_order_of(['events.occurred_at', 'events.event_id']) %}

with events as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where
        event_type in ('content_view', 'content_progress', 'content_reaction')
        and has_analytics_consent
        and not is_future
),

reactions as (
    select * from {{ ref('reactions') }}
),

summed as (
    select
        events.event_date,
        events.device_key,
        events.content_id,
        min_by(events.product, {{ in_time }}) as product,
        min_by(events.content_type, {{ in_time }}) as content_type,
        min_by(events.platform, {{ in_time }}) as platform,
        max_by(events.user_key, {{ in_time }}) filter (where events.user_key is not null) as user_key,
        count(*) filter (where events.event_type = 'content_view') as views_count,
        coalesce(max(events.depth), 0) as max_depth,
        coalesce(sum(events.active_ms) filter (where events.event_type = 'content_progress'), 0) as active_ms,
        count(*) filter (where events.event_type = 'content_reaction') as reactions_count,
        count(*) filter (where reactions.is_positive) as positive_reactions_count,
        bool_or(events.is_bot) as is_bot
    from events
    left join reactions on events.reaction = reactions.reaction
    group by events.event_date, events.device_key, events.content_id
)

select
    event_date,
    device_key,
    content_id,
    product,
    content_type,
    platform,
    user_key,
    cast(views_count as bigint) as views_count,
    cast(max_depth as double) as max_depth,
    cast(active_ms as bigint) as active_ms,
    cast(reactions_count as bigint) as reactions_count,
    cast(positive_reactions_count as bigint) as positive_reactions_count,
    is_bot
from summed
