"""Small files are conformed together, within bounds, and what goes wrong there costs no other file."""

import errno
import gzip
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land import commit, gather
from flows.land import land as land_module
from flows.land import receipts as receipts_module
from flows.land.conform import Conformed, Conformer
from flows.land.gather import in_groups
from flows.land.inbox import Delivery
from flows.land.landed_files import LandedFiles
from flows.land.readers import Chunk, Unknown, limits, read_chunks
from flows.land.readers.joined import Joined, joined
from flows.land.receipt import Receipt, Status
from flows.land.receipts import Receipts
from tests.support.deliveries import event, field_of, in_format, ndjson, small_spec
from tests.support.lake import Lake

EVENTS = load_specs()["events"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows the conformers are asked about, call by call."""
    rows, conform = [], Conformer.conform

    def noted(self: Conformer, chunk: Chunk, batch_id: int) -> Conformed:
        rows.append(chunk.table.num_rows)
        return conform(self, chunk, batch_id)

    monkeypatch.setattr(Conformer, "conform", noted)
    return rows


def deliver(lake: Lake, files: int, suffix: str = "ndjson", rows: int = 3) -> list[str]:
    """Files of some events and a line that is none."""
    names = [f"web/events/{number:03}.{suffix}" for number in range(files)]
    for number, name in enumerate(names):
        events = [event(number * 1000 + n, app_version=f"v{number}") for n in range(rows)]
        lake.deliver(name, in_format(events, suffix) + (b"5\n" if suffix == "ndjson" else b""))
    return names


def outcome(receipts: Sequence[Receipt]) -> list[tuple[str, Status, int, int]]:
    return [(r.file, r.status, r.rows_landed, r.rows_rejected) for r in receipts]


# --- which files are taken together ----------------------------------------------------------------------------------


def delivery(name: str, size: int = 1) -> Delivery:
    source, dataset, _ = name.split("/")
    return Delivery(Path(name), name, source, dataset, os.stat_result((0, 0, 0, 1, 0, 0, size, 0, 0, 0)))


def groups(*found: tuple[str, int]) -> list[list[str]]:
    return [[d.name for d in group] for group in in_groups(delivery(name, size) for name, size in found)]


def test_small_files_of_a_dataset_are_taken_together_in_order() -> None:
    large = gather.SMALL_BYTES + 1
    found = [("w/events/1", 1), ("w/events/2", 1), ("w/calls/3", 1), ("x/events/4", 1), ("x/events/5", large)]
    assert groups(*found, ("y/events/6", 1)) == [
        ["w/events/1", "w/events/2"],
        ["w/calls/3"],
        ["x/events/4"],
        ["x/events/5"],
        ["y/events/6"],
    ]
    assert groups() == []


def test_no_more_is_taken_together_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(f"w/events/{n}", gather.SMALL_BYTES) for n in range(gather.GROUP_BYTES // gather.SMALL_BYTES + 1)]
    assert [len(group) for group in groups(*many)] == [len(many) - 1, 1]
    dense = [
        (f"w/events/{n}.ndjson.gz", gather.SMALL_BYTES // gather.EXPANSION + more) for n, more in enumerate((0, 0, 1))
    ]
    assert [len(group) for group in groups(*dense)] == [2, 1]
    # A cell of CSV takes more memory than text: wide files of hardly any are no small ones.
    assert groups(("w/events/1.csv", gather.SMALL_BYTES), ("w/events/2.csv", 1), ("w/events/3.csv", 1)) == [
        ["w/events/1.csv"],
        ["w/events/2.csv", "w/events/3.csv"],
    ]
    monkeypatch.setattr(gather, "GROUP_FILES", 2)
    assert [len(group) for group in groups(*(("w/events/1", 1),) * 5)] == [2, 2, 1]


@pytest.mark.parametrize("suffix", ["ndjson", "ndjson.gz", "json", "pb", "parquet", "csv"])
def test_small_files_of_every_format_are_conformed_at_once(lake: Lake, asked: list[int], suffix: str) -> None:
    for number in range(5):
        rows = [event(10 * number + n) for n in range(3)]
        data = json.dumps(rows).encode() if suffix == "json" else in_format(rows, suffix)
        lake.deliver(f"web/events/{number}.{suffix}", data)
    assert [r.rows_landed for r in lake.land().receipts] == [3] * 5
    assert asked == [15]
    assert [row["_line"] for row in lake.rows()] == ([2, 3, 4] if suffix == "csv" else [1, 2, 3]) * 5


def test_small_files_without_fault_never_meet_the_sql(lake: Lake) -> None:
    for number in range(10):
        lake.deliver(f"web/events/{number}.ndjson", ndjson(event(20 * number + n) for n in range(20)))
    with mock.patch.object(Conformer, "_by_sql", side_effect=AssertionError("the SQL was asked")):
        assert [r.rows_landed for r in lake.land().receipts] == [20] * 10


@pytest.mark.parametrize(
    ("limit", "value", "wanted"),
    [("CHUNK_RECORDS", 32, [32, 4, 4]), ("CHUNK_BYTES", 14_000, [32, 4, 4]), ("CHUNK_RECORDS", 8, [4] * 10)],
)
def test_what_would_be_too_much_together_lands_by_itself(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, asked: list[int], limit: str, value: int, wanted: list[int]
) -> None:
    names = deliver(lake, 10)
    with monkeypatch.context() as patch:
        patch.setattr(limits, limit, value)
        done = lake.land()
    assert outcome(done.receipts) == [(name, Status.LANDED, 3, 1) for name in names]
    assert asked == wanted
    lake.assert_whole()


def test_columns_of_other_types_are_no_hindrance(lake: Lake) -> None:
    specs = small_spec([field_of("key"), field_of("size", "bigint")])
    for number, header in enumerate(["key,size", "size,key", "key,size", "key,colour", "key"]):
        row = {"key": "a", "size": str(number), "colour": "red"}
        cells = ",".join(row[name] for name in header.split(","))
        lake.deliver(f"x/things/{number}.csv", f"{header}\n{cells}\n".encode())
    done = lake.land(specs)
    assert [(r.rows_landed, r.unknown_keys) for r in done.receipts] == [(1, 0), (1, 0), (1, 0), (1, 1), (1, 0)]
    assert [(row["key"], row["size"]) for row in lake.rows("things")] == [("a", s) for s in (0, 1, 2, None, None)]


def test_a_file_carries_no_words_of_another(lake: Lake) -> None:
    deliver(lake, 3, rows=40)
    lake.land()
    for number, path in enumerate(sorted(lake.settings.landed.rglob("*.parquet"))):
        assert [f"v{other}".encode() in path.read_bytes() for other in range(3)] == [
            other == number for other in range(3)
        ]


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("a library failed"), MemoryError(), OSError("odd")])
def test_where_conforming_together_fails_each_lands_by_itself(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    names = deliver(lake, 4)
    conform = Conformer.conform

    def fails_for_several(self: Conformer, chunk: Chunk, batch_id: int) -> Conformed:
        if chunk.table.num_rows > 4:
            raise error
        return conform(self, chunk, batch_id)

    monkeypatch.setattr(Conformer, "conform", fails_for_several)
    assert outcome(lake.land().receipts) == [(name, Status.LANDED, 3, 1) for name in names]
    assert [(row["_batch_id"], row["_line"]) for row in lake.rejects()] == [(n, 4) for n in (1, 2, 3, 4)]
    lake.assert_whole()


def test_the_rows_that_make_a_library_fail_cost_their_file_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    names = deliver(lake, 4)
    lake.deliver(names[2], ndjson([event(1), event(2, app_version="poison")]))
    conform = Conformer.conform

    def fails(self: Conformer, chunk: Chunk, batch_id: int) -> Conformed:
        if any(b"poison" in raw for raw in chunk.raw(list(range(chunk.table.num_rows)))):
            raise RuntimeError("a library failed")
        return conform(self, chunk, batch_id)

    monkeypatch.setattr(Conformer, "conform", fails)
    wanted = [(name, Status.LANDED, 3, 1) for name in names]
    wanted[2] = (names[2], Status.REFUSED, 0, 0)
    done = lake.land()
    assert outcome(done.receipts) == wanted
    assert "RuntimeError" in (done.receipts[2].reason or "")
    lake.assert_whole()


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


KILLS = [
    *((Receipts, "_enter", occasion) for occasion in (1, 4)),
    *((commit, "sync_file", occasion) for occasion in (1, 5, 8)),
    *((commit, "sync_folder", occasion) for occasion in (1, 4, 5, 6, 7, 8, 9, 10, 11)),
]


@pytest.mark.parametrize(("module", "step", "occasion"), KILLS)
@pytest.mark.parametrize("is_cleaned", [False, True])
def test_a_landing_killed_within_a_group_leaves_whole_batches(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, occasion: int, is_cleaned: bool
) -> None:
    names = deliver(lake, 4)
    calls, original = itertools.count(1), getattr(module, step)

    def stop(*arguments: Any) -> None:
        if next(calls) == occasion:
            raise Killed
        original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, step, stop)
        if not is_cleaned:
            patch.setattr(Receipts, "clean_up", lambda receipts: None)
        lake.land()
    done = [receipt.file for receipt in lake.receipts()]
    assert done == names[: len(done)]
    if step == "sync_folder":  # 4 batches; their dataset, its day and the landed zone; then 4 renames
        assert len(done) == max(0, occasion - 7)
    else:
        assert done == []
    assert [r.file for r in lake.land().receipts] == names[len(done) :]
    assert outcome(lake.receipts()) == [(name, Status.LANDED, 3, 1) for name in names]
    assert [(row["_batch_id"], row["_line"]) for row in lake.rows()] == [
        (b, n) for b in (1, 2, 3, 4) for n in (1, 2, 3)
    ]
    lake.assert_whole()


def test_what_is_made_before_landing_stops_is_committed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    names = deliver(lake, 4)
    write, calls = LandedFiles.write, itertools.count(1)

    def full(self: LandedFiles, rows: pa.Table) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, rows)

    with monkeypatch.context() as patch, pytest.raises(TidemarkError, match="No space left"):
        patch.setattr(LandedFiles, "write", full)
        lake.land()
    assert [receipt.file for receipt in lake.receipts()] == names[:2]
    lake.assert_whole()
    assert [receipt.file for receipt in lake.land().receipts] == names[2:]
    lake.assert_whole()


def test_more_than_are_committed_at_once_land_in_order(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land_module, "MOST_BEGUN", 2)
    begun: list[int] = []

    def noted(folder: Path, batches: Sequence[commit.Begun]) -> None:
        begun.append(len(batches))
        commit.commit_all(folder, batches)

    monkeypatch.setattr(receipts_module, "commit_all", noted)
    names = deliver(lake, 5)
    lake.deliver(names[3], b"")
    done = lake.land()
    assert [(r.batch_id, r.file, r.status is Status.LANDED) for r in done.receipts] == [
        (number, name, number != 4) for number, name in enumerate(names, 1)
    ]
    assert begun == [2, 1, 1, 1]
    lake.assert_whole()


# --- chunks as one ---------------------------------------------------------------------------------------------------


def chunk_of(folder: Path, data: bytes, name: str = "part.ndjson") -> Chunk:
    (folder / name).write_bytes(data)
    (chunk,) = read_chunks(folder / name, EVENTS)
    return chunk


def lines_in(whole: Joined) -> list[tuple[int, int]]:
    return [whole.place_of(line) for line in whole.chunk.table["_line"].to_pylist()]


def test_lines_of_several_files_keep_their_place(tmp_path: Path) -> None:
    texts = [b'{"a": 1}\n\n\n{"a": 2}', b"\xff\n", b'\r\n{"a": 3}\r\n\xff', b'\xef\xbb\xbf{"a": 4}\n']
    whole = joined([chunk_of(tmp_path, text) for text in texts])
    assert lines_in(whole) == [(0, 1), (0, 4), (2, 2), (3, 1)]
    assert [whole.place_of(reject.line) for reject in whole.chunk.rejects] == [(1, 1), (2, 3)]
    assert whole.chunk.raw([3, 1, 2]) == [b'{"a": 4}', b'{"a": 2}', b'{"a": 3}']
    assert whole.chunk.table["raw"].to_pylist() == ['{"a": 1}\n', '{"a": 2}\n', '{"a": 3}\r\n', '{"a": 4}\n']


def test_records_of_several_files_keep_their_place_and_bytes(tmp_path: Path) -> None:
    files = [[event(1), event(2)], [event(3)], [event(4), event(5)]]
    chunks = [chunk_of(tmp_path, in_format(rows, "pb"), "part.pb") for rows in files]
    chunks[1].unknown.append(Unknown(1, "99", '"1"'))
    whole = joined(chunks)
    assert lines_in(whole) == [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2)]
    assert [whole.place_of(unknown.line) for unknown in whole.chunk.unknown] == [(1, 1)]
    one_by_one = [chunk.raw([place])[0] for chunk in chunks for place in range(chunk.table.num_rows)]
    assert whole.chunk.raw([0, 1, 2, 3, 4]) == one_by_one
    assert whole.chunk.taken(np.array([4, 1])).raw([0, 1]) == [one_by_one[4], one_by_one[1]]


def test_a_compressed_file_that_unpacks_to_much_lands_by_itself(lake: Lake, asked: list[int]) -> None:
    names = deliver(lake, 3, "ndjson.gz", rows=50)
    lake.deliver("web/events/bomb.ndjson.gz", gzip.compress(b"\xff" * (gather.SMALL_BYTES + 1)))
    receipts = {r.file: r for r in lake.land().receipts}
    assert [receipts[name].rows_landed for name in names] == [50, 50, 50]
    assert receipts["web/events/bomb.ndjson.gz"].rows_rejected == 1
    assert sum(asked) == 150


def test_rows_that_come_back_in_another_order_are_not_shared_out(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    names, conform = deliver(lake, 3), Conformer.conform

    def turned(self: Conformer, chunk: Chunk, batch_id: int) -> Conformed:
        found = conform(self, chunk, batch_id)
        return found if batch_id else replace(found, rows=found.rows.take(range(found.rows.num_rows)[::-1]))

    monkeypatch.setattr(Conformer, "conform", turned)
    assert [(r.file, r.rows_landed) for r in lake.land().receipts] == [(name, 3) for name in names]
    assert {row["app_version"] for row in lake.rows()} == {"v0", "v1", "v2"}


def test_a_batch_that_the_index_took_in_part_is_not_committed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    names, enter = deliver(lake, 3), Receipts._enter

    def fails_at_the_third(self: Receipts, receipt: Receipt) -> None:
        enter(self, receipt)
        if receipt.batch_id == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TidemarkError, match="No space left"):
        patch.setattr(Receipts, "_enter", fails_at_the_third)
        lake.land()
    assert [r.file for r in lake.receipts()] == names[:2]
    assert [r.file for r in lake.land().receipts] == names[2:]
    lake.assert_whole()
