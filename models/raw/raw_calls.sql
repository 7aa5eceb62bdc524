-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered call about an advert.
-- A view of the lake itself: the rows stand there once, a folder a day, and are read where they are. It shows
-- exactly the batches that the last build knew of.
{{ config(materialized='view', meta={'day': 'event_date'}) }}

with landed as (
    select * from {{ source('landed', 'calls') }}
)

select
    call_id,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    event_date,
    _batch_id,
    _line
from landed
