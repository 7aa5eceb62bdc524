-- Generated from the contract by `make contract`; do not edit.
-- One row per advert and period in which nothing about it changed. Consecutive states that say the same are
-- one version, from the first of them on; a state that comes back later is another version.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'touched_keys': 'int_adverts__adverts_touched'}
) }}

with states as (
    select * from {{ ref('int_adverts__adverts_deduplicated') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_touched')) }}
),

compared as (
    select
        *,
        lag(seller_id) over history as previous_seller_id,
        lag(make_model) over history as previous_make_model,
        lag(price) over history as previous_price,
        lag(photo_count) over history as previous_photo_count,
        lag(listed_at) over history as previous_listed_at,
        lag(status) over history as previous_status,
        lag(seller_type) over history as previous_seller_type,
        row_number() over history = 1 as is_first
    from states
    window history as (partition by advert_id order by updated_at asc nulls last)
),

-- The first state is a version even where every attribute is NULL.
changed as (
    select *
    from compared
    where
        is_first
        or seller_id is distinct from previous_seller_id
        or make_model is distinct from previous_make_model
        or price is distinct from previous_price
        or photo_count is distinct from previous_photo_count
        or listed_at is distinct from previous_listed_at
        or status is distinct from previous_status
        or seller_type is distinct from previous_seller_type
),

bounded as (
    select
        *,
        lead(updated_at) over history as valid_to,
        row_number() over history as version_number
    from changed
    window history as (partition by advert_id order by updated_at asc nulls last)
)

select
    advert_id,
    seller_id,
    make_model,
    price,
    photo_count,
    listed_at,
    status,
    seller_type,
    updated_at as valid_from,
    valid_to,
    valid_to is null as is_current,
    cast(version_number as integer) as version_number
from bounded
