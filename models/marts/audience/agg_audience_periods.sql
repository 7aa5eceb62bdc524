-- One row per period, product and platform, 'all' standing for any, of those with a group large enough to be shown: the
-- distinct devices that were active, that read and that enjoyed something within it. NULL is a group that is not shown.
--
-- A group is one day's devices of a product and platform. One of fewer than smallest_group devices counts nowhere, not
-- in 'all' and not in a longer period: a total minus its other parts, or two windows, would give it. The same holds of
-- a group's readers and of its enjoyers.
--
-- A device counts on its first day in an ISO week or month. The windows of 7 and 28 days end on every day, and counting
-- each device in each window that holds it would cost 28 times as much: see active_windows.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='period_end_date') }}

-- A month ends at most 30 days after a day in it, and a window of 28 days ends sooner.
with groups as (
    select * from {{ ref('int_audience__groups_counted') }}
    where is_shown and {{ in_days_to_replace('event_date', before=30) }}
),

devices as (
    select * from {{ ref('int_audience__devices_active') }}
    where {{ in_days_to_replace('event_date', before=30) }}
),

engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where is_read and not is_bot and {{ in_days_to_replace('event_date', before=30) }}
),

-- Each reader once a day, however much it read.
readers as (
    select
        event_date,
        product,
        platform,
        device_key,
        bool_or(is_enjoyed) as is_enjoyer
    from engagement
    group by event_date, product, platform, device_key
),

readers_counted as (
    select
        event_date,
        product,
        platform,
        count(*) as readers_count,
        count(*) filter (where is_enjoyer) as enjoyers_count
    from readers
    group by event_date, product, platform
),

reader_groups as (
    select
        readers_counted.*,
        readers_counted.enjoyers_count >= {{ var('smallest_group') }} as has_enjoyers_shown
    from readers_counted
    inner join groups
        on
            readers_counted.event_date = groups.event_date
            and readers_counted.product = groups.product
            and readers_counted.platform = groups.platform
    where readers_counted.readers_count >= {{ var('smallest_group') }}
),

readers_shown as (
    select
        readers.*,
        reader_groups.has_enjoyers_shown
    from readers
    inner join reader_groups
        on
            readers.event_date = reader_groups.event_date
            and readers.product = reader_groups.product
            and readers.platform = reader_groups.platform
),

-- What a device did that day is counted for itself: it was active, a reader, an enjoyer.
roles as (
    select
        'active' as role,
        devices.event_date,
        devices.product,
        devices.platform,
        devices.device_key
    from devices
    inner join groups
        on
            devices.event_date = groups.event_date
            and devices.product = groups.product
            and devices.platform = groups.platform
    union all
    select
        'reader' as role,
        event_date,
        product,
        platform,
        device_key
    from readers_shown
    union all
    select
        'enjoyer' as role,
        event_date,
        product,
        platform,
        device_key
    from readers_shown
    where is_enjoyer and has_enjoyers_shown
),

cuts as (
    select
        true as is_by_product,
        true as is_by_platform
    union all
    select
        true as is_by_product,
        false as is_by_platform
    union all
    select
        false as is_by_product,
        true as is_by_platform
    union all
    select
        false as is_by_product,
        false as is_by_platform
),

-- Each device once a day in each cut, on however many products and platforms it was.
cut as (
    select distinct
        roles.role,
        roles.event_date,
        case when cuts.is_by_product then roles.product else 'all' end as product,
        case when cuts.is_by_platform then roles.platform else 'all' end as platform,
        roles.device_key
    from roles
    cross join cuts
),

neighbours_found as (
    select
        *,
        cast(date_trunc('week', event_date) as date) as week_start_date,
        cast(date_trunc('month', event_date) as date) as month_start_date,
        lag(event_date) over device_days as last_seen_date,
        lead(event_date) over device_days as returned_date
    from cut
    window
        device_days as (
            partition by role, product, platform, device_key
            order by event_date asc nulls last
        )
),

-- What the figures need to know of a device's day: whether it is the first of its week and month, and when the windows
-- end that it opens. Days alike in all of that are counted together, so what follows reads few rows.
device_days_counted as (
    select
        role,
        event_date,
        product,
        platform,
        week_start_date,
        month_start_date,
        coalesce(last_seen_date < week_start_date, true) as is_first_of_week,
        coalesce(last_seen_date < month_start_date, true) as is_first_of_month,
        least({{ add_days('event_date', 7) }}, coalesce(returned_date, {{ add_days('event_date', 7) }}))
            as window_7d_ends_on,
        least({{ add_days('event_date', 28) }}, coalesce(returned_date, {{ add_days('event_date', 28) }}))
            as window_28d_ends_on,
        count(*) as devices_count
    from neighbours_found
    group by
        role, event_date, product, platform, week_start_date, month_start_date, is_first_of_week, is_first_of_month,
        window_7d_ends_on, window_28d_ends_on
),

