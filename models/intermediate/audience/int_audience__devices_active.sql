-- One row per day, product, platform and device that was active: what the audience figures count. Fragments
-- in which the client named itself a robot are left out. A fragment counts for the platform it began on.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date'
) }}

with fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ in_days_to_replace('event_date') }}
),

continuing as (
    select * from {{ ref('int_audience__session_fragments_continued') }}
    where {{ in_days_to_replace('event_date') }}
),

without_robots as (
    select
        fragments.*,
        continuing.fragment_key is null as starts_session
    from fragments
    left join continuing
        on fragments.fragment_key = continuing.fragment_key
    where not fragments.is_bot
),

summed as (
    select
        event_date,
        product,
        platform,
        device_key,
        cast(count(*) filter (where starts_session) as bigint) as sessions_count,
        cast(sum(content_views_count) as bigint) as views_count,
        cast(sum(active_ms) as bigint) as active_ms
    from without_robots
    group by event_date, product, platform, device_key
)

select
    event_date,
    product,
    platform,
    device_key,
    sessions_count,
    views_count,
    active_ms
from summed
