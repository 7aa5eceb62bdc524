"""What a value means does not depend on the rows around it, nor on the format that brings it."""

import json
import re
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from flows.contract.spec import load_specs
from flows.land.pseudonyms import Pseudonymiser
from flows.land.receipt import Receipt
from tests.support.contract_reading import landed_consent
from tests.support.deliveries import ABSENT, VIEW, csv_of, event, in_format, ndjson, parquet_of
from tests.support.lake import KEY, Lake

FORMATS = ["ndjson", "pb", "parquet", "csv"]
TEXT_FORMATS = ["ndjson", "csv", "parquet"]
NIL = "00000000-0000-0000-0000-000000000000"


def as_text(rows: list[dict[str, Any]], suffix: str) -> bytes:
    """Events as a file that holds every value of the envelope as text, the payload by path."""
    if suffix == "ndjson":
        return ndjson(rows)
    if suffix == "csv":
        return csv_of(rows)
    flat = [
        {f.path: (row.get(f.payload) or {} if f.payload else row).get(f.name) for f in EVENTS.fields} for row in rows
    ]
    names = [name for name in flat[0] if any(row[name] is not None for row in flat)]
    return parquet_of(pa.table({name: [_text(row[name]) for row in flat] for name in names}))


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


EVENTS = load_specs()["events"]


@pytest.mark.parametrize("suffix", TEXT_FORMATS)
@pytest.mark.parametrize("named", ["2026-01-15T10:00:00 America/New_York", "2026-01-15 10:00:00 BST", "10:00 CET"])
@pytest.mark.parametrize("others_fault", [{}, {"platform": "fax"}], ids=["", "rejected for another reason"])
def test_a_row_that_names_a_zone_leaves_the_rows_after_it_alone(
    lake: Lake, suffix: str, named: str, others_fault: dict[str, Any]
) -> None:
    plain = "2026-01-15T10:00:00"
    rows = [event(0, occurred_at=named, **others_fault)] + [event(n, occurred_at=plain) for n in range(1, 9)]
    receipt = lake.land_one(f"web/events/part.{suffix}", as_text(rows, suffix))
    assert (receipt.rows_landed, receipt.rows_rejected) == (8, 1)
    assert {row["occurred_at"] for row in lake.rows()} == {datetime(2026, 1, 15, 10)}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("nobody", ["", "  ", NIL])
def test_an_empty_id_is_nobody_in_every_format(lake: Lake, suffix: str, nobody: str) -> None:
    rows = [event(n, user_id=nobody, session_id=nobody, device_id=f"d-{n}") for n in range(3)]
    lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix))
    assert [(row["user_key"], row["session_id"]) for row in lake.rows()] == [(None, None)] * 3
    assert len({row["device_key"] for row in lake.rows()}) == 3


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("nobody", ["", " ", NIL])
@pytest.mark.parametrize("name", ["device_id", "event_id"])
def test_a_required_id_that_is_none_is_missing_in_every_format(lake: Lake, suffix: str, nobody: str, name: str) -> None:
    rows = [event(1), event(2, **{name: nobody}), event(3)]
    lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix))
    assert [(r["_line"] - (suffix == "csv"), r["reason"], r["field"]) for r in lake.rejects()] == [(2, "missing", name)]


def test_many_rows_without_a_person_land_by_the_short_way_as_by_the_long(lake: Lake) -> None:
    rows = [event(n, user_id="" if n % 2 else f"u-{n}", device_id=f"d-{n % 7}") for n in range(300)]
    lake.land_one("web/events/part.ndjson", ndjson(rows))
    keys = Pseudonymiser(KEY.encode())
    expected = [None if n % 2 else keys.one("user_key", f"u-{n}") for n in range(300)]
    assert [row["user_key"] for row in lake.rows()] == expected


# --- payloads that a file of columns holds as JSON -------------------------------------------------------------------


ENVELOPE = {key: value for key, value in event().items() if key not in ("content_view", "consent")}


def with_payloads(lake: Lake, kind: str, bodies: list[dict[str, str | None]]) -> Receipt:
    """Land events, each with these columns' texts, as CSV or as Parquet with columns of this type."""
    rows = [ENVELOPE | {"event_id": event(n)["event_id"]} | body for n, body in enumerate(bodies)]
    names = sorted({name for row in rows for name in row})
    columns = {name: [row.get(name) for row in rows] for name in names}
    if kind == "csv":
        out = [",".join(names)]
        for row in rows:
            out.append(",".join('"' + (row.get(name) or "").replace('"', '""') + '"' for name in names))
        return lake.land_one("web/events/part.csv", "\n".join(out).encode() + b"\n")
    types = {"string": pa.string(), "large": pa.large_string(), "categories": pa.dictionary(pa.int32(), pa.string())}
    table = {
        name: pa.array(column, pa.string()).cast(types[kind])
        if name in ("search", "content_view", "consent")
        else column
        for name, column in columns.items()
    }
    return lake.land_one("web/events/part.parquet", parquet_of(pa.table(table)))


