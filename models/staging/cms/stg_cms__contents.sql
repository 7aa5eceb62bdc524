-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of a piece of content. All that landed is still here: which deliveries count,
-- and which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_contents') }}
)

select
    content_id,
    content_type,
    product,
    title,
    section,
    author,
    word_count,
    duration_seconds,
    published_at,
    updated_at,
    _batch_id,
    _line
from landed
