"""What fits the contract lands with its exact value; what does not is quarantined with its reason, field and bytes."""

import io
import json
import stat
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.contract import load_specs
from flows.pseudonymise import Pseudonymiser
from flows.readers import limits
from flows.receipts import Status
from tests.conftest import (
    ABSENT,
    KEY,
    VIEW,
    Lake,
    compressed,
    csv_of,
    delimited,
    event,
    field_of,
    in_format,
    ndjson,
    parquet,
    parquet_of,
    protobuf,
    small_spec,
)

PROGRESS = {"content_id": "c-1", "content_type": "article", "depth": 0.5, "active_ms": 1500}
IMPRESSION = {"advert_id": "a-1", "slot": "top", "position": 1, "page_type": "search", "request_id": "r-1"}
FORMATS = ["ndjson", "pb", "parquet", "csv"]


class Good(NamedTuple):
    """A line that lands, with these values."""

    name: str
    line: bytes
    values: dict[str, Any]


class Bad(NamedTuple):
    """A line that is quarantined for this reason in this field."""

    name: str
    line: bytes
    reason: str
    field: str | None


def one(**changes: Any) -> bytes:
    return json.dumps(event(**changes)).encode()


def raw(field: str, value: str, payload: str = "content_view", body: dict[str, Any] | None = None) -> bytes:
    """An event with a field's value written as it is: JSON that no encoder would write."""
    marker = "@@here@@"
    if body is None:
        text = json.dumps(event(payload=payload, body=VIEW, **{field: marker}))
    else:
        text = json.dumps(event(payload=payload, body=body | {field: marker}))
    return text.replace(f'"{marker}"', value).encode()


def progress(**changes: Any) -> bytes:
    body = {key: value for key, value in (PROGRESS | changes).items() if value is not ABSENT}
    return one(payload="content_progress", body=body)


def impression(**changes: Any) -> bytes:
    return one(payload="advert_impression", body=IMPRESSION | changes)


def view(**changes: Any) -> bytes:
    return one(body={key: value for key, value in (VIEW | changes).items() if value is not ABSENT})


WRONG_FOR_TEXT = {"number": 12345, "float": 1.5, "true": True, "false": False, "object": {"a": 1}, "array": ["x"]}
REQUIRED = ["event_id", "occurred_at", "received_at", "product", "platform", "device_id"]
TIMES = ["occurred_at", "sent_at", "received_at"]
TEXTS = ["app_version", "device_id", "user_id", "session_id"]

