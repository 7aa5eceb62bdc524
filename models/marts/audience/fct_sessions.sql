-- One row per session, whole, under the day it started: never cut at midnight, however many it lasts over.
--
-- A session is its first fragment and the fragments of the following days that continue it, one a day.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='started_date',
    meta={'lookback_days': 1, 'days_to_replace': 'affected_session_days'}
) }}

with fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ in_days_to_replace('event_date') }}
),

midnights as (
    select * from {{ ref('int_audience__midnights_crossed') }}
    where {{ from_first_day_to_replace('event_date') }}
),

-- Only the last fragment of a day can be continued the next: the others have no day to look for chains under.
heads as (
    select
        fragments.*,
        case when fragments.is_last_of_day then fragments.event_date end as continued_date
    from fragments
    left join midnights
        on
            fragments.event_date = midnights.event_date
            and fragments.product = midnights.product
            and fragments.device_key = midnights.device_key
            and fragments.session_id is not distinct from midnights.session_id
            and fragments.fragment_number = midnights.fragment_number
    where midnights.event_date is null
),

midnights_compared as (
    select
        *,
        lag(event_date) over lane as previous_date,
        lag(is_last_of_day) over lane as is_previous_last_of_day
    from midnights
    window
        lane as (
            partition by product, device_key, session_id
            order by event_date asc nulls last
        )
),

-- A fragment that continues goes on from the day before's only where that is still the same session: it too
-- continued, and no other came after it that day. Elsewhere a chain begins, from a session of the day before.
starts_marked as (
    select
        *,
        case
            when previous_date = {{ add_days('event_date', -1) }} and is_previous_last_of_day then null
            else {{ add_days('event_date', -1) }}
        end as chain_started_date
    from midnights_compared
),

chained as (
    select
        *,
        max(chain_started_date) over (
            partition by product, device_key, session_id
            order by event_date asc nulls last
            rows between unbounded preceding and current row
        ) as started_date
    from starts_marked
),

chains_summed as (
    select
        started_date,
        product,
        device_key,
        session_id,
        max_by(user_key, event_date) filter (where user_key is not null) as user_key,
        max(event_date) as ended_date,
        max(ended_at) as ended_at,
        sum(events_count) as events_count,
        sum(content_views_count) as content_views_count,
        sum(active_ms) as active_ms,
        bool_or(is_bot) as is_bot
    from chained
    group by started_date, product, device_key, session_id
),

-- Chains whose start is not among the heads read here belong to other days and find no head to join.
sessions as (
    select
        heads.product,
        heads.platform,
        heads.device_key,
        heads.session_id,
        heads.event_date as started_date,
        heads.started_at,
        coalesce(chains_summed.user_key, heads.user_key) as user_key,
        coalesce(chains_summed.ended_date, heads.event_date) as ended_date,
        coalesce(chains_summed.ended_at, heads.ended_at) as ended_at,
        heads.events_count + coalesce(chains_summed.events_count, 0) as events_count,
        heads.content_views_count + coalesce(chains_summed.content_views_count, 0) as content_views_count,
        heads.active_ms + coalesce(chains_summed.active_ms, 0) as active_ms,
        heads.is_bot or coalesce(chains_summed.is_bot, false) as is_bot
    from heads
    left join chains_summed
        on
            heads.continued_date = chains_summed.started_date
            and heads.product = chains_summed.product
            and heads.device_key = chains_summed.device_key
            and heads.session_id is not distinct from chains_summed.session_id
)

select
    {{ surrogate_key(['product', 'device_key', 'started_at', 'session_id']) }} as session_key,
    product,
    platform,
    device_key,
    user_key,
    started_date,
    started_at,
    ended_date,
    ended_at,
    cast(events_count as bigint) as events_count,
    cast(content_views_count as bigint) as content_views_count,
    cast(active_ms as double) / 1000 as engaged_seconds,
    is_bot
from sessions
