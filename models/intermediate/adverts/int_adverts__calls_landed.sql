-- One row per landed batch and call that it touches: by delivering rows of it, by superseding a batch that did,
-- or by touching the advert it was about. The models of calls find in it which of them to rebuild.
{{ config(materialized='incremental', incremental_strategy='append', meta={'datasets': ['adverts', 'calls']}) }}

with calls as (
    select
        call_id,
        advert_id,
        _batch_id
    from {{ ref('stg_telephony__calls') }}
),

landings as (
    select
        batch_id,
        supersedes_batch_id
    from {{ ref('stg_lake__landings') }}
    where
        dataset = 'calls'
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

adverts as (
    select
        _batch_id,
        advert_id
    from {{ ref('int_adverts__adverts_landed') }}
    where {{ in_new_batches() }}
),

delivered as (
    select
        _batch_id,
        call_id
    from calls
    where {{ in_new_batches() }}
),

superseded as (
    select
        landings.batch_id as _batch_id,
        calls.call_id
    from calls
    left join retries
        on calls._batch_id = retries.batch_id
    inner join landings
        on coalesce(retries.retries_batch_id, calls._batch_id) = landings.supersedes_batch_id
),

about_adverts as (
    select
        adverts._batch_id,
        calls.call_id
    from calls
    inner join adverts
        on calls.advert_id = adverts.advert_id
),

touched as (
    select * from delivered
    union
    select * from superseded
    union
    select * from about_adverts
)

select
    _batch_id,
    call_id
from touched
