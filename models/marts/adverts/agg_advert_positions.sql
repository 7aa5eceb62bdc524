-- One row per ISO week and place (page type, slot, platform and position): how often an advert is clicked there,
-- against the same advert at the first position of the context, and of the context that shows most.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='week_start_date',
    meta={'days_to_replace': 'affected_weeks_after'}
) }}

with places as (
    select * from {{ ref('int_adverts__places_estimated') }}
    where {{ in_days_to_replace('week_start_date') }}
)

select
    week_start_date,
    page_type,
    slot,
    platform,
    position,
    impressions_count,
    is_connected,
    is_reference,
    is_told_apart,
    place_ratio,
    position_ratio,
    position_ratio_low,
    position_ratio_high,
    place_log_error
from places
