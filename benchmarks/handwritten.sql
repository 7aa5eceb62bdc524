-- From the landed Parquet to the marts, by hand: what one would write for a warehouse built once and thrown away.
-- The yardstick of `python -m benchmarks full_build`: the marts it makes must equal the project's, row for row.
--
--     set variable landed = 'data/lake/landed';
--     set variable seeds = 'seeds';
--     .read benchmarks/handwritten.sql
--
-- It knows what the project cannot take for granted: that nothing was built before, and that nothing comes after.
-- Only columns that a mart needs are read, and only what is read twice is kept. What there is one way to write, scores of
-- adverts and of contents, follows in the models' own text: benchmarks/full_build.py.

---------------------------------------------------------------------------------------------------------------
-- Events, one of each
---------------------------------------------------------------------------------------------------------------

-- Few events come more than once: only of those are the copies compared.
create temp table copies as
with repeated as (
    select event_id
    from read_parquet(getvariable('landed') || '/events/event_date=*/*.parquet', hive_partitioning = true)
    group by event_id
    having count(*) > 1
)

select e.event_date, e.event_id, e.received_at, e._batch_id, e._line
from read_parquet(getvariable('landed') || '/events/event_date=*/*.parquet', hive_partitioning = true) as e
semi join repeated as r on e.event_id = r.event_id;

-- Of the copies of a day the one received first counts. Those received at one instant, if any, are told apart by
-- every other column, and only then are these read at all.
create temp table copies_set_aside as
with tied as (
    select event_id
    from copies
    group by event_date, event_id, received_at
    having count(*) > 1
),

compared as (
    select
        e._batch_id,
        e._line,
        row_number() over (
            partition by e.event_id, e.received_at
            order by
                e.sent_at, e.occurred_at, e.event_type, e.product, e.platform, e.app_version,
                cast(e.device_key as uuid), cast(e.user_key as uuid), e.session_id,
                e.has_analytics_consent, e.has_personalisation_consent, e.has_advertising_consent,
                e.country, coalesce(e.is_bot, false), e.content_id, e.content_type, e.referrer, e.depth, e.active_ms,
                e.reaction, e.results_count, e.advert_id, e.slot, e.position, e.page_type, e.request_id,
                e.is_random_order, e.channel,
                e._batch_id, e._line
        ) as place
    from read_parquet(getvariable('landed') || '/events/event_date=*/*.parquet', hive_partitioning = true) as e
    semi join tied as t on e.event_id = t.event_id
)

select copies._batch_id, copies._line
from copies
left join compared on copies._batch_id = compared._batch_id and copies._line = compared._line
qualify row_number() over (
    partition by copies.event_date, copies.event_id
    order by copies.received_at, compared.place
) > 1;

---------------------------------------------------------------------------------------------------------------
-- Consent
---------------------------------------------------------------------------------------------------------------

-- Batches whose file was delivered again do not count.
create temp table superseded as
select distinct supersedes_batch_id as batch_id
from read_json(getvariable('landed') || '/*/batch-*/receipt.json', union_by_name = true)
where status in ('landed', 'duplicate') and supersedes_batch_id is not null;

-- From when on what a device or a user did may be used, where they refused anything. A refusal forbids what was up to
-- it; one that a person declared, which events do not, also what came after, until they declared consent again.
create temp table usable as
with records as (
    select
        unnest([cast(device_key as uuid), cast(user_key as uuid)]) as person_key,
        purpose,
        is_granted,
        stated_in is distinct from 'events' as is_declared,
        valid_from
    from read_parquet(getvariable('landed') || '/consents/batch-*/data.parquet', union_by_name = true)
    where _batch_id not in (from superseded)
),

refused as (
    select
        person_key,
        purpose,
        max(valid_from) as last_at,
        max(valid_from) filter (where is_declared) as declared_at
    from records
    where not is_granted and person_key is not null
    group by person_key, purpose
),

given_again as (
    select r.person_key, r.purpose, min(g.valid_from) as given_at
    from refused as r
    join records as g on r.person_key = g.person_key and r.purpose = g.purpose
    where g.is_granted and g.is_declared and g.valid_from > r.declared_at
    group by r.person_key, r.purpose
),

by_purpose as (
    select
        person_key,
        purpose,
        greatest(
            last_at + interval 1 microsecond,
            if(declared_at is null, null, coalesce(given_at, timestamp '9999-12-31'))
        ) as usable_from
    from refused
    left join given_again using (person_key, purpose)
)

select
    person_key,
    max(usable_from) filter (where purpose = 'analytics') as analytics_from,
    max(usable_from) filter (where purpose = 'personalisation') as personalisation_from,
    max(usable_from) filter (where purpose = 'advertising') as advertising_from
from by_purpose
group by person_key;

-- What had consent when it happened and lost it since: few events.
create temp table withdrawn as
select
    e._batch_id,
    e._line,
    coalesce(e.occurred_at < greatest(d.analytics_from, u.analytics_from), false) as is_analytics_withdrawn,
    coalesce(e.occurred_at < greatest(d.personalisation_from, u.personalisation_from), false)
        as is_personalisation_withdrawn,
    coalesce(e.occurred_at < greatest(d.advertising_from, u.advertising_from), false) as is_advertising_withdrawn
from read_parquet(getvariable('landed') || '/events/event_date=*/*.parquet', hive_partitioning = true) as e
left join usable as d on cast(e.device_key as uuid) = d.person_key
left join usable as u on cast(e.user_key as uuid) = u.person_key
where
    (e.has_analytics_consent and is_analytics_withdrawn)
    or (e.has_personalisation_consent and is_personalisation_withdrawn)
    or (e.has_advertising_consent and is_advertising_withdrawn);

