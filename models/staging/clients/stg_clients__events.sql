-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered copy of an event of any product and platform. All that landed is still here: which
-- deliveries count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_events') }}
)

select
    event_id,
    event_type,
    event_date,
    occurred_at,
    sent_at,
    received_at,
    product,
    platform,
    app_version,
    device_key,
    user_key,
    session_id,
    coalesce(has_analytics_consent, false) as has_analytics_consent,
    coalesce(has_personalisation_consent, false) as has_personalisation_consent,
    coalesce(has_advertising_consent, false) as has_advertising_consent,
    country,
    coalesce(is_bot, false) as is_bot,
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
    _batch_id,
    _line
from landed
