-- One row per content, period, platform and kind of account, 'all' standing for any: the distinct devices that met
-- the content within the period, that read it and that enjoyed it. By platform and by kind of account there are months
-- alone, and no row where the part is too small to be shown.
--
-- In all, a content has those it has, however few: a content is no attribute of people. A part of fewer than
-- smallest_group devices is left out, and with it the next larger ones until those left out are that many together:
-- else the total minus what is shown would be the few. Days and weeks in parts would give small ones too: a month minus
-- its other days.
--
-- By platform or by kind of account, not by both at once: few ask, and each cut adds a row per content and month.
-- Days, weeks and months, not windows that end on every day: those would add as many rows again.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='period_end_date',
    meta={'days_to_replace': 'affected_period_ends'}
) }}

with engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_periods_to_replace('event_date') }}
),

-- As in agg_content_daily: what small groups of a day did is in no figure.
groups_shown as (
    {{ groups_shown('engagement') }}
),

of_groups_shown as (
    select
        engagement.event_date,
        cast(date_trunc('week', engagement.event_date) as date) as week_start_date,
        cast(date_trunc('month', engagement.event_date) as date) as month_start_date,
        engagement.content_id,
        engagement.platform,
        case when engagement.user_key is null then 'logged_out' else 'logged_in' end as account_kind,
        engagement.device_key,
        engagement.is_read,
        engagement.is_enjoyed
    from engagement
    inner join groups_shown
        on
            engagement.event_date = groups_shown.event_date
            and engagement.product = groups_shown.product
            and engagement.platform = groups_shown.platform
),

-- A device counts on its first day in a week or month: as met, as a reader and as an enjoyer, each on its own.
earlier_days_found as (
    select
        *,
        max(event_date) over earlier_days as last_met_date,
        max(case when is_read then event_date end) over earlier_days as last_read_date,
        max(case when is_enjoyed then event_date end) over earlier_days as last_enjoyed_date
    from of_groups_shown
    window
        earlier_days as (
            partition by content_id, device_key
            order by event_date asc nulls last
            rows between unbounded preceding and 1 preceding
        )
),

days_counted as (
    select
        event_date,
        week_start_date,
        month_start_date,
        content_id,
        count(*) as devices_of_day,
        count(*) filter (where is_read) as readers_of_day,
        count(*) filter (where is_enjoyed) as enjoyers_of_day,
        count(*) filter (where coalesce(last_met_date < week_start_date, true)) as devices_new_to_week,
        count(*) filter (where is_read and coalesce(last_read_date < week_start_date, true)) as readers_new_to_week,
        count(*) filter (where is_enjoyed and coalesce(last_enjoyed_date < week_start_date, true))
            as enjoyers_new_to_week,
        count(*) filter (where coalesce(last_met_date < month_start_date, true)) as devices_new_to_month,
        count(*) filter (where is_read and coalesce(last_read_date < month_start_date, true)) as readers_new_to_month,
        count(*) filter (where is_enjoyed and coalesce(last_enjoyed_date < month_start_date, true))
            as enjoyers_new_to_month
    from earlier_days_found
    group by event_date, week_start_date, month_start_date, content_id
),

-- Of a month, each device once in each platform and once in each kind of account, and what it ever did there.
parts as (
    select
        month_start_date,
        content_id,
        platform,
        'all' as account_kind,
        device_key,
        bool_or(is_read) as is_reader,
        bool_or(is_enjoyed) as is_enjoyer
    from of_groups_shown
    group by month_start_date, content_id, platform, device_key
    union all
    select
        month_start_date,
        content_id,
        'all' as platform,
        account_kind,
        device_key,
        bool_or(is_read) as is_reader,
        bool_or(is_enjoyed) as is_enjoyer
    from of_groups_shown
    group by month_start_date, content_id, account_kind, device_key
),

parts_counted as (
    select
        month_start_date,
        content_id,
        platform,
        account_kind,
        count(*) as devices_count,
        count(*) filter (where is_reader) as readers_count,
        count(*) filter (where is_enjoyer) as enjoyers_count
    from parts
    group by month_start_date, content_id, platform, account_kind
),

-- How many the smaller parts are together: they are left out before this one.
parts_accumulated as (
    select
        *,
        coalesce(sum(devices_count) over fewer_devices, 0) as devices_before,
        coalesce(sum(readers_count) over fewer_readers, 0) as readers_before,
        coalesce(sum(enjoyers_count) over fewer_enjoyers, 0) as enjoyers_before
    from parts_counted
    window
        fewer_devices as (
            partition by month_start_date, content_id, platform = 'all'
            order by devices_count asc nulls last, platform asc nulls last, account_kind asc nulls last
            rows between unbounded preceding and 1 preceding
        ),
        fewer_readers as (
            partition by month_start_date, content_id, platform = 'all'
            order by readers_count asc nulls last, platform asc nulls last, account_kind asc nulls last
            rows between unbounded preceding and 1 preceding
        ),
        fewer_enjoyers as (
            partition by month_start_date, content_id, platform = 'all'
            order by enjoyers_count asc nulls last, platform asc nulls last, account_kind asc nulls last
            rows between unbounded preceding and 1 preceding
        )
),

parts_shown as (
    select
        *,
        {{ is_part_shown('readers_count', 'readers_before') }} as has_readers_shown,
        {{ is_part_shown('readers_count', 'readers_before') }}
        and {{ is_part_shown('enjoyers_count', 'enjoyers_before') }} as has_enjoyers_shown
    from parts_accumulated
    where {{ is_part_shown('devices_count', 'devices_before') }}
),

counted as (
    select
        'day' as period_type,
        event_date as period_start_date,
        event_date as period_end_date,
        content_id,
        'all' as platform,
        'all' as account_kind,
        devices_of_day as devices_count,
        readers_of_day as readers_count,
        enjoyers_of_day as enjoyers_count
    from days_counted
    union all
    select
        'week' as period_type,
        week_start_date as period_start_date,
        {{ add_days('week_start_date', 6) }} as period_end_date,
        content_id,
        'all' as platform,
        'all' as account_kind,
        sum(devices_new_to_week) as devices_count,
        sum(readers_new_to_week) as readers_count,
        sum(enjoyers_new_to_week) as enjoyers_count
    from days_counted
    group by week_start_date, content_id
    union all
    select
        'month' as period_type,
        month_start_date as period_start_date,
        last_day(month_start_date) as period_end_date,
        content_id,
        'all' as platform,
        'all' as account_kind,
        sum(devices_new_to_month) as devices_count,
        sum(readers_new_to_month) as readers_count,
        sum(enjoyers_new_to_month) as enjoyers_count
    from days_counted
    group by month_start_date, content_id
    union all
    select
        'month' as period_type,
        month_start_date as period_start_date,
        last_day(month_start_date) as period_end_date,
        content_id,
        platform,
        account_kind,
        devices_count,
        case when has_readers_shown then readers_count end as readers_count,
        case when has_enjoyers_shown then enjoyers_count end as enjoyers_count
    from parts_shown
),

-- Other periods were read in part, for what they share with those replaced.
replaced as (
    select *
    from counted
    where {{ in_days_to_replace('period_end_date') }}
)

select
    content_id,
    cast(period_type as string) as period_type,
    period_start_date,
    period_end_date,
    platform,
    cast(account_kind as string) as account_kind,
    cast(devices_count as bigint) as devices_count,
    cast(readers_count as bigint) as readers_count,
    cast(enjoyers_count as bigint) as enjoyers_count,
    readers_count is null or enjoyers_count is null as is_suppressed
from replaced
