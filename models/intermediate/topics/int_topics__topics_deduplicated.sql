-- Generated from the contract by `make contract`; do not edit.
-- One row per topic: of the rows delivered for it the last one of the newest delivery. Rows of a delivery
-- that a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='topic_id',
    meta={'touched_keys': 'int_topics__topics_touched', 'datasets': ['topics']}
) }}

with topics as (
    select * from {{ ref('stg_topics__topics') }}
    where {{ in_keys_to_replace('topic_id', ref('int_topics__topics_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        topics.*,
        deliveries.delivery_batch_id
    from topics
    inner join deliveries
        on topics._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by topic_id
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    topic_id,
    dataset,
    topic_number,
    keywords,
    topic_name,
    texts_count,
    stability,
    fitted_at,
    _batch_id,
    _line
from newest
