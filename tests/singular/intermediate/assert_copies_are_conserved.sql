-- Every delivered copy of an event is counted in exactly one deduplicated event of its day. A row here is a
-- day on which copies were lost or counted twice: the data platform stops publishing, and rebuilds
-- int_events__events_deduplicated whole (`tidemark build -- --full-refresh`) once the cause is known.
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

delivered as (
    select
        copies.event_date,
        count(*) as copies_count
    from {{ ref('stg_clients__events') }} as copies
    inner join days_compared on copies.event_date = days_compared.event_date
    group by copies.event_date
),

kept as (
    select
        events.event_date,
        sum(events.copies_count) as copies_count
    from {{ ref('int_events__events_deduplicated') }} as events
    inner join days_compared on events.event_date = days_compared.event_date
    group by events.event_date
)

select
    days_compared.event_date,
    delivered.copies_count as delivered_count,
    kept.copies_count as kept_count
from days_compared
left join delivered on days_compared.event_date = delivered.event_date
left join kept on days_compared.event_date = kept.event_date
where delivered.copies_count is distinct from kept.copies_count
