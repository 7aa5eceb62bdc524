-- An event keeps its day however often it is sent. A row here is an id found on more than one day: its
-- producer makes ids anew too seldom, or changes occurred_at when it retries. Both events are kept and
-- counted. The data platform finds the producer by product, platform and app_version and has it mended.
--
-- Looked at are the days of the last hundred landings, all between them, and a week on either side.
{{ config(
    severity='warn',
    meta={
        'owner': 'data-platform',
        'reason': 'A fault of the producer; both events are kept and the figures stay defined.',
        'expires': '2027-06-30'
    }
) }}

with days as (
    select * from {{ ref('int_events__days_landed') }}
),

last_batch as (
    select max(_batch_id) as _batch_id from days
),

span as (
    select
        min(days.event_date) as first_date,
        max(days.event_date) as last_date
    from days
    inner join last_batch on days._batch_id > last_batch._batch_id - 100
),

days_compared as (
    select distinct days.event_date
    from days
    inner join span
        on
            days.event_date >= {{ add_days('span.first_date', -7) }}
            and days.event_date <= {{ add_days('span.last_date', 7) }}
),

events as (
    select
        events.event_id,
        events.event_date
    from {{ ref('int_events__events_deduplicated') }} as events
    inner join days_compared on events.event_date = days_compared.event_date
)

select
    event_id,
    count(*) as days_count
from events
group by event_id
having count(*) > 1
