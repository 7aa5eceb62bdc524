-- One row per landed batch and content that it touches: by delivering rows of it, or by superseding a batch
-- that did. The models of content history find in it which contents to make anew.
{{ config(materialized='incremental', incremental_strategy='append', meta={'datasets': ['contents']}) }}

with contents as (
    select
        content_id,
        _batch_id
    from {{ ref('stg_cms__contents') }}
),

landings as (
    select
        batch_id,
        supersedes_batch_id
    from {{ ref('stg_lake__landings') }}
    where
        dataset = 'contents'
        and status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
        and {{ in_new_batches('batch_id') }}
),

-- What supersedes a delivery supersedes the rows that a retry landed of it.
retries as (
    select
        batch_id,
        retries_batch_id
    from {{ ref('stg_lake__landings') }}
    where retries_batch_id is not null
),

delivered as (
    select
        _batch_id,
        content_id
    from contents
    where {{ in_new_batches() }}
),

superseded as (
    select
        landings.batch_id as _batch_id,
        contents.content_id
    from contents
    left join retries
        on contents._batch_id = retries.batch_id
    inner join landings
        on coalesce(retries.retries_batch_id, contents._batch_id) = landings.supersedes_batch_id
),

touched as (
    select * from delivered
    union
    select * from superseded
)

select
    _batch_id,
    content_id
from touched
