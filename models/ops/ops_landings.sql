-- One row per delivered file, and per retry of one's rejected rows: what became of it, what it held, and how
-- long it waited. What supersedes a file supersedes its retries.
{{ config(materialized='view', meta={'day': 'landed_date'}) }}

with landings as (
    select * from {{ ref('stg_lake__landings') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

measured as (
    select
        landings.*,
        deliveries.superseded_by_batch_id,
        lead(landings.batch_id) over (
            partition by deliveries.delivery_batch_id
            order by landings.batch_id asc
        ) as retried_by_batch_id,
        {{ milliseconds_between('landings.delivered_at', 'landings.landed_at') }} as lag_milliseconds
    from landings
    left join deliveries
        on landings.batch_id = deliveries.batch_id
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
    rows_removed,
    rows_ignored,
    rows_withheld,
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
