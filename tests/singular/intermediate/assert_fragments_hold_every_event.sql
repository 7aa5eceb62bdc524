-- Every event belongs to exactly one session fragment of its day. A row here is a day on which sessions lost
-- or repeat events: the data platform stops publishing, and rebuilds int_audience__session_fragments_split
-- and what follows it once the cause is known.
--
-- Only the days of the last hundred landings are compared, so that the test does not grow with history.
with days as (
    select * from {{ ref('int_events__days_landed') }}
),

last_batch as (
    select max(_batch_id) as _batch_id from days
),

days_compared as (
    select distinct days.event_date
    from days
    inner join last_batch on days._batch_id > last_batch._batch_id - 100
),

happened as (
    select
        events.event_date,
        count(*) as events_count
    from {{ ref('int_events__events_deduplicated') }} as events
    inner join days_compared on events.event_date = days_compared.event_date
    group by events.event_date
),

in_fragments as (
    select
        fragments.event_date,
        sum(fragments.events_count) as events_count
    from {{ ref('int_audience__session_fragments_split') }} as fragments
    inner join days_compared on fragments.event_date = days_compared.event_date
    group by fragments.event_date
)

select
    days_compared.event_date,
    happened.events_count as happened_count,
    in_fragments.events_count as in_fragments_count
from days_compared
left join happened on days_compared.event_date = happened.event_date
left join in_fragments on days_compared.event_date = in_fragments.event_date
where happened.events_count is distinct from in_fragments.events_count
