-- Generated from the contract by `make contract`; do not edit.
-- One row per call: of the rows delivered for it the last one of the newest delivery. Rows of a delivery that
-- a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='call_id',
    meta={'touched_keys': 'int_adverts__calls_touched', 'datasets': ['calls']}
) }}

with calls as (
    select * from {{ ref('stg_telephony__calls') }}
    where {{ in_keys_to_replace('call_id', ref('int_adverts__calls_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        calls.*,
        deliveries.delivery_batch_id
    from calls
    inner join deliveries
        on calls._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by call_id
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    call_id,
    event_date,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    _batch_id,
    _line
from newest
