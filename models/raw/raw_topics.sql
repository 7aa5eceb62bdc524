-- Generated from the contract by `make contract`; do not edit.
-- One row per topic of the newest fit of a dataset's texts.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'topics')) }}
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
from landed
