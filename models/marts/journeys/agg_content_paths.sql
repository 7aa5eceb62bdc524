-- One row per day, product, previous content and next content: how often a session went straight on from the one to the
-- other, and how many devices did. '(start)' stands before the first content, '(end)' behind the last.
--
-- As many come to a content as go on from it, so a row that is merely left out could be told from the others. Instead a
-- session is cut where few went: it ends there, and what comes after starts there. How many were cut cannot be told
-- from how many start with a content or end with it, as long as these are enough. Where they are few, cut or not, the
-- least travelled of the content's other ways is cut as well. The same holds of a day, whose sessions are known.
--
-- A function of the day: as in other aggregates a session counts by its part of each day, so its path ends at midnight.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with views as (
    select
        event_id,
        event_date,
        occurred_at,
        product,
        device_key,
        session_id,
        content_id
    from {{ ref('int_events__events_deduplicated') }}
    where
        event_type = 'content_view'
        and has_analytics_consent
        and not is_future
        and {{ in_days_to_replace('event_date') }}
),

fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where not is_bot and content_views_count > 0 and {{ in_days_to_replace('event_date') }}
),

groups as (
    select * from {{ ref('int_audience__groups_counted') }}
    where is_shown and {{ in_days_to_replace('event_date') }}
),

fragments_shown as (
    select fragments.*
    from fragments
    inner join groups
        on
            fragments.event_date = groups.event_date
            and fragments.product = groups.product
            and fragments.platform = groups.platform
),

views_placed as (
    select
        views.event_id,
        views.event_date,
        views.occurred_at,
        views.product,
        views.device_key,
        views.content_id,
        fragments_shown.fragment_key,
        lag(views.content_id) over (
            partition by views.event_date, fragments_shown.fragment_key
            order by views.occurred_at asc nulls last, views.event_id asc nulls last
        ) as viewed_before
    from views
    inner join fragments_shown
        on
            views.event_date = fragments_shown.event_date
            and views.product = fragments_shown.product
            and views.device_key = fragments_shown.device_key
            and views.session_id is not distinct from fragments_shown.session_id
            and views.occurred_at between fragments_shown.started_at and fragments_shown.ended_at
),

-- To view the same content once more is no step on the way.
visits as (
    select
        event_date,
        product,
        device_key,
        content_id,
        viewed_before,
        lead(content_id) over (
            partition by event_date, fragment_key
            order by occurred_at asc nulls last, event_id asc nulls last
        ) as viewed_next
    from views_placed
    where content_id is distinct from viewed_before
),

transitions as (
    select
        event_date,
        product,
        device_key,
        viewed_before as previous_content_id,
        content_id as next_content_id
    from visits
    union all
    select
        event_date,
        product,
        device_key,
        content_id as previous_content_id,
        null as next_content_id
    from visits
    where viewed_next is null
),

device_transitions as (
    select
        event_date,
        product,
        device_key,
        previous_content_id,
        next_content_id,
        count(*) as transitions_count
    from transitions
    group by event_date, product, device_key, previous_content_id, next_content_id
),

-- Ways from one content to another.
ways as (
    select
        event_date,
        product,
        previous_content_id,
        next_content_id,
        count(*) as devices_count,
        count(*) < {{ var('smallest_group') }} as is_small
    from device_transitions
    where previous_content_id is not null and next_content_id is not null
    group by event_date, product, previous_content_id, next_content_id
),

ways_numbered as (
    select
        *,
        row_number() over (
            partition by event_date, product, previous_content_id, is_small
            order by devices_count asc nulls last, next_content_id asc nulls last
        ) as number_from_previous,
        row_number() over (
            partition by event_date, product, next_content_id, is_small
            order by devices_count asc nulls last, previous_content_id asc nulls last
        ) as number_to_next,
        row_number() over (
            partition by event_date, product, is_small
            order by devices_count asc nulls last, previous_content_id asc nulls last, next_content_id asc nulls last
        ) as number_of_day
    from ways
),

