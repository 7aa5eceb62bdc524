-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered copy of an event of any product and platform.
-- A view of the lake itself: the rows stand there once, a folder a day, and are read where they are. It shows
-- exactly the batches that the last build knew of.
{{ config(materialized='view', meta={'day': 'event_date'}) }}

with landed as (
    select * from {{ source('landed', 'events') }}
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
    has_analytics_consent,
    has_personalisation_consent,
    has_advertising_consent,
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
    is_random_order,
    channel,
    event_date,
    _batch_id,
    _line
from landed
