"""The tables of the sample lake and how they are delivered: contents, adverts, accounts and others, as SQL steps.

Each table is a list of versions, worked out for all days at the start; a day's extract is the rows created or
changed that day (in the first extract: every row there is), each in its last version of that day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from flows.contract.spec import OWN_SOURCE, DatasetSpec, FieldSpec
from flows.sample.values import Values


class Extract(NamedTuple):
    """Where a table is delivered, and the query from `{first_ms}` to `{end_ms}` that makes an extract.

    `without` names fields of the contract that are never delivered.
    """

    source: str
    dataset: str
    format: str
    query: str
    without: tuple[str, ...] = ()


def contents(initial: int, per_day: int, days: int) -> str:
    """Articles and videos: some older than the lake, then `per_day` more each day."""
    return f"""
    create or replace table contents as
    with numbered as (
        select
            range as content_no,
            -- Those published before the lake begins are spread over the year before, most of them lately.
            if(
                range < {initial},
                -1 - floor(power(rnd(range, 'content age'), 3) * 365)::bigint,
                (range - {initial}) // {per_day}
            ) as day,
            rnd(range, 'content product') as product_draw
        from range({initial + per_day * days})
    ),
    described as (
        select
            *,
            case when product_draw < 0.45 then 'news' when product_draw < 0.70 then 'sport'
                when product_draw < 0.92 then 'play' else 'market' end as product
        from numbered
    ),
    typed as (
        select
            *,
            if(product = 'play' or (product != 'market' and rnd(content_no, 'content type') < 0.12), 'video',
                'article')
                as content_type
        from described
    ),
    measured as (
        select
            *,
            'c-' || content_no as content_id,
            if(content_type = 'article', (120 + power(rnd(content_no, 'words'), 2) * 1100)::bigint, null)
                as word_count,
            if(content_type = 'video', (60 + power(rnd(content_no, 'seconds'), 2) * 540)::bigint, null)
                as duration_seconds,
            coalesce(start_ms, (select min(start_ms) from days) + day * 86400000)
                + pick(content_no, 'published', 82800000) as published_ms
        from typed left join days using (day)
    )
    select
        * exclude (start_ms, end_ms, product_draw),
        choose(content_no, 'section', case product
            when 'news' then ['domestic', 'world', 'economy', 'culture', 'science']
            when 'sport' then ['football', 'ice hockey', 'athletics', 'skiing']
            when 'play' then ['drama', 'documentary', 'children', 'entertainment']
            else ['guides', 'tests']
        end) as section,
        choose(content_no, 'author', [
            'Maja Exempel', 'Olle Provsson', 'Sara Testberg', 'Nils Påhittad', 'Eva Låtsas', 'Karin Mönster'
        ]) as author,
        choose(content_no, 'what', ['The new', 'A long', 'The quiet', 'One more', 'The last', 'An unusual'])
            || choose(content_no, 'thing', [' season', ' vote', ' winter', ' final', ' budget', ' road',
                ' record'])
            || choose(content_no, 'where', [' in the north', ' in the city', ' at sea', ', explained',
                ' in numbers'])
            as title,
        -- Four words a second; heartbeats come every 10 s of text and 15 s of video.
        coalesce(word_count * 250, duration_seconds * 1000) as length_ms,
        if(content_type = 'article', 10000, 15000) as beat_ms,
        rnd(content_no, 'content appeal') as appeal
    from measured
    order by content_no
    """


# Titles are edited, most of them when new.
CONTENT_VERSIONS = """
    create or replace table content_versions as
    with edits as (
        select
            content_no,
            days.start_ms + pick(content_no * 4096 + days.day, 'edited at', 82800000) as updated_ms
        from contents inner join days on contents.day < days.day
        where rnd(content_no * 4096 + days.day, 'edit') < if(days.day - contents.day <= 2, 0.06, 0.003)
    ),
    versions as (
        select content_no, published_ms as updated_ms from contents
        union all
        select content_no, updated_ms from edits
    )
    select
        contents.content_id, content_type, product,
        contents.title || case row_number() over edition
            when 1 then ''
            when 2 then ' (updated)'
            else ' (updated ' || (row_number() over edition - 1) || ' times)'
        end as versioned_title,
        section, author, word_count, duration_seconds, published_ms, updated_ms
    from versions inner join contents using (content_no)
    window edition as (partition by content_no order by updated_ms)
