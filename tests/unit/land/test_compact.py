"""Compaction: one file of the many of a day, with the same rows, in one step, whatever happens meanwhile."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from flows.audit.audit import audit
from flows.build import build as build_module
from flows.build.landings import enter_landings
from flows.build.warehouse import warehouse_lock
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land import compact as module
from flows.land import file_index
from flows.land import receipts as receipts_module
from flows.land.compact import compact
from flows.land.land import land as land_all
from flows.land.receipts import Receipts
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

DAYS = [date(2026, 1, 14), date(2026, 1, 15), date(2026, 1, 16)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three files, each with events of three days and two devices."""
    made = Lake(tmp_path)
    for number in range(3):
        land(made, number)
    return made


def land(lake: Lake, number: int) -> None:
    rows = [
        event(
            100 * number + i,
            occurred_at=f"{DAYS[i % 3]}T12:{30 - number:02}:{i:02}Z",
            received_at=f"{DAYS[i % 3]}T13:00:00Z",
            device_id=f"d-{i % 2}",
        )
        for i in range(12)
    ]
    lake.land_one(f"web/events/{number}.ndjson", ndjson(rows))


def files_of(lake: Lake) -> list[str]:
    with closing(Receipts(lake.settings)) as receipts:
        return [file.path for file in receipts.files.in_force("events")]


def there(lake: Lake) -> set[str]:
    return {str(path.relative_to(lake.settings.lake)) for path in lake.settings.landed.rglob("*.parquet")}


def seen(lake: Lake) -> list[tuple[Any, ...]]:
    """What the warehouse's view shows, once it is made next_."""
    lake.settings.warehouse.parent.mkdir(exist_ok=True)
    enter_landings(lake.settings)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        return warehouse.execute("select * from landed.events order by _batch_id, _line").fetchall()


def test_each_day_becomes_one_file_with_the_rows_it_had(lake: Lake) -> None:
    before, rows = lake.rows(), seen(lake)
    assert len(files_of(lake)) == 9
    done = compact(lake.settings)
    assert [(day.dataset, day.day, day.files, day.rows) for day in done.days] == [("events", d, 3, 12) for d in DAYS]
    assert files_of(lake) == [f"landed/events/event_date={day}/through-000000000003.parquet" for day in DAYS]
    assert lake.rows() == before
    assert seen(lake) == rows


def test_rows_stand_by_device_and_time_and_a_part_of_the_file_is_found_by_the_device(lake: Lake) -> None:
    compact(lake.settings)
    for path in files_of(lake):
        table = pq.ParquetFile(lake.settings.lake / path).read()
        order = [(row["device_key"], row["occurred_at"]) for row in table.to_pylist()]
        assert order == sorted(order)
        footer = pq.read_metadata(lake.settings.lake / path)
        column = footer.schema.to_arrow_schema().get_field_index("device_key")
        assert footer.row_group(0).column(column).statistics.has_min_max


def test_replaced_files_go_when_the_next_build_begins_and_not_before(lake: Lake) -> None:
    enter_landings_of(lake)
    earlier = there(lake)
    compact(lake.settings)
    assert earlier < there(lake), "a build at work reads them still"
    enter_landings_of(lake)
    assert there(lake) == set(files_of(lake))


def enter_landings_of(lake: Lake) -> None:
    lake.settings.warehouse.parent.mkdir(exist_ok=True)
    enter_landings(lake.settings)


def test_a_reader_in_the_middle_keeps_what_it_reads(lake: Lake) -> None:
    rows = seen(lake)
    with duckdb.connect(str(lake.settings.warehouse), read_only=True) as reader:
        compact(lake.settings)
        assert reader.execute("select * from landed.events order by _batch_id, _line").fetchall() == rows
    assert seen(lake) == rows