-- Events stand in memory here; the benchmark also runs a form in which this is a view, and each statement below reads
-- the columns and days it needs from the lake.
create temp table events as
select
    cast(e.event_id as uuid) as event_id,
    e.event_type,
    e.event_date,
    e.occurred_at,
    e.product,
    e.platform,
    cast(e.device_key as uuid) as device_key,
    cast(e.user_key as uuid) as user_key,
    e.session_id,
    coalesce(e.is_bot, false) as is_bot,
    e.occurred_at > e.received_at + interval 24 hour as is_future,
    e.content_id,
    e.content_type,
    e.depth,
    e.active_ms,
    e.reaction,
    e.advert_id,
    e.slot,
    e.position,
    e.page_type,
    e.is_random_order,
    e.channel,
    coalesce(e.has_analytics_consent and not w.is_analytics_withdrawn, e.has_analytics_consent, false) as has_analytics,
    coalesce(
        e.has_personalisation_consent and not w.is_personalisation_withdrawn, e.has_personalisation_consent, false
    ) as has_personalisation,
    coalesce(e.has_advertising_consent and not w.is_advertising_withdrawn, e.has_advertising_consent, false)
        as has_advertising
from read_parquet(getvariable('landed') || '/events/event_date=*/*.parquet', hive_partitioning = true) as e
anti join copies_set_aside as s on e._batch_id = s._batch_id and e._line = s._line
left join withdrawn as w on e._batch_id = w._batch_id and e._line = w._line;

---------------------------------------------------------------------------------------------------------------
-- Sessions
---------------------------------------------------------------------------------------------------------------

-- A stream is what a device does in a product under one session id, or none. Most streams of a day are one session,
-- for they have a session id or are shorter than the gap: adding up is enough, and cheaper than sorting.
create temp table streams as
select
    event_date,
    product,
    device_key,
    session_id,
    min_by(platform, row(occurred_at, event_id)) as platform,
    max_by(user_key, row(occurred_at, event_id)) filter (where user_key is not null) as user_key,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    count(*) as events_count,
    count(*) filter (where event_type = 'content_view') as content_views_count,
    coalesce(sum(active_ms) filter (where event_type = 'content_progress'), 0) as active_ms,
    bool_or(is_bot) as is_bot,
    bool_and(has_personalisation) as has_stitching_consent
from events
where has_analytics and not is_future
group by event_date, product, device_key, session_id;

-- The part of each session within a day; the long streams without an id are split where they pause.
create temp table fragments as
with long_lanes as (
    select event_date, product, device_key
    from streams
    where session_id is null and ended_at > started_at + interval 30 minute
),

compared as (
    select
        e.*,
        row_number() over stream as event_number,
        lag(e.occurred_at) over stream as previous_at,
        lead(e.occurred_at) over stream as next_at
    from (
        select
            e.event_date, e.product, e.device_key, e.occurred_at, e.event_id, e.event_type, e.platform, e.user_key,
            e.active_ms, e.is_bot, e.has_personalisation
        from events as e
        semi join long_lanes as l
            on e.device_key = l.device_key and e.event_date = l.event_date and e.product = l.product
        where e.session_id is null and e.has_analytics and not e.is_future
    ) as e
    window stream as (partition by e.event_date, e.product, e.device_key order by e.occurred_at, e.event_id)
),

numbered as (
    select
        *,
        count(*) filter (where previous_at is null or occurred_at > previous_at + interval 30 minute) over (
            partition by event_date, product, device_key
            order by event_number
            rows between unbounded preceding and current row
        ) as fragment_number
    from compared
)

select
    event_date, product, device_key, session_id, platform, user_key, started_at, ended_at, events_count,
    content_views_count, active_ms, is_bot, has_stitching_consent, true as is_first_of_day, true as is_last_of_day
from streams
where session_id is not null or ended_at <= started_at + interval 30 minute
union all
select
    event_date,
    product,
    device_key,
    null as session_id,
    min_by(platform, event_number) as platform,
    max_by(user_key, event_number) filter (where user_key is not null) as user_key,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    count(*) as events_count,
    count(*) filter (where event_type = 'content_view') as content_views_count,
    coalesce(sum(active_ms) filter (where event_type = 'content_progress'), 0) as active_ms,
    bool_or(is_bot) as is_bot,
    bool_and(has_personalisation) as has_stitching_consent,
    bool_or(previous_at is null) as is_first_of_day,
    bool_or(next_at is null) as is_last_of_day
from numbered
group by event_date, product, device_key, fragment_number;

drop table streams;

-- The few that go on from the day before.
create temp table midnights as
select f.*
from fragments as f
join fragments as l
    on
        f.is_first_of_day
        and l.is_last_of_day
        and f.event_date = l.event_date + 1
        and f.product = l.product
        and f.device_key = l.device_key
        and f.session_id is not distinct from l.session_id
where f.session_id is not null or f.started_at <= l.ended_at + interval 30 minute;

create temp table heads as
select f.*
from fragments as f
anti join midnights as m
    on
        f.is_first_of_day
        and f.event_date = m.event_date
        and f.product = m.product
        and f.device_key = m.device_key
        and f.session_id is not distinct from m.session_id;

-- A session is a head and the fragments of the days after that go on from it, one a day.
create table fct_sessions as
with compared as (
    select
        *,
        lag(event_date) over stream = event_date - 1 and lag(is_last_of_day) over stream as goes_on
    from midnights
    window stream as (partition by product, device_key, session_id order by event_date)
),

chained as (
    select
        *,
        max(case when goes_on then null else event_date - 1 end) over (
            partition by product, device_key, session_id
            order by event_date
            rows between unbounded preceding and current row
        ) as started_date
    from compared
),

tails as (
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
        bool_or(is_bot) as is_bot,
        bool_and(has_stitching_consent) as has_stitching_consent
    from chained
    group by started_date, product, device_key, session_id
),

-- An anonymous session is the last user's of its device.
last_users as (
    select device_key, max_by(user_key, row(occurred_at, event_id)) as last_user_key
    from events
    where device_key is not null and user_key is not null and has_personalisation and not is_bot and not is_future
    group by device_key
)

