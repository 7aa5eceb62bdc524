-- Every delivered copy of an event is counted in exactly one deduplicated event of its day, and no event stands
-- there twice. A row here is a day on which copies were lost or counted twice: the data platform stops
-- publishing, and rebuilds int_events__copies_compared and what follows it
-- (`tidemark build -- --full-refresh --select int_events__copies_compared+`) once the cause is known.
--
-- Every day with events has session fragments, and they change when its events do.
-- depends_on: {{ ref('int_audience__session_fragments_split') }}
{% set changed = in_days_changed('event_date', 'int_audience__session_fragments_split') %}

with copies as (
    select * from {{ ref('stg_clients__events') }}
    where {{ changed }}
),

events as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where {{ changed }}
),

delivered as (
    select
        event_date,
        count(*) as copies_count,
        count(distinct event_id) as events_count
    from copies
    group by event_date
),

kept as (
    select
        event_date,
        sum(copies_count) as copies_count,
        count(*) as events_count
    from events
    group by event_date
)

select
    coalesce(delivered.event_date, kept.event_date) as event_date,
    delivered.copies_count as delivered_count,
    kept.copies_count as kept_count,
    delivered.events_count as delivered_events_count,
    kept.events_count as kept_events_count
from delivered
full outer join kept on delivered.event_date = kept.event_date
where
    delivered.copies_count is distinct from kept.copies_count
    or delivered.events_count is distinct from kept.events_count
