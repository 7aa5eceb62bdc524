-- One row per copy of an event that came more than once on its day: whether it is the copy that counts, and in
-- what it differs from that one. The copy received first counts, ties broken by every other column in a fixed
-- order, so that neither the order of delivery nor the split into files can change which copy stays.
--
-- A retry repeats an event in all but the times of sending and receipt. A copy that says something else is no
-- copy but another event under the same id, or one that changed on the way: it does not count, and is reported.
--
-- Copies carry the same occurred_at and so meet on one day: the model is a function of the day. An event_id
-- on two days is its producer's fault; both are kept, and a test alerts the owner.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

-- Generated from the contract by `make contract`, to the end of generated columns.
{% set compared = [
    'occurred_at', 'event_type', 'product', 'platform', 'app_version', 'device_key', 'user_key', 'session_id',
    'has_analytics_consent', 'has_personalisation_consent', 'has_advertising_consent', 'country', 'is_bot',
    'content_id', 'content_type', 'referrer', 'depth', 'active_ms', 'reaction', 'results_count', 'advert_id',
    'slot', 'position', 'page_type', 'request_id', 'is_random_order', 'channel'
] %}
{% set of_delivery = [
    'sent_at', 'received_at'
] %}
-- End of generated columns.

{% set in_days = in_days_to_replace('event_date') %}

-- The same rows twice, each with the columns of its step: a step read twice would be kept whole in memory.
with ids as (
    select event_id
    from {{ ref('stg_clients__events') }}
    where {{ in_days }}
),

copies as (
    select * from {{ ref('stg_clients__events') }}
    where {{ in_days }}
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
                copies.received_at asc nulls last{% for column in of_delivery + compared if column != 'received_at' %},
                copies.{{ column }} asc nulls last{% endfor %},
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
            ', '{% for column in compared %},
            case when numbered.{{ column }} is distinct from first.{{ column }} then '{{ column }}' end{% endfor %}
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
