-- One row per batch and call whose row in fct_calls it can change: calls that it touches, and calls about adverts that
-- it touches.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['adverts', 'advert_keys', 'calls']}
) }}

with calls as (
    select
        call_id,
        advert_id,
        _batch_id
    from {{ ref('stg_telephony__calls') }}
),

calls_touched as (
    select * from {{ ref('int_adverts__calls_touched') }}
    where {{ in_new_batches() }}
),

adverts_touched as (
    select * from {{ ref('int_adverts__adverts_touched') }}
    where {{ in_new_batches() }}
),

-- A call that came later than what touched its advert is touched by its own batch.
about_adverts as (
    select
        adverts_touched._batch_id,
        calls.call_id
    from calls
    inner join adverts_touched
        on
            calls.advert_id = adverts_touched.advert_id
            and calls._batch_id <= adverts_touched._batch_id
),

affected as (
    select
        _batch_id,
        call_id
    from calls_touched
    union
    select
        _batch_id,
        call_id
    from about_adverts
)

select
    _batch_id,
    call_id
from affected
