MODEL (
  name marts.dim_contents,
  kind FULL,
  grain content_key
);

-- One row per version of a content: what was known of it from valid_from until, not including, valid_to.
with versions as (
    select * from intermediate.int_content__contents_versioned
),

keyed as (
    select
        *,
        md5(
            concat_ws(
                '|',
                coalesce('=' || cast(content_id as text), '-'),
                coalesce('=' || cast(valid_from as text), '-')
            )
        ) as content_key
    from versions
)

select
    content_key,
    content_id,
    content_type,
    product,
    title,
    section,
    author,
    word_count,
    duration_seconds,
    published_at,
    valid_from,
    valid_to,
    is_current,
    version_number
from keyed
