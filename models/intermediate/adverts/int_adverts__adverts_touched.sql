-- Generated from the contract by `make contract`; do not edit.
-- One row per batch and advert that it touches: by delivering rows of it, by superseding a delivery that did,
-- or by listing keys of adverts otherwise than before. The models of adverts find in it which of them to
-- rebuild.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['adverts', 'advert_keys']}
) }}

with adverts as (
    select
        advert_id,
        _batch_id
    from {{ ref('stg_market__adverts') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        advert_id
    from adverts
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        adverts.advert_id
    from adverts
    inner join deliveries
        on adverts._batch_id = deliveries.batch_id
    where
        deliveries.superseded_by_batch_id is not null
        and {{ in_new_batches('deliveries.superseded_by_batch_id') }}
),

keys as (
    select
        advert_id,
        _batch_id
    from {{ ref('stg_market__advert_keys') }}
),

lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where dataset = 'advert_keys'
),

known as (
    select distinct
        lists.batch_id,
        lists.previous_batch_id,
        adverts.advert_id
    from lists
    inner join deliveries
        on
            lists.source = deliveries.source
            and lists.batch_id > deliveries.batch_id
    inner join adverts
        on deliveries.batch_id = adverts._batch_id
    where {{ in_new_batches('lists.batch_id') }}
),

missed as (
    select
        known.batch_id as _batch_id,
        known.advert_id
    from known
    left join keys
        on
            known.batch_id = keys._batch_id
            and known.advert_id = keys.advert_id
    left join keys as keys_before
        on
            known.previous_batch_id = keys_before._batch_id
            and known.advert_id = keys_before.advert_id
    where
        keys.advert_id is null
        or (known.previous_batch_id is not null and keys_before.advert_id is null)
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
    advert_id
from touched
