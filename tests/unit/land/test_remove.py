"""Rows that are removed are gone, all others stay where they were, and every row stays accounted for."""

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.audit.audit import audit
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land import commit, remove
from flows.land import compact as compaction
from flows.land.compact import compact
from flows.land.landing_index import INDEX
from flows.land.receipt import Receipt, Removed, Status
from flows.land.receipts import Receipts
from flows.land.remove import remove_days, remove_rows, removing
from flows.land.repartition import repartition
from flows.privacy.rows import is_one_of
from tests.support.deliveries import event, in_format, ndjson
from tests.support.lake import Lake
from tests.support.takeouts import account, key_of

SPECS = load_specs()
DAYS = [date(2026, 1, day) for day in (1, 2, 3)]
# The fewest that DuckDB makes a group of.
GROUP_ROWS = 2_048


def of_device(device: str) -> str:
    keys = [key_of("device", device)]
    return is_one_of("cast(device_key as uuid)", keys)


def of_account(account_id: str) -> str:
    keys = [key_of("account", account_id)]
    return is_one_of("cast(account_key as uuid)", keys)


def take_out(lake: Lake, dataset: str, is_taken: str) -> Receipt | None:
    with removing(lake.settings, SPECS, "a test") as receipts:
        return remove_rows(receipts, lake.settings, SPECS[dataset], is_taken, "a test")


def end_days(lake: Lake, last: date) -> Receipt | None:
    with removing(lake.settings, SPECS, "a test") as receipts:
        return remove_days(receipts, lake.settings, SPECS["events"], last, "a test")


def in_order_of_place(lake: Lake) -> list[tuple[Any, ...]]:
    """What a compacted day is sorted by, of every event in force as the files have them."""
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        paths = [lake.settings.lake / file.path for file in receipts.files.in_force("events")]
    columns = ["device_key", "occurred_at", "_batch_id", "_line"]
    return [tuple(row.values()) for path in paths for row in pq.read_table(path, columns=columns).to_pylist()]


def remove_replaced(lake: Lake) -> None:
    with closing(Receipts(lake.settings)) as receipts:
        for name in SPECS:
            receipts.files.remove_replaced(name, set())


@pytest.fixture
def busy(lake: Lake) -> Lake:
    """Two devices on three days in two batches, and three accounts in two files."""
    for number, name in enumerate("ab"):
        rows = [
            event(10 * number + i, device_id=f"d-{i % 2}", occurred_at=f"{DAYS[i % 3]}T12:00:00Z") for i in range(6)
        ]
        lake.land_one(f"web/events/{name}.ndjson", ndjson(rows))
    lake.land_one("crm/accounts/a.csv", in_format([account("k-1", "u-1"), account("k-2", "u-2")], "csv", "accounts"))
    lake.land_one("crm/accounts/b.csv", in_format([account("k-3", "u-3")], "csv", "accounts"))
    return lake


def left(lake: Lake, dataset: str = "events") -> list[dict[str, Any]]:
    return lake.rows(dataset)


def test_chosen_rows_are_gone_and_all_others_are_as_they_were(busy: Lake) -> None:
    before = left(busy)
    receipt = take_out(busy, "events", of_device("d-1"))
    assert receipt is not None
    key = key_of("device", "d-1").bytes
    assert left(busy) == [row for row in before if row["device_key"] != key] != before
    assert (receipt.status, receipt.batch_id) == (Status.REMOVED, 5)
    assert sum(rows.rows for rows in receipt.removed) == sum(row["device_key"] == key for row in before)
    assert {file.event_date for file in receipt.files} == {*DAYS}
    assert audit(busy.settings).findings == []
    assert take_out(busy, "events", of_device("d-1")) is None
    assert take_out(busy, "events", of_device("d-unknown")) is None


