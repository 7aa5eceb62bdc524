-- One row per cohort, product and week since its first: how many of the devices first seen in one ISO week were active
-- in that week. 'all' is any product, and then first seen in any.
--
-- agg_audience_periods has how many were active in a week, which the cohorts add up to. Those who were there in the
-- first week of a product are no cohort, since nobody knows for how long they had been coming, and how many of them
-- come back is never shown. So what is left out of a week may always be theirs. Where it is too little for that, or
-- all theirs and tells how few of them are not there, the smallest cohort that would be shown is left out too. Of any
-- cohort those who are not there in a week are a group as well.
--
-- A table: it has a row per cohort and week, and what it reads was counted before.
{{ config(materialized='table') }}

with cohorts as (
    select * from {{ ref('int_journeys__cohorts_counted') }}
),

firsts_found as (
    select
        *,
        min(week_end_date) over (partition by product) as product_began_on,
        first_value(devices_count) over (partition by product order by week_end_date asc nulls last) as began_count,
        dense_rank() over (partition by product order by week_end_date asc nulls last) - 1 as later_cohorts_count,
        max(case when week_end_date = first_week_end_date then devices_count end) over (
            partition by product, first_week_end_date
        ) as cohort_devices_count
    from cohorts
),

judged as (
    select
        *,
        first_week_end_date > product_began_on
        and devices_count >= {{ var('smallest_group') }}
        and (
            week_end_date = first_week_end_date
            or {{ is_enough_left('cohort_devices_count - devices_count') }}
        ) as may_be_shown
    from firsts_found
),

weeks_summed as (
    select
        *,
        sum(devices_count) over (partition by product, week_end_date)
        - sum(case when may_be_shown then devices_count else 0 end) over (partition by product, week_end_date)
            as left_out_count,
        sum(case when may_be_shown then 1 else 0 end) over (partition by product, week_end_date)
        = later_cohorts_count as may_all_be_shown,
        row_number() over (
            partition by product, week_end_date, may_be_shown
            order by devices_count asc nulls last, first_week_end_date asc nulls last
        ) as smallest_number
    from judged
),

cells_shown as (
    select *
    from weeks_summed
    where
        may_be_shown
        and (
            smallest_number > 1
            or (
                {{ is_enough_left('left_out_count') }}
                and (not may_all_be_shown or {{ is_enough_left('began_count - left_out_count') }})
            )
        )
),

-- Without its first week a cohort has no size, and is not shown.
cohorts_shown as (
    select
        product,
        first_week_end_date,
        cohort_devices_count
    from cells_shown
    where week_end_date = first_week_end_date
),

weeks as (
    select distinct
        product,
        week_end_date
    from cohorts
),

-- Each cohort with each week since: one that is not shown has a row too, and so has one of nobody. Nothing tells these
-- two apart.
crossed as (
    select
        cohorts_shown.product,
        cohorts_shown.first_week_end_date,
        cohorts_shown.cohort_devices_count,
        weeks.week_end_date,
        {{ days_between('cohorts_shown.first_week_end_date', 'weeks.week_end_date') }} as days_since
    from cohorts_shown
    inner join weeks
        on
            cohorts_shown.product = weeks.product
            and cohorts_shown.first_week_end_date <= weeks.week_end_date
)

select
    {{ add_days('crossed.first_week_end_date', -6) }} as cohort_week_start_date,
    crossed.product,
    cast(crossed.days_since / 7 as integer) as week_number,
    {{ add_days('crossed.week_end_date', -6) }} as week_start_date,
    crossed.cohort_devices_count,
    cells_shown.devices_count,
    cast(cells_shown.devices_count as double) / nullif(crossed.cohort_devices_count, 0) as retention_rate,
    cells_shown.devices_count is null as is_suppressed
from crossed
left join cells_shown
    on
        crossed.product = cells_shown.product
        and crossed.first_week_end_date = cells_shown.first_week_end_date
        and crossed.week_end_date = cells_shown.week_end_date
