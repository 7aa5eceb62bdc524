MODEL (
  name staging.stg_telephony__calls,
  kind VIEW,
  grain (_batch_id, _line)
);

-- One row per delivered copy of a call about an advert, as landed. The transcript is free text in which
-- people may be named: it goes no further than models made to guard it.
with landed as (
    select * from raw.raw_calls
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
