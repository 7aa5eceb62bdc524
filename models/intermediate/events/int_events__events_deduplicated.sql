-- One row per event: of its copies the one received first. A view: events stand once in the warehouse, as they
-- landed, and the few copies that do not count are left out when events are read.
--
-- An event that happened long after it was received has a wrong time: its day is not known. It is kept, flagged,
-- and left out of sessions, engagement and all figures.
--
-- Consent is what the event said and was not withdrawn since. What says something of a person is there with consent to
-- one of the purposes that the contract names for it, and NULL without.
with copies as (
    select * from {{ ref('stg_clients__events') }}
),

compared as (
    select * from {{ ref('int_events__copies_compared') }}
),

withdrawn as (
    select * from {{ ref('int_consents__events_withdrawn') }}
),

one_of_each as (
    select
        copies.*,
        coalesce(withdrawn.is_analytics_withdrawn, false) as is_analytics_withdrawn,
        coalesce(withdrawn.is_personalisation_withdrawn, false) as is_personalisation_withdrawn,
        coalesce(withdrawn.is_advertising_withdrawn, false) as is_advertising_withdrawn,
        coalesce(compared.copies_count, 1) as copies_count,
        copies.occurred_at
        > copies.received_at + interval {{ var('future_after_hours') }} hour as is_future,
        coalesce(copies.sent_at > copies.occurred_at + interval {{ var('sent_late_after_hours') }} hour, false)
            as is_sent_late
    from copies
    left join compared
        on
            copies.event_date = compared.event_date
            and copies._batch_id = compared._batch_id
            and copies._line = compared._line
    left join withdrawn
        on
            copies.event_date = withdrawn.event_date
            and copies._batch_id = withdrawn._batch_id
            and copies._line = withdrawn._line
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
    {{ with_consent('device_key', ['analytics', 'personalisation']) }} as device_key,
    {{ with_consent('user_key', ['analytics', 'personalisation']) }} as user_key,
    {{ with_consent('session_id', ['analytics']) }} as session_id,
    {{ still_has_consent('analytics') }} as has_analytics_consent,
    {{ still_has_consent('personalisation') }} as has_personalisation_consent,
    {{ still_has_consent('advertising') }} as has_advertising_consent,
    {{ with_consent('country', ['analytics']) }} as country,
    is_bot,
    content_id,
    content_type,
    {{ with_consent('referrer', ['analytics']) }} as referrer,
    {{ with_consent('depth', ['analytics', 'personalisation']) }} as depth,
    {{ with_consent('active_ms', ['analytics', 'personalisation']) }} as active_ms,
    {{ with_consent('reaction', ['analytics', 'personalisation']) }} as reaction,
    results_count,
    advert_id,
    slot,
    position,
    page_type,
    request_id,
    is_random_order,
    {{ with_consent('channel', ['analytics', 'advertising']) }} as channel,
    -- End of generated columns.
    is_future,
    is_sent_late,
    copies_count,
    _batch_id,
    _line
from one_of_each
