-- Generated from the contract by `make contract`; do not edit.
-- One row per batch and content that it touches: by delivering rows of it, or by superseding a delivery that
-- did. The models of contents find in it which of them to rebuild.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['contents']}
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

touched as (
    select * from delivered
    union
    select * from superseded
)

select
    _batch_id,
    content_id
from touched
