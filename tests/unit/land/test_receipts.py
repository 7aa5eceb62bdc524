"""Batches are committed whole, numbered without gap, and found again whatever becomes of the index."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.land.receipt import Receipt, Status, batch_name
from flows.land.receipts import Receipts, work_folder
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake


def receipt(batch_id: int, **changes: Any) -> Receipt:
    moment = datetime(2026, 1, 15, tzinfo=UTC)
    made: dict[str, Any] = {
        "batch_id": batch_id, "dataset": "contents", "source": "cms", "file": f"cms/contents/{batch_id}.csv",
        "sha256": f"{batch_id:064x}", "bytes": 1, "format": "csv", "status": Status.LANDED, "contract": "contents.v1",
        "key_check": "0" * 12, "delivered_at": moment, "landed_at": moment,
    }  # fmt: skip
    return Receipt(**(made | changes))


def commit(receipts: Receipts, lake: Lake, made: Receipt) -> None:
    folder = work_folder(lake.settings) / batch_name(made.batch_id)
    folder.mkdir(parents=True)
    receipts.commit(made, folder)


@pytest.fixture
def receipts(lake: Lake) -> Receipts:
    return Receipts(lake.settings)


def test_a_commit_leaves_the_receipt_in_its_batch_and_in_the_index(lake: Lake, receipts: Receipts) -> None:
    commit(receipts, lake, receipt(1))
    assert lake.receipts() == [receipt(1)] == list(receipts.after(0))
    assert receipts.last_batch_id() == 1
    assert list(receipts.after(1)) == []


def test_batch_names_sort_as_numbers_do() -> None:
    numbers = [1, 9, 10, 99, 1_000_000, 999_999_999_999]
    assert sorted(map(batch_name, numbers)) == list(map(batch_name, numbers))


def test_a_commit_that_was_killed_before_the_index_knew_is_found(lake: Lake, receipts: Receipts) -> None:
    commit(receipts, lake, receipt(1))
    for number in (2, 3):  # as if renamed into place, and no more
        folder = lake.settings.landed / "a_dataset_since_removed" / batch_name(number)
        folder.mkdir(parents=True)
        (folder / "receipt.json").write_text(receipt(number).model_dump_json())
    receipts.close()
    again = Receipts(lake.settings)
    assert [r.batch_id for r in again.after(0)] == [1, 2, 3]


@pytest.mark.parametrize("lost", [["index.sqlite"], ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]])
def test_a_deleted_index_is_made_again_from_the_batches(lake: Lake, receipts: Receipts, lost: list[str]) -> None:
    commit(receipts, lake, receipt(1))
    commit(receipts, lake, receipt(2, file="cms/contents/1.csv", supersedes_batch_id=1))
    commit(receipts, lake, receipt(3, status=Status.REFUSED, reason="bad", key_check="1" * 12))
    receipts.close()
    for name in lost:
        (lake.settings.landed / name).unlink(missing_ok=True)
    again = Receipts(lake.settings)
    assert list(again.after(0)) == lake.receipts()
    assert again.landed_content("contents", f"{1:064x}") is None
    assert again.any_key_check() == "0" * 12


def test_superseded_batches_no_longer_count(lake: Lake, receipts: Receipts) -> None:
    commit(receipts, lake, receipt(1, file="f"))
    assert receipts.replaced_by_redelivery("f") == receipt(1, file="f")
    commit(receipts, lake, receipt(2, file="f", supersedes_batch_id=1))
    assert receipts.replaced_by_redelivery("f") == receipt(2, file="f", supersedes_batch_id=1)
    assert receipts.landed_content("contents", f"{1:064x}") is None
    assert receipts.landed_content("contents", f"{2:064x}") is not None


def test_content_counts_within_its_dataset_only(lake: Lake, receipts: Receipts) -> None:
    commit(receipts, lake, receipt(1))
    assert receipts.landed_content("adverts", f"{1:064x}") is None


def test_refused_files_are_reported_until_a_good_one_comes(lake: Lake, receipts: Receipts) -> None:
    commit(receipts, lake, receipt(1, file="f", status=Status.REFUSED))
    assert [r.file for r in receipts.last_of_each_file(Status.REFUSED)] == ["f"]
    commit(receipts, lake, receipt(2, file="f"))
    assert receipts.last_of_each_file(Status.REFUSED) == []


def test_a_file_is_unchanged_only_with_size_and_both_times(lake: Lake, receipts: Receipts, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a")
    receipts.remember("f", path.stat())
    assert receipts.is_unchanged("f", path.stat())
    path.chmod(0o600)
    assert not receipts.is_unchanged("f", path.stat())


def test_cleaning_up_removes_what_was_never_committed_and_nothing_else(lake: Lake, receipts: Receipts) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([event(1, platform="fax", colour="red"), event(2, colour="red"), 5]))
    kept = sorted(lake.settings.quarantine.rglob("*.parquet"))
    assert len(kept) == 2
    for path in kept:
        shutil.copy(path, path.with_name(path.name.replace(batch_name(1), batch_name(2))))
    work = work_folder(lake.settings) / batch_name(2)
    work.mkdir(parents=True)
    (work / "data.parquet").write_bytes(b"half")
    assert lake.land().receipts == []
    assert sorted(lake.settings.quarantine.rglob("*.parquet")) == kept
    lake.assert_whole()


@pytest.mark.parametrize("is_committed", [False, True])
def test_files_put_into_place_stay_only_where_their_batch_was_committed(lake: Lake, is_committed: bool) -> None:
    """A landing was killed before the rename that commits, or after it and before the index knew."""
    made = lake.land_one("web/events/a.ndjson", ndjson([event(1), event(2, occurred_at="2026-02-01T12:00:00Z")]))
    paths = [lake.settings.lake / file.path for file in made.files]
    assert [path.exists() for path in paths] == [True, True]
    folder = work_folder(lake.settings) / batch_name(1) / made.folder
    folder.parent.mkdir(parents=True)
    shutil.copytree(lake.settings.lake / made.folder, folder)
    if not is_committed:
        shutil.rmtree(lake.settings.lake / made.folder)
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (lake.settings.landed / name).unlink(missing_ok=True)
    again = lake.land().receipts
    assert [r.rows_landed for r in again] == ([] if is_committed else [2])
    assert [row["_line"] for row in lake.rows()] == [1, 2]
    lake.assert_whole()


def test_two_readers_of_the_index_do_not_disturb_a_landing(lake: Lake, receipts: Receipts) -> None:
    other = Receipts(lake.settings)
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    assert receipts.last_batch_id() == other.last_batch_id() == 1