select
    md5(
        '=' || h.product || '|=' || h.device_key || '|=' || h.started_at || '|' || coalesce('=' || h.session_id, '-')
    ) as session_key,
    h.product,
    h.platform,
    h.device_key,
    coalesce(t.user_key, h.user_key) as user_key,
    coalesce(
        t.user_key, h.user_key,
        if(h.has_stitching_consent and coalesce(t.has_stitching_consent, true), u.last_user_key, null)
    ) as stitched_user_key,
    h.event_date as started_date,
    h.started_at,
    coalesce(t.ended_date, h.event_date) as ended_date,
    coalesce(t.ended_at, h.ended_at) as ended_at,
    cast(h.events_count + coalesce(t.events_count, 0) as bigint) as events_count,
    cast(h.content_views_count + coalesce(t.content_views_count, 0) as bigint) as content_views_count,
    cast(h.active_ms + coalesce(t.active_ms, 0) as double) / 1000 as engaged_seconds,
    h.is_bot or coalesce(t.is_bot, false) as is_bot,
    coalesce(t.ended_at, h.ended_at) > h.started_at + interval 72 hour as is_too_long,
    h.has_stitching_consent and coalesce(t.has_stitching_consent, true) as has_stitching_consent
from heads as h
left join tails as t
    on
        h.is_last_of_day
        and h.event_date = t.started_date
        and h.product = t.product
        and h.device_key = t.device_key
        and h.session_id is not distinct from t.session_id
left join last_users as u on h.device_key = u.device_key;

---------------------------------------------------------------------------------------------------------------
-- Audience
---------------------------------------------------------------------------------------------------------------

create temp table active as
select
    event_date,
    product,
    platform,
    device_key,
    sum(is_head) as sessions_count,
    sum(content_views_count) as views_count,
    sum(active_ms) as active_ms
from (
    select event_date, product, platform, device_key, 1 as is_head, content_views_count, active_ms, is_bot
    from heads
    union all
    select event_date, product, platform, device_key, 0 as is_head, content_views_count, active_ms, is_bot
    from midnights
)
where not is_bot
group by event_date, product, platform, device_key;

-- A group is a day's devices of a product and platform. What one of fewer than ten did is left out of every figure, and
-- a sum of which one device has more than half is withheld, with those of the next larger platforms until one does not.
create temp table audience_groups as
with counted as (
    select
        event_date,
        product,
        platform,
        sum(sessions_count) as sessions_count,
        sum(views_count) as views_count,
        sum(active_ms) as active_ms,
        max(sessions_count) as most_sessions,
        max(views_count) as most_views,
        max(active_ms) as most_ms,
        count(*) as devices_count
    from active
    group by event_date, product, platform
    having count(*) >= 10
),

accumulated as (
    select
        *,
        coalesce(max(most_views) over views_before > 0.5 * sum(views_count) over views_before, false) as joins_in_views,
        coalesce(max(most_ms) over ms_before > 0.5 * sum(active_ms) over ms_before, false) as joins_in_ms
    from counted
    window
        views_before as (
            partition by event_date, product
            order by most_views > 0.5 * views_count desc, devices_count, platform
            rows between unbounded preceding and 1 preceding
        ),
        ms_before as (
            partition by event_date, product
            order by most_ms > 0.5 * active_ms desc, devices_count, platform
            rows between unbounded preceding and 1 preceding
        )
)

select
    event_date,
    product,
    platform,
    if(most_sessions > 0.5 * sessions_count, null, sessions_count) as sessions_count,
    if(most_views > 0.5 * views_count or joins_in_views, null, views_count) as views_count,
    if(most_ms > 0.5 * active_ms or joins_in_ms, null, active_ms) as active_ms
from accumulated;

-- Distinct devices of 7 and 28 days: each day of a device counts from that day until the device comes again or
-- is forgotten, so adding 1 at the one end and taking 1 away at the other sums to each day's distinct devices.
create table agg_audience_daily as
with covers as (
    select
        event_date,
        product,
        platform,
        least(event_date + 7, coalesce(returned_date, event_date + 7)) as until_7d,
        least(event_date + 28, coalesce(returned_date, event_date + 28)) as until_28d,
        count(*) as devices_count
    from (
        select
            *,
            lead(event_date) over (partition by product, platform, device_key order by event_date) as returned_date
        from active
        semi join audience_groups using (event_date, product, platform)
    )
    group by all
),

changes as (
    select
        event_date, product, platform, devices_count, devices_count as change_7d, devices_count as change_28d
    from covers
    union all
    select until_7d, product, platform, 0, -devices_count, 0 from covers
    union all
    select until_28d, product, platform, 0, 0, -devices_count from covers
),

daily as (
    select
        event_date,
        product,
        platform,
        sum(devices_count) as devices_count,
        sum(sum(change_7d)) over up_to_day as devices_7d_count,
        sum(sum(change_28d)) over up_to_day as devices_28d_count
    from changes
    group by event_date, product, platform
    window up_to_day as (partition by product, platform order by event_date)
)

-- Each product with each platform of a day: a group that is left out has a row of NULLs, as one of nobody has.
select
    event_date,
    product,
    platform,
    cast(d.devices_count as bigint) as devices_count,
    cast(g.sessions_count as bigint) as sessions_count,
    cast(g.views_count as bigint) as views_count,
    cast(g.active_ms as double) / 1000 as engaged_seconds,
    cast(d.devices_7d_count as bigint) as devices_7d_count,
    cast(d.devices_28d_count as bigint) as devices_28d_count,
    g.sessions_count is null or g.views_count is null or g.active_ms is null as is_suppressed
from (select distinct event_date, product from audience_groups)
inner join (select distinct event_date, platform from audience_groups) using (event_date)
left join (from daily where devices_count > 0) as d using (event_date, product, platform)
left join audience_groups as g using (event_date, product, platform);

---------------------------------------------------------------------------------------------------------------
-- Content
---------------------------------------------------------------------------------------------------------------

create table fct_content_engagement as
with positive as (
    select reaction
    from read_csv(getvariable('seeds') || '/reactions.csv')
    where is_positive
),

engagement as (
    select
        event_date,
        device_key,
        content_id,
        min_by(product, row(occurred_at, event_id)) as product,
        min_by(content_type, row(occurred_at, event_id)) as content_type,
        min_by(platform, row(occurred_at, event_id)) as platform,
        max_by(user_key, row(occurred_at, event_id)) filter (where user_key is not null) as user_key,
        count(*) filter (where event_type = 'content_view') as views_count,
        coalesce(max(depth), 0) as max_depth,
        cast(coalesce(sum(active_ms) filter (where event_type = 'content_progress'), 0) as double) / 1000
            as engaged_seconds,
        count(*) filter (where event_type = 'content_reaction') as reactions_count,
        count(*) filter (where reaction in (from positive)) as positive_reactions_count,
        bool_or(is_bot) as is_bot
    from events
    where event_type in ('content_view', 'content_progress', 'content_reaction') and has_analytics and not is_future
    group by event_date, device_key, content_id
),

