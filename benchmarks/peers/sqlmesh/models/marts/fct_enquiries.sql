MODEL (
  name marts.fct_enquiries,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain enquiry_key
);

-- One row per enquiry: a person called or wrote to an advert's seller.
with enquiries as (
    select * from intermediate.int_events__events_deduplicated
    where event_type = 'enquiry' and event_date between @start_date and @end_date
)

select
    cast(event_id as string) as enquiry_key,
    advert_id,
    channel,
    product,
    platform,
    device_key,
    user_key,
    event_date,
    occurred_at,
    is_bot,
    is_future
from enquiries
