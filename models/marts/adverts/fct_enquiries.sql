-- One row per enquiry: a person called or wrote to an advert's seller. Who it was is known with consent to
-- analytics alone.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with enquiries as (
    select * from {{ ref('int_events__events_deduplicated') }}
    where event_type = 'enquiry' and {{ in_days_to_replace('event_date') }}
)

select
    cast(event_id as string) as enquiry_key,
    advert_id,
    channel,
    product,
    platform,
    case when has_analytics_consent then device_key end as device_key,
    case when has_analytics_consent then user_key end as user_key,
    event_date,
    occurred_at,
    is_bot,
    is_future
from enquiries