GOOD = [
    Good("as it is", one(), {"event_type": "content_view", "content_id": "c-1", "is_bot": False, "country": "SE"}),
    Good("only what is required", json.dumps(
        {k: event()[k] for k in [*REQUIRED, "content_view"]} | {"content_view": VIEW | {"referrer": None}}
    ).encode(), {"user_key": None, "consent": None, "referrer": None, "session_id": None}),
    Good("CRLF", one() + b"\r", {"event_type": "content_view"}),
    Good("spaces around", b"  " + one() + b"  ", {"event_type": "content_view"}),
    Good("a tab before", b"\t" + one(), {"event_type": "content_view"}),
    Good("numeric string as an id", view(content_id="12345"), {"content_id": "12345"}),
    Good("a string that looks like a negative number", view(referrer="-1.5e3"), {"referrer": "-1.5e3"}),
    Good("a string that looks like JSON", view(content_id='{"a":1}'), {"content_id": '{"a":1}'}),
    Good("a string that looks like a list", view(content_id="[1]"), {"content_id": "[1]"}),
    Good("a string that says true", view(content_id="true"), {"content_id": "true"}),
    Good("a string that says null", view(content_id="null"), {"content_id": "null"}),
    Good("a string that says NaN", view(content_id="NaN"), {"content_id": "NaN"}),
    Good("a product named true", one(product="true"), {"product": "true"}),
    Good("unicode", view(content_id="å\u2028𝄞"), {"content_id": "å\u2028𝄞"}),
    Good("a NUL, escaped", view(content_id="a\0b"), {"content_id": "a\0b"}),
    Good("a newline, escaped", view(content_id="a\nb"), {"content_id": "a\nb"}),
    Good("an empty optional string", view(referrer=""), {"referrer": ""}),
    Good("a string of 1 MB", view(referrer="x" * 1_000_000), {"referrer": "x" * 1_000_000}),
    Good("time with an offset", one(occurred_at="2026-01-15T22:15:04+02:00"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4)}),
    Good("time with a negative offset and a fraction", one(occurred_at="2026-01-15T18:45:04.5-01:30"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4, 500_000)}),
    Good("time without an offset is UTC", one(occurred_at="2026-01-15T20:15:04"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4)}),
    Good("time with microseconds", one(occurred_at="2026-01-15T20:15:04.123456Z"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4, 123_456)}),
    Good("time with a blank", one(occurred_at="2026-01-15 20:15:04Z"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4)}),
    Good("time before 1970", one(occurred_at="1969-07-20T20:17:40Z"),
         {"occurred_at": datetime(1969, 7, 20, 20, 17, 40)}),
    Good("sent_at null", one(sent_at=None), {"sent_at": None}),
    Good("consent null", one(consent=None), {"consent": None}),
    Good("consent missing", one(consent=ABSENT), {"consent": None}),
    Good("consent empty", one(consent=[]), {"consent": []}),
    Good("consent twice", one(consent=["analytics", "analytics"]), {"consent": ["analytics", "analytics"]}),
    Good("country null", one(country=None), {"country": None}),
    Good("a robot", one(user_agent="Mozilla/5.0 (compatible; GoogleBot/2.1)"), {"is_bot": True}),
    Good("no user agent", one(user_agent=None), {"is_bot": False}),
    Good("not a robot", one(user_agent="robotics and bottles"), {"is_bot": False}),
    *(Good(f"time with {zone!r}", one(occurred_at=f"2026-01-15T12:00:00{zone}"),
           {"occurred_at": datetime(2026, 1, 15, 12) - timedelta(minutes=minutes)})
      for zone, minutes in {"": 0, " Z": 0, "UTC": 0, " UTC": 0, "+01": 60, "-0130": -90, " +0530": 330, " +05:45": 345,
                            "+18:00": 1080, "-18": -1080, "+00:00": 0, "-00:00": 0, "-00:30": -30}.items()),
    Good("a time with zeros beyond microseconds", one(occurred_at="2026-01-15T20:15:04.123456000Z"),
         {"occurred_at": datetime(2026, 1, 15, 20, 15, 4, 123_456)}),
    Good("user_id empty", one(user_id=""), {"user_key": None}),
    Good("user_id blank", one(user_id=" \t\u00a0"), {"user_key": None}),
    Good("user_id nil", one(user_id="00000000-0000-0000-0000-000000000000"), {"user_key": None}),
    Good("session_id empty", one(session_id=""), {"session_id": None}),
    Good("request_id empty", impression(request_id=""), {"request_id": None, "advert_id": "a-1"}),
    Good("half a surrogate pair in what is dropped",
         one(payload="search", body={"query": "\ud83d", "results_count": 3}), {"results_count": 3}),
    Good("half a surrogate pair in the user agent", one(user_agent="Bot/1.0 \udc00"), {"is_bot": True}),
    Good("a backslash before what looks like half a pair", view(referrer="a\\ud83d"), {"referrer": "a\\ud83d"}),
    Good("a trailing comma within a string", view(referrer="[1,]"), {"referrer": "[1,]"}),
    Good("NaN within a string", view(referrer="[NaN]"), {"referrer": "[NaN]"}),
    Good("a whole number in capitals", raw("active_ms", "1.5E+1", "content_progress", PROGRESS), {"active_ms": 15}),
    Good("9007199254740993.0 as a string", one(payload="search", body={"results_count": "9007199254740993.0"}),
         {"results_count": 9_007_199_254_740_993}),
    Good("depth 0", progress(depth=0), {"depth": 0.0}),
    Good("depth 1", progress(depth=1), {"depth": 1.0}),
    Good("depth null", progress(depth=None), {"depth": None}),
    Good("depth as a string", progress(depth="0.25"), {"depth": 0.25}),
    Good("whole number as a string", progress(active_ms="12"), {"active_ms": 12}),
    Good("whole number with .0", progress(active_ms=12.0), {"active_ms": 12}),
    Good("whole number with an exponent", raw("active_ms", "1.5e1", "content_progress", PROGRESS), {"active_ms": 15}),
    Good("the greatest active_ms", progress(active_ms=86_400_000), {"active_ms": 86_400_000}),
    Good("results beyond a double", one(payload="search", body={"query": "q", "results_count": 2**53 + 1}),
         {"event_type": "search", "results_count": 2**53 + 1}),
    Good("the greatest position", impression(position=2**31 - 1), {"position": 2**31 - 1}),
    Good("a payload without required fields, empty", one(payload="search", body={}), {"event_type": "search"}),
    Good("another payload null", one(search=None), {"event_type": "content_view", "content_id": "c-1"}),
    Good("UUID in capitals", one(event_id="0191F3C2-8A44-7C1E-9D3B-5E2F7A6B1C00"),
         {"event_id": UUID("0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c00").bytes}),
    Good("every payload's own values", impression(), {"advert_id": "a-1", "position": 1, "content_id": None}),
]  # fmt: skip

