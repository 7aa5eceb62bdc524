-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered record of consent, and per refusal or consent that events or accounts told of.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'consents')) }}
)

select
    consent_id,
    device_key,
    user_key,
    purpose,
    is_granted,
    valid_from,
    received_at,
    stated_in,
    _batch_id,
    _line
from landed