-- The most specific rule: product and type, product, type, default.
rules as (
    select kinds.product, kinds.content_type, r.* exclude (product, content_type)
    from (select distinct product, content_type from engagement) as kinds
    join read_csv(getvariable('seeds') || '/engagement_rules.csv') as r
        on r.product in (kinds.product, '*') and r.content_type in (kinds.content_type, '*')
    qualify row_number() over (
        partition by kinds.product, kinds.content_type
        order by r.product = '*', r.content_type = '*'
    ) = 1
),

reads as (
    select
        e.*,
        r.enjoyed_min_engaged_seconds,
        r.enjoyed_min_positive_reactions,
        coalesce(e.max_depth >= r.read_min_depth and e.engaged_seconds >= r.read_min_engaged_seconds, false) as is_read
    from engagement as e
    left join rules as r on e.product = r.product and e.content_type = r.content_type
)

select
    event_date,
    device_key,
    content_id,
    product,
    content_type,
    platform,
    user_key,
    views_count,
    max_depth,
    engaged_seconds,
    reactions_count,
    positive_reactions_count,
    is_read,
    coalesce(engaged_seconds >= enjoyed_min_engaged_seconds, false) as is_long,
    is_read
    and (
        engaged_seconds >= enjoyed_min_engaged_seconds
        or positive_reactions_count >= enjoyed_min_positive_reactions
    ) as is_enjoyed,
    is_bot
from reads;

create temp table content_groups as
select event_date, product, platform
from fct_content_engagement
where not is_bot
group by event_date, product, platform
having count(distinct device_key) >= 10;

-- Views of those who did not agree to be counted are views all the same, of nobody.
create table agg_content_daily as
with counted as (
    select
        event_date,
        product,
        content_type,
        content_id,
        cast(sum(views_count) as bigint) as views_count,
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count,
        cast(sum(cast(round(engaged_seconds * 1000) as bigint)) as double) / 1000 as engaged_seconds,
        cast(sum(reactions_count) as bigint) as reactions_count
    from fct_content_engagement
    semi join content_groups using (event_date, product, platform)
    where not is_bot
    group by event_date, product, content_type, content_id
),

of_nobody as (
    select event_date, product, content_type, content_id, count(*) as views_count
    from events
    where event_type = 'content_view' and not has_analytics and not is_bot and not is_future
    group by event_date, product, content_type, content_id
)

select
    event_date,
    product,
    content_type,
    content_id,
    coalesce(c.views_count, 0) as views_count,
    coalesce(c.views_count, 0) + coalesce(n.views_count, 0) as all_views_count,
    coalesce(c.devices_count, 0) as devices_count,
    coalesce(c.readers_count, 0) as readers_count,
    coalesce(c.enjoyers_count, 0) as enjoyers_count,
    coalesce(c.engaged_seconds, 0) as engaged_seconds,
    coalesce(c.reactions_count, 0) as reactions_count,
    c.readers_count / c.devices_count as read_rate
from counted as c
full join of_nobody as n using (event_date, product, content_type, content_id);

-- All of a content's devices by day, week and month; and by month those of its platforms and of its kinds of account: not the
-- parts of fewer than ten, nor the next larger while fewer than ten are left out, so that the total does not give these.
create table agg_content_periods as
with engagement as (
    select *, case when user_key is null then 'logged_out' else 'logged_in' end as kind
    from fct_content_engagement
    semi join content_groups using (event_date, product, platform)
    where not is_bot
),

devices as (
    select
        content_id,
        period_type,
        period_start_date,
        period_end_date,
        bool_or(is_read) as is_read,
        bool_or(is_enjoyed) as is_enjoyed
    from engagement as e
    cross join lateral (
        select 'day' as period_type, e.event_date as period_start_date, e.event_date as period_end_date
        union all
        select 'week', cast(date_trunc('week', e.event_date) as date), cast(date_trunc('week', e.event_date) as date) + 6
        union all
        select 'month', cast(date_trunc('month', e.event_date) as date), last_day(e.event_date)
    )
    group by content_id, period_type, period_start_date, period_end_date, device_key
),

parts as (
    select
        content_id,
        coalesce(platform, 'all') as platform,
        coalesce(kind, 'all') as account_kind,
        month_start_date,
        count(*) as devices_count,
        count(*) filter (where is_read) as readers_count,
        count(*) filter (where is_enjoyed) as enjoyers_count
    from (
        select
            content_id,
            cast(date_trunc('month', event_date) as date) as month_start_date,
            platform,
            kind,
            bool_or(is_read) as is_read,
            bool_or(is_enjoyed) as is_enjoyed
        from engagement
        group by content_id, month_start_date, device_key, grouping sets ((engagement.platform), (kind))
    )
    group by all
),

parts_shown as (
    select
        *,
        readers_count >= 10 and coalesce(sum(readers_count) over by_readers, 0) not between 1 and 9 as shows_readers,
        shows_readers
        and enjoyers_count >= 10 and coalesce(sum(enjoyers_count) over by_enjoyers, 0) not between 1 and 9 as shows_enjoyers
    from parts
    window
        by_devices as (
            partition by month_start_date, content_id, platform = 'all'
            order by devices_count, platform, account_kind
            rows between unbounded preceding and 1 preceding
        ),
        by_readers as (
            partition by month_start_date, content_id, platform = 'all'
            order by readers_count, platform, account_kind
            rows between unbounded preceding and 1 preceding
        ),
        by_enjoyers as (
            partition by month_start_date, content_id, platform = 'all'
            order by enjoyers_count, platform, account_kind
            rows between unbounded preceding and 1 preceding
        )
    qualify devices_count >= 10 and coalesce(sum(devices_count) over by_devices, 0) not between 1 and 9
)

select
    content_id,
    period_type,
    period_start_date,
    period_end_date,
    'all' as platform,
    'all' as account_kind,
    count(*) as devices_count,
    count(*) filter (where is_read) as readers_count,
    count(*) filter (where is_enjoyed) as enjoyers_count,
    false as is_suppressed