KINDS = ["csv", "string", "large", "categories"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_as_json_text_lands_with_its_values(lake: Lake, kind: str) -> None:
    with_payloads(lake, kind, [
        {"search": '{"results_count":3,"query":"q"}'},
        {"search": ' {"results_count": "4.0"}'},
        {"search": "{}"},
        {"content_view": json.dumps(VIEW), "search": "null"},
        {"content_view": json.dumps(VIEW | {"referrer": 'a "quoted", one'}), "consent": '["analytics"]'},
    ])  # fmt: skip
    columns = ("event_type", "results_count", "content_id", "referrer")
    assert [tuple(row[name] for name in columns) for row in lake.rows()] == [
        ("search", 3, None, None),
        ("search", 4, None, None),
        ("search", None, None, None),
        ("content_view", None, "c-1", None),  # a referrer needs consent
        ("content_view", None, "c-1", 'a "quoted", one'),
    ]
    consent = [{name: row[name] for name in landed_consent(None)} for row in lake.rows()]
    assert consent == [*[landed_consent(None)] * 4, landed_consent(["analytics"])]
    assert lake.rejects() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "text", "reason", "field"),
    [
        ("search", "tide tables", "wrong_type", "search"),
        ("search", '{"results_count":3', "wrong_type", "search"),
        ("search", "[3]", "wrong_type", "search"),
        ("search", "3", "wrong_type", "search"),
        ("search", '"{}"', "wrong_type", "search"),
        ("search", '{"results_count":3,}', "wrong_type", "search"),
        ("search", '{"results_count":NaN}', "wrong_type", "search"),
        ("search", '{"results_count":3.5}', "wrong_type", "search.results_count"),
        ("search", '{"results_count":9007199254740993.0}', "wrong_type", "search.results_count"),
        ("search", '{"results_count":-1}', "out_of_range", "search.results_count"),
        ("search", '{"results_count":1,"results_count":2}', "duplicate_key", "results_count"),
        ("content_view", '{"content_id":7,"content_type":"article"}', "wrong_type", "content_view.content_id"),
        ("content_view", '{"content_type":"article"}', "missing", "content_view.content_id"),
        ("consent", '["analytics",]', "wrong_type", "consent"),
        ("consent", "analytics", "wrong_type", "consent"),
        ("consent", '["sale"]', "not_accepted", "consent"),
    ],
)
def test_json_text_that_does_not_fit_is_rejected_for_what_is_wrong_with_it(
    lake: Lake, kind: str, column: str, text: str, reason: str, field: str
) -> None:
    body = {"search": "{}"} if column == "consent" else {}
    receipt = with_payloads(lake, kind, [{"search": "{}"}, body | {column: text}, {"search": "{}"}])
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 1)
    assert [(r["_line"] - (kind == "csv"), r["reason"], r["field"]) for r in lake.rejects()] == [(2, reason, field)]


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_surrogate_pair_costs_only_what_lands(lake: Lake, kind: str) -> None:
    half = '"\\ud83d"'
    with_payloads(lake, kind, [
        {"search": f'{{"results_count":3,"query":{half}}}'},
        {"content_view": f'{{"content_id":"c","content_type":"article","referrer":{half}}}'},
    ])  # fmt: skip
    assert [r["results_count"] for r in lake.rows()] == [3]
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("wrong_type", "content_view")]


def test_a_payload_in_two_places_lands_with_the_values_of_both(lake: Lake) -> None:
    row = {name: [value, value] for name, value in ENVELOPE.items()} | {
        "event_id": [event(n)["event_id"] for n in (1, 2)]
    }
    columns = {"search": ['{"results_count":3}', None], "search.results_count": pa.array([None, 4], pa.int64())}
    lake.land_one("web/events/text.parquet", parquet_of(pa.table(row | columns)))
    columns["search"] = pa.array([{"results_count": 5}, None])
    lake.land_one("web/events/struct.parquet", parquet_of(pa.table(row | columns)))
    assert [r["results_count"] for r in lake.rows()] == [3, 4, 5, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_keys_of_a_payload_as_text_are_set_aside(lake: Lake, kind: str) -> None:
    with_payloads(lake, kind, [{"search": "{}"}, {"search": '{"results_count":3,"filter":{"price":[1,2]}}'}])
    assert [r["results_count"] for r in lake.rows()] == [None, 3]
    assert [(u["key"], u["value"]) for u in lake.unknown()] == [("search.filter", '{"price":[1,2]}')]


@pytest.mark.parametrize("values", [[1], [True], [b"{}"], [[("results_count", 3)]]], ids=repr)
def test_a_payload_of_another_type_is_not_taken_for_an_empty_one(lake: Lake, values: list[Any]) -> None:
    column = pa.array(values, pa.map_(pa.string(), pa.int64())) if isinstance(values[0], list) else pa.array(values)
    row = {key: [value] for key, value in ENVELOPE.items()}
    lake.land_one("web/events/part.parquet", parquet_of(pa.table(row | {"search": column})))
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("wrong_type", "search")]


