-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered copy of an event of any product and platform.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'events')) }}
)

select
    event_id,
    occurred_at,
    sent_at,
    received_at,
    product,
    platform,
    app_version,
    device_key,
    user_key,
    session_id,
    consent,
    country,
    event_type,
    is_bot,
    content_id,
    content_type,
    referrer,
    depth,
    active_ms,
    reaction,
    results_count,
    advert_id,
    slot,
    position,
    page_type,
    request_id,
    channel,
    {{ local_date('occurred_at') }} as event_date,
    _batch_id,
    _line
from landed
