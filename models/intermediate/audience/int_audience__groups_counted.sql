-- One row per day, product and platform with an active device that day: a group, how large it is, whether it is shown,
-- and those of its sums that may be.
--
-- A group that is not shown is in no aggregate, so no total minus its other parts gives it. A sum that one device
-- dominates is withheld. The contents' own figures add up to what a product's platforms have together: where one
-- platform's sum is withheld, the next larger platforms' are too, until no device dominates what is withheld either.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with devices as (
    select * from {{ ref('int_audience__devices_active') }}
    where {{ in_days_to_replace('event_date') }}
),

counted as (
    select
        event_date,
        product,
        platform,
        cast(count(*) as bigint) as devices_count,
        cast(sum(sessions_count) as bigint) as sessions_count,
        cast(sum(views_count) as bigint) as views_count,
        cast(sum(active_ms) as bigint) as active_ms,
        max(sessions_count) as most_sessions_count,
        max(views_count) as most_views_count,
        max(active_ms) as most_active_ms
    from devices
    group by event_date, product, platform
),

judged as (
    select
        *,
        devices_count >= {{ var('smallest_group') }} as is_shown,
        {{ is_dominated('most_sessions_count', 'sessions_count') }} as has_dominated_sessions,
        {{ is_dominated('most_views_count', 'views_count') }} as has_dominated_views,
        {{ is_dominated('most_active_ms', 'active_ms') }} as has_dominated_time
    from counted
),

-- What would be withheld if each platform before this one were: the dominated first, then the smaller first.
accumulated as (
    select
        *,
        sum(views_count) over before_in_views as views_before,
        max(most_views_count) over before_in_views as most_views_before,
        sum(active_ms) over before_in_time as active_ms_before,
        max(most_active_ms) over before_in_time as most_active_ms_before
    from judged
    window
        before_in_views as (
            partition by event_date, product, is_shown
            order by has_dominated_views desc nulls last, devices_count asc nulls last, platform asc nulls last
            rows between unbounded preceding and 1 preceding
        ),
        before_in_time as (
            partition by event_date, product, is_shown
            order by has_dominated_time desc nulls last, devices_count asc nulls last, platform asc nulls last
            rows between unbounded preceding and 1 preceding
        )
),

withheld as (
    select
        *,
        not is_shown or has_dominated_sessions as withholds_sessions,
        not is_shown or has_dominated_views
        or coalesce({{ is_dominated('most_views_before', 'views_before') }}, false) as withholds_views,
        not is_shown or has_dominated_time
        or coalesce({{ is_dominated('most_active_ms_before', 'active_ms_before') }}, false) as withholds_time
    from accumulated
)

select
    event_date,
    product,
    platform,
    devices_count,
    is_shown,
    case when not withholds_sessions then sessions_count end as sessions_count,
    case when not withholds_views then views_count end as views_count,
    case when not withholds_time then active_ms end as active_ms
from withheld
