MODEL (
  name intermediate.int_events__copies_compared,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (_batch_id, _line)
);

-- One row per copy of an event that came more than once on its day: whether it is the copy that counts. That is
-- the one received first, ties broken by every other column in a fixed order, so that neither the order of
-- delivery nor the split into files can change which copy stays.
--
-- Copies carry the same occurred_at and so meet on one day: the model is a function of the day. An event_id
-- on two days is its producer's fault; both are kept, and a test tells the owner.
--
-- The same rows three times, each with the columns of its step: a step read twice would be kept whole in memory.
with ids as (
    select event_id
    from staging.stg_clients__events
    where event_date between @start_date and @end_date
),

copies as (
    select
        event_date,
        event_id,
        received_at,
        _batch_id,
        _line
    from staging.stg_clients__events
    where event_date between @start_date and @end_date
),

copies_in_full as (
    select * from staging.stg_clients__events
    where event_date between @start_date and @end_date
),

-- Few events come more than once: only those need their copies compared. An id alone is cheaper to count than an
-- id and a day; of the few found the day is counted too.
repeated as (
    select event_id
    from ids
    group by event_id
    having count(*) > 1
),

copies_of_repeated as (
    select
        copies.event_date,
        copies.event_id,
        copies.received_at,
        copies._batch_id,
        copies._line,
        count(*) over (partition by copies.event_date, copies.event_id) as copies_count
    from copies
    inner join repeated
        on copies.event_id = repeated.event_id
),

-- Fewer still come twice at one instant: only those are read in full.
received_together as (
    select
        event_date,
        event_id,
        received_at
    from copies_of_repeated
    group by event_date, event_id, received_at
    having count(*) > 1
),

ties_broken as (
    select
        copies_in_full._batch_id,
        copies_in_full._line,
        row_number() over (
            partition by copies_in_full.event_date, copies_in_full.event_id, copies_in_full.received_at
            order by
                copies_in_full.sent_at asc nulls last,
                copies_in_full.occurred_at asc nulls last,
                copies_in_full.event_type asc nulls last,
                copies_in_full.product asc nulls last,
                copies_in_full.platform asc nulls last,
                copies_in_full.app_version asc nulls last,
                copies_in_full.device_key asc nulls last,
                copies_in_full.user_key asc nulls last,
                copies_in_full.session_id asc nulls last,
                copies_in_full.has_analytics_consent asc nulls last,
                copies_in_full.has_personalisation_consent asc nulls last,
                copies_in_full.has_advertising_consent asc nulls last,
                copies_in_full.country asc nulls last,
                copies_in_full.is_bot asc nulls last,
                copies_in_full.content_id asc nulls last,
                copies_in_full.content_type asc nulls last,
                copies_in_full.referrer asc nulls last,
                copies_in_full.depth asc nulls last,
                copies_in_full.active_ms asc nulls last,
                copies_in_full.reaction asc nulls last,
                copies_in_full.results_count asc nulls last,
                copies_in_full.advert_id asc nulls last,
                copies_in_full.slot asc nulls last,
                copies_in_full.position asc nulls last,
                copies_in_full.page_type asc nulls last,
                copies_in_full.request_id asc nulls last,
                copies_in_full.channel asc nulls last,
                copies_in_full._batch_id asc nulls last,
                copies_in_full._line asc nulls last
        ) as tie_number
    from copies_in_full
    inner join received_together
        on
            copies_in_full.event_date = received_together.event_date
            and copies_in_full.event_id = received_together.event_id
            and copies_in_full.received_at is not distinct from received_together.received_at
),

numbered as (
    select
        copies_of_repeated.*,
        row_number() over (
            partition by copies_of_repeated.event_date, copies_of_repeated.event_id
            order by
                copies_of_repeated.received_at asc nulls last,
                ties_broken.tie_number asc nulls last
        ) as copy_number
    from copies_of_repeated
    left join ties_broken
        on
            copies_of_repeated._batch_id = ties_broken._batch_id
            and copies_of_repeated._line = ties_broken._line
    where copies_of_repeated.copies_count > 1
)

select
    event_date,
    event_id,
    _batch_id,
    _line,
    copy_number = 1 as is_first,
    copies_count
from numbered
