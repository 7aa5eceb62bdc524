MODEL (
  name raw.raw_rejects,
  kind FULL,
  grain (_batch_id, _line)
);

-- One row per row that landing refused. The glob leaves out the files of unknown keys beside the rejects.
with quarantined as (
    select * from read_parquet(@VAR('lake') || '/quarantine/*/batch-????????????.parquet')
)

select
    _batch_id,
    _line,
    reason,
    field
from quarantined
