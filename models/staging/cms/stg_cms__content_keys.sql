-- Generated from the contract by `make contract`; do not edit.
-- One row per key in a list of the contents that a source had at a moment. All that landed is still here:
-- which deliveries count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_content_keys') }}
)

select
    content_id,
    _batch_id,
    _line
from landed
