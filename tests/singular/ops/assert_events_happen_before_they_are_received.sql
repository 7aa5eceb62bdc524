-- An event happens before it is received, but for clocks that run a little ahead. A row here is a day, product and
-- platform with events from the future: clients whose clock is wrong by more than future_after_hours. Their day is
-- not known, so that no session and no figure has them. The data platform finds the clients by app_version in
-- int_events__events_deduplicated (`is_future`), and has them take the time of sending into account.
{{ config(
    severity='warn',
    meta={
        'owner': 'data-platform',
        'reason': 'A fault of the clients; the events are kept, flagged, and left out of every figure.',
        'expires': '2027-06-30'
    }
) }}

select
    event_date,
    product,
    platform,
    future_events_count
from {{ ref('ops_late_arrivals') }}
where future_events_count > 0 and {{ in_days_changed('event_date', 'ops_late_arrivals') }}
