MODEL (
  name raw.raw_events,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (_batch_id, _line)
);

-- One row per delivered copy of an event of any product and platform.
-- A local day lies within a day of the UTC day of its name, so the first condition lets the engine skip
-- files and row groups that are far off; the second says which rows.
with landed as (
    select *
    from read_parquet(@VAR('lake') || '/landed/events/batch-*/data.parquet')
    where
        occurred_at >= @start_date - 1
        and occurred_at < @end_date + 2
),

dated as (
    select
        *,
        cast(timezone(@VAR('timezone'), timezone('UTC', occurred_at)) as date) as event_date
    from landed
)

select
    cast(event_id as uuid) as event_id,
    occurred_at,
    sent_at,
    received_at,
    product,
    platform,
    app_version,
    cast(device_key as uuid) as device_key,
    cast(user_key as uuid) as user_key,
    session_id,
    consent,
    country,
    event_type,
    is_bot,
    content_id,
    content_type,
    referrer,
    depth,
    active_ms,
    reaction,
    results_count,
    advert_id,
    slot,
    position,
    page_type,
    request_id,
    channel,
    event_date,
    _batch_id,
    _line
from dated
where event_date between @start_date and @end_date
