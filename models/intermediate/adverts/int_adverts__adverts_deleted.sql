-- Generated from the contract by `make contract`; do not edit.
-- One row per advert that was delivered, and that none of its sources has any more. A source has it no more
-- where its newest list in advert_keys lacks it, and nothing of it came since. A source that delivers no
-- lists is taken to have it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'touched_keys': 'int_adverts__adverts_touched', 'datasets': ['adverts', 'advert_keys']}
) }}

with adverts as (
    select
        advert_id,
        _batch_id
    from {{ ref('stg_market__adverts') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
    where superseded_by_batch_id is null
),

keys as (
    select distinct
        advert_id,
        _batch_id
    from {{ ref('stg_market__advert_keys') }}
),

newest_lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where
        dataset = 'advert_keys'
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
        adverts.advert_id,
        deliveries.source,
        max(deliveries.delivered_at) as delivered_at
    from adverts
    inner join deliveries
        on adverts._batch_id = deliveries.batch_id
    group by adverts.advert_id, deliveries.source
),

compared as (
    select
        delivered.advert_id,
        keys.advert_id is null and delivered.delivered_at <= lists.delivered_at as is_gone
    from delivered
    left join lists
        on delivered.source = lists.source
    left join keys
        on
            lists.batch_id = keys._batch_id
            and delivered.advert_id = keys.advert_id
),

deleted as (
    select advert_id
    from compared
    group by advert_id
    having bool_and(coalesce(is_gone, false))
)

select advert_id
from deleted
