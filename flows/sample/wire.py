"""How the sample lake's events travel: sent once or twice, late or broken, and written as text or records.

    events -> copies -> delivered -> lines (browsers, NDJSON) and records (apps, Protobuf)

`copies` are the events as sent, dirt included; a day's `delivered` rows are those the collector received that
day. The rest is `waiting`, so late events and visits past midnight find their way into a later day's files by
themselves. `{block}` in a query stands for the block's number.

What is written follows the contract: a field or payload that has no recipe here gets made values (`sample_values`).
"""

from __future__ import annotations

from collections.abc import Iterable

from flows.contract.spec import DatasetSpec, FieldSpec
from flows.sample.values import Values, as_json


def copies(
    block: int, end_ms: int, share: dict[str, float], late_ms: tuple[int, int], retry_ms: tuple[int, int]
) -> str:
    """Every copy of the block's events that is sent, and those on their way. All dirt in rows begins here.

    first copies    arrive within seconds, or late: hours to days after they happened
    retries         the same event once more; nothing is sent so as to arrive after the lake's end (`end_ms`)
    broken rows     copies under ids of their own, so that the good row stays; `flaw` says what the lines
                    and records must break
    """
    broken, bounds = [], 0.0
    for flaw in ("malformed", "missing", "wrong_type", "unreadable"):
        broken.append(f"when draw < {bounds + share[flaw]:.6f} then '{flaw}'")
        bounds += share[flaw]
    return f"""
    create table copies_{block} as
    with sent as (
        select
            *,
            true_ms + 200 + pick(event_no, 'sending', 2000) as sent_ms,
            rnd(event_no, 'late') < {share["late"]} as is_drawn_late,
            {late_ms[0]} + pick(event_no, 'late by', {late_ms[1] - late_ms[0]}) as late_by_ms,
            {retry_ms[0]} + pick(event_no, 'retry after', {retry_ms[1] - retry_ms[0]}) as retry_after_ms
        from events
    ),
    judged as (
        select *, is_drawn_late and sent_ms + late_by_ms < {end_ms} - 1000 as is_late from sent
    ),
    decided as (
        select * replace (sent_ms + if(is_late, late_by_ms, 0) as sent_ms) from judged
    ),
    first_copies as (
        select *, event_no as id_no, 'none' as flaw, false as is_retry from decided
    ),
    retries as (
        select
            * replace (sent_ms + retry_after_ms as sent_ms, false as is_late),
            event_no as id_no, 'none' as flaw, true as is_retry
        from decided
        where rnd(event_no, 'retry') < {share["retry"]} and sent_ms + retry_after_ms < {end_ms} - 1000
    ),
    broken as (
        select
            * exclude (draw),
            event_no + 1125899906842624 as id_no,
            case {" ".join(broken)} end as flaw,
            false as is_retry
        from (select * replace (false as is_late), rnd(event_no, 'broken') as draw from decided)
        where draw < {bounds:.6f}
    ),
    all_copies as (
        select * from first_copies
        union all
        select * from retries
        union all
        -- Only text has lines to cut short and places for words among numbers.
        select * from broken where if(is_app, flaw in ('missing', 'unreadable'), flaw != 'unreadable')
    )
    select
        id_no,
        page_no,
        device_no,
        product,
        is_app,
        is_bot,
        clock_off_ms != 0 as is_clock_off,
        kind,
        true_ms + clock_off_ms as occurred_ms,
        sent_ms + clock_off_ms as sent_ms,
        sent_ms + 40 + pick(id_no, 'network', 400) as received_ms,
        item_id,
        item_type,
        detail,
        number,
        depth,
        flaw,
        pick(id_no, 'field', 4) as flaw_field,
        is_retry,
        is_late,
        flaw = 'none' and rnd(id_no, 'unknown') < {share["unknown"]} as is_unknown
    from all_copies
    union all
    select * from waiting
    """


