-- One row per version of an advert: what was known of it from valid_from until, not including, valid_to.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'touched_keys': 'int_adverts__adverts_touched'}
) }}

with versions as (
    select * from {{ ref('int_adverts__adverts_versioned') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_touched')) }}
),

deleted as (
    select * from {{ ref('int_adverts__adverts_deleted') }}
),

keyed as (
    select
        versions.*,
        {{ surrogate_key(['versions.advert_id', 'valid_from']) }} as advert_key,
        deleted.advert_id is not null as is_deleted
    from versions
    left join deleted
        on versions.advert_id = deleted.advert_id
)

select
    advert_key,
    advert_id,
    seller_id,
    seller_type,
    make_model,
    price,
    photo_count,
    listed_at,
    status,
    valid_from,
    valid_to,
    is_current,
    version_number,
    is_deleted
from keyed
