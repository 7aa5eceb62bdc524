-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of an advert. All that landed is still here: which deliveries count, and
-- which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_adverts') }}
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
