-- One row per day, product, content type and content: its audience that day, robots left out, and groups that are too
-- small to be shown: of their product and platform fewer than smallest_group devices met a content that day. Who did
-- not consent to analytics is no audience, and counts where it is about the content alone.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_days_to_replace('event_date') }}
),

groups_shown as (
    {{ groups_shown('engagement') }}
),

views_without_consent as (
    select
        event_date,
        product,
        content_type,
        content_id
    from {{ ref('int_events__events_deduplicated') }}
    where
        event_type = 'content_view'
        and not has_analytics_consent
        and not is_bot
        and not is_future
        and {{ in_days_to_replace('event_date') }}
),

of_groups_shown as (
    select engagement.*
    from engagement
    inner join groups_shown
        on
            engagement.event_date = groups_shown.event_date
            and engagement.product = groups_shown.product
            and engagement.platform = groups_shown.platform
),

summed as (
    select
        event_date,
        product,
        content_type,
        content_id,
        sum(views_count) as views_count,
        sum(views_count) as all_views_count,
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count,
        -- Summed as whole milliseconds: the sum of doubles would depend on their order.
        sum(cast(round(engaged_seconds * 1000) as bigint)) as active_ms,
        sum(reactions_count) as reactions_count
    from of_groups_shown
    group by event_date, product, content_type, content_id
    union all
    select
        event_date,
        product,
        content_type,
        content_id,
        0 as views_count,
        count(*) as all_views_count,
        0 as devices_count,
        0 as readers_count,
        0 as enjoyers_count,
        0 as active_ms,
        0 as reactions_count
    from views_without_consent
    group by event_date, product, content_type, content_id
),

added_up as (
    select
        event_date,
        product,
        content_type,
        content_id,
        cast(sum(views_count) as bigint) as views_count,
        cast(sum(all_views_count) as bigint) as all_views_count,
        cast(sum(devices_count) as bigint) as devices_count,
        cast(sum(readers_count) as bigint) as readers_count,
        cast(sum(enjoyers_count) as bigint) as enjoyers_count,
        cast(sum(active_ms) as bigint) as active_ms,
        cast(sum(reactions_count) as bigint) as reactions_count
    from summed
    group by event_date, product, content_type, content_id
)

select
    event_date,
    product,
    content_type,
    content_id,
    views_count,
    all_views_count,
    devices_count,
    readers_count,
    enjoyers_count,
    cast(active_ms as double) / 1000 as engaged_seconds,
    reactions_count,
    cast(readers_count as double) / nullif(devices_count, 0) as read_rate
from added_up
