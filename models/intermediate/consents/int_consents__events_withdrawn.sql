-- One row per copy of an event that had consent when it happened and may not be used any more, since consent was
-- withdrawn: for which purposes. These are few; what never had consent landed without the person.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with days as (
    select * from {{ ref('int_consents__days_used') }}
    where {{ in_days_to_replace('event_date') }}
),

persons as (
    select * from {{ ref('int_consents__persons_settled') }}
),

events as (
    select
        event_date,
        _batch_id,
        _line,
        occurred_at,
        device_key,
        user_key,
        has_analytics_consent,
        has_personalisation_consent,
        has_advertising_consent
    from {{ ref('stg_clients__events') }}
    where {{ in_days_to_replace('event_date') }}
),

-- What holds for a device or for its user holds for what they did there.
days_settled as (
    select
        days.event_date,
        days.device_key,
        days.user_key,
        case
            when days.has_analytics_consent
                then greatest(devices.analytics_from, users.analytics_from)
        end as analytics_from,
        case
            when days.has_personalisation_consent
                then greatest(devices.personalisation_from, users.personalisation_from)
        end as personalisation_from,
        case
            when days.has_advertising_consent
                then greatest(devices.advertising_from, users.advertising_from)
        end as advertising_from
    from days
    left join persons as devices
        on days.device_key = devices.device_key
    left join persons as users
        on days.user_key = users.user_key
),

-- A day in the organisation's time zone begins up to a day before it does in UTC.
days_withdrawn as (
    select * from days_settled
    where
        cast(greatest(analytics_from, personalisation_from, advertising_from) as date)
        >= {{ add_days('event_date', -1) }}
),

judged as (
    select
        events.event_date,
        events._batch_id,
        events._line,
        coalesce(events.has_analytics_consent and events.occurred_at < days_withdrawn.analytics_from, false)
            as is_analytics_withdrawn,
        coalesce(
            events.has_personalisation_consent and events.occurred_at < days_withdrawn.personalisation_from, false
        ) as is_personalisation_withdrawn,
        coalesce(events.has_advertising_consent and events.occurred_at < days_withdrawn.advertising_from, false)
            as is_advertising_withdrawn
    from events
    inner join days_withdrawn
        on
            events.event_date = days_withdrawn.event_date
            and events.device_key is not distinct from days_withdrawn.device_key
            and events.user_key is not distinct from days_withdrawn.user_key
)

select
    event_date,
    _batch_id,
    _line,
    is_analytics_withdrawn,
    is_personalisation_withdrawn,
    is_advertising_withdrawn
from judged
where is_analytics_withdrawn or is_personalisation_withdrawn or is_advertising_withdrawn
