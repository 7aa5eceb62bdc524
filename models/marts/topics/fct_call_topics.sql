-- One row per call whose text was labelled: the topic it is about, and how likely that is. A call that is delivered
-- again has the topic of the text that was delivered last, once that is labelled.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='call_id',
    meta={'touched_keys': 'int_topics__calls_affected'}
) }}

with calls as (
    select
        *,
        {{ text_id('calls') }} as text_id
    from {{ ref('int_adverts__calls_deduplicated') }}
    where {{ in_keys_to_replace('call_id', ref('int_topics__calls_affected')) }}
),

text_topics as (
    select * from {{ ref('int_topics__text_topics_deduplicated') }}
),

topic_names as (
    select * from {{ ref('topic_names') }}
),

told as (
    select
        calls.call_id,
        calls.event_date,
        text_topics.topic_id,
        text_topics.weight,
        text_topics.next_topic_id
    from calls
    inner join text_topics
        on calls.text_id = text_topics.text_id
),

-- A topic that people merged into another counts as that one.
merged as (
    select
        told.*,
        coalesce(topic_names.counts_as_topic_id, told.topic_id) as counted_topic_id
    from told
    left join topic_names
        on told.topic_id = topic_names.topic_id
)

select
    call_id,
    event_date as started_date,
    counted_topic_id as topic_id,
    topic_id as found_topic_id,
    weight,
    next_topic_id
from merged
