-- Generated from the contract by `make contract`; do not edit.
-- One row per account that was delivered, and that none of its sources has any more. A source has it no more
-- where its newest list in account_keys lacks it, and nothing of it came since. A source that delivers no
-- lists is taken to have it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='account_key',
    meta={'touched_keys': 'int_audience__accounts_touched', 'datasets': ['accounts', 'account_keys']}
) }}

with accounts as (
    select
        account_key,
        _batch_id
    from {{ ref('stg_crm__accounts') }}
    where {{ in_keys_to_replace('account_key', ref('int_audience__accounts_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
    where superseded_by_batch_id is null
),

keys as (
    select distinct
        account_key,
        _batch_id
    from {{ ref('stg_crm__account_keys') }}
),

newest_lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where
        dataset = 'account_keys'
        and is_newest
),

listed as (
    select distinct _batch_id from keys
),

-- A list whose rows are over says nothing any more.
lists as (
    select newest_lists.*
    from newest_lists
    left join listed
        on newest_lists.batch_id = listed._batch_id
    where
        newest_lists.rows_landed = 0
        or listed._batch_id is not null
),

delivered as (
    select
        accounts.account_key,
        deliveries.source,
        max(deliveries.delivered_at) as delivered_at
    from accounts
    inner join deliveries
        on accounts._batch_id = deliveries.batch_id
    group by accounts.account_key, deliveries.source
),

compared as (
    select
        delivered.account_key,
        keys.account_key is null and delivered.delivered_at <= lists.delivered_at as is_gone
    from delivered
    left join lists
        on delivered.source = lists.source
    left join keys
        on
            lists.batch_id = keys._batch_id
            and delivered.account_key = keys.account_key
),

deleted as (
    select account_key
    from compared
    group by account_key
    having bool_and(coalesce(is_gone, false))
)

select account_key
from deleted
