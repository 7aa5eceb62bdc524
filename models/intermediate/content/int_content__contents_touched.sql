-- Generated from the contract by `make contract`; do not edit.
-- One row per batch and content that it touches: by delivering rows of it, by superseding a delivery that
-- did, or by listing keys of contents otherwise than before. The models of contents find in it which of them
-- to rebuild.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['contents', 'content_keys']}
) }}

with contents as (
    select
        content_id,
        _batch_id
    from {{ ref('stg_cms__contents') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        content_id
    from contents
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        contents.content_id
    from contents
    inner join deliveries
        on contents._batch_id = deliveries.batch_id
    where
        deliveries.superseded_by_batch_id is not null
        and {{ in_new_batches('deliveries.superseded_by_batch_id') }}
),

keys as (
    select
        content_id,
        _batch_id
    from {{ ref('stg_cms__content_keys') }}
),

lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where dataset = 'content_keys'
),

known as (
    select distinct
        lists.batch_id,
        lists.previous_batch_id,
        contents.content_id
    from lists
    inner join deliveries
        on
            lists.source = deliveries.source
            and lists.batch_id > deliveries.batch_id
    inner join contents
        on deliveries.batch_id = contents._batch_id
    where {{ in_new_batches('lists.batch_id') }}
),

missed as (
    select
        known.batch_id as _batch_id,
        known.content_id
    from known
    left join keys
        on
            known.batch_id = keys._batch_id
            and known.content_id = keys.content_id
    left join keys as keys_before
        on
            known.previous_batch_id = keys_before._batch_id
            and known.content_id = keys_before.content_id
    where
        keys.content_id is null
        or (known.previous_batch_id is not null and keys_before.content_id is null)
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
    content_id
from touched