device_transitions_judged as (
    select
        device_transitions.*,
        coalesce(ways.is_small, false) as is_small
    from device_transitions
    left join ways
        on
            device_transitions.event_date = ways.event_date
            and device_transitions.product = ways.product
            and device_transitions.previous_content_id = ways.previous_content_id
            and device_transitions.next_content_id = ways.next_content_id
),

starts as (
    select
        event_date,
        product,
        next_content_id as content_id,
        count(distinct device_key) as devices_count
    from device_transitions_judged
    where previous_content_id is null or is_small
    group by event_date, product, next_content_id
),

ends as (
    select
        event_date,
        product,
        previous_content_id as content_id,
        count(distinct device_key) as devices_count
    from device_transitions_judged
    where next_content_id is null or is_small
    group by event_date, product, previous_content_id
),

days as (
    select
        event_date,
        product,
        count(distinct case when is_small then device_key end) as cut_devices_count,
        bool_or(not is_small and previous_content_id is not null and next_content_id is not null) as has_ways
    from device_transitions_judged
    group by event_date, product
),

-- Ways of few, and those cut with them. What is cut comes to the starts and ends of others, and never takes from them.
ways_cut as (
    select
        ways_numbered.event_date,
        ways_numbered.product,
        ways_numbered.previous_content_id,
        ways_numbered.next_content_id
    from ways_numbered
    inner join days
        on ways_numbered.event_date = days.event_date and ways_numbered.product = days.product
    left join ends
        on
            ways_numbered.event_date = ends.event_date
            and ways_numbered.product = ends.product
            and ways_numbered.previous_content_id = ends.content_id
    left join starts
        on
            ways_numbered.event_date = starts.event_date
            and ways_numbered.product = starts.product
            and ways_numbered.next_content_id = starts.content_id
    where
        ways_numbered.is_small
        or (
            ways_numbered.number_from_previous = 1
            and not {{ is_enough_left('coalesce(ends.devices_count, 0)') }}
        )
        or (ways_numbered.number_to_next = 1 and not {{ is_enough_left('coalesce(starts.devices_count, 0)') }})
        or (ways_numbered.number_of_day = 1 and not {{ is_enough_left('days.cut_devices_count') }})
),

device_transitions_marked as (
    select
        device_transitions.*,
        ways_cut.event_date is not null as is_cut
    from device_transitions
    inner join days
        on device_transitions.event_date = days.event_date and device_transitions.product = days.product
    left join ways_cut
        on
            device_transitions.event_date = ways_cut.event_date
            and device_transitions.product = ways_cut.product
            and device_transitions.previous_content_id = ways_cut.previous_content_id
            and device_transitions.next_content_id = ways_cut.next_content_id
    -- Where hardly anything is cut and nothing else could be, the starts minus the sessions of the day would tell it.
    where days.has_ways or {{ is_enough_left('days.cut_devices_count') }}
),

device_transitions_cut as (
    select
        event_date,
        product,
        device_key,
        previous_content_id,
        case when not is_cut then next_content_id end as next_content_id,
        transitions_count
    from device_transitions_marked
    union all
    select
        event_date,
        product,
        device_key,
        null as previous_content_id,
        next_content_id,
        transitions_count
    from device_transitions_marked
    where is_cut
),

summed as (
    select
        event_date,
        product,
        previous_content_id,
        next_content_id,
        sum(transitions_count) as transitions_count,
        count(distinct device_key) as devices_count
    from device_transitions_cut
    group by event_date, product, previous_content_id, next_content_id
    having count(distinct device_key) >= {{ var('smallest_group') }}
)

select
    event_date,
    product,
    coalesce(previous_content_id, '(start)') as previous_content_id,
    coalesce(next_content_id, '(end)') as next_content_id,
    cast(transitions_count as bigint) as transitions_count,
    cast(devices_count as bigint) as devices_count
from summed
