MODEL (
  name raw.raw_accounts,
  kind FULL,
  grain (_batch_id, _line)
);

-- One row per delivered version of an account.
with landed as (
    select * from read_parquet(@VAR('lake') || '/landed/accounts/batch-*/data.parquet')
)

select
    cast(account_key as uuid) as account_key,
    cast(user_key as uuid) as user_key,
    birth_date,
    created_at,
    updated_at,
    _batch_id,
    _line
from landed
