-- Generated from the contract by `make contract`; do not edit.
-- One row per batch, text that it touches and day that this was on: by delivering rows of it, or by
-- superseding a delivery that did. The models of text_topics find in it which of them to rebuild, and which
-- days these were ever on.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['text_topics']}
) }}

with text_topics as (
    select
        text_id,
        event_date,
        _batch_id
    from {{ ref('stg_topics__text_topics') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        text_id,
        event_date
    from text_topics
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        text_topics.text_id,
        text_topics.event_date
    from text_topics
    inner join deliveries
        on text_topics._batch_id = deliveries.batch_id
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
    text_id,
    event_date
from touched