@pytest.mark.parametrize("first", [compact, None], ids=["compacted", "as landed"])
def test_a_day_is_left_in_the_order_of_a_compacted_one(lake: Lake, first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several groups of rows, some without a chosen one, read and written by two threads."""
    for module in (compaction, remove):
        monkeypatch.setattr(module, "GROUP_ROWS", GROUP_ROWS)
    numbers = range(12 * GROUP_ROWS)
    for name, some in (("a", numbers[::2]), ("b", numbers[1::2])):
        rows = [event(i, device_id=f"d-{i % 97}", occurred_at=f"{DAYS[0]}T12:00:{i % 60:02}Z") for i in some]
        lake.land_one(f"web/events/{name}.ndjson", ndjson(rows))
    taken = [key_of("device", f"d-{number}") for number in range(9)]
    if first:
        first(lake.settings)
    whole = in_order_of_place(lake)
    receipt = take_out(lake, "events", is_one_of("cast(device_key as uuid)", taken))
    assert receipt is not None
    of_taken = {key.bytes for key in taken}
    others = [row for row in whole if row[0] not in of_taken]
    assert in_order_of_place(lake) == sorted(others)
    assert len(others) < len(whole)
    (file,) = receipt.files
    footer = pq.read_metadata(lake.settings.lake / file.path)
    groups = [footer.row_group(at).num_rows for at in range(footer.num_row_groups)]
    assert max(groups) <= GROUP_ROWS
    assert len(groups) in (11, 12)


def test_days_without_a_chosen_row_keep_their_files(lake: Lake) -> None:
    rows = [event(i, device_id=f"d-{i}", occurred_at=f"{day}T12:00:00Z") for i, day in enumerate(DAYS)]
    lake.land_one("web/events/a.ndjson", ndjson(rows))
    receipt = take_out(lake, "events", of_device("d-1"))
    assert receipt is not None
    assert receipt.removed == (Removed(batch_id=1, event_date=DAYS[1], rows=1),)
    assert receipt.files == ()  # of that day nothing is left
    assert [row["event_date"] for row in left(lake)] == [DAYS[0], DAYS[2]]
    assert audit(lake.settings).findings == []


def test_rows_of_a_dataset_without_days_are_gone_too(busy: Lake) -> None:
    before = left(busy, "accounts")
    receipt = take_out(busy, "accounts", of_account("k-2"))
    assert receipt is not None
    assert receipt.removed == (Removed(batch_id=3, rows=1),)
    key = key_of("account", "k-2").bytes
    assert left(busy, "accounts") == [row for row in before if row["account_key"] != key]
    remove_replaced(busy)
    assert audit(busy.settings).findings == []
    busy.land_one("crm/accounts/c.csv", in_format([account("k-4", "u-4")], "csv", "accounts"))
    assert take_out(busy, "accounts", of_account("k-4")) is not None
    assert len(left(busy, "accounts")) == 2
    for name in ("k-1", "k-3"):
        take_out(busy, "accounts", of_account(name))
    assert left(busy, "accounts") == []
    remove_replaced(busy)
    assert [*busy.settings.landed.glob("accounts/**/*.parquet")] == []
    assert audit(busy.settings).findings == []


def test_whole_days_end_and_leave_no_file(busy: Lake) -> None:
    before = left(busy)
    compact(busy.settings)
    receipt = end_days(busy, DAYS[1])
    assert receipt is not None
    assert receipt.files == ()
    assert sorted({rows.event_date for rows in receipt.removed if rows.event_date}) == DAYS[:2]
    assert left(busy) == [row for row in before if row["event_date"] == DAYS[2]]
    remove_replaced(busy)
    assert [*busy.settings.landed.glob("events/event_date=2026-01-0[12]/*")] == []
    assert audit(busy.settings).findings == []
    assert end_days(busy, DAYS[1]) is None
    busy.land_one("web/events/late.ndjson", ndjson([event(90, occurred_at=f"{DAYS[0]}T12:00:00Z")]))
    assert len(left(busy)) == 5
    assert end_days(busy, DAYS[0]) is not None
    assert audit(busy.settings).findings == []


@pytest.mark.parametrize("first", [compact, None], ids=["compacted", "as landed"])
def test_what_is_compacted_later_and_found_without_an_index_is_the_same(busy: Lake, first: Any) -> None:
    if first:
        first(busy.settings)
    take_out(busy, "events", of_device("d-1"))
    take_out(busy, "accounts", of_account("k-2"))
    end_days(busy, DAYS[0])
    wanted = [left(busy, name) for name in ("events", "accounts")]
    (busy.settings.landed / INDEX).unlink()
    assert [left(busy, name) for name in ("events", "accounts")] == wanted
    busy.land_one("web/events/more.ndjson", ndjson([event(91, device_id="d-9", occurred_at=f"{DAYS[1]}T12:00:00Z")]))
    assert [day.rows for day in compact(busy.settings).days] == [3]
    remove_replaced(busy)
    (busy.settings.landed / INDEX).unlink()
    assert [row for row in left(busy) if row["_batch_id"] < 5] == wanted[0]
    assert audit(busy.settings).findings == []


def test_a_lake_that_is_laid_out_again_has_what_was_left_of_it(busy: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out(busy, "events", of_device("d-1"))
    take_out(busy, "accounts", of_account("k-2"))
    end_days(busy, DAYS[0])
    wanted = [{**row, "event_date": None} for row in left(busy)], left(busy, "accounts")
    monkeypatch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
    assert repartition(busy.settings) is not None
    assert ([{**row, "event_date": None} for row in left(busy)], left(busy, "accounts")) == wanted
    assert audit(busy.settings).findings == []
    assert {receipt.rows_removed for receipt in busy.receipts()} > {0}
    busy.land_one("web/events/more.ndjson", ndjson([event(91)]))
    assert len(left(busy)) == len(wanted[0]) + 1


def test_what_is_not_as_its_receipt_says_is_not_touched(busy: Lake) -> None:
    (file, *_) = busy.receipts()[0].files
    other = busy.receipts()[1].files[0]
    (busy.settings.lake / file.path).write_bytes((busy.settings.lake / other.path).read_bytes())
    with pytest.raises(TidemarkError, match="tidemark audit"):
        take_out(busy, "events", of_device("d-1"))
    assert [receipt.status for receipt in busy.receipts()] == [Status.LANDED] * 4


def steps() -> Iterator[Any]:
    for place, name in (
        (remove, "check_conserved"),
        (remove, "removal_receipt"),
        (commit, "sync_file"),
        (commit, "sync_folder"),
        (commit, "_made_where_missing"),
    ):
        for call in (1, 2, 3):
            yield pytest.param(place, name, call, id=f"{name}-{call}")


class Killed(BaseException):
    """As a process that is gone."""


@pytest.mark.parametrize(("place", "name", "call"), [*steps()])
def test_stopped_anywhere_it_is_whole_or_not_begun(
    busy: Lake, place: Any, name: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = left(busy), 0
    real = getattr(place, name)

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        patch.setattr(Receipts, "clean_up", lambda self: None)  # whoever is killed does not clean up
        with suppress(Killed):
            take_out(busy, "events", of_device("d-1"))
    key = key_of("device", "d-1").bytes
    without = [row for row in before if row["device_key"] != key]
    assert left(busy) in (before, without)
    take_out(busy, "events", of_device("d-1"))
    assert left(busy) == without
    assert audit(busy.settings).findings == []
    busy.land_one("web/events/more.ndjson", ndjson([event(92)]))


def test_one_that_was_killed_counts_for_nothing_also_where_the_index_is_lost(
    busy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = left(busy), commit.sync_folder

    def killed_once_files_are_in_place(folder: Path) -> None:
        if folder.name.startswith("event_date="):
            monkeypatch.setattr(Receipts, "clean_up", lambda self: None)  # whoever is killed does not clean up
            raise Killed
        real(folder)

    monkeypatch.setattr(commit, "sync_folder", killed_once_files_are_in_place)
    with pytest.raises(Killed):
        take_out(busy, "events", of_device("d-1"))
    monkeypatch.undo()
    assert [*busy.settings.landed.rglob("through-*")] != []
    (busy.settings.landed / INDEX).unlink()
    assert left(busy) == before
    busy.land_one("web/events/more.ndjson", ndjson([event(93)]))
    assert [*busy.settings.landed.rglob("through-*")] == []
    assert audit(busy.settings).findings == []


def test_the_files_of_a_folder_are_of_the_lake(busy: Lake, tmp_path: Path) -> None:
    """A removal leaves no folder of its own behind."""
    take_out(busy, "events", of_device("d-1"))
    assert not (busy.settings.lake / ".work").exists()
