-- One row per topic of the newest fit of a dataset's texts, with what people call it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='topic_id',
    meta={'touched_keys': 'int_topics__topics_touched'}
) }}

with topics as (
    select * from {{ ref('int_topics__topics_deduplicated') }}
    where {{ in_keys_to_replace('topic_id', ref('int_topics__topics_touched')) }}
),

topic_names as (
    select * from {{ ref('topic_names') }}
),

named as (
    select
        topics.*,
        topic_names.topic_name as given_name,
        topic_names.counts_as_topic_id
    from topics
    left join topic_names
        on topics.topic_id = topic_names.topic_id
)

select
    topic_id,
    dataset,
    topic_number,
    coalesce(given_name, topic_name) as topic_name,
    given_name is not null or topic_number = 0 as is_named,
    coalesce(counts_as_topic_id, topic_id) as counts_as_topic_id,
    keywords,
    texts_count,
    stability,
    fitted_at
from named