of_calendar as (
    select
        'day' as period_type,
        event_date as period_start_date,
        event_date as period_end_date,
        product,
        platform,
        role,
        sum(devices_count) as devices_count
    from device_days_counted
    group by event_date, product, platform, role
    union all
    select
        'week' as period_type,
        week_start_date as period_start_date,
        {{ add_days('week_start_date', 6) }} as period_end_date,
        product,
        platform,
        role,
        sum(devices_count) as devices_count
    from device_days_counted
    where is_first_of_week
    group by week_start_date, product, platform, role
    union all
    select
        'month' as period_type,
        month_start_date as period_start_date,
        last_day(month_start_date) as period_end_date,
        product,
        platform,
        role,
        sum(devices_count) as devices_count
    from device_days_counted
    where is_first_of_month
    group by month_start_date, product, platform, role
),

-- A difference array, as in agg_audience_daily: each day of a device counts in the periods that end from it until the
-- device returns or 7 (28) days are over. These never overlap, so +1 where they begin and -1 after they end sum to the
-- distinct devices of each period.
active_windows as (
    select
        '7_days' as period_type,
        7 as days_count,
        event_date,
        product,
        platform,
        role,
        window_7d_ends_on as window_ends_on,
        devices_count
    from device_days_counted
    union all
    select
        '28_days' as period_type,
        28 as days_count,
        event_date,
        product,
        platform,
        role,
        window_28d_ends_on as window_ends_on,
        devices_count
    from device_days_counted
),

changes as (
    select
        period_type,
        days_count,
        event_date as period_end_date,
        product,
        platform,
        role,
        sum(devices_count) as began_count,
        sum(devices_count) as devices_change
    from active_windows
    group by period_type, days_count, event_date, product, platform, role
    union all
    select
        period_type,
        days_count,
        window_ends_on as period_end_date,
        product,
        platform,
        role,
        0 as began_count,
        -sum(devices_count) as devices_change
    from active_windows
    group by period_type, days_count, window_ends_on, product, platform, role
),

changes_summed as (
    select
        period_type,
        days_count,
        period_end_date,
        product,
        platform,
        sum(began_count) as began_count,
        sum(case when role = 'active' then devices_change else 0 end) as devices_change,
        sum(case when role = 'reader' then devices_change else 0 end) as readers_change,
        sum(case when role = 'enjoyer' then devices_change else 0 end) as enjoyers_change
    from changes
    group by period_type, days_count, period_end_date, product, platform
),

accumulated as (
    select
        *,
        sum(devices_change) over up_to_day as devices_count,
        sum(readers_change) over up_to_day as readers_count,
        sum(enjoyers_change) over up_to_day as enjoyers_count
    from changes_summed
    window
        up_to_day as (
            partition by period_type, product, platform
            order by period_end_date asc nulls last
            rows between unbounded preceding and current row
        )
),

counted as (
    select
        period_type,
        period_start_date,
        period_end_date,
        product,
        platform,
        sum(case when role = 'active' then devices_count else 0 end) as devices_count,
        sum(case when role = 'reader' then devices_count else 0 end) as readers_count,
        sum(case when role = 'enjoyer' then devices_count else 0 end) as enjoyers_count
    from of_calendar
    group by period_type, period_start_date, period_end_date, product, platform
    union all
    -- Windows that end on a day when nobody was there add nothing, and would go on after the newest day.
    select
        period_type,
        {{ add_days('period_end_date', '1 - days_count') }} as period_start_date,
        period_end_date,
        product,
        platform,
        devices_count,
        readers_count,
        enjoyers_count
    from accumulated
    where began_count > 0
),

-- Other periods were read in part, for what they share with those replaced.
replaced as (
    select *
    from counted
    where {{ in_days_to_replace('period_end_date') }}
),

-- Each product with each platform of the period: a group that is not shown has a row too, and so has one of nobody.
-- Nothing tells these two apart.
crossed as (
    select
        of_products.period_type,
        of_products.period_start_date,
        of_products.period_end_date,
        of_products.product,
        of_platforms.platform
    from replaced as of_products
    inner join replaced as of_platforms
        on
            of_products.period_type = of_platforms.period_type
            and of_products.period_end_date = of_platforms.period_end_date
    where of_products.platform = 'all' and of_platforms.product = 'all'
)

select
    cast(crossed.period_type as string) as period_type,
    crossed.period_start_date,
    crossed.period_end_date,
    crossed.product,
    crossed.platform,
    cast(nullif(replaced.devices_count, 0) as bigint) as devices_count,
    cast(nullif(replaced.readers_count, 0) as bigint) as readers_count,
    cast(nullif(replaced.enjoyers_count, 0) as bigint) as enjoyers_count,
    coalesce(least(replaced.devices_count, replaced.readers_count, replaced.enjoyers_count), 0) = 0 as is_suppressed
from crossed
left join replaced
    on
        crossed.period_type = replaced.period_type
        and crossed.period_end_date = replaced.period_end_date
        and crossed.product = replaced.product
        and crossed.platform = replaced.platform
