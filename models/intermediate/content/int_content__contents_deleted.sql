-- Generated from the contract by `make contract`; do not edit.
-- One row per content that was delivered, and that none of its sources has any more. A source has it no more
-- where its newest list in content_keys lacks it, and nothing of it came since. A source that delivers no
-- lists is taken to have it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='content_id',
    meta={'touched_keys': 'int_content__contents_touched', 'datasets': ['contents', 'content_keys']}
) }}

with contents as (
    select
        content_id,
        _batch_id
    from {{ ref('stg_cms__contents') }}
    where {{ in_keys_to_replace('content_id', ref('int_content__contents_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
    where superseded_by_batch_id is null
),

keys as (
    select distinct
        content_id,
        _batch_id
    from {{ ref('stg_cms__content_keys') }}
),

newest_lists as (
    select * from {{ ref('int_lake__lists_compared') }}
    where
        dataset = 'content_keys'
        and is_newest
),

listed as (
    select distinct _batch_id from keys
),

-- A list whose rows are over says nothing any more.
lists as (
    select newest_lists.*
    from newest_lists
    left join listed
        on newest_lists.batch_id = listed._batch_id
    where
        newest_lists.rows_landed = 0
        or listed._batch_id is not null
),

delivered as (
    select
        contents.content_id,
        deliveries.source,
        max(deliveries.delivered_at) as delivered_at
    from contents
    inner join deliveries
        on contents._batch_id = deliveries.batch_id
    group by contents.content_id, deliveries.source
),

compared as (
    select
        delivered.content_id,
        keys.content_id is null and delivered.delivered_at <= lists.delivered_at as is_gone
    from delivered
    left join lists
        on delivered.source = lists.source
    left join keys
        on
            lists.batch_id = keys._batch_id
            and delivered.content_id = keys.content_id
),

deleted as (
    select content_id
    from compared
    group by content_id
    having bool_and(coalesce(is_gone, false))
)

select content_id
from deleted
