-- One row per version of a content: what was known of it from valid_from until, not including, valid_to.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='content_id',
    meta={'touched_keys': 'int_content__contents_touched'}
) }}

with versions as (
    select * from {{ ref('int_content__contents_versioned') }}
    where {{ in_keys_to_replace('content_id', ref('int_content__contents_touched')) }}
),

deleted as (
    select * from {{ ref('int_content__contents_deleted') }}
),

keyed as (
    select
        versions.*,
        {{ surrogate_key(['versions.content_id', 'valid_from']) }} as content_key,
        deleted.content_id is not null as is_deleted
    from versions
    left join deleted
        on versions.content_id = deleted.content_id
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
    version_number,
    is_deleted
from keyed
