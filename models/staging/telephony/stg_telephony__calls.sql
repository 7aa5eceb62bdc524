-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered call about an advert. All that landed is still here: which deliveries count, and
-- which of several rows, the next layer decides.
-- Free text, in which people may be named, is in no table: transcript. It stands redacted and encrypted in
-- the text store.
with landed as (
    select * from {{ ref('raw_calls') }}
)

select
    call_id,
    event_date,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    _batch_id,
    _line
from landed
