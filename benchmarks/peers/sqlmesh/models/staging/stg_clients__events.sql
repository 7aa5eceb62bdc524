MODEL (
  name staging.stg_clients__events,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered copy of an event: consent spelled out as columns, time as UTC, the day as the
-- organisation's. Copies are still here; the next layer leaves one of each.
with landed as (
    select * from raw.raw_events
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
    coalesce(list_contains(consent, 'analytics'), false) as has_analytics_consent,
    coalesce(list_contains(consent, 'personalisation'), false) as has_personalisation_consent,
    coalesce(list_contains(consent, 'advertising'), false) as has_advertising_consent,
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
    channel,
    _batch_id,
    _line
from landed