def test_what_lands_after_a_compaction_is_read_beside_it_and_compacted_with_it_later(lake: Lake) -> None:
    compact(lake.settings)
    land(lake, 3)
    assert [path.rpartition("/")[2] for path in files_of(lake)[:2]] == [
        "through-000000000003.parquet", "batch-000000000004.parquet"
    ]  # fmt: skip
    assert len(seen(lake)) == 48
    assert [day.files for day in compact(lake.settings).days] == [2, 2, 2]
    assert len(seen(lake)) == 48
    assert len(there(lake)) == 3


def test_the_audit_counts_on_in_compacted_files_and_names_one_that_lost_a_row(lake: Lake) -> None:
    for build_begins in (False, True):
        compact(lake.settings)
        if build_begins:
            seen(lake)
        assert audit(lake.settings).findings == []
    path = lake.settings.lake / files_of(lake)[1]
    rows = pq.ParquetFile(path).read()
    pq.write_table(rows.slice(1), path)
    batch_id = rows["_batch_id"][0].as_py()
    (finding,) = [found for found in audit(lake.settings).findings if found.step == "landed"]
    assert (finding.batch_id, finding.expected, finding.found) == (batch_id, 4, 3)
    assert finding.text.startswith("landed/events/event_date=2026-01-15/through-000000000003.parquet holds 3 of 4 rows")


def test_a_day_of_few_files_is_left_alone(lake: Lake) -> None:
    assert compact(lake.settings, at_least=4).days == []
    compact(lake.settings)
    assert compact(lake.settings).days == []


@pytest.mark.parametrize("is_built_between", [False, True])
def test_the_index_can_be_lost_at_any_time(lake: Lake, is_built_between: bool) -> None:
    rows = seen(lake)
    compact(lake.settings)
    if is_built_between:
        assert seen(lake) == rows  # which removes the files that were replaced
    drop_index(lake)
    assert len(files_of(lake)) == 3
    assert seen(lake) == rows
    assert there(lake) == set(files_of(lake))


class Killed(BaseException):
    """As a kill: nothing of ours goes on."""


