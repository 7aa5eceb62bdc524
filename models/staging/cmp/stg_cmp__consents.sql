-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered record of consent, and per refusal or consent that events or accounts told of. All
-- that landed is still here: which deliveries count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_consents') }}
)

select
    consent_id,
    device_key,
    user_key,
    purpose,
    is_granted,
    valid_from,
    received_at,
    stated_in,
    _batch_id,
    _line
from landed
