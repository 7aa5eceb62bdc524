-- Generated from the contract by `make contract`; do not edit.
-- One row per text, with the topic that it is about.
-- A view of the lake itself: the rows stand there once, a folder a day, and are read where they are. It shows
-- exactly the batches that the last build knew of.
{{ config(materialized='view', meta={'day': 'event_date'}) }}

with landed as (
    select * from {{ source('landed', 'text_topics') }}
)

select
    text_id,
    topic_id,
    weight,
    next_topic_id,
    day_begins_at,
    event_date,
    _batch_id,
    _line
from landed
