"""Rows of events that fit the contract, and rows that do not, each with what is wrong with it."""

import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from tests.support.contract_reading import landed_consent
from tests.support.deliveries import (
    ABSENT,
    VIEW,
    event,
)

IMPRESSION = {"advert_id": "a-1", "slot": "top", "position": 1, "page_type": "search", "request_id": "r-1"}

PROGRESS = {"content_id": "c-1", "content_type": "article", "depth": 0.5, "active_ms": 1500}


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
    ).encode(), {"user_key": None, "referrer": None, "session_id": None} | landed_consent(None)),
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
    Good("consent null", one(consent=None), landed_consent(None)),
    Good("consent missing", one(consent=ABSENT), landed_consent(None)),
    Good("consent empty", one(consent=[]), landed_consent([])),
    Good("consent twice", one(consent=["analytics", "analytics"]), landed_consent(["analytics"])),
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
