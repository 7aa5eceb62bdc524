-- Generated from the contract by `make contract`; do not edit.
-- One row per key in a list of the accounts that a source had at a moment.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'account_keys')) }}
)

select
    account_key,
    _batch_id,
    _line
from landed
