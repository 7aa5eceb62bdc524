-- Generated from the contract by `make contract`; do not edit.
-- One row per key in a list of the adverts that a source had at a moment. All that landed is still here:
-- which deliveries count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_advert_keys') }}
)

select
    advert_id,
    _batch_id,
    _line
from landed
