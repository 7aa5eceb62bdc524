-- Generated from the contract by `make contract`; do not edit.
-- One row per batch and account that it touches: by delivering rows of it, by superseding a delivery that
-- did, or by listing keys of accounts otherwise than before. The models of accounts find in it which of them
-- to rebuild.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['accounts', 'account_keys']}
) }}

with accounts as (
    select
        account_key,
        _batch_id
    from {{ ref('stg_crm__accounts') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        account_key
    from accounts
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        accounts.account_key
    from accounts
    inner join deliveries
        on accounts._batch_id = deliveries.batch_id
    where
        deliveries.superseded_by_batch_id is not null
        and {{ in_new_batches('deliveries.superseded_by_batch_id') }}
),

keys as (
    select
        account_key,
        _batch_id
    from {{ ref('stg_crm__account_keys') }}
),

lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where dataset = 'account_keys'
),

known as (
    select distinct
        lists.batch_id,
        lists.previous_batch_id,
        accounts.account_key
    from lists
    inner join deliveries
        on
            lists.source = deliveries.source
            and lists.batch_id > deliveries.batch_id
    inner join accounts
        on deliveries.batch_id = accounts._batch_id
    where {{ in_new_batches('lists.batch_id') }}
),

missed as (
    select
        known.batch_id as _batch_id,
        known.account_key
    from known
    left join keys
        on
            known.batch_id = keys._batch_id
            and known.account_key = keys.account_key
    left join keys as keys_before
        on
            known.previous_batch_id = keys_before._batch_id
            and known.account_key = keys_before.account_key
    where
        keys.account_key is null
        or (known.previous_batch_id is not null and keys_before.account_key is null)
),

touched as (
    select * from delivered
    union
    select * from superseded
    union
    select * from missed
)

select
    _batch_id,
    account_key
from touched
