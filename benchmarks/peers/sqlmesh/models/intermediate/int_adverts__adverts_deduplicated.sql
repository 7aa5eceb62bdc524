MODEL (
  name intermediate.int_adverts__adverts_deduplicated,
  kind FULL,
  grain (advert_id, updated_at)
);

-- One row per advert and updated_at: of the rows delivered for that state the newest delivery, by batch and
-- line. Rows of a batch that a later delivery of the same file supersedes do not count, whatever they say.
with adverts as (
    select * from staging.stg_market__adverts
),

superseded as (
    select distinct supersedes_batch_id as batch_id
    from staging.stg_lake__landings
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
),

that_count as (
    select adverts.*
    from adverts
    left join superseded
        on adverts._batch_id = superseded.batch_id
    where superseded.batch_id is null
),

delivered_last as (
    select *
    from that_count
    qualify row_number() over (
        partition by advert_id, updated_at
        order by
            _batch_id desc nulls last,
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
