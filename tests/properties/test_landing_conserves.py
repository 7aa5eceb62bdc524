"""Whatever is delivered, however it is split and written: no row is lost or invented, and every value is exact."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from flows.land.receipt import Status
from tests.support.arbitrary_events import json_lines, says_something, valid_events
from tests.support.contract_reading import DoesNotFitError, conform, refusals
from tests.support.deliveries import compressed, delimited, event, in_format, ndjson, protobuf
from tests.support.examples import Examples
from tests.support.lake import Lake


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


EXAMPLES = Examples(few=8, many=25)


@EXAMPLES.of(
    st.lists(st.lists(json_lines(), max_size=12), min_size=1, max_size=3), st.sampled_from(["", ".gz", ".zst"])
)
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


@EXAMPLES.of(
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
        told = lake.rows("consents")
        until = {(row["device_key"], row["purpose"]): row["valid_from"] for row in told}
        assert (until, len(told)) == (refusals(events), len(until))
        assert {(row["is_granted"], row["user_key"], row["stated_in"]) for row in told} <= {(False, None, "events")}
        lake.assert_whole()


@EXAMPLES.of(st.lists(st.binary(max_size=30) | valid_events().map(protobuf), min_size=1, max_size=12))
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


@EXAMPLES.of(st.binary(max_size=200), st.sampled_from(["ndjson", "csv", "pb", "parquet", "ndjson.gz", "pb.zst"]))
def test_arbitrary_bytes_never_stop_a_landing(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        lake.deliver(f"web/events/a.{suffix}", data)
        lake.deliver("web/events/b.ndjson", GOOD)
        first, second = lake.land().receipts
        assert first.status in (Status.LANDED, Status.REFUSED)
        assert (second.status, second.rows_landed) == (Status.LANDED, 1)
        lake.assert_whole()