NO_ONE_WAITS = """
    create or replace table waiting (
        id_no bigint, page_no bigint, device_no bigint, product varchar, is_app boolean, is_bot boolean,
        is_clock_off boolean, kind varchar, occurred_ms bigint, sent_ms bigint, received_ms bigint,
        item_id varchar, item_type varchar, detail varchar, number bigint, depth double, flaw varchar,
        flaw_field bigint, is_retry boolean, is_late boolean, is_unknown boolean
    )
"""


def delivered(block: int, end_ms: int) -> Iterable[str]:
    """The copies that the collector received by the end of the block; the others wait for a later one.

    The names carry the block's number, as it is written down while the next block is made.
    """
    yield f"create or replace table waiting as from copies_{block} where received_ms >= {end_ms}"
    yield f"create view delivered_{block} as from copies_{block} where received_ms < {end_ms}"


COUNTS = """
    select
        days.day,
        count(*) filter (where not is_app) as web_rows,
        count(*) filter (where is_app) as apps_rows,
        count(*) filter (where flaw = 'none' and not is_retry) as distinct_events,
        count(*) filter (where is_retry) as retries,
        count(*) filter (where is_late) as late,
        count(*) filter (where is_clock_off and flaw = 'none') as clock_off,
        count(*) filter (where is_bot and flaw = 'none') as bots,
        count(*) filter (where is_unknown) as unknown_fields,
        count(*) filter (where flaw = 'malformed') as malformed_lines,
        count(*) filter (where flaw = 'missing') as missing_fields,
        count(*) filter (where flaw = 'wrong_type') as wrong_types,
        count(*) filter (where flaw = 'unreadable') as unreadable_records
    from delivered_{block} as delivered asof inner join days on received_ms >= days.start_ms
    group by days.day
    order by days.day
"""

# The columns of COUNTS that are dirt.
DIRT = (
    "retries",
    "late",
    "clock_off",
    "bots",
    "unknown_fields",
    "malformed_lines",
    "missing_fields",
    "wrong_types",
    "unreadable_records",
)

ADVERT = {
    "advert_id": "item_id",
    "slot": "item_type",
    "position": "number::int",
    "page_type": "detail",
    "request_id": "'r-' || page_no",
    "is_random_order": "(rnd(page_no, 'order') < 0.05)",
}
CONTENT = {"content_id": "item_id", "content_type": "item_type"}

# What the payloads hold that the sample fills. Which fields are written, the contract says.
PAYLOADS = {
    "content_view": CONTENT | {"referrer": "detail"},
    "content_progress": CONTENT | {"depth": "depth", "active_ms": "number"},
    "content_reaction": CONTENT | {"reaction": "detail"},
    "search": {"query": "detail", "results_count": "number"},
    "advert_impression": ADVERT,
    "advert_click": ADVERT,
    "enquiry": {"advert_id": "item_id", "channel": "detail"},
}

# The envelope in Protobuf; `LINES` writes the same fields as text, made once per device where they can be.
ENVELOPE = {
    "event_id": "if(flaw = 'missing' and flaw_field = 0, null, event_uuid(id_no, occurred_ms))",
    "occurred_at": "make_timestamp_ms(occurred_ms)",
    "sent_at": "make_timestamp_ms(sent_ms)",
    "received_at": "if(flaw = 'missing' and flaw_field = 1, null, make_timestamp_ms(received_ms))",
    "product": "if(flaw = 'missing' and flaw_field = 2, null, product)",
    "platform": "platform",
    "app_version": "app_version",
    "device_id": "if(flaw = 'missing' and flaw_field = 3, null, device_id)",
    "user_id": "user_id",
    "session_id": "'s-' || (page_no // 16)",
    "consent": "consent",
    "country": "country",
    "ip_address": "ip_address",
    "user_agent": "user_agent",
}


