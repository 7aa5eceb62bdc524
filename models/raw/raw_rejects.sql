-- One row per row that landing refused. Appended from the quarantine of each new batch. The refused row's own
-- bytes stay in the quarantine, below lake/, because they may name people.
{{ config(materialized='incremental', incremental_strategy='append') }}

-- depends_on: {{ source('lake', 'landings') }}
with quarantined as (
    select *
    from {{ quarantined({'_batch_id': 'bigint', '_line': 'bigint', 'reason': 'string', 'field': 'string'}) }}
)

select
    _batch_id,
    _line,
    reason,
    field
from quarantined
