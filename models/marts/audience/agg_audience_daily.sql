-- One row per day, product and platform with at least one active device that day: its audience, and the
-- distinct devices of the 7 and 28 days up to it.
--
-- The rolling counts come from a difference array: each day a device was active opens a window, from that day until
-- the device is active again or 7 (28) days are over. Windows of a device never overlap, so +1 where one begins and -1
-- after it ends, summed up to a day, give that day's distinct devices. To count each device once for every day that
-- holds it would cost 28 times as much.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date'
) }}

with devices as (
    select * from {{ ref('int_audience__devices_active') }}
    where {{ in_days_to_replace('event_date', before=27) }}
),

returns_found as (
    select
        *,
        lead(event_date) over (
            partition by product, platform, device_key
            order by event_date asc nulls last
        ) as returned_date
    from devices
),

active_windows as (
    select
        *,
        least({{ add_days('event_date', 7) }}, coalesce(returned_date, {{ add_days('event_date', 7) }}))
            as window_7d_ends_on,
        least({{ add_days('event_date', 28) }}, coalesce(returned_date, {{ add_days('event_date', 28) }}))
            as window_28d_ends_on
    from returns_found
),

windows_counted as (
    select
        event_date,
        product,
        platform,
        window_7d_ends_on,
        window_28d_ends_on,
        count(*) as devices_count,
        sum(sessions_count) as sessions_count,
        sum(views_count) as views_count,
        sum(active_ms) as active_ms
    from active_windows
    group by event_date, product, platform, window_7d_ends_on, window_28d_ends_on
),

changes as (
    select
        event_date,
        product,
        platform,
        devices_count,
        sessions_count,
        views_count,
        active_ms,
        devices_count as devices_7d_change,
        devices_count as devices_28d_change
    from windows_counted
    union all
    select
        window_7d_ends_on as event_date,
        product,
        platform,
        0 as devices_count,
        0 as sessions_count,
        0 as views_count,
        0 as active_ms,
        -devices_count as devices_7d_change,
        0 as devices_28d_change
    from windows_counted
    union all
    select
        window_28d_ends_on as event_date,
        product,
        platform,
        0 as devices_count,
        0 as sessions_count,
        0 as views_count,
        0 as active_ms,
        0 as devices_7d_change,
        -devices_count as devices_28d_change
    from windows_counted
),

changes_summed as (
    select
        event_date,
        product,
        platform,
        sum(devices_count) as devices_count,
        sum(sessions_count) as sessions_count,
        sum(views_count) as views_count,
        sum(active_ms) as active_ms,
        sum(devices_7d_change) as devices_7d_change,
        sum(devices_28d_change) as devices_28d_change
    from changes
    group by event_date, product, platform
),

accumulated as (
    select
        *,
        sum(devices_7d_change) over up_to_day as devices_7d_count,
        sum(devices_28d_change) over up_to_day as devices_28d_count
    from changes_summed
    window
        up_to_day as (
            partition by product, platform
            order by event_date asc nulls last
            rows between unbounded preceding and current row
        )
),

-- The days before those replaced were read for the windows they open; a day without activity only ends windows.
days_replaced as (
    select *
    from accumulated
    where devices_count > 0 and {{ in_days_to_replace('event_date') }}
)

select
    event_date,
    product,
    platform,
    cast(devices_count as bigint) as devices_count,
    cast(sessions_count as bigint) as sessions_count,
    cast(views_count as bigint) as views_count,
    cast(active_ms as double) / 1000 as engaged_seconds,
    cast(devices_7d_count as bigint) as devices_7d_count,
    cast(devices_28d_count as bigint) as devices_28d_count
from days_replaced
