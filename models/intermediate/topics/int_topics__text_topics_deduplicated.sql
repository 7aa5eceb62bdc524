-- Generated from the contract by `make contract`; do not edit.
-- One row per text: of the rows delivered for it the last one of the newest delivery. Rows of a delivery that
-- a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='text_id',
    meta={'touched_keys': 'int_topics__text_topics_touched', 'datasets': ['text_topics']}
) }}

with text_topics as (
    select * from {{ ref('stg_topics__text_topics') }}
    where {{ in_keys_to_replace('text_id', ref('int_topics__text_topics_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        text_topics.*,
        deliveries.delivery_batch_id
    from text_topics
    inner join deliveries
        on text_topics._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by text_id
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    text_id,
    event_date,
    topic_id,
    weight,
    next_topic_id,
    day_begins_at,
    _batch_id,
    _line
from newest
