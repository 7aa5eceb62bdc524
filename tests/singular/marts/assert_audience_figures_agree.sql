-- The distinct devices of a day and of the 7 and 28 days up to it, by product and platform, are the same in
-- agg_audience_daily and in agg_audience_periods, which count them each in its own way. A row here names a figure
-- of which readers would see two values: audience-insight finds out which is wrong by a count of distinct devices
-- in int_audience__devices_active, and rebuilds that mart with --full-refresh before the next publication.
{% set changed = in_days_changed('event_date', 'agg_audience_daily') %}

with daily as (
    select * from {{ ref('agg_audience_daily') }}
    where {{ changed }}
),

periods as (
    select * from {{ ref('agg_audience_periods') }}
    where {{ changed | replace('event_date', 'period_end_date') }}
),

lengthened as (
    select
        event_date,
        product,
        platform,
        'day' as period_type,
        devices_count
    from daily
    union all
    select
        event_date,
        product,
        platform,
        '7_days' as period_type,
        devices_7d_count as devices_count
    from daily
    union all
    select
        event_date,
        product,
        platform,
        '28_days' as period_type,
        devices_28d_count as devices_count
    from daily
)

select
    lengthened.event_date,
    lengthened.product,
    lengthened.platform,
    lengthened.period_type,
    lengthened.devices_count as in_daily_count,
    periods.devices_count as in_periods_count
from lengthened
left join periods
    on
        lengthened.event_date = periods.period_end_date
        and lengthened.product = periods.product
        and lengthened.platform = periods.platform
        and lengthened.period_type = periods.period_type
where lengthened.devices_count is distinct from periods.devices_count
