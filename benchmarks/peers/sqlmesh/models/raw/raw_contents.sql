MODEL (
  name raw.raw_contents,
  kind FULL,
  grain (_batch_id, _line)
);

-- One row per delivered version of a piece of content.
with landed as (
    select * from read_parquet(@VAR('lake') || '/landed/contents/batch-*/data.parquet')
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
