-- One row per landed batch and day that it holds events of. Later models find in it which days new batches
-- touched, so that none of them needs to look through history.
{{ config(materialized='incremental', incremental_strategy='append') }}

with events as (
    select
        _batch_id,
        event_date
    from {{ ref('stg_clients__events') }}
    where {{ in_new_batches() }}
),

counted as (
    select
        _batch_id,
        event_date,
        count(*) as copies_count
    from events
    group by _batch_id, event_date
)

select
    _batch_id,
    event_date,
    copies_count
from counted
