-- The warehouse counts of each batch as many rejects as its receipt says. A row here means that a quarantine
-- file is missing, cut short or was read twice: rejects could no longer be retried in full. The data platform
-- compares the receipt with the quarantine file and lands the delivered file again.
with receipts as (
    select
        batch_id,
        rows_rejected
    from {{ ref('ops_landings') }}
    where status = 'landed' and {{ in_batches_changed(['raw_rejects'], 'batch_id') }}
),

counted as (
    select
        batch_id,
        sum(rows_count) as rows_count
    from {{ ref('ops_rejects') }}
    where {{ in_batches_changed(['raw_rejects'], 'batch_id') }}
    group by batch_id
)

select
    receipts.batch_id,
    receipts.rows_rejected,
    counted.rows_count
from receipts
left join counted
    on receipts.batch_id = counted.batch_id
where receipts.rows_rejected <> coalesce(counted.rows_count, 0)