"""


def adverts(initial: int, per_day: int, days: int) -> str:
    """Cars for sale. `quality` is the chance of a click in position 1; it is never delivered."""
    return f"""
    create or replace table adverts as
    with numbered as (
        select
            range as advert_no,
            if(
                range < {initial}, -1 - pick(range, 'advert age', 40), (range - {initial}) // {per_day}
            ) as day
        from range({initial + per_day * days})
    )
    select
        advert_no,
        numbered.day,
        -- The day it is sold. An old advert that is still there is sold no sooner than the lake's second day.
        greatest(numbered.day, 0) + 1 + pick(advert_no, 'days to sale', 60) as sold_day,
        'a-' || advert_no as advert_id,
        's-' || pick(advert_no, 'seller', {max(10, initial // 20)}) as seller_id,
        if(rnd(hash(seller_id), 'seller type') < 0.4, 'franchise', 'independent') as seller_type,
        choose(advert_no, 'model', [
            'Volvo V60', 'Volvo XC40', 'Saab 9-3', 'Volkswagen Golf', 'Volkswagen ID.4', 'Toyota Corolla',
            'Tesla Model 3', 'Kia Niro', 'BMW 320d', 'Skoda Octavia', 'Polestar 2', 'Renault Zoe'
        ]) as make_model,
        (20 + pick(advert_no, 'price', 430)) * 1000 as first_price,
        pick(advert_no, 'photos', 25) as photo_count,
        coalesce(start_ms, (select min(start_ms) from days) + numbered.day * 86400000)
            + pick(advert_no, 'listed at', 82800000) as listed_ms,
        round(0.02 + 0.3 * power(rnd(advert_no, 'quality'), 2), 4) as quality,
        rnd(advert_no, 'advert appeal') as appeal
    from numbered left join days on numbered.day = days.day
    order by advert_no
    """


ADVERT_VERSIONS = """
    create or replace table advert_versions as
    with changes as (
        select
            advert_no,
            days.start_ms + pick(advert_no * 4096 + days.day, 'changed at', 82800000) as updated_ms,
            days.day = sold_day as is_sold,
            rnd(advert_no * 4096 + days.day, 'drop') < 0.8 as is_drop
        from adverts inner join days on adverts.day < days.day and days.day <= sold_day
        where days.day = sold_day or rnd(advert_no * 4096 + days.day, 'change') < 0.04
    ),
    versions as (
        select advert_no, listed_ms as updated_ms, false as is_sold, false as is_drop from adverts
        union all
        select * from changes
    )
    select
        advert_id, seller_id, seller_type, make_model,
        -- Each drop takes 4 % off; what is no drop adds a photo, and a sale changes the status alone.
        round(first_price * power(0.96, count_if(is_drop and not is_sold) over history), 0) as price,
        photo_count + count_if(not is_drop and not is_sold and updated_ms != listed_ms) over history
            as photo_count,
        listed_ms, updated_ms,
        if(is_sold, 'sold', 'listed') as status
    from versions inner join adverts using (advert_no)
    window history as (partition by advert_no order by updated_ms)
"""


# What can be shown or opened on a day. A piece of content is on offer from the quarter of the day after its
# publication, news fading within days; an advert from the day after its listing until it is sold.
DAY_CONTENTS = """
    create or replace table day_contents as
    with offered as (
        select
            contents.* exclude (day),
            block.day,
            quarter,
            (block.start_ms + quarter * 21600000 - published_ms) / 86400000.0 as age_days
        from contents, block, range(4) as quarters(quarter)
        where published_ms < block.start_ms + quarter * 21600000
    )
    select
        day, product, quarter, content_id, content_type, length_ms, beat_ms,
        row_number() over (
            partition by day, product, quarter
            order by appeal * exp(-age_days / if(content_type = 'video', 60, 4)) desc, content_no
        ) as content_rank
    from offered
"""

DAY_CONTENT_COUNTS = """
    create or replace table day_content_counts as
    select day, product, quarter, count(*) as contents_count from day_contents group by day, product, quarter
"""

DAY_ADVERTS = """
    create or replace table day_adverts as
    select
        block.day, advert_id, quality,
        row_number() over (partition by block.day order by appeal, advert_no) - 1 as advert_rank
    from adverts, block
    where adverts.day < block.day and sold_day > block.day
"""

DAY_ADVERT_COUNTS = """
    create or replace table day_advert_counts as
    select day, count(*) as adverts_count from day_adverts group by day
"""


_LATEST = "qualify row_number() over (partition by {key} order by updated_ms desc) = 1"

EXTRACTS = (
    Extract(
        "cms",
        "contents",
        "csv",
        f"""
        select
            content_id, content_type, product, versioned_title as title, section, author, word_count,
                duration_seconds,
            iso(published_ms) as published_at, iso(updated_ms) as updated_at
        from content_versions
        where updated_ms >= {{first_ms}} and updated_ms < {{end_ms}}
        {_LATEST.format(key="content_id")}
        order by content_id
        """,
    ),
    Extract(
        "market",
        "adverts",
        "parquet",
        f"""
        select
            advert_id, seller_id, make_model, price::double as price, photo_count::bigint as photo_count,
            to_timestamp(listed_ms / 1000) as listed_at,
            to_timestamp(updated_ms / 1000) as updated_at,
            status,
            seller_type
        from advert_versions
        where updated_ms >= {{first_ms}} and updated_ms < {{end_ms}}
        {_LATEST.format(key="advert_id")}
        order by advert_id
        """,
    ),
    Extract(
        "crm",
        "accounts",
        "csv",
        f"""
        select
            account_id, user_id, email, phone, full_name, birth_date, address,
            iso(created_ms) as created_at, iso(updated_ms) as updated_at,
            to_json(consent)::varchar as consent, iso(consent_ms) as consent_updated_at
        from account_versions
        where updated_ms >= {{first_ms}} and updated_ms < {{end_ms}}
        {_LATEST.format(key="account_id")}
        order by account_id
        """,
    ),
    Extract(
        "cmp",
        "consents",
        "ndjson",
        """
        select
            consent_id, device_id, user_id, purpose, is_granted, iso(valid_ms) as valid_from,
            iso(received_ms) as received_at
        from consent_records
        where delivered_ms >= {first_ms} and delivered_ms < {end_ms}
        order by delivered_ms, consent_id
        """,
        without=("stated_in",),
    ),
    Extract(
        "telephony",
        "calls",
        "parquet",
        """
        select
            call_id, advert_id, to_timestamp(started_ms / 1000) as started_at, duration_seconds, channel,
            transcript
        from calls_{block}
        where day = {day}
        order by started_ms, call_id
        """,
    ),
)


# Where the versions stand of things whose keys are listed.
VERSIONS = {"accounts": "account_versions", "adverts": "advert_versions", "contents": "content_versions"}
# Rows a day of a dataset that has no extract above.
MADE_ROWS = 25


def extracts(specs: Mapping[str, DatasetSpec], values: Values) -> list[Extract]:
    """What is delivered each day: the extracts above, the keys of their things, of which nothing is ever deleted, and
    one of made values for each other dataset of the contract."""
    known = {"events", *(extract.dataset for extract in EXTRACTS)}
    others = [spec for spec in specs.values() if spec.name not in known and spec.source != OWN_SOURCE]
    lists = [_listed(spec) for spec in others if spec.keys_of in VERSIONS]
    return [*EXTRACTS, *lists, *(_made(spec, values) for spec in others if spec.keys_of is None)]


def _listed(spec: DatasetSpec) -> Extract:
    (key,) = spec.key
    versions = VERSIONS[str(spec.keys_of)]
    # In an order of the seed's.
    query = f"""
        with there as (select distinct {key} from {versions} where updated_ms < {{end_ms}})
        select {key} from there order by pick(hash({key}), 'listed', 1000000000), {key}
    """
    return Extract(spec.source, spec.name, "parquet", query)


def completed(
    extract: Extract, query: str, columns: Collection[str], spec: DatasetSpec, values: Values, day_ms: int
) -> str:
    """An extract's query, with made values for the contract's fields that are not among its columns."""
    key = f"hash({', '.join(spec.key)})"
    there = {*columns, *extract.without}
    missing = [field for field in spec.fields if field.path not in there and field.payload not in there]
    if not missing:
        return query
    made = ", ".join(
        f"{_written(extract, field, values.of(field, key, str(day_ms)))} as {field.name}" for field in missing
    )
    return f"select *, {made} from ({query})"


def _written(extract: Extract, field: FieldSpec, value: str) -> str:
    """A typed value as the extract's format has it: a list stands in CSV as JSON."""
    return f"to_json({value})::varchar" if (extract.format, field.type) == ("csv", "string[]") else value


def _made(spec: DatasetSpec, values: Values) -> Extract:
    def of(payload: str | None) -> list[tuple[str, str]]:
        # A minute between a row's moments, in the order of the contract: created before updated.
        return [
            (field.name, values.of(field, "row_no", f"moment_ms + {minute * 60_000}", is_key=field.name in spec.key))
            for minute, field in enumerate(spec.fields)
            if field.payload == payload
        ]

    columns = [f"{value} as {name}" for name, value in of(None)]
    for number, payload in enumerate(spec.payloads):
        members = ", ".join(f"{name}: {value}" for name, value in of(payload))
        columns.append(f"case when row_no % {len(spec.payloads)} = {number} then {{{{{members}}}}} end as {payload}")
    query = f"""
        with numbered as (
            select {{day}} * 4096 + range as row_no, start_ms
            from days, range({MADE_ROWS})
            where day = {{day}}
        ),
        placed as (
            select row_no, start_ms + pick(row_no, 'made {spec.name}', 79200000) as moment_ms from numbered
        )
        select {", ".join(columns)} from placed order by row_no
    """
    return Extract(spec.source, spec.name, "parquet", query)
