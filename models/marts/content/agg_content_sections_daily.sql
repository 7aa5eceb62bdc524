-- One row per day, product, content type and content that had readers: the section in which it stood at the end of that
-- day, and how many read and enjoyed it.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_sectioned'}
) }}

-- depends_on: {{ ref('int_content__contents_touched') }}
with days as (
    select * from {{ ref('agg_content_daily') }}
    where readers_count > 0 and {{ in_days_to_replace('event_date') }}
),

sections as (
    {{ sections_of_contents('days') }}
)

select
    days.event_date,
    days.product,
    days.content_type,
    days.content_id,
    sections.section,
    days.readers_count,
    days.enjoyers_count
from days
inner join sections
    on
        days.event_date = sections.event_date
        and days.content_id = sections.content_id
