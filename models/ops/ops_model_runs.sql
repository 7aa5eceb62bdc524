-- One row per run and model: how it went and how long it took. Seeds and snapshots count as models.
{{ config(materialized='view', meta={'day': 'recorded_date'}) }}

with results as (
    select * from {{ source('runs', 'dbt_results') }}
    where resource_type in ('model', 'seed', 'snapshot')
)

select
    run_id,
    node_id,
    node_name as model_name,
    resource_type,
    status,
    status = 'success' as is_successful,
    message,
    started_at,
    finished_at,
    execution_seconds,
    recorded_at,
    cast(recorded_at as date) as recorded_date
from results
