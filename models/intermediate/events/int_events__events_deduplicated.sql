-- One row per event: of its copies the one received first. A view: events stand once in the warehouse, as they
-- landed, and the few copies that do not count are left out when events are read.
--
-- An event that happened long after it was received has a wrong time: its day is not known. It is kept, flagged,
-- and left out of sessions, engagement and all figures.
with copies as (
    select * from {{ ref('stg_clients__events') }}
),

compared as (
    select * from {{ ref('int_events__copies_compared') }}
),

one_of_each as (
    select
        copies.*,
        coalesce(compared.copies_count, 1) as copies_count,
        copies.occurred_at
        > copies.received_at + interval {{ var('future_after_hours') }} hour as is_future
    from copies
    left join compared
        on
            copies.event_date = compared.event_date
            and copies._batch_id = compared._batch_id
            and copies._line = compared._line
    where coalesce(compared.is_first, true)
)

select
    -- Generated from the contract by `make contract`, to the end of generated columns.
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
    -- End of generated columns.
    is_future,
    copies_count,
    _batch_id,
    _line
from one_of_each
