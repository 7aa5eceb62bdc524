MODEL (
  name intermediate.int_events__events_deduplicated,
  kind VIEW,
  grain (event_date, event_id)
);

-- One row per event: of its copies the one received first. A view: events stand once in the warehouse, as they
-- landed, and the few copies that do not count are left out when events are read.
with copies as (
    select * from staging.stg_clients__events
),

compared as (
    select * from intermediate.int_events__copies_compared
),

one_of_each as (
    select
        copies.*,
        coalesce(compared.copies_count, 1) as copies_count,
        copies.occurred_at > copies.received_at + interval '24' hour as is_future
    from copies
    left join compared
        on
            copies.event_date = compared.event_date
            and copies._batch_id = compared._batch_id
            and copies._line = compared._line
    where coalesce(compared.is_first, true)
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
    has_analytics_consent,
    has_personalisation_consent,
    has_advertising_consent,
    country,
    is_bot,
    is_future,
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
    copies_count,
    _batch_id,
    _line
from one_of_each
