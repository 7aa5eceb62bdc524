-- Generated from the contract by `make contract`; do not edit.
-- One row per content and period in which nothing about it changed. Consecutive states that say the same are
-- one version, from the first of them on; a state that comes back later is another version.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='content_id',
    meta={'touched_keys': 'int_content__contents_touched'}
) }}

with states as (
    select * from {{ ref('int_content__contents_deduplicated') }}
    where {{ in_keys_to_replace('content_id', ref('int_content__contents_touched')) }}
),

compared as (
    select
        *,
        lag(content_type) over history as previous_content_type,
        lag(product) over history as previous_product,
        lag(title) over history as previous_title,
        lag(section) over history as previous_section,
        lag(author) over history as previous_author,
        lag(word_count) over history as previous_word_count,
        lag(duration_seconds) over history as previous_duration_seconds,
        lag(published_at) over history as previous_published_at,
        row_number() over history = 1 as is_first
    from states
    window history as (partition by content_id order by updated_at asc nulls last)
),

-- The first state is a version even where every attribute is NULL.
changed as (
    select *
    from compared
    where
        is_first
        or content_type is distinct from previous_content_type
        or product is distinct from previous_product
        or title is distinct from previous_title
        or section is distinct from previous_section
        or author is distinct from previous_author
        or word_count is distinct from previous_word_count
        or duration_seconds is distinct from previous_duration_seconds
        or published_at is distinct from previous_published_at
),

bounded as (
    select
        *,
        lead(updated_at) over history as valid_to,
        row_number() over history as version_number
    from changed
    window history as (partition by content_id order by updated_at asc nulls last)
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
    updated_at as valid_from,
    valid_to,
    valid_to is null as is_current,
    cast(version_number as integer) as version_number
from bounded
