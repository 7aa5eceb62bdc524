MODEL (
  name landed.events,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered copy of an event, read where it landed. Written by hand: Tidemark makes this view before each
-- build, of the files that it knows. The day is in the path, so that a run of some days opens their files alone.
select * replace (
    cast(event_id as uuid) as event_id,
    cast(device_key as uuid) as device_key,
    cast(user_key as uuid) as user_key
)
from read_parquet(
    @VAR('lake') || '/landed/events/event_date=*/*.parquet',
    hive_partitioning = true,
    hive_types = {event_date: date}
)
