-- One row per day, funnel, product and device that took the funnel's first step that day: the last step it reached, in
-- order, within the window that begins with its first step.
--
-- A device begins once a day, with the first event that is a first step; where a funnel follows a content or an advert,
-- once for each, and it counts with the one that it got furthest with. Each other step is the first event that is one
-- and comes after the step before: of two at one moment the one of the greater event_id.
--
-- A touched day changes itself and the funnel_days_after days before it, whose windows reach into it, and no other.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

{% set in_time = in_order_of(['candidates.occurred_at', 'candidates.event_id']) %}

with steps as (
    select * from {{ ref('funnels') }}
),

devices as (
    select * from {{ ref('int_journeys__devices_shown') }}
    where {{ in_days_to_replace('event_date', after=var('funnel_days_after')) }}
),

events as (
    select
        event_id,
        event_type,
        event_date,
        occurred_at,
        product,
        device_key,
        content_id,
        content_type,
        reaction,
        channel,
        depth,
        advert_id
    from {{ ref('int_events__events_deduplicated') }}
    where
        has_analytics_consent
        and not is_bot
        and not is_future
        and {{ in_days_to_replace('event_date', after=var('funnel_days_after')) }}
),

-- Where a funnel narrows a step and the event does not say, it is none.
steps_found as (
    select
        steps.funnel,
        steps.step_number,
        steps.window_hours,
        events.event_id,
        events.event_date,
        events.occurred_at,
        events.product,
        events.device_key,
        case
            when steps.follows = 'content' then events.content_id
            when steps.follows = 'advert' then events.advert_id
            else ''
        end as thing
    from events
    inner join steps
        on
            events.event_type = steps.event_type
            and (steps.product = 'all' or events.product = steps.product)
            and (steps.content_type is null or events.content_type = steps.content_type)
            and (steps.reaction is null or events.reaction = steps.reaction)
            and (steps.channel is null or events.channel = steps.channel)
            and (steps.min_depth is null or events.depth >= steps.min_depth)
),

candidates as (
    select steps_found.*
    from steps_found
    inner join devices
        on
            steps_found.event_date = devices.event_date
            and steps_found.product = devices.product
            and steps_found.device_key = devices.device_key
    where steps_found.thing is not null
),

reached_step_1 as (
    select
        candidates.event_date as first_date,
        candidates.funnel,
        candidates.product,
        candidates.device_key,
        candidates.thing,
        {{ add_hours('min(candidates.occurred_at)', 'min(candidates.window_hours)') }} as window_ends_at,
        min(candidates.occurred_at) as reached_at,
        min_by(candidates.event_id, {{ in_time }}) as reached_event_id
    from candidates
    where candidates.step_number = 1 and {{ in_days_to_replace('candidates.event_date') }}
    group by
        candidates.event_date, candidates.funnel, candidates.product, candidates.device_key, candidates.thing
),

{% for step in range(2, var('funnel_most_steps') + 1) %}
reached_step_{{ step }} as (
    select
        before.first_date,
        before.funnel,
        before.product,
        before.device_key,
        before.thing,
        before.window_ends_at,
        min(candidates.occurred_at) as reached_at,
        min_by(candidates.event_id, {{ in_time }}) as reached_event_id
    from reached_step_{{ step - 1 }} as before
    inner join candidates
        on
            before.funnel = candidates.funnel
            and before.product = candidates.product
            and before.device_key = candidates.device_key
            and before.thing = candidates.thing
    where
        candidates.step_number = {{ step }}
        and candidates.event_date between before.first_date
        and {{ add_days('before.first_date', var('funnel_days_after')) }}
        and candidates.occurred_at <= before.window_ends_at
        and (
            candidates.occurred_at > before.reached_at
            or (candidates.occurred_at = before.reached_at and candidates.event_id > before.reached_event_id)
        )
    group by
        before.first_date, before.funnel, before.product, before.device_key, before.thing, before.window_ends_at
),

{% endfor %}
reached as (
    {% for step in range(1, var('funnel_most_steps') + 1) %}
    select
        first_date,
        funnel,
        product,
        device_key,
        {{ step }} as step_number
    from reached_step_{{ step }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

furthest as (
    select
        first_date,
        funnel,
        product,
        device_key,
        max(step_number) as last_step_number
    from reached
    group by first_date, funnel, product, device_key
)

select
    first_date as event_date,
    funnel,
    product,
    device_key,
    cast(last_step_number as integer) as last_step_number
from furthest
