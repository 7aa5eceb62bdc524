MODEL (
  name raw.raw_adverts,
  kind FULL,
  grain (_batch_id, _line)
);

-- One row per delivered version of an advert.
with landed as (
    select * from read_parquet(@VAR('lake') || '/landed/adverts/batch-*/data.parquet')
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
