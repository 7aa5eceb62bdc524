-- One row per call: of the rows delivered for it the newest delivery, by batch and line; what was said in it is
-- left out. Rows of a batch that a later delivery of the same file supersedes do not count.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='call_id',
    meta={'keys_landed': 'int_adverts__calls_landed', 'datasets': ['adverts', 'calls']}
) }}

with calls as (
    select * from {{ ref('stg_telephony__calls') }}
    where {{ in_keys_to_replace('call_id', ref('int_adverts__calls_landed')) }}
),

-- Rows landed by a retry belong to the delivery that first brought them.
retries as (
    select
        batch_id,
        retries_batch_id
    from {{ ref('stg_lake__landings') }}
    where retries_batch_id is not null
),

superseded as (
    select distinct supersedes_batch_id as batch_id
    from {{ ref('stg_lake__landings') }}
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
),

placed as (
    select
        calls.*,
        coalesce(retries.retries_batch_id, calls._batch_id) as delivery_batch_id
    from calls
    left join retries
        on calls._batch_id = retries.batch_id
),

that_count as (
    select placed.*
    from placed
    left join superseded
        on placed.delivery_batch_id = superseded.batch_id
    where superseded.batch_id is null
),

delivered_last as (
    select *
    from that_count
    qualify row_number() over (
        partition by call_id
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    call_id,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    _batch_id,
    _line
from delivered_last
