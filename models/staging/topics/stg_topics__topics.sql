-- Generated from the contract by `make contract`; do not edit.
-- One row per topic of the newest fit of a dataset's texts. All that landed is still here: which deliveries
-- count, and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_topics') }}
)

select
    topic_id,
    dataset,
    topic_number,
    keywords,
    topic_name,
    texts_count,
    stability,
    fitted_at,
    _batch_id,
    _line
from landed
