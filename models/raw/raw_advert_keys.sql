-- Generated from the contract by `make contract`; do not edit.
-- One row per key in a list of the adverts that a source had at a moment.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'advert_keys')) }}
)

select
    advert_id,
    _batch_id,
    _line
from landed