from devices
group by all
union all
select
    content_id,
    'month',
    month_start_date,
    last_day(month_start_date),
    platform,
    account_kind,
    devices_count,
    if(shows_readers, readers_count, null),
    if(shows_enjoyers, enjoyers_count, null),
    not (shows_readers and shows_enjoyers)
from parts_shown;

-- Distinct devices that were active, read and enjoyed. Days, weeks and months are counted; the 7 and 28 days that
-- end with each day are summed from where each device begins and ends to count, as in agg_audience_daily.
create table agg_audience_periods as
with readers as (
    select distinct
        unnest(case when is_enjoyed then ['reader', 'enjoyer'] else ['reader'] end) as role,
        event_date, product, platform, device_key
    from fct_content_engagement
    where is_read and not is_bot
),

reader_groups as (
    select role, event_date, product, platform
    from readers
    semi join audience_groups using (event_date, product, platform)
    group by role, event_date, product, platform
    having count(*) >= 10
),

roles as (
    select distinct
        role,
        event_date,
        case when by_product then product else 'all' end as product,
        case when by_platform then platform else 'all' end as platform,
        device_key
    from (
        select 'active' as role, event_date, product, platform, device_key
        from active
        semi join audience_groups using (event_date, product, platform)
        union all
        select role, event_date, product, platform, device_key
        from readers
        semi join reader_groups using (role, event_date, product, platform)
    )
    cross join (values (true, true), (true, false), (false, true), (false, false)) as cuts (by_product, by_platform)
),

calendar as (
    select r.*, p.*
    from roles as r
    cross join lateral (
        select 'day' as period_type, r.event_date as period_start_date, r.event_date as period_end_date
        union all
        select 'week', cast(date_trunc('week', r.event_date) as date), cast(date_trunc('week', r.event_date) as date) + 6
        union all
        select 'month', cast(date_trunc('month', r.event_date) as date), last_day(r.event_date)
    ) as p
),

covers as (
    select
        days_count,
        product,
        platform,
        role,
        event_date,
        least(event_date + days_count, coalesce(returned_date, event_date + days_count)) as until_date,
        count(*) as devices_count
    from (
        select
            *,
            lead(event_date) over (partition by role, product, platform, device_key order by event_date) as returned_date
        from roles
    )
    cross join (values (7), (28)) as lengths (days_count)
    group by all
),

windows as (
    select
        days_count,
        event_date,
        product,
        platform,
        sum(began_count) as began_count,
        sum(coalesce(sum(change) filter (where role = 'active'), 0)) over up_to_day as devices_count,
        sum(coalesce(sum(change) filter (where role = 'reader'), 0)) over up_to_day as readers_count,
        sum(coalesce(sum(change) filter (where role = 'enjoyer'), 0)) over up_to_day as enjoyers_count
    from (
        select days_count, event_date, product, platform, role, devices_count as began_count, devices_count as change
        from covers
        union all
        select days_count, until_date, product, platform, role, 0, -devices_count from covers
    )
    group by days_count, event_date, product, platform
    window up_to_day as (partition by days_count, product, platform order by event_date)
),

counted as (
    select
        period_type,
        period_start_date,
        period_end_date,
        product,
        platform,
        count(distinct device_key) filter (where role = 'active') as devices_count,
        count(distinct device_key) filter (where role = 'reader') as readers_count,
        count(distinct device_key) filter (where role = 'enjoyer') as enjoyers_count
    from calendar
    group by period_type, period_start_date, period_end_date, product, platform
    union all
    select
        days_count || '_days',
        event_date - days_count + 1,
        event_date,
        product,
        platform,
        cast(devices_count as bigint),
        cast(readers_count as bigint),
        cast(enjoyers_count as bigint)
    from windows
    where began_count > 0
)

select
    period_type,
    period_start_date,
    period_end_date,
    product,
    platform,
    nullif(devices_count, 0) as devices_count,
    nullif(readers_count, 0) as readers_count,
    nullif(enjoyers_count, 0) as enjoyers_count,
    coalesce(least(c.devices_count, c.readers_count, c.enjoyers_count), 0) = 0 as is_suppressed
from (select period_type, period_start_date, period_end_date, product from counted where platform = 'all')
inner join (select period_type, period_start_date, period_end_date, platform from counted where product = 'all')
    using (period_type, period_start_date, period_end_date)
left join counted as c using (period_type, period_start_date, period_end_date, product, platform);

---------------------------------------------------------------------------------------------------------------
-- Journeys: funnels, cohorts, and paths from content to content
---------------------------------------------------------------------------------------------------------------

create temp table journey_devices as
select distinct a.event_date, a.product, a.device_key
from active as a
semi join audience_groups as g
    on a.event_date = g.event_date and a.product = g.product and a.platform = g.platform;

-- The funnels have three steps. A device begins with its first first step of a day, of each content or advert that a
-- funnel follows.
create table fct_funnels as
with steps as (
    from read_csv(
        getvariable('seeds') || '/funnels.csv',
        types = {
            'follows': 'varchar', 'window_hours': 'integer', 'step_number': 'integer', 'content_type': 'varchar',
            'reaction': 'varchar', 'channel': 'varchar', 'min_depth': 'double'
        }
    )
),

found as (
    select
        s.funnel,
        s.step_number,
        s.window_hours,
        e.event_date,
        e.product,
        e.device_key,
        case s.follows when 'content' then e.content_id when 'advert' then e.advert_id else '' end as thing,
        {'moment': e.occurred_at, 'id': e.event_id} as place
    from events as e
    join steps as s
        on
            e.event_type = s.event_type
            and s.product in ('all', e.product)
            and coalesce(e.content_type = s.content_type, s.content_type is null)
            and coalesce(e.reaction = s.reaction, s.reaction is null)
            and coalesce(e.channel = s.channel, s.channel is null)
            and coalesce(e.depth >= s.min_depth, s.min_depth is null)
    semi join journey_devices as d
        on e.event_date = d.event_date and e.product = d.product and e.device_key = d.device_key
    where e.has_analytics and not e.is_bot and not e.is_future
),

first_steps as (
    select funnel, product, device_key, thing, event_date, min(place) as place, min(window_hours) as window_hours
    from found
    where step_number = 1 and thing is not null
    group by funnel, product, device_key, thing, event_date
),

