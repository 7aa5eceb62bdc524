-- One row per content, period, platform and kind of account, 'all' standing for any: the distinct devices that met
-- the content within the period, that read it and that enjoyed it.
--
-- By platform or by kind of account, not by both at once: few ask, and each cut adds a row per content and day.
-- Days, weeks and months, not windows that end on every day: those would add as many rows again.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='period_end_date',
    meta={'days_to_replace': 'affected_period_ends'}
) }}

with engagement as (
    select
        *,
        case when user_key is null then 'logged_out' else 'logged_in' end as account_kind
    from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_periods_to_replace('event_date') }}
),

cuts as (
    select
        false as is_by_platform,
        false as is_by_account
    union all
    select
        true as is_by_platform,
        false as is_by_account
    union all
    select
        false as is_by_platform,
        true as is_by_account
),

cut as (
    select
        engagement.event_date,
        cast(date_trunc('week', engagement.event_date) as date) as week_start_date,
        cast(date_trunc('month', engagement.event_date) as date) as month_start_date,
        engagement.content_id,
        case when cuts.is_by_platform then engagement.platform else 'all' end as platform,
        case when cuts.is_by_account then engagement.account_kind else 'all' end as account_kind,
        engagement.device_key,
        engagement.is_read,
        engagement.is_enjoyed
    from engagement
    cross join cuts
),

-- A device counts on its first day in a week or month: as met, as a reader and as an enjoyer, each on its own.
earlier_days_found as (
    select
        *,
        max(event_date) over earlier_days as last_met_date,
        max(case when is_read then event_date end) over earlier_days as last_read_date,
        max(case when is_enjoyed then event_date end) over earlier_days as last_enjoyed_date
    from cut
    window
        earlier_days as (
            partition by content_id, platform, account_kind, device_key
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
        platform,
        account_kind,
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
    group by event_date, week_start_date, month_start_date, content_id, platform, account_kind
),

counted as (
    select
        'day' as period_type,
        event_date as period_start_date,
        event_date as period_end_date,
        content_id,
        platform,
        account_kind,
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
        platform,
        account_kind,
        sum(devices_new_to_week) as devices_count,
        sum(readers_new_to_week) as readers_count,
        sum(enjoyers_new_to_week) as enjoyers_count
    from days_counted
    group by week_start_date, content_id, platform, account_kind
    union all
    select
        'month' as period_type,
        month_start_date as period_start_date,
        last_day(month_start_date) as period_end_date,
        content_id,
        platform,
        account_kind,
        sum(devices_new_to_month) as devices_count,
        sum(readers_new_to_month) as readers_count,
        sum(enjoyers_new_to_month) as enjoyers_count
    from days_counted
    group by month_start_date, content_id, platform, account_kind
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
    cast(enjoyers_count as bigint) as enjoyers_count
from replaced
