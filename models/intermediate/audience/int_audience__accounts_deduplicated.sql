-- Generated from the contract by `make contract`; do not edit.
-- One row per account and updated_at: of the rows delivered for that state the last one of the newest
-- delivery. Rows of a delivery that a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='account_key',
    meta={'touched_keys': 'int_audience__accounts_touched', 'datasets': ['accounts']}
) }}

with accounts as (
    select * from {{ ref('stg_crm__accounts') }}
    where {{ in_keys_to_replace('account_key', ref('int_audience__accounts_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        accounts.*,
        deliveries.delivery_batch_id
    from accounts
    inner join deliveries
        on accounts._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by account_key, updated_at
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
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
from newest
