-- One row per landed batch and account that it touches: by delivering rows of it, or by superseding a batch
-- that did. The models of accounts find in it which of them to rebuild.
{{ config(materialized='incremental', incremental_strategy='append', meta={'datasets': ['accounts']}) }}

with accounts as (
    select
        account_key,
        _batch_id
    from {{ ref('stg_crm__accounts') }}
),

landings as (
    select
        batch_id,
        supersedes_batch_id
    from {{ ref('stg_lake__landings') }}
    where
        dataset = 'accounts'
        and status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
        and {{ in_new_batches('batch_id') }}
),

-- What supersedes a delivery supersedes the rows that a retry landed of it.
retries as (
    select
        batch_id,
        retries_batch_id
    from {{ ref('stg_lake__landings') }}
    where retries_batch_id is not null
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
        landings.batch_id as _batch_id,
        accounts.account_key
    from accounts
    left join retries
        on accounts._batch_id = retries.batch_id
    inner join landings
        on coalesce(retries.retries_batch_id, accounts._batch_id) = landings.supersedes_batch_id
),

touched as (
    select * from delivered
    union
    select * from superseded
)

select
    _batch_id,
    account_key
from touched
