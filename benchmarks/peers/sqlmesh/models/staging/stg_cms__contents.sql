MODEL (
  name staging.stg_cms__contents,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered version of a piece of content, as landed. Which deliveries count, and which of a
-- state's rows, is decided in the next layer.
with landed as (
    select * from raw.raw_contents
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