second_steps as (
    select a.* exclude (place), a.place as first_place, min(b.place) as place
    from first_steps as a
    left join found as b
        on
            b.step_number = 2
            and a.funnel = b.funnel
            and a.product = b.product
            and a.device_key = b.device_key
            and a.thing = b.thing
            and b.event_date between a.event_date and a.event_date + 1
            and b.place > a.place
            and b.place.moment <= a.place.moment + to_hours(a.window_hours)
    group by all
),

third_steps as (
    select a.* exclude (place), a.place, min(b.place) as last_place
    from second_steps as a
    left join found as b
        on
            b.step_number = 3
            and a.funnel = b.funnel
            and a.product = b.product
            and a.device_key = b.device_key
            and a.thing = b.thing
            and b.event_date between a.event_date and a.event_date + 1
            and b.place > a.place
            and b.place.moment <= a.first_place.moment + to_hours(a.window_hours)
    group by all
),

furthest as (
    select
        event_date,
        funnel,
        product,
        device_key,
        max(case when last_place is not null then 3 when place is not null then 2 else 1 end) as last_step
    from third_steps
    group by event_date, funnel, product, device_key
),

counted as (
    select
        event_date,
        funnel,
        product,
        count(*) as first,
        nullif(count(*) filter (where last_step >= 2), 0) as second,
        nullif(count(*) filter (where last_step = 3), 0) as third
    from furthest
    group by event_date, funnel, product
    having count(*) >= 10
),

second_judged as (
    select * replace (if(second >= 10 and first - second >= 10, second, null) as second)
    from counted
),

judged as (
    select * replace (if(third >= 10 and coalesce(second, first) - third >= 10, third, null) as third)
    from second_judged
),

listed as (
    select event_date, funnel, product, 1 as step_number, first as devices_count, null::bigint as previous_devices_count
    from judged
    union all
    select event_date, funnel, product, 2 as step_number, second, first
    from judged
    union all
    select event_date, funnel, product, 3 as step_number, third, second
    from judged
)

select
    l.event_date,
    l.funnel,
    l.product,
    l.step_number,
    s.step_name,
    l.devices_count,
    l.previous_devices_count,
    l.devices_count / l.previous_devices_count as reached_rate,
    l.devices_count is null as is_suppressed
from listed as l
join steps as s on l.funnel = s.funnel and l.step_number = s.step_number and s.product in ('all', l.product);

create table agg_retention_weekly as
with weeks as (
    select distinct date_trunc('week', event_date)::date as week, unnest([product, 'all']) as product, device_key
    from journey_devices
),

firsts as (
    select *, min(week) over (partition by product, device_key) as cohort
    from weeks
),

cells as (
    select product, cohort, week, count(*) as devices
    from firsts
    group by product, cohort, week
),

compared as (
    select
        *,
        min(week) over (partition by product) as began,
        first(devices order by week) over (partition by product order by week) as devices_began,
        dense_rank() over (partition by product order by week) - 1 as later_cohorts,
        first(devices) over (partition by product, cohort order by week) as size
    from cells
),

judged as (
    select *, cohort > began and devices >= 10 and (cohort = week or size - devices >= 10) as may_show
    from compared
),

summed as (
    select
        *,
        sum(devices) filter (where not may_show) over (partition by product, week) as left_out,
        count(*) filter (where may_show) over (partition by product, week) = later_cohorts as all_may_show,
        row_number() over (partition by product, week, may_show order by devices, cohort) as place
    from judged
),

shown as (
    from summed
    where
        may_show
        and (
            place > 1
            or (coalesce(left_out, 0) >= 10 and (not all_may_show or devices_began - coalesce(left_out, 0) >= 10))
        )
)

select
    c.cohort as cohort_week_start_date,
    c.product,
    (w.week - c.cohort)::integer // 7 as week_number,
    w.week as week_start_date,
    c.size as cohort_devices_count,
    s.devices as devices_count,
    s.devices / c.size as retention_rate,
    s.devices is null as is_suppressed
from (from shown where cohort = week) as c
join (select distinct product, week from cells) as w on c.product = w.product and c.cohort <= w.week
left join shown as s on c.product = s.product and c.cohort = s.cohort and w.week = s.week;

-- Where few went from one content to another, the path is cut, and the least travelled other way with it where few would
-- start or end with a content by that, or be cut on a day.
create table agg_content_paths as
with views as (
    select
        e.event_date,
        e.product,
        e.device_key,
        e.content_id,
        e.occurred_at,
        e.event_id,
        row(e.session_id, f.started_at) as part
    from events as e
    join fragments as f
        on
            e.event_date = f.event_date
            and e.product = f.product
            and e.device_key = f.device_key
            and e.session_id is not distinct from f.session_id
            and e.occurred_at between f.started_at and f.ended_at
    semi join audience_groups as g
        on f.event_date = g.event_date and f.product = g.product and f.platform = g.platform
    where e.event_type = 'content_view' and e.has_analytics and not e.is_future and not f.is_bot
),

visits as (
    select *, lag(content_id) over path as content_before
    from views
    window path as (partition by event_date, product, device_key, part order by occurred_at, event_id)
    qualify content_before is distinct from content_id
),

steps as (
    select event_date, product, device_key, content_before as a, content_id as b
    from visits
    union all
    select event_date, product, device_key, last(content_id order by occurred_at, event_id) as a, null as b
    from visits
    group by event_date, product, device_key, part
),

went as (
    select *, a is not null and b is not null as is_way, count(*) as times
    from steps
    group by all
),

few_known as (
    select *, is_way and count(*) over (partition by event_date, product, a, b) < 10 as is_few
    from went
),

ways as (
    select event_date, product, a, b, count(*) as devices, any_value(is_few) as is_few
    from few_known
    where is_way
    group by event_date, product, a, b
),

ends as (
    select event_date, product, a as content, count(distinct device_key) as devices
    from few_known
    where b is null or is_few
    group by all
),

starts as (
    select event_date, product, b as content, count(distinct device_key) as devices
    from few_known
    where a is null or is_few
    group by all
),