class Wire:
    """The two queries that write a block's events, each with the fields that the contract says events have."""

    def __init__(self, spec: DatasetSpec, values: Values) -> None:
        self._spec = spec
        self._values = values

    def _fields(self, payload: str | None) -> list[FieldSpec]:
        return [field for field in self._spec.fields if field.payload == payload]

    def _made(self, field: FieldSpec) -> str:
        """The value of a field without a recipe: the same in every copy of the event."""
        # What no recipe knows takes the place of heartbeats, which are about a piece of content.
        about = CONTENT.get(field.name) if field.payload and field.payload not in PAYLOADS else None
        return about or self._values.of(field, "id_no", "occurred_ms")

    def lines(self, block: int) -> str:
        """A row per line of browsers' files: `line`."""
        envelope = "".join(
            f""" '"{field.name}":', {as_json(field, self._made(field))}, ',',"""
            for field in self._fields(None)
            if field.name not in ENVELOPE
        )
        payloads = " ".join(
            f"when '{payload}' then {self._payload_as_json(payload)}" for payload in self._spec.payloads
        )
        return LINES.format(block=block, envelope=envelope, payloads=payloads)

    def _payload_as_json(self, payload: str) -> str:
        members = []
        for field in self._fields(payload):
            recipe = PAYLOADS.get(payload, {}).get(field.name)
            if recipe is None:
                text = as_json(field, self._made(field))
            elif field.type == "string":
                # No text of the sample needs an escape, and this is twice as fast as `to_json`.
                text = f"""coalesce('"' || {recipe} || '"', 'null')"""
            else:
                text = recipe
            members.append(f"""'"{field.name}":', {text}""")
        return f"""concat('":{{', {", ',', ".join(members)}, '}}}}')"""

    def records(self, block: int) -> str:
        """A row per record of apps' files: a column per field of the contract's event, and what dirt to add."""
        columns = [f"{ENVELOPE.get(field.name) or self._made(field)} as {field.name}" for field in self._fields(None)]
        for payload in self._spec.payloads:
            recipes = PAYLOADS.get(payload, {})
            members = [
                f"{field.name}: {recipes.get(field.name) or self._made(field)}" for field in self._fields(payload)
            ]
            columns.append(f"case when kind = '{payload}' then {{{', '.join(members)}}} end as {payload}")
        return RECORDS.format(block=block, columns=", ".join(columns))


# Ordered narrow, then written out: sorting numbers is cheaper than sorting text.
# Ordered narrow, then written out: sorting numbers is cheaper than sorting text.
LINES = """
    with texts as (
        select
            delivered.*,
            device_texts.head,
            device_texts.tail
        from delivered_{block} as delivered inner join device_texts using (device_no)
        where not is_app
        order by received_ms, id_no, sent_ms
    ),
    lines as (
        select
            kind,
            flaw,
            flaw_field,
            id_no,
            concat(
                '{{', if(is_unknown, '"experiment":"blue",', ''),
                '"event_id":"', event_uuid(id_no, occurred_ms),
                '","occurred_at":"', iso(occurred_ms),
                '","sent_at":"', iso(sent_ms),
                '","received_at":"', iso(received_ms),
                '","product":"', product, head, tail,{envelope}
                '"', kind,
                case kind {payloads}
                end
            ) as line
        from texts
    )
    select
        case flaw
            when 'none' then line
            when 'malformed' then left(line, 20 + pick(id_no, 'cut', 200))
            when 'missing' then regexp_replace(
                line,
                '"' || ['event_id', 'received_at', 'product', 'device_id'][1 + flaw_field] || '":"[^"]*",',
                ''
            )
            when 'wrong_type' then
                case
                    when kind = 'content_progress'
                        then regexp_replace(line, '"active_ms":[0-9]+', '"active_ms":"lots"')
                    when kind in ('advert_impression', 'advert_click')
                        then regexp_replace(line, '"position":[0-9]+', '"position":"first"')
                    else regexp_replace(line, '"occurred_at":"[^"]*"', '"occurred_at":"yesterday"')
                end
        end || chr(10) as line
    from lines
"""

RECORDS = """
    with ordered as (
        select delivered.*, devices.* exclude (device_no, is_bot)
        from delivered_{block} as delivered inner join devices using (device_no)
        where is_app
        order by received_ms, id_no, sent_ms
    )
    select {columns}, is_unknown, flaw = 'unreadable' as is_unreadable
    from ordered
"""
