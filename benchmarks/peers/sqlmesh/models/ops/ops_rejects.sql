MODEL (
  name ops.ops_rejects,
  kind FULL,
  grain (batch_id, reason, field)
);

-- One row per delivered file, reason and field: how many of its rows were rejected so, and where the first
-- stands.
with rejects as (
    select * from staging.stg_lake__rejects
),

landings as (
    select * from staging.stg_lake__landings
),

counted as (
    select
        _batch_id,
        reason,
        field,
        cast(count(*) as bigint) as rows_count,
        min(_line) as first_line
    from rejects
    group by _batch_id, reason, field
)

select
    counted._batch_id as batch_id,
    landings.dataset,
    landings.source,
    landings.file,
    counted.reason,
    counted.field,
    counted.rows_count,
    counted.first_line,
    landings.landed_at
from counted
inner join landings
    on counted._batch_id = landings.batch_id
