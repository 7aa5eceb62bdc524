-- One row per day of the first step, funnel, product and step, of those with enough devices that began that day: the
-- devices that reached the step in order, within the window that begins with their first step.
--
-- Who goes on and who does not are groups both. So a step is shown where smallest_group devices reached it, and as many
-- went no further than the last step shown before it; else its count is NULL. So each count that is not shown, and each
-- difference of it and another, may be as many values as a group has devices at least.
--
-- A function of the day's own devices: a touched day changes it and the days whose windows reach into it.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with followed as (
    select * from {{ ref('int_journeys__funnels_followed') }}
    where {{ in_days_to_replace('event_date') }}
),

steps as (
    select * from {{ ref('funnels') }}
),

counted as (
    select
        event_date,
        funnel,
        product,
        {% for step in range(2, var('funnel_most_steps') + 1) %}
        count(*) filter (where last_step_number >= {{ step }}) as devices_count_{{ step }},
        {% endfor %}
        count(*) as devices_count_1
    from followed
    group by event_date, funnel, product
),

-- The last count that is shown, step by step: a step that is not shown leaves the one before it.
judged_1 as (
    select
        *,
        devices_count_1 as last_shown_1
    from counted
    where devices_count_1 >= {{ var('smallest_group') }}
),

{% for step in range(2, var('funnel_most_steps') + 1) %}
judged_{{ step }} as (
    select
        *,
        case
            when
                devices_count_{{ step }} >= {{ var('smallest_group') }}
                and {{ is_enough_left('last_shown_' ~ (step - 1) ~ ' - devices_count_' ~ step) }}
                then devices_count_{{ step }}
            else last_shown_{{ step - 1 }}
        end as last_shown_{{ step }},
        devices_count_{{ step }} >= {{ var('smallest_group') }}
        and {{ is_enough_left('last_shown_' ~ (step - 1) ~ ' - devices_count_' ~ step) }} as is_shown_{{ step }}
    from judged_{{ step - 1 }}
),

{% endfor %}
steps_shown as (
    {% for step in range(1, var('funnel_most_steps') + 1) %}
    select
        event_date,
        funnel,
        product,
        {{ step }} as step_number,
        {% if step == 1 %}
        devices_count_1 as devices_count,
        cast(null as bigint) as previous_devices_count
        {% else %}
        case when is_shown_{{ step }} then devices_count_{{ step }} end as devices_count,
        {% if step == 2 %}
        devices_count_1 as previous_devices_count
        {% else %}
        case when is_shown_{{ step - 1 }} then devices_count_{{ step - 1 }} end as previous_devices_count
        {% endif %}
        {% endif %}
    from judged_{{ var('funnel_most_steps') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

named as (
    select
        steps_shown.*,
        steps.step_name
    from steps_shown
    inner join steps
        on
            steps_shown.funnel = steps.funnel
            and steps_shown.step_number = steps.step_number
            and (steps.product = 'all' or steps_shown.product = steps.product)
)

select
    event_date,
    funnel,
    product,
    cast(step_number as integer) as step_number,
    step_name,
    cast(devices_count as bigint) as devices_count,
    cast(previous_devices_count as bigint) as previous_devices_count,
    cast(devices_count as double) / nullif(previous_devices_count, 0) as reached_rate,
    devices_count is null as is_suppressed
from named
