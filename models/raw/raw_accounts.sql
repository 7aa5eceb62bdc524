-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of an account.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'accounts')) }}
)

select
    account_key,
    user_key,
    birth_year,
    created_at,
    updated_at,
    country,
    has_analytics_consent,
    has_personalisation_consent,
    has_advertising_consent,
    consent_updated_at,
    _batch_id,
    _line
from landed
