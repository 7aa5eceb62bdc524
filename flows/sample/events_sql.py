"""The made-up world of the sample lake and what happens in it, as named SQL steps.

Nothing is random: `rnd(n, 'purpose')` is a number from 0 up to 1 that depends on the seed, the row's own
number and what the number is for, so neither threads nor the order of the rows can change a value.
Times are milliseconds since 1970 in UTC (`_ms`). A block of days (table `block`, of the table `days`) is made
at a time, by these steps, which `sample_wire` continues:

    visits -> pages -> impressions -> chosen_pages -> events

Numbers name things: visit_no = day * 2^24 + visit of the day, page_no = visit_no * 16 + page of the visit,
event_no = page_no * 64 + step of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# The share of clicks that an advert loses by standing lower: position -> factor.
POSITION_EFFECT = {1: 1.0, 2: 0.72, 3: 0.57, 4: 0.47, 5: 0.41, 6: 0.36, 7: 0.32, 8: 0.29}

# How many heartbeats are sent as each kind of event that the contract has and the sample has no recipe for.
OTHER_SHARE = 0.01


def macros(seed: int) -> Iterable[str]:
    """`rnd` and what is built upon it."""
    yield f"""
    create or replace macro rnd(n, purpose) as
        (hash(xor((n)::ubigint, hash(purpose || ':{seed}'))) >> 11)::double / 9007199254740992.0
    """
    # A whole number from 0 up to `size` - 1.
    yield "create or replace macro pick(n, purpose, size) as floor(rnd(n, purpose) * (size))::bigint"
    yield "create or replace macro choose(n, purpose, options) as options[1 + pick(n, purpose, len(options))]"
    yield """
    create or replace macro iso(ms) as strftime(make_timestamp_ms(ms), '%Y-%m-%dT%H:%M:%S.%gZ')
    """
    # A UUID of version 7: the time in front, then the row's own digits.
    yield f"""
    create or replace macro event_uuid(n, ms) as printf(
        '%08x-%04x-7%03x-a%03x-%012x',
        ms >> 16,
        ms & 65535,
        (hash(xor((n)::ubigint, hash('uuid:{seed}'))) >> 52)::bigint,
        (hash(xor((n)::ubigint, hash('uuid:{seed}'))) & 4095)::bigint,
        (hash(xor((n)::ubigint, hash('uuid:{seed}'))) >> 20)::bigint
    )
    """


# More visits than a day needs: `chosen_pages` keeps as many as make up the day's events. A visit makes some
# 20 events: one visit per 12 events, and 100, are always enough.
# Persons are drawn with a long tail: a power of an even draw favours low numbers.
VISITS = """
    create or replace table visits as
    with numbered as (
        select day, day * 16777216 + number as visit_no
        from block, unnest(range(events // 12 + 100)) as numbers(number)
    ),
    drawn as (
        select
            *, floor(power(rnd(visit_no, 'person'), 1.9) * (select count(*) from people))::bigint as person_no
        from numbered
    ),
    placed as (
        select
            visit_no,
            day,
            person_no * 4
                + floor(power(rnd(visit_no, 'device'), 1.6) * devices_count)::bigint as device_no,
            rnd(visit_no, 'hour') as hour_draw
        from drawn inner join people using (person_no)
    ),
    timed as (
        select
            visit_no,
            placed.day,
            device_no,
            hours.start_ms + pick(visit_no, 'moment', 3600000) as start_ms,
            hours.quarter
        from placed asof inner join hours on placed.day = hours.day and placed.hour_draw >= hours.low
    ),
    with_product as (
        select
            timed.*,
            rnd(visit_no, 'product') as product_draw,
            platform,
            is_bot,
            clock_off_ms
        from timed inner join devices using (device_no)
    )
    select
        visit_no,
        day,
        device_no,
        start_ms,
        quarter,
        platform != 'web' as is_app,
        is_bot,
        clock_off_ms,
        case
            when platform = 'tv' then
                case when product_draw < 0.86 then 'play' when product_draw < 0.95 then 'news'
                    else 'sport' end
            when product_draw < 0.42 then 'news'
            when product_draw < 0.62 then 'sport'
            when product_draw < 0.72 then 'play'
            else 'market'
        end as product
    from with_product
"""


# What a visit consists of. A page's heartbeats follow from how long its content is and how much of it was
# taken in; most people leave early, some finish.
PAGES = """
    create or replace table pages as
    with opened as (
        select
            visits.*,
            visit_no * 16 + page_index as page_no,
            rnd(visit_no * 16 + page_index, 'page') as page_draw
        from (
            select *, least(12, 1 + floor(-2.4 * ln(1 - rnd(visit_no, 'pages'))))::bigint as pages_count
                from visits
        ) as visits, unnest(range(pages_count)) as indexes(page_index)
    ),
    named as (
        select
            *,
            case
                when product = 'market' and page_draw < 0.78 then 'adverts'
                when page_draw > 0.94 then 'search'
                else 'content'
            end as page_kind
        from opened
    ),
    ranked as (
        -- Long-tailed: the logarithm of the rank is drawn evenly.
        select
            named.*,
            floor(power(counts.contents_count + 5, rnd(page_no, 'content'))
                * power(5, 1 - rnd(page_no, 'content')))::bigint - 4 as content_rank
        from named left join day_content_counts as counts using (day, product, quarter)
    ),
    filled as (
        select
            ranked.*,
            contents.content_id,
            contents.content_type,
            contents.length_ms,
            contents.beat_ms,
            case
                when page_kind != 'content' then 0
                else ceil(
                    least(1.0, 1.15 * power(rnd(page_no, 'taken in'), 1.5))
                    * contents.length_ms / contents.beat_ms
                )::bigint
            end as heartbeats_count,
            page_kind = 'content' and rnd(page_no, 'reacts') < 0.03 as has_reaction
        from ranked
        left join day_contents as contents using (day, product, quarter, content_rank)
    )
    select
        *,
        case page_kind
            when 'content' then heartbeats_count * beat_ms + 3000
            when 'search' then 5000
            else 15000 + pick(page_no, 'browsing', 45000)
        end
        -- A pause before the next page: seconds as a rule, now and then long, but never
        -- the 30 minutes that end a session.
        + case
            when rnd(page_no, 'pause') < 0.04 then 300000 + pick(page_no, 'long pause', 1380000)
            else 1000 + pick(page_no, 'short pause', 15000)
        end as duration_ms
    from filled
"""


def impressions() -> str:
    """A request fills a slot: positions 1 to n. Clicks follow quality x position effect, and nothing else.

    Steps of the golden ratio spread a request's adverts over the list without meeting one twice.
    """
    effects = ", ".join(str(effect) for effect in POSITION_EFFECT.values())
    return f"""
    create or replace table impressions as
    with requests as (
        select
            page_no,
            day,
            adverts_count,
            case
                when rnd(page_no, 'slot') < 0.7 then 'search_results'
                when rnd(page_no, 'slot') < 0.9 then 'similar' else 'home_top'
            end as slot
        from pages inner join day_advert_counts using (day) where page_kind = 'adverts'
    ),
    placed as (
        select
            page_no,
            day,
            slot,
            case slot when 'search_results' then 'search' when 'similar' then 'advert' else 'home' end
                as page_type,
            position,
            page_no * 64 + position as event_no,
            floor(
                power((rnd(page_no, 'adverts') + position * 0.6180339887498949) % 1.0, 1.5) * adverts_count
            )::bigint as advert_rank
        from requests, range(1, 9) as positions(position)
        where position <= case slot when 'search_results' then 8 when 'similar' then 4 else 3 end
    ),
    clicked as (
        select
            placed.*,
            advert_id,
            rnd(event_no, 'click') < quality * [{effects}][position] as is_clicked
        from placed inner join day_adverts using (day, advert_rank)
    )
    select *, is_clicked and rnd(event_no, 'enquiry') < 0.2 as is_enquired from clicked
    """


def chosen_pages(end_ms: int) -> str:
    """The first pages that together make no more than the day's events, and when each begins.

    A visit that would run past the lake's last moment (`end_ms`) begins as much earlier.
    """
    return f"""
    create or replace table chosen_pages as
    with day_targets as (
        select day, events as target from block
    ),
    clicks as (
        select page_no, count(*) + sum(is_clicked::int + is_enquired::int) as events_count
        from impressions group by page_no
    ),
    sized as (
        select
            pages.*,
            case page_kind
                when 'content' then 1 + heartbeats_count + has_reaction::int
                when 'search' then 1
                else coalesce(clicks.events_count, 0)
            end::bigint as page_events_count
        from pages left join clicks using (page_no)
    ),
    summed as (
        select *, sum(page_events_count) over (
            partition by day order by page_no rows unbounded preceding
        )::bigint as events_so_far
        from sized
    ),
    placed as (
        select
            *,
            sum(duration_ms) over (partition by visit_no order by page_no rows unbounded preceding)::bigint
                - duration_ms as offset_ms,
            sum(duration_ms) over (partition by visit_no)::bigint as visit_ms
        from summed inner join day_targets using (day) where events_so_far <= target
    )
    select *, least(start_ms, {end_ms} - visit_ms - 300000) + offset_ms as page_ms from placed
    """


def events(end_ms: int, others: Sequence[str] = ()) -> str:
    """Exactly each day's events. What whole pages leave open is filled by searches, one after the other.

    `others` are kinds of event without a recipe: each takes the place of some heartbeats.
    """
    kinds = ", ".join(f"'{kind}'" for kind in others)
    reported_as = f"""
        if(
            kind = 'content_progress' and rnd(event_no, 'other') < {OTHER_SHARE * len(others)},
            choose(event_no, 'which other', [{kinds}]),
            kind
        )
    """
    content_events = f"* replace ({reported_as} as kind)" if others else "*"
    return f"""
    create or replace table events as
    with content_steps as (
        select *, page_no * 64 + step as event_no
        from chosen_pages, unnest(range(page_events_count)) as steps(step)
        where page_kind = 'content'
    ),
    content_events as (
        select
            event_no, day, page_no, product, device_no, is_app, is_bot, clock_off_ms,
            case when step = 0 then 'content_view' when step <= heartbeats_count then 'content_progress'
                else 'content_reaction' end as kind,
            page_ms + case
                when step = 0 then 0
                when step <= heartbeats_count then step * beat_ms + pick(event_no, 'jitter', 900)
                else heartbeats_count * beat_ms + 1500
            end as true_ms,
            content_id as item_id,
            content_type as item_type,
            case
                when step = 0 then [
                    null, 'https://example.org/', 'https://search.example/', 'https://social.example/'
                ][1 + pick(event_no, 'referrer', 4)]
                when step > heartbeats_count then
                    choose(event_no, 'reaction', [
                        'like', 'like', 'like', 'share', 'save', 'comment', 'dislike'
                    ])
            end as detail,
            (beat_ms - pick(event_no, 'away', beat_ms // 3))::bigint as number,
            least(1.0, round(step * beat_ms / length_ms, 3)) as depth
        from content_steps
    ),
    advert_pages as (
        select impressions.*, product, device_no, is_app, is_bot, clock_off_ms, page_ms
        from impressions inner join chosen_pages as pages using (page_no)
    ),
    advert_events as (
        select
            event_no, day, page_no, product, device_no, is_app, is_bot, clock_off_ms, 'advert_impression'
                as kind,
            page_ms + position * 20 as true_ms,
            advert_id as item_id, slot as item_type, page_type as detail, position as number, 0.0 as depth
        from advert_pages
        union all
        select
            event_no + 16, day, page_no, product, device_no, is_app, is_bot, clock_off_ms, 'advert_click',
            page_ms + 1000 + position * 1200 + pick(event_no, 'click time', 3000),
            advert_id, slot, page_type, position, 0.0
        from advert_pages where is_clicked
        union all
        select
            event_no + 32, day, page_no, product, device_no, is_app, is_bot, clock_off_ms, 'enquiry',
            page_ms + 15000 + position * 1200 + pick(event_no, 'enquiry time', 60000),
            advert_id, null, if(rnd(event_no, 'channel') < 0.6, 'call', 'message'), 0, 0.0
        from advert_pages where is_clicked and is_enquired
    ),
    gaps as (
        -- A day of few events may have no whole page at all: then its first visit searches.
        select
            block.day,
            coalesce(max(visit_no), block.day * 16777216) as visit_no,
            any_value(block.events) - coalesce(max(events_so_far), 0) as missing_count
        from block left join chosen_pages using (day)
        group by block.day
    ),
    last_pages as (
        select
            day, visit_no * 16 + 15 as page_no, product, device_no, is_app, is_bot, clock_off_ms,
            least(start_ms, {end_ms} - 300000) as page_ms, missing_count
        from gaps inner join visits using (day, visit_no)
    ),
    search_pages as (
        select day, page_no, product, device_no, is_app, is_bot, clock_off_ms, page_ms, page_no * 64
            as event_no
        from chosen_pages where page_kind = 'search'
        union all
        select
            day, page_no, product, device_no, is_app, is_bot, clock_off_ms,
            page_ms + step * 500, page_no * 64 + step
        from last_pages, unnest(range(missing_count)) as steps(step)
    ),
    search_events as (
        select
            event_no, day, page_no, product, device_no, is_app, is_bot, clock_off_ms, 'search' as kind,
            page_ms as true_ms, null as item_id, null as item_type,
            choose(event_no, 'query', [
                'väder stockholm', 'allsvenskan tabell', 'val 2026', 'recept pannkakor', 'elbil begagnad',
                'dokumentär', 'hockey resultat', 'volvo v60 diesel', 'räntan', 'barnprogram'
            ]) as detail,
            pick(event_no, 'results', 60) as number, 0.0 as depth
        from search_pages
    )
    select {content_events} from content_events
    union all
    select * from advert_events
    union all
    select * from search_events
    """
