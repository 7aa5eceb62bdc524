-- One row per run and test: how it went and how long it took. Unit tests are among them.
{{ config(materialized='view', meta={'day': 'recorded_date'}) }}

with results as (
    select * from {{ source('runs', 'dbt_results') }}
    where resource_type in ('test', 'unit_test')
)

select
    run_id,
    node_id,
    node_name as test_name,
    resource_type,
    status,
    status = 'pass' as is_successful,
    failures as failures_count,
    message,
    started_at,
    finished_at,
    execution_seconds,
    recorded_at,
    cast(recorded_at as date) as recorded_date
from results
