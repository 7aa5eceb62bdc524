-- Every delivered copy of an event is counted in exactly one deduplicated event of its day. A row here is a
-- day on which copies were lost or counted twice: the data platform stops publishing, and rebuilds
-- int_events__events_deduplicated whole (`tidemark build -- --full-refresh`) once the cause is known.
{% set changed = in_days_changed('event_date', 'int_events__events_deduplicated') %}

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
        count(*) as copies_count
    from copies
    group by event_date
),

kept as (
    select
        event_date,
        sum(copies_count) as copies_count
    from events
    group by event_date
)

select
    coalesce(delivered.event_date, kept.event_date) as event_date,
    delivered.copies_count as delivered_count,
    kept.copies_count as kept_count
from delivered
full outer join kept on delivered.event_date = kept.event_date
where delivered.copies_count is distinct from kept.copies_count