days as (
    select
        event_date,
        product,
        count(distinct device_key) filter (where is_few) as devices,
        bool_or(is_way and not is_few) as has_ways
    from few_known
    group by event_date, product
),

placed as (
    select
        *,
        row_number() over (partition by event_date, product, a, is_few order by devices, b) as place_from,
        row_number() over (partition by event_date, product, b, is_few order by devices, a) as place_to,
        row_number() over (partition by event_date, product, is_few order by devices, a, b) as place_of_day
    from ways
),

cut as (
    select w.event_date, w.product, w.a, w.b
    from placed as w
    join days as d on w.event_date = d.event_date and w.product = d.product
    left join ends as e on w.event_date = e.event_date and w.product = e.product and w.a = e.content
    left join starts as s on w.event_date = s.event_date and w.product = s.product and w.b = s.content
    where
        w.is_few
        or (w.place_from = 1 and coalesce(e.devices, 0) < 10)
        or (w.place_to = 1 and coalesce(s.devices, 0) < 10)
        or (w.place_of_day = 1 and d.devices < 10)
),

marked as (
    select w.*, c.a is not null as is_cut
    from went as w
    semi join days as d
        on w.event_date = d.event_date and w.product = d.product and (d.has_ways or d.devices >= 10)
    left join cut as c on w.event_date = c.event_date and w.product = c.product and w.a = c.a and w.b = c.b
),

pieces as (
    select event_date, product, device_key, a, if(is_cut, null, b) as b, times
    from marked
    union all
    select event_date, product, device_key, null as a, b, times
    from marked
    where is_cut
)

select
    event_date,
    product,
    coalesce(a, '(start)') as previous_content_id,
    coalesce(b, '(end)') as next_content_id,
    sum(times)::bigint as transitions_count,
    count(distinct device_key) as devices_count
from pieces
group by event_date, product, a, b
having count(distinct device_key) >= 10;

---------------------------------------------------------------------------------------------------------------
-- Adverts
---------------------------------------------------------------------------------------------------------------

create temp table places as
select
    event_date,
    advert_id,
    slot,
    position,
    page_type,
    platform,
    coalesce(is_random_order, false) as is_random_order,
    count(*) filter (where event_type = 'advert_impression') as impressions_count,
    count(*) filter (where event_type = 'advert_click') as clicks_count
from events
where event_type in ('advert_impression', 'advert_click') and not is_bot and not is_future
group by all;

create table agg_adverts_daily as
select
    event_date,
    advert_id,
    slot,
    position,
    page_type,
    platform,
    cast(sum(impressions_count) as bigint) as impressions_count,
    cast(sum(clicks_count) as bigint) as clicks_count,
    sum(clicks_count) / nullif(sum(impressions_count), 0) as click_rate
from places
group by all;

create table fct_enquiries as
select
    cast(event_id as varchar) as enquiry_key,
    advert_id,
    if(has_analytics or has_advertising, channel, null) as channel,
    product,
    platform,
    if(has_analytics, device_key, null) as device_key,
    if(has_analytics, user_key, null) as user_key,
    event_date,
    occurred_at,
    is_bot,
    is_future
from events
where event_type = 'enquiry';

create table agg_enquiries_daily as
select
    event_date,
    advert_id,
    channel,
    platform,
    count(*) as enquiries_count
from fct_enquiries
where not is_bot and not is_future
group by event_date, advert_id, channel, platform;

---------------------------------------------------------------------------------------------------------------
-- History of contents and adverts
---------------------------------------------------------------------------------------------------------------

create table dim_contents as
with states as (
    select *
    from read_parquet(getvariable('landed') || '/contents/batch-*/data.parquet', union_by_name = true)
    where _batch_id not in (from superseded)
    qualify row_number() over (partition by content_id, updated_at order by _batch_id desc, _line desc) = 1
),

changed as (
    select *
    from states
    window history as (partition by content_id order by updated_at)
    qualify
        row_number() over history = 1
        or row(content_type, product, title, section, author, word_count, duration_seconds, published_at)
        is distinct from
        lag(row(content_type, product, title, section, author, word_count, duration_seconds, published_at)) over history
)

select
    md5('=' || content_id || '|' || coalesce('=' || updated_at, '-')) as content_key,
    content_id,
    content_type,
    product,
    title,
    section,
    author,
    word_count,
    duration_seconds,
    published_at,
    updated_at as valid_from,
    lead(updated_at) over content_versions as valid_to,
    valid_to is null as is_current,
    cast(row_number() over content_versions as integer) as version_number,
    false as is_deleted
from changed
window content_versions as (partition by content_id order by updated_at);

create table dim_adverts as
with states as (
    select *
    from read_parquet(getvariable('landed') || '/adverts/batch-*/data.parquet', union_by_name = true)
    where _batch_id not in (from superseded)
    qualify row_number() over (partition by advert_id, updated_at order by _batch_id desc, _line desc) = 1
),

changed as (
    select *
    from states
    window history as (partition by advert_id order by updated_at)
    qualify
        row_number() over history = 1
        or row(seller_id, seller_type, make_model, price, photo_count, listed_at, status)
        is distinct from
        lag(row(seller_id, seller_type, make_model, price, photo_count, listed_at, status)) over history
)

select
    md5('=' || advert_id || '|' || coalesce('=' || updated_at, '-')) as advert_key,
    advert_id,
    seller_id,
    seller_type,
    make_model,
    price,
    photo_count,
    listed_at,
    status,
    updated_at as valid_from,
    lead(updated_at) over advert_versions as valid_to,
    valid_to is null as is_current,
    cast(row_number() over advert_versions as integer) as version_number,
    false as is_deleted
from changed
window advert_versions as (partition by advert_id order by updated_at);

---------------------------------------------------------------------------------------------------------------
-- Calls and accounts
---------------------------------------------------------------------------------------------------------------

create temp table calls as
select *
from read_parquet(getvariable('landed') || '/calls/event_date=*/*.parquet', hive_partitioning = true)
where _batch_id not in (from superseded)
qualify row_number() over (partition by call_id order by _batch_id desc, _line desc) = 1;

create table fct_calls as
select
    c.call_id,
    c.advert_id,
    a.advert_key,
    a.seller_id,
    a.seller_type,
    c.event_date as started_date,
    c.started_at,
    c.duration_seconds,
    c.channel
