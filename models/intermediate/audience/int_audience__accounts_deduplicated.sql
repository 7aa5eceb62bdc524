-- One row per account and updated_at: of the rows delivered for that state the newest delivery, by batch and
-- line. Rows of a batch that a later delivery of the same file supersedes do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='account_key',
    meta={'keys_landed': 'int_audience__accounts_landed', 'datasets': ['accounts']}
) }}

with accounts as (
    select * from {{ ref('stg_crm__accounts') }}
    where {{ in_keys_to_replace('account_key', ref('int_audience__accounts_landed')) }}
),

-- Rows landed by a retry belong to the delivery that first brought them.
retries as (
    select
        batch_id,
        retries_batch_id
    from {{ ref('stg_lake__landings') }}
    where retries_batch_id is not null
),

superseded as (
    select distinct supersedes_batch_id as batch_id
    from {{ ref('stg_lake__landings') }}
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
),

placed as (
    select
        accounts.*,
        coalesce(retries.retries_batch_id, accounts._batch_id) as delivery_batch_id
    from accounts
    left join retries
        on accounts._batch_id = retries.batch_id
),

that_count as (
    select placed.*
    from placed
    left join superseded
        on placed.delivery_batch_id = superseded.batch_id
    where superseded.batch_id is null
),

delivered_last as (
    select *
    from that_count
    qualify row_number() over (
        partition by account_key, updated_at
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    account_key,
    user_key,
    birth_date,
    created_at,
    updated_at,
    _batch_id,
    _line
from delivered_last
