MODEL (
  name intermediate.int_events__copies_compared,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (_batch_id, _line)
);

-- One row per copy of an event that came more than once on its day: whether it is the copy that counts, and in
-- what it differs from that one. The copy received first counts, ties broken by every other column in a fixed
-- order, so that neither the order of delivery nor the split into files can change which copy stays.
--
-- A retry repeats an event in all but the times of sending and receipt. A copy that says something else is no
-- copy but another event under the same id, or one that changed on the way: it does not count, and is told of.
--
-- Copies carry the same occurred_at and so meet on one day: the model is a function of the day. An event_id
-- on two days is its producer's fault; both are kept, and a test tells the owner.
--
-- The same rows twice, each with the columns of its step: a step read twice would be kept whole in memory.
with ids as (
    select event_id
    from staging.stg_clients__events
    where event_date between @start_date and @end_date
),

copies as (
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

numbered as (
    select
        copies.*,
        count(*) over (partition by copies.event_date, copies.event_id) as copies_count,
        row_number() over (
            partition by copies.event_date, copies.event_id
            order by
                copies.received_at asc nulls last,
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
        ) as copy_number
    from copies
    inner join repeated on copies.event_id = repeated.event_id
),

copies_that_count as (
    select * from numbered
    where copy_number = 1
),

differences_named as (
    select
        numbered.event_date,
        numbered.event_id,
        numbered._batch_id,
        numbered._line,
        numbered.copy_number,
        numbered.copies_count,
        concat_ws(
            ', ',
            case when numbered.occurred_at is distinct from first.occurred_at then 'occurred_at' end,
            case when numbered.event_type is distinct from first.event_type then 'event_type' end,
            case when numbered.product is distinct from first.product then 'product' end,
            case when numbered.platform is distinct from first.platform then 'platform' end,
            case when numbered.app_version is distinct from first.app_version then 'app_version' end,
            case when numbered.device_key is distinct from first.device_key then 'device_key' end,
            case when numbered.user_key is distinct from first.user_key then 'user_key' end,
            case when numbered.session_id is distinct from first.session_id then 'session_id' end,
            case when numbered.has_analytics_consent is distinct from first.has_analytics_consent then 'has_analytics_consent' end,
            case when numbered.has_personalisation_consent is distinct from first.has_personalisation_consent then 'has_personalisation_consent' end,
            case when numbered.has_advertising_consent is distinct from first.has_advertising_consent then 'has_advertising_consent' end,
            case when numbered.country is distinct from first.country then 'country' end,
            case when numbered.is_bot is distinct from first.is_bot then 'is_bot' end,
            case when numbered.content_id is distinct from first.content_id then 'content_id' end,
            case when numbered.content_type is distinct from first.content_type then 'content_type' end,
            case when numbered.referrer is distinct from first.referrer then 'referrer' end,
            case when numbered.depth is distinct from first.depth then 'depth' end,
            case when numbered.active_ms is distinct from first.active_ms then 'active_ms' end,
            case when numbered.reaction is distinct from first.reaction then 'reaction' end,
            case when numbered.results_count is distinct from first.results_count then 'results_count' end,
            case when numbered.advert_id is distinct from first.advert_id then 'advert_id' end,
            case when numbered.slot is distinct from first.slot then 'slot' end,
            case when numbered.position is distinct from first.position then 'position' end,
            case when numbered.page_type is distinct from first.page_type then 'page_type' end,
            case when numbered.request_id is distinct from first.request_id then 'request_id' end,
            case when numbered.channel is distinct from first.channel then 'channel' end
        ) as differs_in
    from numbered
    inner join copies_that_count as first
        on numbered.event_date = first.event_date and numbered.event_id = first.event_id
    where numbered.copies_count > 1
)

select
    event_date,
    event_id,
    _batch_id,
    _line,
    copy_number = 1 as is_first,
    copies_count,
    differs_in
from differences_named
