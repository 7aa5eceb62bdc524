-- One row per delivered file, and per retry of one's rejected rows: what it was and what became of it.
with landings as (
    select * from {{ source('lake', 'landings') }}
    -- A removal of rows that had landed is no file.
    where status <> 'removed'
)

select
    batch_id,
    dataset,
    source,
    file,
    sha256,
    bytes as bytes_count,
    format,
    status,
    reason,
    rows_read,
    rows_landed,
    rows_rejected,
    rows_removed,
    rows_ignored,
    rows_withheld,
    unknown_keys as unknown_keys_count,
    supersedes_batch_id,
    retries_batch_id,
    contract,
    delivered_at,
    landed_at
from landings
