-- One row per day, product and platform, of those that had a group large enough to be shown that day: its audience, and
-- the distinct devices of the 7 and 28 days up to it. Where product and platform are there and their group is not
-- shown, the figures are NULL.
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

with groups as (
    select * from {{ ref('int_audience__groups_counted') }}
    where is_shown and {{ in_days_to_replace('event_date', before=27) }}
),

active as (
    select * from {{ ref('int_audience__devices_active') }}
    where {{ in_days_to_replace('event_date', before=27) }}
),

-- A day on which a group is not shown is not in its windows either: their differences would show it.
devices as (
    select
        active.event_date,
        active.product,
        active.platform,
        active.device_key
    from active
    inner join groups
        on
            active.event_date = groups.event_date
            and active.product = groups.product
            and active.platform = groups.platform
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
        count(*) as devices_count
    from active_windows
    group by event_date, product, platform, window_7d_ends_on, window_28d_ends_on
),

changes as (
    select
        event_date,
        product,
        platform,
        devices_count,
        devices_count as devices_7d_change,
        devices_count as devices_28d_change
    from windows_counted
    union all
    select
        window_7d_ends_on as event_date,
        product,
        platform,
        0 as devices_count,
        -devices_count as devices_7d_change,
        0 as devices_28d_change
    from windows_counted
    union all
    select
        window_28d_ends_on as event_date,
        product,
        platform,
        0 as devices_count,
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
),

products_shown as (
    select distinct
        event_date,
        product
    from days_replaced
),

platforms_shown as (
    select distinct
        event_date,
        platform
    from days_replaced
),

-- Each product with each platform of the day: a group that is not shown has a row too, and so has one of nobody.
-- Nothing tells these two apart.
crossed as (
    select
        products_shown.event_date,
        products_shown.product,
        platforms_shown.platform
    from products_shown
    inner join platforms_shown
        on products_shown.event_date = platforms_shown.event_date
)

select
    crossed.event_date,
    crossed.product,
    crossed.platform,
    cast(days_replaced.devices_count as bigint) as devices_count,
    groups.sessions_count,
    groups.views_count,
    cast(groups.active_ms as double) / 1000 as engaged_seconds,
    cast(days_replaced.devices_7d_count as bigint) as devices_7d_count,
    cast(days_replaced.devices_28d_count as bigint) as devices_28d_count,
    groups.sessions_count is null or groups.views_count is null or groups.active_ms is null as is_suppressed
from crossed
left join days_replaced
    on
        crossed.event_date = days_replaced.event_date
        and crossed.product = days_replaced.product
        and crossed.platform = days_replaced.platform
left join groups
    on
        crossed.event_date = groups.event_date
        and crossed.product = groups.product
        and crossed.platform = groups.platform
