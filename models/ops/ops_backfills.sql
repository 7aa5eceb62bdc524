-- One row per backfill and chunk of its days: what was asked to be rebuilt, and how far that went.
{{ config(materialized='view') }}

with chunks as (
    select * from {{ source('runs', 'backfill_chunks') }}
)

select
    backfill_id,
    selection,
    first_day as first_date,
    last_day as last_date,
    status,
    status = 'done' as is_done,
    started_at,
    finished_at
from chunks
