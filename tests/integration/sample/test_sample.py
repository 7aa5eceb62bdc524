"""The sample lake: the same bytes every time, and exactly what its counts and its truth file say."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
import zstandard
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from flows import sample
from flows.contract.spec import DESCRIPTORS, load_specs
from flows.land.countries import country_of

EVENTS, DAYS, SEED = 40_000, 15, 7
SPEC = load_specs()["events"]
# What the contract has beyond this: test_sample_follows_contract.py.
PAYLOADS: dict[str, set[str]] = {payload: set() for payload in SPEC.payloads} | {
    "content_view": {"content_id", "content_type"},
    "content_progress": {"content_id", "content_type", "depth", "active_ms"},
    "content_reaction": {"content_id", "content_type", "reaction"},
    "search": {"query", "results_count"},
    "advert_impression": {"advert_id", "slot", "position", "page_type", "request_id"},
    "advert_click": {"advert_id", "slot", "position", "page_type", "request_id"},
    "enquiry": {"advert_id", "channel"},
}
ENVELOPE = {field.name for field in SPEC.fields if field.payload is None}
ACCEPTED = {field.path: set(field.accepted_values) for field in SPEC.fields if field.accepted_values}
REQUIRED = ("event_id", "occurred_at", "received_at", "product", "platform", "device_id")


@dataclass
class Read:
    """A lake as an independent reader finds it: by plain `json` and `protobuf`."""

    good: list[dict[str, Any]] = field(default_factory=list)
    dirt: Counter[str] = field(default_factory=Counter)
    rows: int = 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def result(home: Path) -> sample.SampleResult:
    return sample.generate(home, EVENTS, DAYS, SEED)


@pytest.fixture(scope="module")
def truth(home: Path, result: sample.SampleResult) -> dict[str, Any]:
    return dict(json.loads((home / "sample" / "truth.json").read_text()))


@pytest.fixture(scope="module")
def lake(home: Path, result: sample.SampleResult) -> Read:
    read = Read()
    for path in sorted((home / "lake" / "inbox").glob("*/events/*/*")):
        content = unpacked(path)
        records = list(lines(content) if ".ndjson" in path.name else protobufs(content))
        read.rows += len(records)
        if "-again" in path.name:
            original = path.with_name(path.name.replace("-again", ""))
            assert path.read_bytes() == original.read_bytes()
            read.dirt["files_twice"] += 1
            read.dirt["rows_in_files_twice"] += len(records)
            continue
        for record in records:
            flaw = flaw_of(record)
            if flaw:
                read.dirt[flaw] += 1
            elif isinstance(record, dict):
                read.good.append(record | {"day": path.parent.name})
    return read


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return content


def lines(content: bytes) -> Iterator[dict[str, Any] | str]:
    for line in content.decode().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            yield "malformed_lines"


def protobufs(content: bytes) -> Iterator[dict[str, Any] | str]:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    event = message_factory.GetMessageClass(pool.FindMessageTypeByName(sample.files.EVENT))
    start = 0
    while start < len(content):
        length, shift = 0, 0
        while True:
            byte = content[start]
            start += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        encoded = content[start : start + length]
        start += length
        try:
            message = event.FromString(encoded)
        except DecodeError:
            yield "unreadable_records"
            continue
        row = json_format.MessageToDict(message, preserving_proto_field_name=True)
        for payload in row.values():
            if isinstance(payload, dict):
                # The JSON mapping of Protobuf writes 64-bit numbers as text.
                payload |= {name: int(payload[name]) for name in ("active_ms", "results_count") if name in payload}
        message.DiscardUnknownFields()
        if message.ByteSize() < len(encoded):
            row["experiment"] = "blue"
        yield row


def flaw_of(record: dict[str, Any] | str) -> str | None:
    """Which kind of broken row this is, if it is one."""
    if isinstance(record, str):
        return record
    if any(not record.get(name) for name in REQUIRED):
        return "missing_fields"
    payload = record[payload_of(record)]
    numbers = [payload[name] for name in ("active_ms", "position") if name in payload]
    if record["occurred_at"] == "yesterday" or any(not isinstance(number, int) for number in numbers):
        return "wrong_types"
    return None


def payload_of(record: dict[str, Any]) -> str:
    (name,) = PAYLOADS.keys() & record.keys()
    return name


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def first_copies(lake: Read) -> dict[str, dict[str, Any]]:
    copies: dict[str, dict[str, Any]] = {}
    for event in lake.good:
        known = copies.setdefault(event["event_id"], event)
        if at(event["received_at"]) < at(known["received_at"]):
            copies[event["event_id"]] = event
    return copies


def bytes_of(home: Path) -> dict[str, bytes]:
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_same_parameters_give_the_same_bytes(home: Path, result: sample.SampleResult, tmp_path: Path) -> None:
    again = sample.generate(tmp_path, EVENTS, DAYS, SEED)
    assert again == result
    assert bytes_of(tmp_path) == bytes_of(home)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_do_not_show(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.generate(tmp_path / "one", 3000, 2, 1)
    monkeypatch.setattr(sample, "THREADS", threads)
    sample.generate(tmp_path / "other", 3000, 2, 1)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


def test_another_seed_gives_other_events(tmp_path: Path) -> None:
    for seed in (1, 2):
        sample.generate(tmp_path / str(seed), 500, 2, seed)
    one, other = (bytes_of(tmp_path / str(seed) / "lake") for seed in (1, 2))
    assert all(one[name] != other[name] for name in one.keys() & other.keys())


def test_a_second_call_writes_nothing_and_brings_back_what_is_missing(tmp_path: Path) -> None:
    first = sample.generate(tmp_path, 500, 2, 1)
    before = bytes_of(tmp_path)
    second = sample.generate(tmp_path, 500, 2, 1)
    assert second.skipped and not first.skipped
    assert (second.files, second.bytes, second.dirt) == (first.files, first.bytes, first.dirt)
    (tmp_path / "lake/inbox/cms/contents/2026-01-02.csv").unlink()
    assert not sample.generate(tmp_path, 500, 2, 1).skipped
    assert bytes_of(tmp_path) == before
    assert not [name for name in before if "/." in name]


def test_other_parameters_in_the_same_home_are_refused(tmp_path: Path) -> None:
    sample.generate(tmp_path, 500, 2, 1)
    with pytest.raises(sample.SampleConflict, match=r"500.*501.*delete"):
        sample.generate(tmp_path, 501, 2, 1)


@pytest.mark.parametrize(("events", "days"), [(0, 1), (1, 0)])
def test_nothing_to_make_is_refused(events: int, days: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        sample.generate(tmp_path, events, days, 1)


@pytest.mark.parametrize(("events", "days"), [(1, 1), (3, 5), (90, 100)])
def test_small_lakes_are_exact_too(events: int, days: int, tmp_path: Path) -> None:
    assert sample.generate(tmp_path, events, days, 1).distinct_events == events


def test_counts_are_those_of_the_files(lake: Read, result: sample.SampleResult, truth: dict[str, Any]) -> None:
    assert truth["dirt"] == result.dirt
    assert lake.rows == result.delivered_rows
    copies = first_copies(lake)
    assert len(copies) == result.distinct_events == EVENTS
    lake_dirt = dict(lake.dirt) | {
        "retries": len(lake.good) - len(copies),
        "unknown_fields": sum("experiment" in event for event in lake.good),
        "bots": sum(any(w in e["user_agent"] for w in ("bot", "Headless")) for e in lake.good),
        # Hours late as no clock and no retry can be.
        "late": sum(
            at(event["received_at"]) - at(event["occurred_at"]) > timedelta(hours=4) for event in copies.values()
        ),
        "clock_off": sum(
            timedelta(minutes=50) < abs(at(event["received_at"]) - at(event["sent_at"])) < timedelta(minutes=70)
            for event in lake.good
        ),
    }
    devices_off = result.dirt["devices_with_clock_off"]
    assert lake_dirt | {"devices_with_clock_off": devices_off} == result.dirt
    assert all(count > 0 for count in result.dirt.values()), result.dirt


def test_files_and_bytes_are_counted(home: Path, result: sample.SampleResult) -> None:
    paths = [path for path in (home / "lake").rglob("*") if path.is_file()]
    assert result.files == len(paths)
    assert result.bytes == sum(path.stat().st_size for path in paths)
    endings = {"".join(path.suffixes) for path in paths}
    assert endings == {".ndjson.gz", ".ndjson.zst", ".ndjson", ".pb", ".pb.zst", ".csv", ".parquet"}


def test_good_rows_keep_the_contract(lake: Read) -> None:
    for event in lake.good:
        UUID(event["event_id"])
        payload = payload_of(event)
        assert event.keys() <= ENVELOPE | {payload, "experiment", "day"}
        assert event["product"] in {"news", "sport", "play", "market"}
        assert event["platform"] in ACCEPTED["platform"]
        assert set(event.get("consent", [])) <= ACCEPTED["consent"]
        assert len(event["country"]) == 2 and event["country"].isupper()
        body = event[payload]
        assert all(name in body for name in PAYLOADS[payload]), event
        assert 0 <= body.get("depth", 0) <= 1
        assert 0 <= body.get("active_ms", 0) <= 15_000
        assert body.get("position", 1) >= 1
        assert body.get("reaction", "like") in ACCEPTED["content_reaction.reaction"]
        assert body.get("channel", "call") in ACCEPTED["enquiry.channel"]
        assert (event["platform"] == "web") == (event.get("session_id") is None)


def test_rows_lie_in_the_files_of_the_day_they_were_received(lake: Read) -> None:
    for event in lake.good:
        # January in Stockholm is an hour ahead of UTC.
        assert (at(event["received_at"]) + timedelta(hours=1)).date().isoformat() == event["day"]


def test_retries_repeat_the_event(lake: Read) -> None:
    copies = defaultdict(list)
    for event in lake.good:
        copies[event["event_id"]].append(event)
    for twice in copies.values():
        assert len({(event["occurred_at"], event["device_id"], payload_of(event)) for event in twice}) == 1
        assert len({event["received_at"] for event in twice}) == len(twice)


def test_days_and_hours_have_their_rhythm_and_activity_a_long_tail(lake: Read) -> None:
    copies = first_copies(lake).values()
    hours = Counter(at(event["occurred_at"]).hour for event in copies)
    assert hours[19] > 5 * hours[2]
    days = Counter(at(event["received_at"]).date().isoweekday() for event in copies)
    weeks = Counter(at(f"2026-01-{day:02}").isoweekday() for day in range(1, DAYS + 1))
    assert days[6] / weeks[6] < 0.9 * days[2] / weeks[2]
    counts = sorted(Counter(event["device_id"] for event in copies).values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.25 * sum(counts)
    views = sorted(
        Counter(e["content_view"]["content_id"] for e in copies if "content_view" in e).values(), reverse=True
    )
    assert views[0] > 5 * views[len(views) // 2]


def test_people_have_several_devices_and_some_visits_cross_midnight(lake: Read) -> None:
    devices, sessions = defaultdict(set), defaultdict(set)
    for event in lake.good:
        devices[event.get("user_id")].add(event["device_id"])
        sessions[event.get("session_id")].add((at(event["occurred_at"]) + timedelta(hours=1)).date())
    assert len(devices.pop(None)) > 100
    assert max(map(len, devices.values())) > 1
    sessions.pop(None)
    assert any(len(dates) > 1 for dates in sessions.values())


def test_depth_never_falls_within_a_page(lake: Read) -> None:
    heartbeats = defaultdict(list)
    for event in first_copies(lake).values():
        if "content_progress" in event and event.get("session_id"):
            body = event["content_progress"]
            heartbeats[event["session_id"], body["content_id"]].append((at(event["occurred_at"]), body["depth"]))
    rising = 0
    for beats in heartbeats.values():
        depths = [depth for _, depth in sorted(beats)]
        rising += depths == sorted(depths)
    # Only a page opened twice in one visit starts again.
    assert rising > 0.9 * len(heartbeats)


def test_clicks_follow_quality_and_position(lake: Read, truth: dict[str, Any]) -> None:
    shown: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    clicked: Counter[int] = Counter()
    for event in first_copies(lake).values():
        if body := event.get("advert_impression"):
            shown[body["position"]] += 1
            effect = truth["position_effect"][str(body["position"])]
            expected[body["position"]] += truth["advert_quality"][body["advert_id"]] * effect
        elif body := event.get("advert_click"):
            clicked[body["position"]] += 1
    for position in range(1, 9):
        # Four standard deviations of a count of rare events.
        assert abs(clicked[position] - expected[position]) < 4 * expected[position] ** 0.5 + 1
    assert clicked[1] / shown[1] > 1.5 * clicked[4] / shown[4] > 1.5 * clicked[8] / shown[8]


def test_tables_arrive_daily_and_change(home: Path, result: sample.SampleResult, truth: dict[str, Any]) -> None:
    inbox = home / "lake" / "inbox"
    contents = [row for path in sorted(inbox.glob("cms/contents/*.csv")) for row in csv_rows(path)]
    accounts = [row for path in sorted(inbox.glob("crm/accounts/*.csv")) for row in csv_rows(path)]
    adverts = [
        row for path in sorted(inbox.glob("market/adverts/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    calls = [row for path in sorted(inbox.glob("telephony/calls/*.parquet")) for row in pq.read_table(path).to_pylist()]
    tables = {
        "contents": contents, "adverts": adverts, "accounts": accounts, "calls": calls,
        "consents": consent_records(home),
    }  # fmt: skip
    assert {name: result.table_rows[name] for name in tables} == {name: len(rows) for name, rows in tables.items()}
    assert max(Counter(row["content_id"] for row in contents).values()) > 1
    prices = defaultdict(list)
    for advert in adverts:
        prices[advert["advert_id"]].append(advert["price"])
        assert advert["updated_at"].tzinfo is not None and advert["updated_at"] >= advert["listed_at"]
    assert all(later <= earlier for row in prices.values() for earlier, later in pairwise(row))
    assert any(row[-1] < row[0] for row in prices.values())
    assert {row["status"] for row in adverts} == {"listed", "sold"}
    assert all(row["email"].endswith("@example.org") for row in accounts)
    assert {country_of(row["address"]) for row in accounts} == {"SE", "NO", "FI", "DK", None}
    assert {call["call_id"] for call in calls} == truth["call_topic"].keys()
    assert len(calls) == len({call["call_id"] for call in calls})
    assert len(set(truth["call_topic"].values())) == 6
    assert all(datetime(2025, 12, 31, 23, tzinfo=UTC) <= call["started_at"] for call in calls)


def test_accounts_say_what_their_owners_agree_to_and_some_withdraw_it(home: Path) -> None:
    said = defaultdict(list)
    for path in sorted((home / "lake" / "inbox").glob("crm/accounts/*.csv")):
        for row in csv_rows(path):
            assert (row["consent"] == "") == (row["consent_updated_at"] == "")
            if row["consent"]:
                assert set(json.loads(row["consent"])) <= ACCEPTED["consent"]
                assert at(row["created_at"]) <= at(row["consent_updated_at"]) <= at(row["updated_at"])
            said[row["account_id"]].append(row)
    first = Counter(rows[0]["consent"] for rows in said.values())
    assert first.keys() >= {"", "[]"} and 0.05 < first[""] / len(said) < 0.15
    withdrawn = [rows for rows in said.values() if rows[-1]["consent"] != rows[0]["consent"]]
    assert 0 < len(withdrawn) < 0.05 * len(said)
    for rows in withdrawn:
        assert {*json.loads(rows[0]["consent"])} - {*json.loads(rows[-1]["consent"])} == {"advertising"}
        assert at(rows[-1]["consent_updated_at"]) > at(rows[0]["updated_at"])


def test_some_people_withdraw_consent_and_a_few_give_it_again(home: Path, lake: Read) -> None:
    agreed = {event["device_id"]: {*event.get("consent", [])} for event in lake.good}
    records = consent_records(home)
    by_person = defaultdict(list)
    for record in sorted(records, key=lambda record: at(record["valid_from"])):
        who = record["device_id"] or record["user_id"]
        by_person[who, record["purpose"]].append(record["is_granted"])
        # What somebody never agreed to is not withdrawn.
        assert record["purpose"] in agreed.get(record["device_id"], ACCEPTED["consent"])
    people = {who for who, _ in by_person}
    assert 5 < len(people) < 0.05 * len(agreed)
    assert {who for who, purpose in by_person if purpose == "analytics"} == people
    changes = Counter(tuple(dict.fromkeys(granted)) for granted in by_person.values())
    assert changes.keys() == {(False,), (False, True)} and changes[False,] > changes[False, True]
    # Who is not logged in is known by the device alone, and who writes a letter by the account alone.
    named = {(record["device_id"] is None, record["user_id"] is None) for record in records}
    assert named == {(False, False), (False, True), (True, False)}


def test_records_of_consent_come_late_and_twice_and_no_file_is_empty(home: Path) -> None:
    records = consent_records(home)
    seen: dict[str, dict[str, Any]] = {}
    twice = 0
    for record in sorted(records, key=lambda record: record["day"]):
        UUID(record["consent_id"])
        received = (at(record["received_at"]) + timedelta(hours=1)).date()  # Stockholm, in January
        if first := seen.get(record["consent_id"]):
            twice += 1
            assert {**first, "day": record["day"]} == record
            assert (received + timedelta(days=1)).isoformat() == record["day"]
        else:
            assert received.isoformat() == record["day"]
            seen[record["consent_id"]] = record
    assert 0 < twice < 0.3 * len(seen)
    late = sum(at(r["received_at"]) - at(r["valid_from"]) > timedelta(hours=5) for r in seen.values())
    assert 0 < late < 0.5 * len(seen)
    assert all(path.stat().st_size for path in (home / "lake" / "inbox").glob("cmp/consents/*"))


def test_a_day_without_records_of_consent_brings_no_file(tmp_path: Path) -> None:
    result = sample.generate(tmp_path, 90, 30, 1)
    files = [*tmp_path.glob("lake/inbox/cmp/consents/*")]
    assert 0 < len(files) <= result.table_rows["consents"] < 30
    assert all(file.stat().st_size for file in files)


def consent_records(home: Path) -> list[dict[str, Any]]:
    """Every delivered record of consent, with the day of its file."""
    paths = sorted((home / "lake" / "inbox").glob("cmp/consents/*.ndjson"))
    return [json.loads(line) | {"day": path.stem} for path in paths for line in path.read_text().splitlines()]


def test_events_name_contents_and_adverts_that_the_tables_know(home: Path, lake: Read) -> None:
    inbox = home / "lake" / "inbox"
    contents = {row["content_id"] for path in inbox.glob("cms/contents/*.csv") for row in csv_rows(path)}
    adverts = {
        advert for path in inbox.glob("market/adverts/*.parquet")
        for advert in pq.read_table(path, columns=["advert_id"]).column(0).to_pylist()
    }  # fmt: skip
    for event in lake.good:
        body = event[payload_of(event)]
        assert body.get("content_id") is None or body["content_id"] in contents
        assert body.get("advert_id") is None or body["advert_id"] in adverts


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
