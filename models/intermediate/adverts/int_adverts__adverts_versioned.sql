-- One row per advert and period in which nothing about it changed. Consecutive states that say the same are
-- one version, from the first of them on; a state that comes back later is a version of its own.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='advert_id',
    meta={'keys_landed': 'int_adverts__adverts_landed'}
) }}

{% set attributes = [
    'seller_id', 'make_model', 'price', 'photo_count', 'listed_at', 'status'
] %}

with states as (
    select * from {{ ref('int_adverts__adverts_deduplicated') }}
    where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_landed')) }}
),

compared as (
    select
        *,
        {% for attribute in attributes -%}
        lag({{ attribute }}) over history as previous_{{ attribute }},
        {% endfor -%}
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
        {% for attribute in attributes -%}
        or {{ attribute }} is distinct from previous_{{ attribute }}
        {% endfor %}
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
    updated_at as valid_from,
    valid_to,
    valid_to is null as is_current,
    cast(version_number as integer) as version_number
from bounded
