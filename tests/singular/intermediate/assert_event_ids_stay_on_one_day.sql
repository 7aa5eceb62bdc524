-- An event keeps its day however often it is sent. A row here is an id found on more than one day: its
-- producer renews ids too seldom, or changes occurred_at when it retries. Both events are kept and
-- counted. The data platform finds the producer by product, platform and app_version and has it fixed.
--
-- Looked at are the days that changed, as their session fragments do, and a week on either side.
-- depends_on: {{ ref('int_audience__session_fragments_split') }}
{{ config(
    severity='warn',
    meta={
        'owner': 'data-platform',
        'reason': 'A fault of the producer; both events are kept and the figures stay defined.',
        'expires': '2027-06-30'
    }
) }}

with events as (
    select
        event_id,
        event_date
    from {{ ref('int_events__events_deduplicated') }}
    where {{ in_days_changed('event_date', 'int_audience__session_fragments_split', around=7) }}
)

select
    event_id,
    count(*) as days_count
from events
group by event_id
having count(*) > 1
