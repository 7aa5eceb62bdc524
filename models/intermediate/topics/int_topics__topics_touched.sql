-- Generated from the contract by `make contract`; do not edit.
-- One row per batch and topic that it touches: by delivering rows of it, or by superseding a delivery that
-- did. The models of topics find in it which of them to rebuild.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['topics']}
) }}

with topics as (
    select
        topic_id,
        _batch_id
    from {{ ref('stg_topics__topics') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        topic_id
    from topics
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        topics.topic_id
    from topics
    inner join deliveries
        on topics._batch_id = deliveries.batch_id
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
    topic_id
from touched
