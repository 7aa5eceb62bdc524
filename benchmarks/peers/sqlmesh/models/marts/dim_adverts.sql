MODEL (
  name marts.dim_adverts,
  kind FULL,
  grain advert_key
);

-- One row per version of an advert: what was known of it from valid_from until, not including, valid_to.
with versions as (
    select * from intermediate.int_adverts__adverts_versioned
),

keyed as (
    select
        *,
        md5(
            concat_ws(
                '|',
                coalesce('=' || cast(advert_id as text), '-'),
                coalesce('=' || cast(valid_from as text), '-')
            )
        ) as advert_key
    from versions
)

select
    advert_key,
    advert_id,
    seller_id,
    make_model,
    price,
    photo_count,
    listed_at,
    status,
    valid_from,
    valid_to,
    is_current,
    version_number
from keyed
