-- One row per day, advert, channel and platform: how many enquiries there were, robots and enquiries from the future
-- left out.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with enquiries as (
    select * from {{ ref('fct_enquiries') }}
    where
        not is_bot
        and not is_future
        and {{ in_days_to_replace('event_date') }}
),

counted as (
    select
        event_date,
        advert_id,
        channel,
        platform,
        count(*) as enquiries_count
    from enquiries
    group by event_date, advert_id, channel, platform
)

select
    event_date,
    advert_id,
    channel,
    platform,
    cast(enquiries_count as bigint) as enquiries_count
from counted
