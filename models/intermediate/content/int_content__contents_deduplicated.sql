-- Generated from the contract by `make contract`; do not edit.
-- One row per content and updated_at: of the rows delivered for that state the last one of the newest
-- delivery. Rows of a delivery that a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='content_id',
    meta={'touched_keys': 'int_content__contents_touched', 'datasets': ['contents']}
) }}

with contents as (
    select * from {{ ref('stg_cms__contents') }}
    where {{ in_keys_to_replace('content_id', ref('int_content__contents_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        contents.*,
        deliveries.delivery_batch_id
    from contents
    inner join deliveries
        on contents._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by content_id, updated_at
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    content_id,
    content_type,
    product,
    title,
    section,
    author,
    word_count,
    duration_seconds,
    published_at,
    updated_at,
    _batch_id,
    _line
from newest
