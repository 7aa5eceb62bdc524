-- Every event is counted in exactly one session. A row here is a start day whose sessions lost events or count
-- some twice, or a day with fragments that continue no session or several: fct_sessions is not published
-- until it passes. The data platform finds the cause, and rebuilds it whole (`tidemark build -- --full-refresh
-- --select fct_sessions+`).
--
-- The sessions of a start day hold its fragments that continue none of the day before, and the fragments of the
-- days after that continue them.
{% set changed = in_days_changed('started_date', 'fct_sessions') %}

with sessions as (
    select * from {{ ref('fct_sessions') }}
    where {{ changed }}
),

fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ changed | replace('started_date', 'event_date') }}
),

continuing as (
    select * from {{ ref('int_audience__session_fragments_continued') }}
),

of_start_day as (
    select
        fragments.event_date as started_date,
        sum(fragments.events_count) as events_count
    from fragments
    left join continuing
        on fragments.fragment_key = continuing.fragment_key
    where continuing.fragment_key is null
    group by fragments.event_date
),

-- The sessions that went on, in the terms of fragments: with the client's session id.
went_on as (
    select
        sessions.started_date,
        sessions.ended_date,
        fragments.product,
        fragments.device_key,
        fragments.session_id
    from sessions
    inner join fragments
        on sessions.session_key = fragments.fragment_key
    where sessions.started_date < sessions.ended_date
),

-- Each fragment that continues, with the start of each session that holds it.
continued as (
    select
        continuing.event_date,
        continuing.product,
        continuing.device_key,
        continuing.session_id,
        continuing.events_count,
        went_on.started_date
    from continuing
    left join went_on
        on
            continuing.event_date > went_on.started_date
            and continuing.event_date <= went_on.ended_date
            and continuing.product = went_on.product
            and continuing.device_key = went_on.device_key
            and continuing.session_id is not distinct from went_on.session_id
),

of_days_after as (
    select
        started_date,
        sum(events_count) as events_count
    from continued
    group by started_date
),

in_sessions as (
    select
        started_date,
        sum(events_count) as events_count
    from sessions
    group by started_date
),

compared as (
    select
        coalesce(of_start_day.started_date, in_sessions.started_date) as event_date,
        coalesce(of_start_day.events_count, 0) + coalesce(of_days_after.events_count, 0) as in_fragments_count,
        coalesce(in_sessions.events_count, 0) as in_sessions_count
    from of_start_day
    full outer join in_sessions on of_start_day.started_date = in_sessions.started_date
    left join of_days_after
        on coalesce(of_start_day.started_date, in_sessions.started_date) = of_days_after.started_date
),

-- A fragment of a changed day that continues belongs to one of the sessions that changed with it.
sessions_counted as (
    select
        event_date,
        product,
        device_key,
        session_id,
        count(started_date) as sessions_count
    from continued
    where {{ in_days_changed('event_date', 'int_audience__session_fragments_continued') }}
    group by event_date, product, device_key, session_id
),

uncontinued as (
    select
        event_date,
        count(*) as fragments_count
    from sessions_counted
    where sessions_count <> 1
    group by event_date
)

select
    event_date,
    in_fragments_count,
    in_sessions_count,
    0 as fragments_without_one_session_count
from compared
where in_fragments_count <> in_sessions_count
union all
select
    event_date,
    null as in_fragments_count,
    null as in_sessions_count,
    fragments_count as fragments_without_one_session_count
from uncontinued
