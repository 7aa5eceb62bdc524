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

periods as (
    select
        'day' as period_type,
        event_date as period_start_date,
        event_date as period_end_date,
        content_id,
        platform,
        account_kind,
        device_key,
        is_read,
        is_enjoyed
    from engagement
    union all
    select
        'week' as period_type,
        cast(date_trunc('week', event_date) as date) as period_start_date,
        {{ add_days("cast(date_trunc('week', event_date) as date)", 6) }} as period_end_date,
        content_id,
        platform,
        account_kind,
        device_key,
        is_read,
        is_enjoyed
    from engagement
    union all
    select
        'month' as period_type,
        cast(date_trunc('month', event_date) as date) as period_start_date,
        last_day(event_date) as period_end_date,
        content_id,
        platform,
        account_kind,
        device_key,
        is_read,
        is_enjoyed
    from engagement
),

-- Other periods were read in part, for what they share with those replaced.
replaced as (
    select *
    from periods
    where {{ in_days_to_replace('period_end_date') }}
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

labelled as (
    select
        replaced.period_type,
        replaced.period_start_date,
        replaced.period_end_date,
        replaced.content_id,
        case when cuts.is_by_platform then replaced.platform else 'all' end as platform,
        case when cuts.is_by_account then replaced.account_kind else 'all' end as account_kind,
        replaced.device_key,
        replaced.is_read,
        replaced.is_enjoyed
    from replaced
    cross join cuts
),

-- Each device once in a cut: it may come back, on another platform, logged in or out.
cut as (
    select
        period_type,
        period_start_date,
        period_end_date,
        content_id,
        platform,
        account_kind,
        device_key,
        bool_or(is_read) as is_read,
        bool_or(is_enjoyed) as is_enjoyed
    from labelled
    group by period_type, period_start_date, period_end_date, content_id, platform, account_kind, device_key
),

counted as (
    select
        period_type,
        period_start_date,
        period_end_date,
        content_id,
        platform,
        account_kind,
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count
    from cut
    group by period_type, period_start_date, period_end_date, content_id, platform, account_kind
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
from counted