# --- keys that nobody knows -------------------------------------------------------------------------------------------


def test_each_row_with_an_unknown_key_of_its_own_has_it_set_aside(lake: Lake) -> None:
    rows = [event(n, **{f"k{n}": n}) for n in range(500)]
    rows += [event(500 + n, body=VIEW | {f"p.{n}": [n]}) for n in range(20)]
    rows += [event(520 + n, tidal={"range": n}) for n in range(100)]
    receipt = lake.land_one("web/events/part.ndjson", ndjson(rows))
    assert (receipt.rows_landed, receipt.unknown_keys) == (620, 620)
    found = {(u["_line"], u["key"], u["value"]) for u in lake.unknown()}
    expected = {(n + 1, f"k{n}", str(n)) for n in range(500)}
    expected |= {(501 + n, f"content_view.p.{n}", f"[{n}]") for n in range(20)}
    expected |= {(521 + n, "tidal", json.dumps({"range": n}, separators=(",", ":"))) for n in range(100)}
    assert found == expected


def test_a_row_of_very_many_unknown_keys_has_them_all_set_aside(lake: Lake) -> None:
    row = event(1, **{f"k{n}": None for n in range(20_000)})
    receipt = lake.land_one("web/events/part.ndjson", ndjson([row, event(2)]))
    assert (receipt.rows_landed, receipt.unknown_keys) == (2, 20_000)


def test_unknown_keys_in_what_is_no_payload_are_none(lake: Lake) -> None:
    rows = [event(1, body=[1, 2], colour="red"), event(2, colour=None, search=ABSENT)]
    receipt = lake.land_one("web/events/part.ndjson", ndjson(rows))
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 1)
    assert [(u["_line"], u["key"], u["value"]) for u in lake.unknown()] == [(2, "colour", "null")]


# --- against another reading of the same rules ----------------------------------------------------------------------


def instant(text: str) -> datetime | None:
    """A time as the rules have it, read character by character; None where it is none."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?( ?)(.*)", text)
    if match is None:
        return None
    day, clock, fraction, _, zone = match.groups()
    digits = (fraction or ".")[1:].rstrip("0")
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)?", zone)
    if len(digits) > 6 or not (zone in ("", "Z", "UTC") or offset) or zone.endswith(":"):
        return None
    minutes = int(offset[2]) * 60 + int(offset[3] or 0) if offset else 0
    if minutes > 18 * 60 or (offset and int(offset[3] or 0) > 59):
        return None
    try:
        local = datetime.fromisoformat(f"{day}T{clock}.{digits.ljust(6, '0')}")
    except ValueError:
        return None
    return local - timedelta(minutes=-minutes if offset and offset[1] == "-" else minutes)


DAYS = ["01-15", "02-28", "12-31", "02-30"]
CLOCKS = ["00:00:00", "10:20:30", "23:59:59", "23:60:00"]
FRACTIONS = ["", ".5", ".123", ".123456", ".1234560", ".123456000", ".000000000", ".1234567", ".123456001", "."]
OFFSETS = [
    f"{s}{h:02}{rest}" for s in "+-" for h in (0, 9, 17, 18, 19, 99) for rest in ("", "00", ":00", ":30", "59", ":60")
]
ZONES = ["", "Z", " Z", "UTC", " UTC", "z", " CET", "America/New_York", "+01:00:00", "+1", "+01:", "-", " BST"]
ZONES += [*OFFSETS, *(f" {offset}" for offset in OFFSETS)]


@pytest.mark.parametrize("suffix", TEXT_FORMATS)
def test_times_as_text_land_as_another_reading_of_the_rules_has_them(lake: Lake, suffix: str) -> None:
    random = Random(7)
    texts = [f"2026-{random.choice(DAYS)}{random.choice('T ')}{random.choice(CLOCKS)}" for _ in range(1_500)]
    texts = [f"{text}{random.choice(FRACTIONS)}{random.choice(ZONES)}" for text in texts]
    lake.land_one(f"web/events/part.{suffix}", as_text([event(n, occurred_at=t) for n, t in enumerate(texts)], suffix))
    landed = {row["_line"] - (suffix == "csv"): row["occurred_at"] for row in lake.rows()}
    wrong = [(text, landed.get(n), instant(text)) for n, text in enumerate(texts, 1) if landed.get(n) != instant(text)]
    assert wrong == []
    assert 200 < len(landed) < 1_300
