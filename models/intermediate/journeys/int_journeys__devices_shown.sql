-- One row per day, product and device that was active in a group large enough to be shown: whose journeys are counted.
-- What the others did is in no figure, as in those of the audience. A view: who reads it says which days.
{{ config(materialized='view') }}

with active as (
    select * from {{ ref('int_audience__devices_active') }}
),

groups as (
    select * from {{ ref('int_audience__groups_counted') }}
    where is_shown
)

select distinct
    active.event_date,
    active.product,
    active.device_key
from active
inner join groups
    on
        active.event_date = groups.event_date
        and active.product = groups.product
        and active.platform = groups.platform
