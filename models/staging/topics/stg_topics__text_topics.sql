-- Generated from the contract by `make contract`; do not edit.
-- One row per text, with the topic that it is about. All that landed is still here: which deliveries count,
-- and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_text_topics') }}
)

select
    text_id,
    event_date,
    topic_id,
    weight,
    next_topic_id,
    day_begins_at,
    _batch_id,
    _line
from landed
