-- One row per row that landing refused: where it was and why.
with quarantined as (
    select * from {{ ref('raw_rejects') }}
)

select
    _batch_id,
    _line,
    reason,
    field
from quarantined
