MODEL (
  name intermediate.int_audience__devices_active,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column event_date,
    lookback 5
  ),
  grain (event_date, product, platform, device_key)
);

-- One row per day, product, platform and device that was active: what the audience figures count. Fragments
-- in which the client named itself a robot are left out. A fragment counts for the platform it began on.
with fragments as (
    select * from intermediate.int_audience__session_fragments_split
    where event_date between @start_date and @end_date
),

midnights as (
    select * from intermediate.int_audience__midnights_crossed
    where event_date between @start_date and @end_date
),

people as (
    select
        fragments.*,
        midnights.event_date is null as starts_session
    from fragments
    left join midnights
        on
            fragments.event_date = midnights.event_date
            and fragments.product = midnights.product
            and fragments.device_key = midnights.device_key
            and fragments.session_id is not distinct from midnights.session_id
            and fragments.fragment_number = midnights.fragment_number
    where not fragments.is_bot
),

summed as (
    select
        event_date,
        product,
        platform,
        device_key,
        cast(count(*) filter (where starts_session) as bigint) as sessions_count,
        cast(sum(content_views_count) as bigint) as views_count,
        cast(sum(active_ms) as bigint) as active_ms
    from people
    group by event_date, product, platform, device_key
)

select
    event_date,
    product,
    platform,
    device_key,
    sessions_count,
    views_count,
    active_ms
from summed
