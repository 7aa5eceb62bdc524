MODEL (
  name staging.stg_lake__rejects,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per row that landing refused: where it was and why.
with quarantined as (
    select * from raw.raw_rejects
)

select
    _batch_id,
    _line,
    reason,
    field
from quarantined
