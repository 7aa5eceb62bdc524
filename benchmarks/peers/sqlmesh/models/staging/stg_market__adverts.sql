MODEL (
  name staging.stg_market__adverts,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered version of an advert, as landed. Which deliveries count, and which of a state's rows,
-- is decided in the next layer.
with landed as (
    select * from raw.raw_adverts
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
    _batch_id,
    _line
from landed