STEPS = ("sync_file", "check_conserved", "compacted_file")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", [1, 2])
def test_killed_anywhere_every_row_stands_once_and_the_next_one_ends_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    rows, calls = seen(lake), iter(range(1, 100))
    real = getattr(module, step)

    def killed(*arguments: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            compact(lake.settings)
    assert seen(lake) == rows
    done = compact(lake.settings)
    assert not done.faults
    assert seen(lake) == rows
    assert there(lake) == set(files_of(lake))
    assert len(files_of(lake)) == 3
    assert not (lake.settings.lake / module.WORK).exists()


def drop_index(lake: Lake) -> None:
    for path in lake.settings.landed.glob("index.sqlite*"):
        path.unlink()


def test_killed_as_the_index_is_made_again_the_next_makes_it_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = seen(lake)
    compact(lake.settings)
    assert seen(lake) == rows
    drop_index(lake)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(file_index, "compacted_file", killed)
        with pytest.raises(Killed):
            Receipts(lake.settings)
    assert seen(lake) == rows
    assert there(lake) == set(files_of(lake))


def test_receipts_that_are_missing_beside_compacted_files_are_asked_for_each_time(lake: Lake) -> None:
    compact(lake.settings)
    shutil.rmtree(lake.settings.landed / "events" / "batch-000000000003")
    drop_index(lake)
    for _ in range(2):
        with pytest.raises(TidemarkError, match="the last receipt of the lake is that of batch 2"):
            land(lake, 9)


def test_an_index_older_than_the_files_says_what_to_do_and_made_again_finds_all(lake: Lake) -> None:
    rows = seen(lake)
    older = (lake.settings.landed / "index.sqlite").read_bytes()
    compact(lake.settings)
    assert seen(lake) == rows
    drop_index(lake)
    (lake.settings.landed / "index.sqlite").write_bytes(older)
    with pytest.raises(duckdb.Error, match=r"cannot be found: .*delete .*index.sqlite"):
        seen(lake)
    drop_index(lake)
    assert seen(lake) == rows


def test_what_lands_while_a_day_is_compacted_is_no_fault_of_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.read_by_day

    def query(*arguments: Any, **named: Any) -> str:
        monkeypatch.setattr(module, "read_by_day", real)
        land(lake, 3)
        return real(*arguments, **named)

    monkeypatch.setattr(module, "read_by_day", query)
    done = compact(lake.settings)
    assert (len(done.days), done.faults) == (3, [])
    assert len(seen(lake)) == 48


def test_an_interrupt_as_a_batch_is_indexed_loses_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file_index.FileIndex, "enter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            land(lake, 3)
    assert len(seen(lake)) == 36
    lake.land()
    assert len(seen(lake)) == 48


def test_an_interrupt_between_a_commit_and_that_of_the_index_loses_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_all = receipts_module.commit_all

    def interrupted(*arguments: Any) -> None:
        commit_all(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(receipts_module, "commit_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            land(lake, 3)
    assert len(seen(lake)) == 48
    assert lake.land().receipts == []


@pytest.mark.parametrize("build", [build_module.build, build_module.build_pending])
def test_a_build_compacts_before_it_has_the_warehouse(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, build: Callable[[Settings], object]
) -> None:
    """Who compacts may wait for a repartition, and that for the warehouse."""

    def compacted(settings: Settings, at_least: int) -> None:
        assert at_least == module.MANY_FILES
        with warehouse_lock(settings).acquire(timeout=0):
            raise Killed

    monkeypatch.setattr(build_module, "compact", compacted)
    with pytest.raises(Killed):
        build(lake.settings)


def test_a_damaged_file_costs_its_day_alone(lake: Lake) -> None:
    path = lake.settings.lake / "landed/events/event_date=2026-01-15/batch-000000000002.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    done = compact(lake.settings)
    assert [day.day for day in done.days] == [DAYS[0], DAYS[2]]
    assert "events of 2026-01-15 was not compacted" in done.faults[0]
    with pytest.raises(TidemarkError, match="all other days are compacted"):
        done.raise_faults()
    assert path.exists()


def test_a_file_with_other_rows_than_its_receipt_says_is_not_taken_in(lake: Lake) -> None:
    path = lake.settings.lake / "landed/events/event_date=2026-01-15/batch-000000000002.parquet"
    pq.write_table(pq.ParquetFile(path).read().slice(1), path, store_schema=False)
    (fault,) = compact(lake.settings).faults
    assert "hold 3 rows of batch 2, and the receipt says 4" in fault


@pytest.mark.parametrize("error", [OSError, duckdb.IOException])
def test_a_full_disk_stops_it_and_leaves_every_row(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: Callable[[int, str], Exception]
) -> None:
    rows = seen(lake)

    def full(path: Path) -> None:
        raise error(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_file", full)
        with pytest.raises(TidemarkError, match="every row is where it was"):
            compact(lake.settings)
    assert seen(lake) == rows


def test_what_the_contract_has_no_more_is_kept(tmp_path: Path) -> None:
    lake, specs = Lake(tmp_path), dict(load_specs())
    lake.land_one("web/events/old.ndjson", ndjson([event(1)]))
    spec = specs["events"]
    later = {"events": spec.model_copy(update={"fields": tuple(f for f in spec.fields if f.name != "country")})}
    lake.deliver("web/events/new.ndjson", ndjson([event(2)]))
    land_all(lake.settings, specs | later)
    compact(lake.settings, specs | later)
    assert {(row["_batch_id"], row["country"]) for row in lake.rows()} == {(1, "SE"), (2, None)}


def test_two_at_once_come_one_after_the_other(lake: Lake) -> None:
    rows = seen(lake)
    environment = {**os.environ, "TIDEMARK_HOME": str(lake.settings.home)}
    command = [sys.executable, "-m", "flows.cli", "compact"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(one.communicate()[0].splitlines()[-1] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert said == ["compacted 3 days, which stood in 9 files", "compacted nothing: no day has more than one file"]
    assert seen(lake) == rows


def test_an_empty_home_has_nothing_to_compact(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert compact(lake.settings).days == []
    assert not lake.settings.landed.exists()
