-- One row per day, device and user with events that had consent, by what they said themselves: to which purposes.
-- It is where the days are found that a refusal changes, when one comes (flows/build/consents.py).
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with events as (
    select
        event_date,
        device_key,
        user_key,
        has_analytics_consent,
        has_personalisation_consent,
        has_advertising_consent
    from {{ ref('stg_clients__events') }}
    where {{ in_days_to_replace('event_date') }}
),

-- What landed without consent to anything that a person is known for names nobody.
summed as (
    select
        event_date,
        device_key,
        user_key,
        bool_or(has_analytics_consent) as has_analytics_consent,
        bool_or(has_personalisation_consent) as has_personalisation_consent,
        bool_or(has_advertising_consent) as has_advertising_consent
    from events
    where device_key is not null or user_key is not null
    group by event_date, device_key, user_key
)

select
    event_date,
    device_key,
    user_key,
    has_analytics_consent,
    has_personalisation_consent,
    has_advertising_consent
from summed
