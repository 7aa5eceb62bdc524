MODEL (
  name intermediate.int_content__contents_deduplicated,
  kind FULL,
  grain (content_id, updated_at)
);

-- One row per content and updated_at: of the rows delivered for that state the newest delivery, by batch and
-- line. Rows of a batch that a later delivery of the same file supersedes do not count, whatever they say.
with contents as (
    select * from staging.stg_cms__contents
),

superseded as (
    select distinct supersedes_batch_id as batch_id
    from staging.stg_lake__landings
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
),

that_count as (
    select contents.*
    from contents
    left join superseded
        on contents._batch_id = superseded.batch_id
    where superseded.batch_id is null
),

delivered_last as (
    select *
    from that_count
    qualify row_number() over (
        partition by content_id, updated_at
        order by
            _batch_id desc nulls last,
            _line desc nulls last
    ) = 1
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
from delivered_last
