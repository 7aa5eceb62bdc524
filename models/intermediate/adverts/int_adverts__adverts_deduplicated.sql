-- One row per advert and updated_at: of the rows delivered for that state the newest delivery, by batch and
-- line. Rows of a batch that a later delivery of the same file supersedes do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'keys_landed': 'int_adverts__adverts_landed', 'datasets': ['adverts']}
) }}

with adverts as (
    select * from {{ ref('stg_market__adverts') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_landed')) }}
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
        adverts.*,
        coalesce(retries.retries_batch_id, adverts._batch_id) as delivery_batch_id
    from adverts
    left join retries
        on adverts._batch_id = retries.batch_id
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
        partition by advert_id, updated_at
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    advert_id,
    seller_id,
    make_model,
    price,
    photo_count,
    listed_at,
    status,
    updated_at,
    _batch_id,
    _line
from delivered_last
