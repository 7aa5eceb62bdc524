-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of an advert.
-- Appended from each new batch, as it landed.
{{ config(materialized='incremental', incremental_strategy='append') }}

with landed as (
    select * from {{ landed(source('landed', 'adverts')) }}
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
from landed
