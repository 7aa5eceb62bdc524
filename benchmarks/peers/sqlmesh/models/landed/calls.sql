MODEL (
  name landed.calls,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered call about an advert, read where it landed. Written by hand: Tidemark makes this view before each
-- build, of the files that it knows. The day is in the path, so that a run of some days opens their files alone.
select *
from read_parquet(
    @VAR('lake') || '/landed/calls/event_date=*/*.parquet',
    hive_partitioning = true,
    hive_types = {event_date: date}
)
