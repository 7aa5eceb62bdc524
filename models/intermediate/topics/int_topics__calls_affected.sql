-- One row per batch, call of which it can change what it counts for in the figures of topics, and day that this was on:
-- calls that it touches or whose advert it touches, and calls whose text it says something of.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={'datasets': ['adverts', 'advert_keys', 'calls', 'text_topics']}
) }}

with calls as (
    select
        call_id,
        event_date,
        {{ text_id('calls') }} as text_id
    from {{ ref('stg_telephony__calls') }}
),

calls_touched as (
    select * from {{ ref('int_adverts__calls_touched') }}
    where {{ in_new_batches() }}
),

calls_affected as (
    select * from {{ ref('int_adverts__calls_affected') }}
    where {{ in_new_batches() }}
),

texts_touched as (
    select * from {{ ref('int_topics__text_topics_touched') }}
    where {{ in_new_batches() }}
),

affected as (
    select
        _batch_id,
        call_id,
        event_date
    from calls_touched
    union
    select
        calls_affected._batch_id,
        calls.call_id,
        calls.event_date
    from calls
    inner join calls_affected
        on calls.call_id = calls_affected.call_id
    union
    select
        texts_touched._batch_id,
        calls.call_id,
        calls.event_date
    from calls
    inner join texts_touched
        on calls.text_id = texts_touched.text_id
)

select
    _batch_id,
    call_id,
    event_date
from affected
