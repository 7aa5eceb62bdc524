-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of a piece of content.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'contents')) }}
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
from landed
