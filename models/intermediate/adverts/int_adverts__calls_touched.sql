-- Generated from the contract by `make contract`; do not edit.
-- One row per batch, call that it touches and day that this was on: by delivering rows of it, or by
-- superseding a delivery that did. The models of calls find in it which of them to rebuild, and which days
-- these were ever on.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['calls']}
) }}

with calls as (
    select
        call_id,
        event_date,
        _batch_id
    from {{ ref('stg_telephony__calls') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

delivered as (
    select
        _batch_id,
        call_id,
        event_date
    from calls
    where {{ in_new_batches() }}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        calls.call_id,
        calls.event_date
    from calls
    inner join deliveries
        on calls._batch_id = deliveries.batch_id
    where
        deliveries.superseded_by_batch_id is not null
        and {{ in_new_batches('deliveries.superseded_by_batch_id') }}
),

touched as (
    select * from delivered
    union
    select * from superseded
)

select
    _batch_id,
    call_id,
    event_date
from touched
