-- One row per ISO week, product ('all' for any) and week of first sight: how many devices of that cohort were active.
--
-- It replaces the weeks of which a row changed since they were counted, be it the first week of a device alone.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='week_end_date',
    meta={'days_to_replace': 'affected_cohort_weeks'}
) }}

with device_weeks as (
    select * from {{ ref('int_journeys__device_weeks_seen') }}
    where {{ in_days_to_replace('week_end_date') }}
),

counted as (
    select
        week_end_date,
        product,
        first_week_end_date,
        count(*) as devices_count
    from device_weeks
    group by week_end_date, product, first_week_end_date
)

select
    week_end_date,
    product,
    first_week_end_date,
    cast(devices_count as bigint) as devices_count
from counted