BAD = [
    *(Bad(f"{f} missing", one(**{f: ABSENT}), "missing", f) for f in REQUIRED),
    *(Bad(f"{f} null", one(**{f: None}), "missing", f) for f in REQUIRED),
    *(Bad(f"{f} empty", one(**{f: ""}), "missing", f) for f in REQUIRED),
    *(Bad(f"{f} {kind}", one(**{f: value}), "wrong_type", f) for f in TEXTS for kind, value in WRONG_FOR_TEXT.items()),
    *(Bad(f"{f} {kind}", one(**{f: value}), "wrong_type", f) for f in TIMES for kind, value in WRONG_FOR_TEXT.items()),
    *(Bad(f"event_id {kind}", one(event_id=value), "wrong_type", "event_id") for kind, value in WRONG_FOR_TEXT.items()),
    *(Bad(f"content_id {kind}", view(content_id=value), "wrong_type", "content_view.content_id")
      for kind, value in WRONG_FOR_TEXT.items()),
    *(Bad(f"depth {kind}", progress(depth=value), "wrong_type", "content_progress.depth")
      for kind, value in {"text": "half", "object": {}, "array": [1], "true": True}.items()),
    *(Bad(f"active_ms {kind}", progress(active_ms=value), "wrong_type", "content_progress.active_ms")
      for kind, value in {"text": "x", "12.6": 12.6, "'12.6'": "12.6", "0.5": 0.5, "1e-1": "1e-1", "155e-1": "155e-1",
                          "object": {}, "array": [1], "true": True, "hexadecimal": "0x1f", "2**63": 2**63}.items()),
    Bad("9007199254740993.0", raw("results_count", "9007199254740993.0", "search", {}), "wrong_type",
        "search.results_count"),
    Bad("a fraction beyond a double", raw("active_ms", "3.00000000000000000001", "content_progress", PROGRESS),
        "wrong_type", "content_progress.active_ms"),
    Bad("a fraction below a double", raw("active_ms", "1e-400", "content_progress", PROGRESS), "wrong_type",
        "content_progress.active_ms"),
    *(Bad(f"{text!r} for a whole number", progress(active_ms=text), "wrong_type", "content_progress.active_ms")
      for text in ["1_000", "1e-400", "3.00000000000000000001", "1,000", "0b1", "1e", "--1"]),
    *(Bad(f"{text!r} for a double", progress(depth=text), "wrong_type", "content_progress.depth")
      for text in ["0_1", "0x1", "1e", "0,5"]),
    *(Bad(f"time in {zone!r}", one(occurred_at=f"2026-01-15T10:00:00{zone}"), "wrong_type", "occurred_at")
      for zone in [" America/New_York", "America/New_York", " BST", "BST", " CET", " utc", "GMT", " GMT+1", "+99:99",
                   "+18:01", "-19:00", "+01:60", "+1", "+1:00", "+010", "+01:00:00", " +01:00 CET", "[CET]",
                   "+01:00[Europe/Stockholm]", "  Z", "Z+01:00", "EST5EDT", " Etc/GMT+5", " Zulu", "X"]),
    Bad("a time in nanoseconds", one(occurred_at="2026-01-15T10:00:00.123456789Z"), "wrong_type", "occurred_at"),
    Bad("nanoseconds and an offset", one(occurred_at="2026-01-15T10:00:00.1234567+01:00"), "wrong_type", "occurred_at"),
    Bad("device_id blank", one(device_id="  "), "missing", "device_id"),
    Bad("device_id nil", one(device_id="00000000-0000-0000-0000-000000000000"), "missing", "device_id"),
    Bad("event_id nil", one(event_id="00000000-0000-0000-0000-000000000000"), "missing", "event_id"),
    Bad("event_id blank", one(event_id=" "), "missing", "event_id"),
    Bad("content_id blank", view(content_id="\u3000"), "missing", "content_view.content_id"),
    Bad("1e400 for an integer", raw("active_ms", "1e400", "content_progress", PROGRESS), "wrong_type",
        "content_progress.active_ms"),
    Bad("1e400 for a double", raw("depth", "1e400", "content_progress", PROGRESS), "out_of_range",
        "content_progress.depth"),
    Bad("1e300 for an integer", progress(active_ms=1e300), "wrong_type", "content_progress.active_ms"),
    Bad("NaN for a double", raw("depth", "NaN", "content_progress", PROGRESS), "malformed", None),
    Bad("'nan' for a double", progress(depth="nan"), "out_of_range", "content_progress.depth"),
    Bad("-Infinity for a double", raw("depth", "-Infinity", "content_progress", PROGRESS), "malformed", None),
    Bad("NaN for a string", raw("device_id", "NaN"), "malformed", None),
    Bad("Infinity for a string", raw("device_id", "Infinity"), "malformed", None),
    Bad("nan for a name", raw("product", "nan"), "malformed", None),
    Bad("NaN under an unknown key", one(colour="@")[:-1] + b',"size": NaN }', "malformed", None),
    Bad("-inf in a list under an unknown key", one()[:-1] + b',"sizes":[1, -inf]}', "malformed", None),
    Bad("a trailing comma", one()[:-1] + b",}", "malformed", None),
    Bad("a trailing comma in a payload", one()[:-2] + b", }}", "malformed", None),
    Bad("a trailing comma in a list", one(consent="@").replace(b'"@"', b'["analytics",]'), "malformed", None),
    Bad("true for a name", one(product=True), "wrong_type", "product"),
    Bad("false for a kind of content", view(content_type=False), "wrong_type", "content_view.content_type"),
    Bad("product in capitals", one(product="News"), "pattern_mismatch", "product"),
    Bad("product with a newline", one(product="news\n"), "pattern_mismatch", "product"),
    Bad("platform unknown", one(platform="IOS"), "not_accepted", "platform"),
    Bad("platform with a blank", one(platform="ios "), "not_accepted", "platform"),
    Bad("country in lower case", one(country="se"), "pattern_mismatch", "country"),
    Bad("country empty", one(country=""), "pattern_mismatch", "country"),
    Bad("country too long", one(country="SWE"), "pattern_mismatch", "country"),
    Bad("event_id no UUID", one(event_id="e-1"), "wrong_type", "event_id"),
    Bad("event_id one digit short", one(event_id="0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c0"), "wrong_type", "event_id"),
    Bad("'infinity' as time", one(occurred_at="infinity"), "wrong_type", "occurred_at"),
    Bad("'epoch' as time", one(occurred_at="epoch"), "wrong_type", "occurred_at"),
    Bad("a date as time", one(occurred_at="2026-01-15"), "wrong_type", "occurred_at"),
    Bad("a padded date as time", one(occurred_at="2026-01-15             "), "wrong_type", "occurred_at"),
    Bad("a leap second", one(occurred_at="2016-12-31T23:59:60Z"), "wrong_type", "occurred_at"),
    Bad("the 30th of February", one(occurred_at="2026-02-30T00:00:00Z"), "wrong_type", "occurred_at"),
    Bad("time in seconds", one(occurred_at="1768508104"), "wrong_type", "occurred_at"),
    Bad("a time in milliseconds", one(occurred_at="1768508104000000000"), "wrong_type", "occurred_at"),
    Bad("text after a time", one(occurred_at="2026-01-15T20:15:04Z or so"), "wrong_type", "occurred_at"),
    Bad("year 0001", one(occurred_at="0001-01-01T00:00:00Z"), "out_of_range", "occurred_at"),
    Bad("year 9999", one(received_at="9999-12-31T23:59:59Z"), "out_of_range", "received_at"),
    Bad("depth above 1", progress(depth=1.0000001), "out_of_range", "content_progress.depth"),
    Bad("depth below 0", progress(depth=-0.1), "out_of_range", "content_progress.depth"),
    Bad("active_ms below 0", progress(active_ms=-1), "out_of_range", "content_progress.active_ms"),
    Bad("active_ms above a day", progress(active_ms=86_400_001), "out_of_range", "content_progress.active_ms"),
    Bad("position 0", impression(position=0), "out_of_range", "advert_impression.position"),
    Bad("position beyond 32 bits", impression(position=2**31), "wrong_type", "advert_impression.position"),
    Bad("content_id missing", view(content_id=ABSENT), "missing", "content_view.content_id"),
    Bad("content_type missing", view(content_type=ABSENT), "missing", "content_view.content_type"),
    Bad("reaction unknown", one(payload="content_reaction", body=VIEW | {"reaction": "love"}), "not_accepted",
        "content_reaction.reaction"),
    Bad("reaction missing", one(payload="content_reaction", body={"content_id": "c", "content_type": "v"}), "missing",
        "content_reaction.reaction"),
    Bad("channel unknown", one(payload="enquiry", body={"advert_id": "a", "channel": "fax"}), "not_accepted",
        "enquiry.channel"),
    Bad("consent a string", one(consent="analytics"), "wrong_type", "consent"),
    Bad("consent the text of a list", one(consent='["analytics"]'), "wrong_type", "consent"),
    Bad("consent a number", one(consent=1), "wrong_type", "consent"),
    Bad("consent an object", one(consent={}), "wrong_type", "consent"),
    Bad("consent true", one(consent=True), "wrong_type", "consent"),
    Bad("consent with an unknown purpose", one(consent=["analytics", "sale"]), "not_accepted", "consent"),
    Bad("consent with null", one(consent=["analytics", None]), "not_accepted", "consent"),
    Bad("consent with null alone", one(consent=[None]), "not_accepted", "consent"),
    Bad("consent with a number", one(consent=[1]), "not_accepted", "consent"),
    Bad("consent with a list", one(consent=[["analytics"]]), "not_accepted", "consent"),
    Bad("two payloads", one(search={"query": "q"}), "several_payloads", "payload"),
    Bad("no payload", one(body=ABSENT, content_view=ABSENT), "no_payload", "payload"),
    Bad("payload null", one(content_view=None), "no_payload", "payload"),
    Bad("payload a number", one(content_view=5), "wrong_type", "content_view"),
    Bad("payload a string", one(content_view="c-1"), "wrong_type", "content_view"),
    Bad("payload a list", one(content_view=[VIEW]), "wrong_type", "content_view"),
    Bad("payload without required fields a string", one(payload="search", body="q", content_view=ABSENT), "wrong_type",
        "search"),
    Bad("two payloads, one a number", one(search=5), "several_payloads", "payload"),
    Bad("payload empty", one(body={}), "missing", "content_view.content_id"),
    Bad("a key twice", one()[:-1] + b',"product":"news"}', "duplicate_key", "product"),
    Bad("a key twice, escaped once", one()[:-1] + b',"pr\\u006fduct":"news"}', "duplicate_key", "product"),
    Bad("a payload's key twice", one()[:-2] + b',"content_id":"c-2"}}', "duplicate_key", "content_id"),
    Bad("a list", b"[" + one() + b"]", "not_an_object", None),
    Bad("a number", b"42", "not_an_object", None),
    Bad("null", b"null", "not_an_object", None),
    Bad("a string", b'"{}"', "not_an_object", None),
    Bad("an empty object", b"{}", "no_payload", "payload"),
    Bad("two objects", one() + b" " + one(), "malformed", None),
    Bad("cut off", one()[:-1], "malformed", None),
    Bad("text", b"hello", "malformed", None),
    Bad("a NUL", one().replace(b'"news"', b'"ne\0ws"'), "malformed", None),
    Bad("a raw tab in a string", one().replace(b'"news"', b'"ne\tws"'), "malformed", None),
    Bad("half a surrogate pair", one().replace(b'"c-1"', b'"\\ud83d"'), "malformed", None),
    Bad("single quotes", one().replace(b'"', b"'"), "malformed", None),
    Bad("invalid UTF-8", one().replace(b"c-1", b"c-\xff\xfe1"), "invalid_utf8", None),
    Bad("overlong UTF-8", one().replace(b"c-1", b"\xc0\xaf"), "invalid_utf8", None),
    Bad("a surrogate in UTF-8", one().replace(b"c-1", b"\xed\xa0\x80"), "invalid_utf8", None),
    Bad("a BOM amid the file", b"\xef\xbb\xbf" + one(), "malformed", None),
    Bad("100,000 lists in an id", raw("device_id", "[" * 100_000 + "]" * 100_000), "wrong_type", "device_id"),
    Bad("100,000 open lists", b"[" * 100_000, "malformed", None),
]  # fmt: skip

