-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of an account. All that landed is still here: which deliveries count, and
-- which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_accounts') }}
)

select
    account_key,
    user_key,
    birth_year,
    created_at,
    updated_at,
    country,
    _batch_id,
    _line
from landed
