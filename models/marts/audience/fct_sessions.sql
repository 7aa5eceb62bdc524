-- One row per session, whole, under the day it started: it is never cut at midnight, however many it spans.
--
-- A session is its first fragment and the fragments of the following days that continue it, one a day.
--
-- Whom a device is stitched to is written back over its sessions of all other days, row by row.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='started_date',
    meta={'days_to_replace': 'affected_session_days'},
    post_hook=[{
        'sql': "{{ write_stitched_users_back(ref('int_audience__devices_stitched'), ref('int_consents__days_used')) }}",
        'transaction': true
    }]
) }}

with fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ in_days_to_replace('event_date') }}
),

continuing as (
    select * from {{ ref('int_audience__session_fragments_continued') }}
    where {{ from_first_day_to_replace('event_date') }}
),

devices as (
    select
        device_key,
        user_key
    from {{ ref('int_audience__devices_stitched') }}
),

first_fragments as (
    select fragments.*
    from fragments
    left join continuing
        on fragments.fragment_key = continuing.fragment_key
    where continuing.fragment_key is null
),

in_order as (
    select
        *,
        lag(fragment_key) over (
            partition by product, device_key, session_id
            order by event_date asc nulls last
        ) as previous_fragment_key
    from continuing
),

-- A fragment whose continued fragment itself continues one goes on in the same chain. Elsewhere a chain begins: what
-- it continues is the first fragment of its session.
chain_starts_marked as (
    select
        *,
        case when continued_fragment_key = previous_fragment_key then null else event_date end as chain_begins_on
    from in_order
),

chained as (
    select
        *,
        max(chain_begins_on) over (
            partition by product, device_key, session_id
            order by event_date asc nulls last
            rows between unbounded preceding and current row
        ) as first_continuing_date
    from chain_starts_marked
),

chains_summed as (
    select
        min_by(continued_fragment_key, event_date) as first_fragment_key,
        max_by(user_key, event_date) filter (where user_key is not null) as user_key,
        max(event_date) as ended_date,
        max(ended_at) as ended_at,
        sum(events_count) as events_count,
        sum(content_views_count) as content_views_count,
        sum(active_ms) as active_ms,
        bool_or(is_bot) as is_bot,
        bool_and(has_stitching_consent) as has_stitching_consent
    from chained
    group by product, device_key, session_id, first_continuing_date
),

-- Chains that continue fragments of other days than those read here find none to join.
sessions as (
    select
        firsts.fragment_key as session_key,
        firsts.product,
        firsts.platform,
        firsts.device_key,
        firsts.event_date as started_date,
        firsts.started_at,
        coalesce(chains_summed.user_key, firsts.user_key) as user_key,
        coalesce(chains_summed.ended_date, firsts.event_date) as ended_date,
        coalesce(chains_summed.ended_at, firsts.ended_at) as ended_at,
        firsts.events_count + coalesce(chains_summed.events_count, 0) as events_count,
        firsts.content_views_count + coalesce(chains_summed.content_views_count, 0) as content_views_count,
        firsts.active_ms + coalesce(chains_summed.active_ms, 0) as active_ms,
        firsts.is_bot or coalesce(chains_summed.is_bot, false) as is_bot,
        firsts.has_stitching_consent and coalesce(chains_summed.has_stitching_consent, true) as has_stitching_consent
    from first_fragments as firsts
    left join chains_summed
        on firsts.fragment_key = chains_summed.first_fragment_key
),

stitched as (
    select
        sessions.*,
        coalesce(
            sessions.user_key,
            case when sessions.has_stitching_consent then devices.user_key end
        ) as stitched_user_key
    from sessions
    left join devices
        on sessions.device_key = devices.device_key
)

select
    session_key,
    product,
    platform,
    device_key,
    user_key,
    stitched_user_key,
    started_date,
    started_at,
    ended_date,
    ended_at,
    cast(events_count as bigint) as events_count,
    cast(content_views_count as bigint) as content_views_count,
    cast(active_ms as double) / 1000 as engaged_seconds,
    is_bot,
    ended_at > started_at + interval {{ var('long_session_hours') }} hour as is_too_long,
    has_stitching_consent
from stitched