CASES: list[Good | Bad] = [*GOOD, *BAD]


Outcomes = dict[int, dict[str, Any]]


def outcomes_of(lake: Lake) -> Outcomes:
    """What became of each line: the landed row or the reject."""
    return {row["_line"]: row for row in [*lake.rows(), *lake.rejects()]}


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """All cases in one file."""
    lake = Lake(tmp_path_factory.mktemp("conform"))
    lake.land_one("web/events/cases.ndjson", b"".join(case.line + b"\n" for case in CASES))
    return lake


@pytest.fixture(scope="module")
def outcomes(landed: Lake) -> Outcomes:
    """What became of each case, by its line."""
    return outcomes_of(landed)


@pytest.fixture(scope="module")
def outcomes_alone(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The same, each case in a chunk of its own."""
    lake = Lake(tmp_path_factory.mktemp("alone"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CHUNK_BYTES", 1)
        patch.setattr(limits, "PIECE_BYTES", 4_096)
        lake.land_one("web/events/cases.ndjson", b"".join(case.line + b"\n" for case in CASES))
    return outcomes_of(lake)


@pytest.mark.parametrize("number", range(len(GOOD)), ids=[case.name for case in GOOD])
def test_good_line_lands_with_its_values(outcomes: Outcomes, number: int) -> None:
    row = outcomes[number + 1]
    assert "reason" not in row, (row["reason"], row["field"])
    assert {key: row[key] for key in GOOD[number].values} == GOOD[number].values


@pytest.mark.parametrize("number", range(len(BAD)), ids=[case.name for case in BAD])
def test_bad_line_is_quarantined_with_reason_field_and_bytes(outcomes: Outcomes, number: int) -> None:
    case, row = BAD[number], outcomes[len(GOOD) + number + 1]
    assert "reason" in row, "it landed"
    assert (row["reason"], row["field"], row["raw"]) == (case.reason, case.field, case.line)
    assert row["_batch_id"] == 1


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_line_fares_alone_as_it_does_among_others(outcomes: Outcomes, outcomes_alone: Outcomes, number: int) -> None:
    assert outcomes_alone[number + 1] == outcomes[number + 1]


def test_quarantine_is_readable_by_its_owner_only(landed: Lake) -> None:
    files = [p for p in landed.settings.quarantine.rglob("*") if p.is_file()]
    assert files
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert stat.S_IMODE(landed.settings.quarantine.stat().st_mode) == 0o700


def test_examples_name_file_line_field_and_reason(lake: Lake) -> None:
    lake.deliver("web/events/part.ndjson", ndjson([event(1), event(2, platform="fax")]))
    assert lake.land().examples == ["web/events/part.ndjson, line 2, field platform: not accepted"]


def test_empty_lines_are_no_rows_but_count_as_lines(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\n\r\n" + one() + b"\n\n" + b"x\r\n" + one())
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 1)
    assert [row["_line"] for row in lake.rows()] == [3, 6]
    assert [(row["_line"], row["raw"]) for row in lake.rejects()] == [(5, b"x")]


@pytest.mark.parametrize("blank", [b" ", b"   ", b"\t"])
def test_a_line_of_blanks_is_malformed_however_many(lake: Lake, blank: bytes) -> None:
    receipt = lake.land_one("web/events/part.ndjson", one() + b"\n" + blank + b"\n")
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 1)
    assert lake.rejects()[0]["raw"] == blank


def test_byte_order_mark_is_no_part_of_the_first_line(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\xef\xbb\xbf" + one() + b"\n")
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 0)


def test_a_file_of_a_byte_order_mark_alone_is_empty(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\xef\xbb\xbf")
    assert (receipt.status, receipt.rows_read, receipt.data_path) == (Status.REFUSED, 0, None)


def test_one_line_of_invalid_utf8_spoils_none_of_its_neighbours(lake: Lake) -> None:
    lines = [json.dumps(event(i, body=VIEW | {"referrer": "ö" * i}), ensure_ascii=False).encode() for i in range(200)]
    lines[77] = lines[77].replace(b"\xc3", b"\xff", 1)
    receipt = lake.land_one("web/events/part.ndjson", b"\n".join(lines))
    assert (receipt.rows_landed, receipt.rows_rejected) == (199, 1)
    assert [row["referrer"] for row in lake.rows()] == ["ö" * i for i in range(200) if i != 77]
    assert [(row["_line"], row["raw"]) for row in lake.rejects()] == [(78, lines[77])]


def test_unknown_keys_at_both_levels_are_set_aside_with_their_values(lake: Lake) -> None:
    strange = {"a": [1, {"b": None}], "x.y": "dot", "a/b~c": 1.5, 'q"uote': True, "": "no name", "ключ": None}
    rows = [
        event(1, **strange),
        event(2),
        event(3, body=VIEW | {"colour": "red", "content": {"id": 1}}),
        event(4, **(strange | {"a": "other"})),
        event(5, platform="fax", colour="of a rejected row"),
    ]
    receipt = lake.land_one("web/events/part.ndjson", ndjson(rows))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (4, 1, 14)
    found = {(row["_line"], row["key"]): json.loads(row["value"]) for row in lake.unknown()}
    expected = {(1, key): value for key, value in strange.items()}
    expected |= {(4, key): value for key, value in (strange | {"a": "other"}).items()}
    expected |= {(3, "content_view.colour"): "red", (3, "content_view.content"): {"id": 1}}
    assert found == expected


def test_duplicates_within_an_unknown_value_do_not_condemn_rows_of_the_same_shape(lake: Lake) -> None:
    twice = one()[:-1] + b',"extra":{"a":1,"a":2}}'
    receipt = lake.land_one("web/events/part.ndjson", twice + b"\n" + ndjson([event(2, extra={"a": 1})]))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (2, 0, 2)


@pytest.mark.parametrize(
    "tail",
    [
        b',"extra":[1,2,],}',
        b",}",
        b',"extra":NaN}',
        b',"extra":1e400}',
        b',"extra":' + b"[" * 9_999 + b"]" * 9_999 + b"}",
    ],
    ids=["trailing commas", "trailing comma", "NaN", "1e400", "deep"],
)
def test_json_on_the_edge_never_stops_the_landing(lake: Lake, tail: bytes) -> None:
    receipt = lake.land_one("web/events/part.ndjson", one()[:-1] + tail + b"\n" + ndjson([event(2)]))
    assert receipt.status is Status.LANDED
    assert receipt.rows_read == 2
    assert lake.rows()[-1]["_line"] == 2


def test_huge_unknown_numbers_are_set_aside_undistorted(lake: Lake) -> None:
    digits = "1" + "0" * 5_000
    lake.land_one("web/events/part.ndjson", one()[:-1] + f',"extra":{digits}}}'.encode())
    assert [row["value"] for row in lake.unknown()] == [digits]


# --- the same event in every format ----------------------------------------------------------------------------------

EVENTS = [
    event(0),
    event(1, payload="content_progress", body=PROGRESS, sent_at=None, consent=[]),
    event(2, payload="content_reaction", body={"content_id": "c-2", "content_type": "video", "reaction": "like"}),
    event(3, payload="search", body={"query": "secret", "results_count": 7}, user_id=None),
    event(4, payload="advert_impression", body=IMPRESSION, consent=["analytics"]),
    event(5, payload="advert_click", body=IMPRESSION | {"position": 3}, user_agent="a crawler"),
    event(6, payload="enquiry", body={"advert_id": "a-1", "channel": "call"}, country=None),
    event(7, body=VIEW | {"content_id": 'a "quoted", ö\nline'}, occurred_at="2026-01-15T20:15:04.123456Z"),
]


def without_line(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("_line", "_batch_id")} for row in rows]


@pytest.fixture(scope="module")
def expected_rows() -> list[dict[str, Any]]:
    """The events as they must land, worked out without the code under test but for the keyed hash."""
    pseudonyms = Pseudonymiser(KEY.encode())
    columns = [c.name for c in load_specs()["events"].columns() if c.name not in ("_batch_id", "_line")]
    rows = []
    for e in EVENTS:
        kind = next(p for p in load_specs()["events"].payloads if p in e)
        row: dict[str, Any] = dict.fromkeys(columns) | {"event_id": UUID(e["event_id"]).bytes}
        for name in ("occurred_at", "sent_at", "received_at"):
            row[name] = datetime.fromisoformat(e[name]).replace(tzinfo=None) if e[name] else None
        row |= {name: e[name] for name in ("product", "platform", "app_version")}
        row |= {"device_key": pseudonyms.one("device_key", e["device_id"])}
        row |= {"user_key": pseudonyms.one("user_key", e["user_id"]) if e["user_id"] else None}
        row |= {name: e[name] for name in ("session_id", "consent", "country")}
        row |= {"event_type": kind, "is_bot": "crawl" in e["user_agent"]}
        row |= {k: v for k, v in e[kind].items() if k != "query"}
        rows.append(row)
    return rows


@pytest.mark.parametrize("suffix", [*FORMATS, "ndjson.gz", "pb.zst", "parquet.gz", "csv.zst"])
def test_the_same_events_land_as_the_same_rows_in_every_format(
    lake: Lake, expected_rows: list[dict[str, Any]], suffix: str
) -> None:
    receipt = lake.land_one(f"web/events/part.{suffix}", in_format(EVENTS, suffix))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (len(EVENTS), 0, 0)
    assert without_line(lake.rows()) == expected_rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_field_that_does_not_fit_is_told_alike_in_every_format(lake: Lake, suffix: str) -> None:
    rows = [event(1), event(2, platform="fax"), event(3, payload="content_progress", body=PROGRESS | {"depth": 2.0})]
    rows += [event(4, event_id="e-4"), event(5, device_id=""), event(6, consent=["sale"])]
    rows += [event(7, occurred_at="1800-01-01T00:00:00Z"), event(8, body={"content_id": "c"})]
    lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix))
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [
        ("not_accepted", "platform"),
        ("out_of_range", "content_progress.depth"),
        ("wrong_type", "event_id"),
        ("missing", "device_id"),
        ("not_accepted", "consent"),
        ("out_of_range", "occurred_at"),
        ("missing", "content_view.content_type"),
    ]
    assert len(lake.rows()) == 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_tables_land_alike_in_every_format(lake: Lake, suffix: str) -> None:
    spec = load_specs()["accounts"]
    rows = [
        {"account_id": "a-1", "user_id": "u-204", "email": "anna@example.org", "phone": None, "full_name": "Anna",
         "birth_date": "1990-02-28", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
        {"account_id": "a-2", "user_id": "u-3", "email": None, "phone": None, "full_name": None,
         "birth_date": "1990-02-30", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
        {"account_id": "a-3", "user_id": "u-4", "email": None, "phone": None, "full_name": None,
         "birth_date": "1990-02-28 or so", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
    ]  # fmt: skip
    data = {
        "ndjson": lambda: ndjson(rows),
        "pb": lambda: delimited(protobuf(row, spec.message) for row in rows),
        "parquet": lambda: parquet(rows, spec),
        "csv": lambda: csv_of(rows, spec),
    }[suffix]()
    receipt = lake.land_one(f"crm/accounts/part.{suffix}", data)
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 2)
    (row,) = lake.rows("accounts")
    assert (row["birth_date"], row["updated_at"]) == (date(1990, 2, 28), datetime(2026, 1, 15, 20, 15, 4))
    assert {(r["reason"], r["field"]) for r in lake.rejects("accounts")} == {("wrong_type", "birth_date")}


# --- Parquet as others write it --------------------------------------------------------------------------------------


def events_table(*changes: Callable[[pa.Table], pa.Table]) -> bytes:
    table = pq.read_table(io.BytesIO(parquet([event(1), event(2)])))
    for change in changes:
        table = change(table)
    return parquet_of(table)


def replaced(name: str, values: pa.Array | list[Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index(name), name, values)

    return change


def test_parquet_times_as_text_keep_their_offset(lake: Lake) -> None:
    texts = ["2026-01-15T22:15:04+02:00", "2026-01-15T20:15:04Z"]
    lake.land_one("web/events/part.parquet", events_table(replaced("occurred_at", [texts])))
    assert {row["occurred_at"] for row in lake.rows()} == {datetime(2026, 1, 15, 20, 15, 4)}


def test_parquet_nanoseconds_and_other_zones_land_as_utc(lake: Lake) -> None:
    moments = pa.array([datetime(2026, 1, 15, 20, 15, 4)] * 2, pa.timestamp("us", "UTC"))
    lake.land_one(
        "web/events/part.parquet",
        events_table(
            replaced("occurred_at", moments.cast(pa.timestamp("us", "Asia/Tokyo"))),
            replaced("sent_at", moments.cast(pa.timestamp("ns"))),
        ),
    )
    assert {(row["occurred_at"], row["sent_at"]) for row in lake.rows()} == {(datetime(2026, 1, 15, 20, 15, 4),) * 2}


def test_parquet_whole_numbers_as_text_are_not_rounded(lake: Lake) -> None:
    body = pa.array([{"content_id": "c", "content_type": "a", "active_ms": ms} for ms in ("12", "12.6")])
    table = events_table(
        replaced("content_view", pa.nulls(2, pa.struct([("content_id", pa.string())]))),
        replaced("content_progress", body),
    )
    lake.land_one("web/events/part.parquet", table)
    assert [row["active_ms"] for row in lake.rows()] == [12]
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("wrong_type", "content_progress.active_ms")]


def test_parquet_categories_read_as_the_text_they_stand_for(lake: Lake) -> None:
    words = {"platform": ["ios", "fax"], "product": ["news", "news"], "device_id": ["d-1", "d-2"]}
    changes = [replaced(name, pa.array(values).dictionary_encode()) for name, values in words.items()]
    lake.land_one("web/events/part.parquet", events_table(*changes))
    assert [row["platform"] for row in lake.rows()] == ["ios"]
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("not_accepted", "platform")]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("occurred_at", [1768508104, 1768508104]),
        ("event_id", [1, 2]),
        ("event_id", [{"a": 1}, {"a": 2}]),
        ("consent", [5, 5]),
        ("content_view", ["c-1", "c-2"]),
        ("device_id", [[1], [2]]),
        ("platform", [b"\xff", b"\xfe"]),
    ],
)
def test_parquet_columns_of_another_type_never_stop_the_landing(lake: Lake, name: str, values: list[Any]) -> None:
    lake.deliver("web/events/a.parquet", events_table(replaced(name, pa.array(values))))
    lake.deliver("web/events/b.parquet", parquet([event(3)]))
    bad, good = lake.land().receipts
    assert bad.rows_landed == 0
    assert bad.status is Status.REFUSED or bad.rows_rejected == 2
    assert bad.reason is None or name in bad.reason
    assert good.rows_landed == 1
    lake.assert_whole()


@pytest.mark.parametrize("name", ["raw", "Product", "_shape", "x_product", "chunk", "PLATFORM"])
def test_unknown_columns_of_awkward_names_are_set_aside(lake: Lake, name: str) -> None:
    table = events_table(lambda t: t.add_column(0, name, [["one", None]]))
    receipt = lake.land_one("web/events/part.parquet", table)
    assert (receipt.rows_landed, receipt.unknown_keys) == (2, 1)
    assert {row["product"] for row in lake.rows()} == {"news"}
    assert [(u["_line"], u["key"], u["value"]) for u in lake.unknown()] == [(1, name, '"one"')]


def test_unknown_members_of_a_payload_struct_are_set_aside(lake: Lake) -> None:
    body = pa.array([VIEW | {"colour": "red"}, VIEW | {"colour": None}])
    receipt = lake.land_one("web/events/part.parquet", events_table(replaced("content_view", body)))
    assert (receipt.rows_landed, receipt.unknown_keys) == (2, 1)
    assert [(u["key"], u["value"]) for u in lake.unknown()] == [("content_view.colour", '"red"')]


def test_a_csv_column_named_raw_is_only_unknown(lake: Lake) -> None:
    specs = small_spec([field_of("id", required=True)])
    receipt = lake.land_one("x/things/part.csv", b"id,raw\n1,{}\n2,\n", specs)
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (2, 0, 1)


# --- lists and whole numbers of small datasets -----------------------------------------------------------------------


def test_lists_of_strings_hold_strings_only(lake: Lake) -> None:
    specs = small_spec([field_of("tags", "string[]")])
    lines = [b'["a","1"]', b'["a",1]', b"[NaN]", b"[true]", b'[["a"]]', b"[{}]", b"[]", b"null", b'["a",null]']
    lake.land_one("x/things/part.ndjson", b"".join(b'{"tags":' + line + b"}\n" for line in lines), specs)
    assert [(r["_line"], r["tags"]) for r in lake.rows("things")] == [(1, ["a", "1"]), (7, []), (8, None)]
    assert {(r["reason"], r["field"]) for r in lake.rejects("things") if r["_line"] != 3} == {("wrong_type", "tags")}
    assert [r["reason"] for r in lake.rejects("things") if r["_line"] == 3] == ["malformed"]


def test_accepted_values_that_look_like_numbers_are_strings_all_the_same(lake: Lake) -> None:
    specs = small_spec([field_of("level", accepted_values=("1", "true")), field_of("code", pattern=".*")])
    rows: list[dict[str, Any]] = [{"level": "1", "code": "x"}, {"level": 1}, {"level": True}, {"code": 1}, {"code": {}}]
    lake.land_one("x/things/part.ndjson", ndjson(rows), specs)
    assert [row["_line"] for row in lake.rows("things")] == [1]
    assert [(r["reason"], r["field"]) for r in lake.rejects("things")] == [
        ("wrong_type", "level"), ("wrong_type", "level"), ("wrong_type", "code"), ("wrong_type", "code"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", {"7": 7, "-0": 0, "12.0": 12, "1e2": 100}, ["12.6", "155e-1", "1e-1", "0x1f", "2147483648", "x"]),
        ("bigint", {"9223372036854775807": 2**63 - 1}, ["9223372036854775808", "1.5", "25E-1"]),
        ("double", {"0.1": 0.1, "-1e3": -1000.0}, ["nan", "inf", "-infinity", "x", "1,5"]),
        ("boolean", {"true": True, "false": False}, ["yess", "2"]),
        (
            "date",
            {"2024-02-29": date(2024, 2, 29)},
            ["2023-02-29", "2024-02-29x", "2024-02-29 12:00", "infinity", "epoch"],
        ),
        ("timestamp", {"2024-02-29T12:00:00+01:00": datetime(2024, 2, 29, 11)}, ["2024-02-29", "now", "infinity"]),
    ],
)
def test_csv_text_is_read_exactly_or_not_at_all(lake: Lake, kind: str, good: dict[str, Any], bad: list[str]) -> None:
    specs = small_spec([field_of("id"), field_of("value", kind)])
    rows = [f'r,"{text}"' for text in [*good, *bad]]
    lake.land_one("x/things/part.csv", "\n".join(["id,value", *rows, "r,"]).encode(), specs)
    assert [row["value"] for row in lake.rows("things")] == [*good.values(), None]
    assert [r["raw"].decode() for r in lake.rejects("things")] == rows[len(good) :]


def test_a_hundred_thousand_rows_in_gzip_conform_within_seconds(lake: Lake) -> None:
    line = one() + b"\n"
    receipt = lake.land_one("web/events/part.ndjson.gz", compressed(line * 100_000, "ndjson.gz"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (100_000, 0)


def test_quarantine_folder_stays_private_when_it_existed_before(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.land_one("web/events/a.ndjson", b"x\n")
    lake.land_one("web/events/b.ndjson", b"y\n")
    assert stat.S_IMODE((lake.settings.quarantine / "events").stat().st_mode) == 0o700
