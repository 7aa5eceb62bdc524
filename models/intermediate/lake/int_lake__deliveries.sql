-- One row per batch: the delivery whose rows it holds, and the batch that superseded that delivery. Whatever asks
-- whether a landed row still counts asks here.
--
-- A file delivered again with other bytes supersedes what it delivered before. So does one whose name was last
-- delivered as a duplicate: that name stands for the batch its bytes landed in, whatever that file was called. A
-- refused file supersedes nothing. Rows landed by a retry belong to the delivery that first brought them: they are as
-- old as it is, and are superseded with it.
with landings as (
    select
        batch_id,
        dataset,
        source,
        status,
        supersedes_batch_id,
        retries_batch_id,
        -- A copy may carry any time, but none later than that at which it landed.
        least(delivered_at, landed_at) as delivered_at
    from {{ ref('stg_lake__landings') }}
),

supersessions as (
    select
        supersedes_batch_id as delivery_batch_id,
        min(batch_id) as superseded_by_batch_id
    from landings
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
    group by supersedes_batch_id
),

batches as (
    select
        batch_id,
        dataset,
        coalesce(retries_batch_id, batch_id) as delivery_batch_id
    from landings
)

select
    batches.batch_id,
    batches.dataset,
    batches.delivery_batch_id,
    deliveries.source,
    deliveries.delivered_at,
    supersessions.superseded_by_batch_id
from batches
left join landings as deliveries
    on batches.delivery_batch_id = deliveries.batch_id
left join supersessions
    on batches.delivery_batch_id = supersessions.delivery_batch_id
