-- One row per copy of an event that says something else than the copy that counts: where both stand, and in what
-- they differ. The copy received first counts; the other's values are in no figure.
{{ config(
    materialized='incremental', incremental_strategy='replace_days', unique_key='event_date',
    meta={'datasets': ['events']}
) }}

with conflicting as (
    select * from {{ ref('int_events__copies_compared') }}
    where differs_in <> '' and {{ in_days_to_replace('event_date') }}
),

counting as (
    select * from {{ ref('int_events__copies_compared') }}
    where is_first and {{ in_days_to_replace('event_date') }}
),

landings as (
    select * from {{ ref('stg_lake__landings') }}
)

select
    conflicting.event_date,
    cast(conflicting.event_id as string) as event_id,
    conflicting.differs_in,
    conflicting._batch_id as batch_id,
    landings.file,
    conflicting._line as line_number,
    counting._batch_id as counting_batch_id,
    counting_landings.file as counting_file,
    counting._line as counting_line_number
from conflicting
inner join counting
    on conflicting.event_date = counting.event_date and conflicting.event_id = counting.event_id
left join landings on conflicting._batch_id = landings.batch_id
left join landings as counting_landings on counting._batch_id = counting_landings.batch_id
