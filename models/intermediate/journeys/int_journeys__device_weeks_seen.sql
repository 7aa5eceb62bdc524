-- One row per ISO week, product ('all' for any) and device that was active then, in a group large enough to be shown,
-- and the week in which it first was.
--
-- A touched day changes its week, which is replaced whole. It may also change which week was the first of devices that
-- were there, and so rows of other weeks: these are written over, of touched devices alone and where they differ
-- (write_first_weeks_back). What is not earlier than all that is known of a device changes none.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='week_end_date',
    meta={'days_to_replace': 'affected_week_ends'},
    post_hook=[{
        'sql': "{{ write_first_weeks_back(ref('int_consents__days_used')) }}",
        'transaction': true
    }]
) }}

with devices as (
    select * from {{ ref('int_journeys__devices_shown') }}
    where {{ in_weeks_to_replace('event_date') }}
),

weeks as (
    select distinct
        {{ add_days("cast(date_trunc('week', event_date) as date)", 6) }} as week_end_date,
        product,
        device_key
    from devices
),

with_all as (
    select
        week_end_date,
        product,
        device_key
    from weeks
    union all
    select distinct
        week_end_date,
        'all' as product,
        device_key
    from weeks
),

-- Of the weeks read here. Where these are not all, the others have their say when it is written back.
first_weeks_found as (
    select
        *,
        min(week_end_date) over (partition by product, device_key) as first_week_end_date
    from with_all
)

select
    week_end_date,
    cast(product as string) as product,
    device_key,
    first_week_end_date
from first_weeks_found
