MODEL (
  name landed.landings,
  kind FULL,
  grain batch_id
);

-- One row per delivered file, read from its receipt. Written by hand: Tidemark enters receipts into the warehouse when it
-- lands. A table, because receipts are many small files and several models ask for them.
with receipts as (
    select *
    from read_json(
        @VAR('lake') || '/landed/*/batch-*/receipt.json',
        columns = {
            batch_id: 'bigint',
            dataset: 'text',
            source: 'text',
            file: 'text',
            sha256: 'text',
            bytes: 'bigint',
            format: 'text',
            status: 'text',
            reason: 'text',
            rows_read: 'bigint',
            rows_landed: 'bigint',
            rows_rejected: 'bigint',
            unknown_keys: 'bigint',
            supersedes_batch_id: 'bigint',
            retries_batch_id: 'bigint',
            contract: 'text',
            delivered_at: 'timestamptz',
            landed_at: 'timestamptz'
        }
    )
)

select
    batch_id,
    dataset,
    source,
    file,
    sha256,
    bytes,
    format,
    status,
    reason,
    rows_read,
    rows_landed,
    rows_rejected,
    unknown_keys,
    supersedes_batch_id,
    retries_batch_id,
    contract,
    timezone('UTC', delivered_at) as delivered_at,
    timezone('UTC', landed_at) as landed_at
from receipts
