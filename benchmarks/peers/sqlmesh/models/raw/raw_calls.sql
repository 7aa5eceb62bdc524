MODEL (
  name raw.raw_calls,
  kind FULL,
  grain (_batch_id, _line)
);

-- One row per delivered call about an advert.
with landed as (
    select * from read_parquet(@VAR('lake') || '/landed/calls/batch-*/data.parquet')
)

select
    call_id,
    advert_id,
    started_at,
    duration_seconds,
    channel,
    transcript,
    _batch_id,
    _line
from landed
