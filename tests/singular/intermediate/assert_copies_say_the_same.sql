-- Copies of an event differ in nothing but the times of sending and receipt. A row here is a copy that says
-- something else than the one received first: its producer gives one id to several events, or changes what it
-- sends again. The first counts, the others do not. The data platform finds the files and lines of both in
-- ops_event_conflicts, and has the producer fixed.
{{ config(
    severity='warn',
    meta={
        'owner': 'data-platform',
        'reason': 'A fault of the producer; the copy received first counts, so that the figures stay defined.',
        'expires': '2027-06-30'
    }
) }}

select
    event_date,
    event_id,
    differs_in,
    _batch_id,
    _line
from {{ ref('int_events__copies_compared') }}
where differs_in <> '' and {{ in_days_changed('event_date', 'int_events__copies_compared') }}
