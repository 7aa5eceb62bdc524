-- One row per call about an advert, with the version of the advert that stood when the call began.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='call_id',
    meta={'touched_keys': 'int_adverts__calls_affected'}
) }}

with calls as (
    select * from {{ ref('int_adverts__calls_deduplicated') }}
    where {{ in_keys_to_replace('call_id', ref('int_adverts__calls_affected')) }}
),

adverts as (
    select * from {{ ref('dim_adverts') }}
),

-- A call before the first version known of its advert counts for that version: its seller is not in doubt.
with_adverts as (
    select
        calls.*,
        adverts.advert_key,
        adverts.seller_id,
        adverts.seller_type
    from calls
    left join adverts
        on
            calls.advert_id = adverts.advert_id
            and calls.started_at >= {{ counts_from('adverts') }}
            and calls.started_at < {{ counts_until('adverts') }}
)

select
    call_id,
    advert_id,
    advert_key,
    seller_id,
    seller_type,
    event_date as started_date,
    started_at,
    duration_seconds,
    channel
from with_adverts