from calls as c
left join dim_adverts as a
    on
        c.advert_id = a.advert_id
        and c.started_at >= case when a.version_number = 1 then timestamp '0001-01-01' else a.valid_from end
        and c.started_at < coalesce(a.valid_to, timestamp '9999-12-31');

create table agg_calls_daily as
select
    started_date as event_date,
    channel,
    advert_id,
    count(*) as calls_count,
    count(*) filter (where duration_seconds = 0) as calls_unanswered_count,
    count(*) filter (where duration_seconds > 0 and duration_seconds < 30) as calls_under_30s_count,
    count(*) filter (where duration_seconds >= 30 and duration_seconds < 120) as calls_30s_to_2min_count,
    count(*) filter (where duration_seconds >= 120 and duration_seconds < 600) as calls_2_to_10min_count,
    count(*) filter (where duration_seconds >= 600) as calls_over_10min_count,
    cast(coalesce(sum(duration_seconds), 0) as bigint) as duration_seconds
from fct_calls
group by all;

create table dim_accounts as
select
    cast(account_key as uuid) as account_key,
    cast(user_key as uuid) as user_key,
    cast(birth_year // 10 * 10 as integer) as birth_decade,
    country,
    cast(timezone('Europe/Stockholm', timezone('UTC', created_at)) as date) as created_date,
    updated_at
from read_parquet(getvariable('landed') || '/accounts/batch-*/data.parquet', union_by_name = true)
where _batch_id not in (from superseded)
qualify row_number() over (partition by account_key order by updated_at desc, _batch_id desc, _line desc) = 1;

---------------------------------------------------------------------------------------------------------------
-- Days
---------------------------------------------------------------------------------------------------------------

create table dim_dates as
with days as (
    select cast(unnest(generate_series(date '2020-01-01', date '2035-12-31', interval 1 day)) as date) as date_day
)

select
    date_day,
    cast(year(date_day) as integer) as year,
    cast(quarter(date_day) as integer) as quarter,
    cast(month(date_day) as integer) as month,
    cast(day(date_day) as integer) as day_of_month,
    cast(week(date_day) as integer) as iso_week,
    cast(isoyear(date_day) as integer) as iso_year,
    cast(isodow(date_day) as integer) as day_of_week,
    dayname(date_day) as day_name,
    monthname(date_day) as month_name,
    isodow(date_day) >= 6 as is_weekend,
    timezone('UTC', timezone('Europe/Stockholm', cast(date_day as timestamp))) as starts_at,
    timezone('UTC', timezone('Europe/Stockholm', cast(date_day + 1 as timestamp))) as ends_at,
    cast(date_diff('hour', starts_at, ends_at) as integer) as hours_count
from days;

---------------------------------------------------------------------------------------------------------------
-- Whether the rules of enjoyed hold
---------------------------------------------------------------------------------------------------------------

create table agg_enjoyed_rules_daily as
select
    reads.event_date,
    reads.product,
    reads.content_type,
    count(*) filter (where reads.is_long) as long_reads_count,
    count(*) filter (where reads.is_long and reads.positive_reactions_count > 0) as long_reads_liked_count,
    count(*) filter (where not reads.is_long) as short_reads_count,
    count(*) filter (where not reads.is_long and reads.positive_reactions_count > 0) as short_reads_liked_count
from fct_content_engagement as reads
inner join content_groups on reads.event_date = content_groups.event_date
    and reads.product = content_groups.product and reads.platform = content_groups.platform
where reads.is_read and not reads.is_bot
group by all;

---------------------------------------------------------------------------------------------------------------
-- What calls are about
---------------------------------------------------------------------------------------------------------------

create temp table topic_names as
select *
from read_csv(
    getvariable('seeds') || '/topic_names.csv',
    types = {'topic_id': 'varchar', 'topic_name': 'varchar', 'counts_as_topic_id': 'varchar'}
);

create table dim_topics as
select
    t.topic_id,
    t.dataset,
    t.topic_number,
    coalesce(n.topic_name, t.topic_name) as topic_name,
    n.topic_name is not null or t.topic_number = 0 as is_named,
    coalesce(n.counts_as_topic_id, t.topic_id) as counts_as_topic_id,
    t.keywords,
    t.texts_count,
    t.stability,
    t.fitted_at
from read_parquet(getvariable('landed') || '/topics/batch-*/data.parquet', union_by_name = true) as t
left join topic_names as n on t.topic_id = n.topic_id
where t._batch_id not in (from superseded)
qualify row_number() over (partition by t.topic_id order by t._batch_id desc, t._line desc) = 1;

create temp table text_topics as
select *
from read_parquet(getvariable('landed') || '/text_topics/event_date=*/*.parquet', hive_partitioning = true)
where _batch_id not in (from superseded)
qualify row_number() over (partition by text_id order by _batch_id desc, _line desc) = 1;

create table fct_call_topics as
select
    c.call_id,
    c.event_date as started_date,
    coalesce(n.counts_as_topic_id, t.topic_id) as topic_id,
    t.topic_id as found_topic_id,
    t.weight,
    t.next_topic_id
from calls as c
inner join text_topics as t on 'calls-' || c._batch_id || '-' || c._line = t.text_id
left join topic_names as n on t.topic_id = n.topic_id;

create table agg_call_topics_daily as
with counted as (
    select
        t.started_date as event_date,
        t.topic_id,
        c.channel,
        c.seller_type,
        case
            when c.duration_seconds < 30 then 'under 30 seconds'
            when c.duration_seconds < 120 then '30 seconds to 2 minutes'
            when c.duration_seconds < 600 then '2 to 10 minutes'
            when c.duration_seconds >= 600 then '10 minutes or more'
        end as call_length,
        count(*) as calls_count,
        cast(sum(cast(t.weight as decimal(28, 9))) as double) as weight
    from fct_call_topics as t
    inner join fct_calls as c on t.call_id = c.call_id
    group by all
)

select
    event_date,
    topic_id,
    channel,
    call_length,
    seller_type,
    calls_count,
    round(weight / calls_count, 6) as mean_weight,
    cast(calls_count as double) / sum(calls_count) over (partition by event_date) as day_share
from counted;
