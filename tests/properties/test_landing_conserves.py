"""Whatever is delivered, however it is split and written: no row is lost or invented, and every value is exact."""

import json
import re
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.contract.spec import load_specs
from flows.land.pseudonyms import Pseudonymiser
from flows.land.receipts import Status
from tests.support.deliveries import compressed, delimited, event, in_format, ndjson, protobuf
from tests.support.lake import KEY, Lake

# --- an independent reading of the contract --------------------------------------------------------------------------

PLATFORMS = ("web", "ios", "android", "tv")
PURPOSES = ("analytics", "personalisation", "advertising")
REACTIONS = ("like", "dislike", "share", "comment", "save")
CHANNELS = ("call", "message")
NAME, COUNTRY = re.compile(r"[a-z][a-z0-9_]*"), re.compile(r"[A-Z]{2}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
ADVERT = {"advert_id": "text!", "slot": "text", "position": "position", "page_type": "text", "request_id": "text"}
CONTENT = {"content_id": "text!", "content_type": "name!"}
PAYLOADS = {
    "content_view": CONTENT | {"referrer": "text"},
    "content_progress": CONTENT | {"depth": "depth", "active_ms": "active_ms"},
    "content_reaction": CONTENT | {"reaction": "reaction!"},
    "search": {"query": "dropped", "results_count": "count"},
    "advert_impression": ADVERT,
    "advert_click": ADVERT,
    "enquiry": {"advert_id": "text!", "channel": "channel!"},
}
ENVELOPE = {
    "event_id": "uuid!", "occurred_at": "time!", "sent_at": "time", "received_at": "time!", "product": "name!",
    "platform": "platform!", "app_version": "text", "device_id": "text!", "user_id": "text", "session_id": "text",
    "consent": "consent", "country": "country", "ip_address": "dropped", "user_agent": "dropped",
}  # fmt: skip
# What the contract has beyond this reading is NULL in its rows.
COLUMNS = [c.name for c in load_specs()["events"].columns() if c.name not in ("_batch_id", "_line")]
PSEUDONYMS = Pseudonymiser(KEY.encode())


class DoesNotFitError(Exception):
    """The row must be quarantined."""


def number(value: Any, least: float, greatest: float, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DoesNotFitError
    if whole and value != int(value):
        raise DoesNotFitError
    if not least <= value <= greatest:
        raise DoesNotFitError
    return int(value) if whole else float(value)


def moment(value: str) -> datetime:
    if not TIME.fullmatch(value):
        raise DoesNotFitError
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise DoesNotFitError from None
    read = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
    if not datetime(1900, 1, 1) <= read < datetime(2100, 1, 1):
        raise DoesNotFitError
    return read


def value_of(kind: str, value: Any) -> Any:
    """A field's value as it must land."""
    required, kind = kind.endswith("!"), kind.removesuffix("!")
    if kind == "dropped":
        return None
    if value is None or (required and value == ""):
        if required:
            raise DoesNotFitError
        return None
    if kind == "consent":
        if not isinstance(value, list) or not all(isinstance(v, str) and v in PURPOSES for v in value):
            raise DoesNotFitError
        return value
    if kind in ("depth", "active_ms", "count", "position"):
        least = 1 if kind == "position" else 0
        greatest = {"depth": 1, "active_ms": 86_400_000, "count": 2**63 - 1, "position": 2**31 - 1}[kind]
        return number(value, least, greatest, whole=kind != "depth")
    if not isinstance(value, str):
        raise DoesNotFitError
    accepted = {"platform": PLATFORMS, "reaction": REACTIONS, "channel": CHANNELS}.get(kind)
    pattern = {"name": NAME, "country": COUNTRY}.get(kind)
    if (accepted and value not in accepted) or (pattern and not pattern.fullmatch(value)):
        raise DoesNotFitError
    if kind == "uuid":
        if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
            raise DoesNotFitError
        return UUID(value).bytes
    return moment(value) if kind == "time" else value


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        made["a key came twice"] = True
    return made


def conform(line: bytes) -> dict[str, Any]:
    """The row that a JSON line must land as, but for lineage; raises where it must not."""
    try:
        document = json.loads(line.decode(), object_pairs_hook=no_duplicates)
    except ValueError:
        raise DoesNotFitError from None
    if not isinstance(document, dict) or "a key came twice" in document:
        raise DoesNotFitError
    found = [p for p in PAYLOADS if document.get(p) is not None]
    if len(found) != 1 or not isinstance(document[found[0]], dict) or "a key came twice" in document[found[0]]:
        raise DoesNotFitError
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {name: value_of(kind, document.get(name)) for name, kind in ENVELOPE.items() if kind != "dropped"}
    for name in ("device", "user"):
        value = row.pop(f"{name}_id")
        row[f"{name}_key"] = None if value is None else PSEUDONYMS.one(f"{name}_key", value)
    agent = document.get("user_agent")
    row |= {"event_type": found[0], "is_bot": isinstance(agent, str) and "crawl" in agent.lower()}
    row |= {n: value_of(k, document[found[0]].get(n)) for n, k in PAYLOADS[found[0]].items() if k != "dropped"}
    return row


# --- arbitrary deliveries --------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text)
numbers_as_text = st.sampled_from(["12345", "-1", "true", "null", "{}", "[1]", "NaN", "1e5", "0"])
moments = st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1))
times = moments.map(lambda moment: moment.isoformat(timespec="microseconds") + "Z")
names = st.from_regex(NAME, fullmatch=True).map(lambda name: name[:10])
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids().map(str),
    "time": times,
    "name": names,
    "platform": st.sampled_from(PLATFORMS),
    "text": words | numbers_as_text,
    "consent": st.lists(st.sampled_from(PURPOSES), unique=True),
    "country": st.sampled_from(["SE", "NO", "GB"]),
    "dropped": st.sampled_from(["a crawler", "203.0.113.9", "a person"]),
    "depth": st.floats(0, 1),
    "active_ms": st.integers(0, 86_400_000),
    "count": st.integers(0, 2**63 - 1),
    "position": st.integers(1, 2**31 - 1),
    "reaction": st.sampled_from(REACTIONS),
    "channel": st.sampled_from(CHANNELS),
}
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def valid_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event that fits; optional fields may be null."""

    def fields(kinds: dict[str, str]) -> dict[str, Any]:
        return {
            name: draw(KINDS[kind.removesuffix("!")] if kind.endswith("!") or kind == "consent"
                       else st.none() | KINDS[kind])
            for name, kind in kinds.items()
        }  # fmt: skip

    payload = draw(st.sampled_from(sorted(PAYLOADS)))
    return fields(ENVELOPE) | {payload: fields(PAYLOADS[payload])}


MUTATIONS = ["none", "none", "value", "drop", "unknown", "payload", "bytes", "cut", "text", "junk"]


def says_something(event: dict[str, Any]) -> bool:
    """Whether the payload holds any value: CSV cannot tell an empty payload from none."""
    (payload,) = set(event) & set(PAYLOADS)
    return any(value is not None for value in event[payload].values())


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """An event as a line, as it is or mutated in any way."""
    event = draw(valid_events())
    (payload,) = set(event) & set(PAYLOADS)
    mutation = draw(st.sampled_from(MUTATIONS))
    holder = event if draw(st.booleans()) else event[payload]
    key = draw(st.sampled_from(sorted(holder)))
    if mutation == "value":
        holder[key] = draw(junk)
    elif mutation == "drop":
        del holder[key]
    elif mutation == "unknown":
        holder[draw(texts)] = draw(junk)
    elif mutation == "payload":
        event[draw(st.sampled_from(sorted(PAYLOADS)))] = draw(junk)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    line = json.dumps(event, ensure_ascii=draw(st.booleans()), separators=separators).encode()
    position = draw(st.integers(0, len(line) - 1))
    if mutation == "bytes":
        line = line[:position] + draw(st.binary(min_size=1, max_size=2)) + line[position + 1 :]
    elif mutation == "cut":
        line = line[:position]
    elif mutation == "text":
        line = draw(texts).encode()
    elif mutation == "junk":
        line = json.dumps(draw(junk)).encode()
    return line.replace(b"\n", b" ").replace(b"\r", b" ")


def expected_of(lines: list[bytes]) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, bytes]]]:
    """Rows and rejects by line, as an independent reader finds them."""
    rows, rejects = [], []
    for position, line in enumerate(lines, start=1):
        if line:
            try:
                rows.append((position, conform(line)))
            except DoesNotFitError:
                rejects.append((position, line))
    return rows, rejects


def landed(lake: Lake, batch: int) -> list[tuple[int, dict[str, Any]]]:
    rows = [row for row in lake.rows() if row.pop("_batch_id") == batch]
    return [(row.pop("_line"), row) for row in rows]


SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@SETTINGS
@given(st.lists(st.lists(json_lines(), max_size=12), min_size=1, max_size=3), st.sampled_from(["", ".gz", ".zst"]))
def test_every_json_line_lands_with_its_values_or_is_quarantined_with_its_bytes(
    files: list[list[bytes]], compression: str
) -> None:
    # A file that begins with an array is not one of lines.
    files = [[b"null", *lines] if b"".join(lines).lstrip().startswith(b"[") else lines for lines in files]
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        for i, lines in enumerate(files):
            lake.deliver(f"web/events/{i}.ndjson{compression}", compressed(b"\n".join(lines) + b"\n", compression))
        receipts = lake.land().receipts
        seen: set[bytes] = set()
        for lines, receipt in zip(files, receipts, strict=True):
            if any(lines) and b"\n".join(lines) in seen:
                assert receipt.status is Status.DUPLICATE
                continue
            seen.add(b"\n".join(lines))
            rows, rejects = expected_of(lines)
            if not any(lines):
                assert (receipt.status, "empty" in (receipt.reason or "")) == (Status.REFUSED, True)
                continue
            quarantined = [r for r in lake.rejects() if r["_batch_id"] == receipt.batch_id]
            assert [(r["_line"], r["raw"]) for r in quarantined] == rejects
            assert landed(lake, receipt.batch_id) == rows
            assert receipt.rows_read == receipt.rows_landed + receipt.rows_rejected == len([x for x in lines if x])
        lake.assert_whole()


@SETTINGS
@given(
    st.lists(valid_events().filter(says_something), min_size=1, max_size=12),
    st.lists(st.sampled_from(["ndjson", "pb", "parquet", "csv", "pb.gz", "csv.zst"]), min_size=1, max_size=4),
)
def test_valid_events_land_exactly_however_they_are_split_and_written(
    events: list[dict[str, Any]], suffixes: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        for i, suffix in enumerate(suffixes):
            part = events[i :: len(suffixes)]
            if part:
                lake.deliver(f"web/events/{i}.{suffix}", in_format(part, suffix))
        receipts = lake.land().receipts
        assert {(r.status, r.rows_rejected, r.unknown_keys) for r in receipts} == {(Status.LANDED, 0, 0)}
        assert sum(r.rows_landed for r in receipts) == len(events)
        found = Counter(repr(sorted(row.items())) for r in receipts for _, row in landed(lake, r.batch_id))
        assert found == Counter(repr(sorted(conform(json.dumps(e).encode()).items())) for e in events)


@SETTINGS
@given(st.lists(st.binary(max_size=30) | valid_events().map(protobuf), min_size=1, max_size=12))
def test_arbitrary_protobuf_records_are_conserved(records: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        receipt = lake.land_one("web/events/a.pb", delimited(records))
        assert receipt.status is Status.LANDED
        assert receipt.rows_read == len(records)
        lines = {row["_line"] for row in lake.rows()}
        assert {r["_line"]: r["raw"] for r in lake.rejects()} == {
            i: raw for i, raw in enumerate(records, start=1) if i not in lines
        }


GOOD = ndjson([event()])


@SETTINGS
@given(st.binary(max_size=200), st.sampled_from(["ndjson", "csv", "pb", "parquet", "ndjson.gz", "pb.zst"]))
def test_arbitrary_bytes_never_stop_a_landing(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        lake.deliver(f"web/events/a.{suffix}", data)
        lake.deliver("web/events/b.ndjson", GOOD)
        first, second = lake.land().receipts
        assert first.status in (Status.LANDED, Status.REFUSED)
        assert (second.status, second.rows_landed) == (Status.LANDED, 1)
        lake.assert_whole()
