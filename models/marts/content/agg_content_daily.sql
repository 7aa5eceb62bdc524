-- One row per day, product, content type and content: its audience that day, robots left out, and groups that are too
-- small to be shown: of their product and platform fewer than smallest_group devices met a content that day.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_days_to_replace('event_date') }}
),

groups_shown as (
    select
        event_date,
        product,
        platform
    from engagement
    group by event_date, product, platform
    having count(distinct device_key) >= {{ var('smallest_group') }}
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
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count,
        -- Summed as whole milliseconds: the sum of doubles would depend on their order.
        sum(cast(round(engaged_seconds * 1000) as bigint)) as active_ms,
        sum(reactions_count) as reactions_count
    from of_groups_shown
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
