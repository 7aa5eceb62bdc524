-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered call about an advert.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'calls')) }}
)

select
    call_id,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    transcript,
    _batch_id,
    _line
from landed
