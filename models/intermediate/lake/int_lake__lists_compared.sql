-- One row per delivery that landed whole: with the one that was the newest of its source and dataset when it landed. A
-- list of the keys that a source has counts as such a delivery, and no other: where rows of it do not fit, keys are
-- missing from it.
with landings as (
    select
        batch_id,
        dataset,
        source,
        rows_landed,
        least(delivered_at, landed_at) as delivered_at
    from {{ ref('stg_lake__landings') }}
    where
        status = 'landed'
        and rows_rejected = 0
        and retries_batch_id is null
),

compared as (
    select
        *,
        max_by(batch_id, delivered_at) over (
            partition by dataset, source
            order by batch_id
            rows between unbounded preceding and 1 preceding
        ) as previous_batch_id,
        row_number() over (
            partition by dataset, source
            order by delivered_at desc nulls last, batch_id desc nulls last
        ) = 1 as is_newest
    from landings
)

select
    batch_id,
    dataset,
    source,
    delivered_at,
    rows_landed,
    previous_batch_id,
    is_newest
from compared
