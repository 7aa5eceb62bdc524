-- One row per event: of its copies the one received first, ties broken by every other column in a fixed order,
-- so that neither the order of delivery nor the split into files can change which copy stays.
--
-- Copies carry the same occurred_at and so meet on one day: the model is a function of the day. An event_id
-- on two days is its producer's fault; both are kept, and a test tells the owner.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

{% set compared = [
    'sent_at', 'occurred_at', 'event_type', 'product', 'platform', 'app_version', 'device_key', 'user_key',
    'session_id', 'has_analytics_consent', 'has_personalisation_consent', 'has_advertising_consent', 'country',
    'is_bot', 'content_id', 'content_type', 'referrer', 'depth', 'active_ms', 'reaction', 'results_count',
    'advert_id', 'slot', 'position', 'page_type', 'request_id', 'channel', '_batch_id', '_line'
] %}

with copies as (
    select * from {{ ref('stg_clients__events') }}
    where {{ in_days_to_replace('event_date') }}
),

-- Few events come more than once: only those need their copies compared.
repeated as (
    select
        event_date,
        event_id,
        count(*) as copies_count
    from copies
    group by event_date, event_id
    having count(*) > 1
),

came_once as (
    select
        copies.*,
        1 as copies_count
    from copies
    left join repeated
        on copies.event_date = repeated.event_date and copies.event_id = repeated.event_id
    where repeated.event_id is null
),

came_first as (
    select
        copies.*,
        repeated.copies_count
    from copies
    inner join repeated
        on copies.event_date = repeated.event_date and copies.event_id = repeated.event_id
    qualify row_number() over (
        partition by copies.event_date, copies.event_id
        order by
            copies.received_at asc{% for column in compared %},
            copies.{{ column }} asc nulls last{% endfor %}
    ) = 1
),

one_of_each as (
    select * from came_once
    union all
    select * from came_first
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
