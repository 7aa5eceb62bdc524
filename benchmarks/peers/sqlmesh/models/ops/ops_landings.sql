MODEL (
  name ops.ops_landings,
  kind FULL,
  grain batch_id
);

-- One row per delivered file: what became of it, what it held, and how long it waited.
with landings as (
    select * from staging.stg_lake__landings
),

superseded as (
    select
        supersedes_batch_id as batch_id,
        max(batch_id) as superseded_by_batch_id
    from landings
    where
        status in ('landed', 'duplicate')
        and supersedes_batch_id is not null
    group by supersedes_batch_id
),

measured as (
    select
        landings.*,
        superseded.superseded_by_batch_id,
        date_diff('millisecond', landings.delivered_at, landings.landed_at) as lag_milliseconds
    from landings
    left join superseded
        on landings.batch_id = superseded.batch_id
)

select
    batch_id,
    dataset,
    source,
    file,
    format,
    status,
    reason,
    bytes_count,
    rows_read,
    rows_landed,
    rows_rejected,
    cast(rows_rejected as double) / nullif(rows_read, 0) as reject_rate,
    unknown_keys_count,
    superseded_by_batch_id,
    contract,
    delivered_at,
    landed_at,
    cast(lag_milliseconds as double) / 1000 as lag_seconds
from measured
