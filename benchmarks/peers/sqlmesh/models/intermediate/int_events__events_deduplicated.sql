MODEL (
  name intermediate.int_events__events_deduplicated,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (event_date, event_id)
);

-- One row per event: of its copies the one received first, ties broken by every other column in a fixed order,
-- so that neither the order of delivery nor the split into files can change which copy stays.
--
-- Copies carry the same occurred_at and so meet on one day: the model is a function of the day. An event_id
-- on two days is its producer's fault; both are kept, and a test tells the owner.
with copies as (
    select * from staging.stg_clients__events
    where event_date between @start_date and @end_date
),

-- Few events come more than once: only those need their copies compared.
repeated as (
    select
        event_date,
        event_id,
        count(*) as copies_count
    from copies
    group by event_date, event_id
    having count(*) > 1
),

came_once as (
    select
        copies.*,
        1 as copies_count
    from copies
    left join repeated
        on copies.event_date = repeated.event_date and copies.event_id = repeated.event_id
    where repeated.event_id is null
),

came_first as (
    select
        copies.*,
        repeated.copies_count
    from copies
    inner join repeated
        on copies.event_date = repeated.event_date and copies.event_id = repeated.event_id
    qualify row_number() over (
        partition by copies.event_date, copies.event_id
        order by
            copies.received_at asc,
            copies.sent_at asc nulls last,
            copies.occurred_at asc nulls last,
            copies.event_type asc nulls last,
            copies.product asc nulls last,
            copies.platform asc nulls last,
            copies.app_version asc nulls last,
            copies.device_key asc nulls last,
            copies.user_key asc nulls last,
            copies.session_id asc nulls last,
            copies.has_analytics_consent asc nulls last,
            copies.has_personalisation_consent asc nulls last,
            copies.has_advertising_consent asc nulls last,
            copies.country asc nulls last,
            copies.is_bot asc nulls last,
            copies.content_id asc nulls last,
            copies.content_type asc nulls last,
            copies.referrer asc nulls last,
            copies.depth asc nulls last,
            copies.active_ms asc nulls last,
            copies.reaction asc nulls last,
            copies.results_count asc nulls last,
            copies.advert_id asc nulls last,
            copies.slot asc nulls last,
            copies.position asc nulls last,
            copies.page_type asc nulls last,
            copies.request_id asc nulls last,
            copies.channel asc nulls last,
            copies._batch_id asc nulls last,
            copies._line asc nulls last
    ) = 1
),

one_of_each as (
    select * from came_once
    union all
    select * from came_first
)

select
    event_id,
    event_type,
    event_date,
    occurred_at,
    sent_at,
    received_at,
    product,
    platform,
    app_version,
    device_key,
    user_key,
    session_id,
    has_analytics_consent,
    has_personalisation_consent,
    has_advertising_consent,
    country,
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
    copies_count,
    _batch_id,
    _line
from one_of_each
