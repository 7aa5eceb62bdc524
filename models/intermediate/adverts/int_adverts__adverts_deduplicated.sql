-- Generated from the contract by `make contract`; do not edit.
-- One row per advert and updated_at: of the rows delivered for that state the last one of the newest
-- delivery. Rows of a delivery that a later one superseded do not count, whatever they say.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'touched_keys': 'int_adverts__adverts_touched', 'datasets': ['adverts']}
) }}

with adverts as (
    select * from {{ ref('stg_market__adverts') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_touched')) }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_rows as (
    select
        adverts.*,
        deliveries.delivery_batch_id
    from adverts
    inner join deliveries
        on adverts._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
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
    updated_at,
    status,
    seller_type,
    _batch_id,
    _line
from newest
