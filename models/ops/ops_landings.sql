-- One row per delivered file, and per retry of one's rejected rows: what became of it, what it held, and how
-- long it waited. What supersedes a file supersedes its retries.
{{ config(materialized='view', meta={'day': 'landed_date'}) }}

with landings as (
    select * from {{ ref('stg_lake__landings') }}
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
        lead(landings.batch_id) over (
            partition by coalesce(landings.retries_batch_id, landings.batch_id)
            order by landings.batch_id asc
        ) as retried_by_batch_id,
        {{ milliseconds_between('landings.delivered_at', 'landings.landed_at') }} as lag_milliseconds
    from landings
    left join superseded
        on coalesce(landings.retries_batch_id, landings.batch_id) = superseded.batch_id
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
    retries_batch_id,
    retried_by_batch_id,
    contract,
    delivered_at,
    landed_at,
    cast(landed_at as date) as landed_date,
    cast(lag_milliseconds as double) / 1000 as lag_seconds
from measured
