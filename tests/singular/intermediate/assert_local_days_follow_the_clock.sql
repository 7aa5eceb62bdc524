-- The day of an event is the organisation's, also around the nights its clocks change. A row here is an
-- instant put on the wrong day: an engine or its time zone data has changed, and every figure by day is in
-- doubt. The data platform pins the engine that was right. Known answers exist for Europe/Stockholm; another
-- zone is not checked.
with instants as (
    select
        cast('2026-03-28 22:59:59.999' as timestamp) as occurred_at,
        cast('2026-03-28' as date) as expected_date
    union all
    select
        cast('2026-03-28 23:00:00' as timestamp) as occurred_at,
        cast('2026-03-29' as date) as expected_date
    union all
    select
        cast('2026-03-29 21:59:59.999' as timestamp) as occurred_at,
        cast('2026-03-29' as date) as expected_date
    union all
    select
        cast('2026-03-29 22:00:00' as timestamp) as occurred_at,
        cast('2026-03-30' as date) as expected_date
    union all
    select
        cast('2026-10-24 21:59:59.999' as timestamp) as occurred_at,
        cast('2026-10-24' as date) as expected_date
    union all
    select
        cast('2026-10-24 22:00:00' as timestamp) as occurred_at,
        cast('2026-10-25' as date) as expected_date
    union all
    select
        cast('2026-10-25 22:59:59.999' as timestamp) as occurred_at,
        cast('2026-10-25' as date) as expected_date
    union all
    select
        cast('2026-10-25 23:00:00' as timestamp) as occurred_at,
        cast('2026-10-26' as date) as expected_date
),

placed as (
    select
        occurred_at,
        expected_date,
        {{ local_date('occurred_at') }} as local_date
    from instants
)

select
    occurred_at,
    expected_date,
    local_date
from placed
where local_date is distinct from expected_date and '{{ var("timezone") }}' = 'Europe/Stockholm'
