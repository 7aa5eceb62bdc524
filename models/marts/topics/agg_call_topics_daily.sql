-- One row per day, topic, channel, length of call and type of seller: how many calls were about it. Each call whose
-- text was labelled counts once.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_keys', 'touched_keys': 'int_topics__calls_affected'}
) }}

-- depends_on: {{ ref('int_topics__calls_affected') }}
with call_topics as (
    select * from {{ ref('fct_call_topics') }}
    where {{ in_days_to_replace('started_date') }}
),

calls as (
    select * from {{ ref('fct_calls') }}
    where {{ in_days_to_replace('started_date') }}
),

with_calls as (
    select
        call_topics.started_date,
        call_topics.topic_id,
        call_topics.weight,
        calls.channel,
        calls.seller_type,
        case
            when calls.duration_seconds < 30 then 'under 30 seconds'
            when calls.duration_seconds < 120 then '30 seconds to 2 minutes'
            when calls.duration_seconds < 600 then '2 to 10 minutes'
            when calls.duration_seconds >= 600 then '10 minutes or more'
        end as call_length
    from call_topics
    inner join calls
        on call_topics.call_id = calls.call_id
),

counted as (
    select
        started_date,
        topic_id,
        channel,
        call_length,
        seller_type,
        count(*) as calls_count,
        {{ sum_exactly('weight') }} as weight
    from with_calls
    group by started_date, topic_id, channel, call_length, seller_type
),

days as (
    select
        started_date,
        sum(calls_count) as calls_count
    from counted
    group by started_date
)

select
    counted.started_date as event_date,
    counted.topic_id,
    counted.channel,
    counted.call_length,
    counted.seller_type,
    cast(counted.calls_count as bigint) as calls_count,
    round(counted.weight / counted.calls_count, 6) as mean_weight,
    cast(counted.calls_count as double) / days.calls_count as day_share
from counted
inner join days
    on counted.started_date = days.started_date
