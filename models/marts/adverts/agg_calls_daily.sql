-- One row per day, channel and advert: how many calls there were, and how many of each length.
--
-- A call is of the day it began. One that is delivered again may begin on another day than before, or be gone: so the
-- days to make again are all that a touched call was ever on.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_keys', 'touched_keys': 'int_adverts__calls_touched'}
) }}

-- depends_on: {{ ref('int_adverts__calls_touched') }}
with calls as (
    select * from {{ ref('int_adverts__calls_deduplicated') }}
    where {{ in_days_to_replace('event_date') }}
),

counted as (
    select
        event_date,
        channel,
        advert_id,
        count(*) as calls_count,
        count(*) filter (where duration_seconds = 0) as calls_unanswered_count,
        count(*) filter (where duration_seconds > 0 and duration_seconds < 30) as calls_under_30s_count,
        count(*) filter (where duration_seconds >= 30 and duration_seconds < 120) as calls_30s_to_2min_count,
        count(*) filter (where duration_seconds >= 120 and duration_seconds < 600) as calls_2_to_10min_count,
        count(*) filter (where duration_seconds >= 600) as calls_over_10min_count,
        coalesce(sum(duration_seconds), 0) as duration_seconds
    from calls
    group by event_date, channel, advert_id
)

select
    event_date,
    channel,
    advert_id,
    cast(calls_count as bigint) as calls_count,
    cast(calls_unanswered_count as bigint) as calls_unanswered_count,
    cast(calls_under_30s_count as bigint) as calls_under_30s_count,
    cast(calls_30s_to_2min_count as bigint) as calls_30s_to_2min_count,
    cast(calls_2_to_10min_count as bigint) as calls_2_to_10min_count,
    cast(calls_over_10min_count as bigint) as calls_over_10min_count,
    cast(duration_seconds as bigint) as duration_seconds
from counted
