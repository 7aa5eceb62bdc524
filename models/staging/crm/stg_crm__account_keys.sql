-- Generated from the contract by `make contract`; do not edit.
-- One row per key in a list of the accounts that a source had at a moment. All that landed is still here:
-- which deliveries count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_account_keys') }}
)

select
    account_key,
    _batch_id,
    _line
from landed
