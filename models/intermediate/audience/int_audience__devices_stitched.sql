-- One row per device on which somebody was logged in: the user who was last. Of two at one moment it is the one of the
-- greater event_id, whatever the order they came in.
--
-- A day with new events may change the devices that were there, and no others: int_consents__days_used has them all,
-- also those whose events no longer count.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='device_key',
    meta={'touched_keys': 'int_consents__days_used'}
) }}

{% set in_time = in_order_of(['last_seen_at', 'last_event_id']) %}

with users as (
    select * from {{ ref('int_audience__device_users_seen') }}
    where {{ in_keys_to_replace('device_key', ref('int_consents__days_used')) }}
),

summed as (
    select
        device_key,
        max_by(user_key, {{ in_time }}) as user_key,
        max(last_seen_at) as last_seen_at
    from users
    group by device_key
)

select
    device_key,
    user_key,
    last_seen_at
from summed
