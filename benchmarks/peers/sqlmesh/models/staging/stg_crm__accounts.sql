MODEL (
  name staging.stg_crm__accounts,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered version of an account, as landed: keyed hashes in place of the identifiers, and
-- nothing that names a person.
with landed as (
    select * from raw.raw_accounts
)

select
    account_key,
    user_key,
    birth_date,
    created_at,
    updated_at,
    _batch_id,
    _line
from landed
