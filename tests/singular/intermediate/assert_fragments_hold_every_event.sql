-- Every event with consent to analytics that is not from the future belongs to exactly one session fragment of its day.
-- A row here is a day on which sessions lost or repeat events: what depends on them is not published until it passes.
-- The data platform finds the cause, and rebuilds int_audience__session_fragments_split and what is downstream of it.
{% set changed = in_days_changed('event_date', 'int_audience__session_fragments_split') %}

with events as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where has_analytics_consent and not is_future and {{ changed }}
),

fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ changed }}
),

happened as (
    select
        event_date,
        count(*) as events_count
    from events
    group by event_date
),

in_fragments as (
    select
        event_date,
        sum(events_count) as events_count
    from fragments
    group by event_date
)

select
    coalesce(happened.event_date, in_fragments.event_date) as event_date,
    happened.events_count as happened_count,
    in_fragments.events_count as in_fragments_count
from happened
full outer join in_fragments on happened.event_date = in_fragments.event_date
where happened.events_count is distinct from in_fragments.events_count
