"""A batch's rows stand in the folders of their days: each once, with no words but their own, as the receipt says."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.contract.spec import load_specs
from flows.land import commit, landed_files
from flows.land.conform import ARROW_TYPES, landed_schema
from flows.land.landed_files import LandedFiles
from flows.land.readers import limits
from flows.land.receipt import Receipt, batch_name
from tests.support.contract_reading import landed_day
from tests.support.deliveries import contents, event, in_format, ndjson
from tests.support.lake import Lake

EVENTS = load_specs()["events"]
FIRST = date(2026, 1, 1)


def on_day(number: int, day: int, **changes: Any) -> dict[str, Any]:
    """An event at noon of one of the days from 1 January 2026."""
    return event(number, occurred_at=f"{FIRST + timedelta(days=day)}T12:00:00Z", **changes)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(pq.ParquetFile(path).read().to_pylist())


def assert_as_on_disk(lake: Lake, receipt: Receipt) -> None:
    """The receipt's files are those in place, each with the rows of one day, and with as many rows and bytes."""
    lake.assert_whole()
    assert sorted(file.path for file in receipt.files) == [file.path for file in receipt.files]
    for file in receipt.files:
        path = lake.settings.lake / file.path
        assert path.parent.name == f"event_date={file.event_date}"
        assert (path.stat().st_size, len(rows_of(path))) == (file.bytes, file.rows)
        assert {row["event_date"] for row in rows_of(path)} == {file.event_date}
    assert receipt.columns == tuple(column.name for column in EVENTS.columns())


def test_a_file_of_many_days_lands_as_a_file_a_day(lake: Lake) -> None:
    days = [2, 0, 1, 2, 2, 0]
    receipt = lake.land_one("web/events/a.ndjson", ndjson(on_day(n, day) for n, day in enumerate(days)))
    assert [(file.path, file.event_date, file.rows) for file in receipt.files] == [
        (f"landed/events/event_date={day}/{batch_name(1)}.parquet", day, rows)
        for day, rows in [(date(2026, 1, 1), 2), (date(2026, 1, 2), 1), (date(2026, 1, 3), 3)]
    ]
    assert_as_on_disk(lake, receipt)
    lines = [[row["_line"] for row in rows_of(lake.settings.lake / file.path)] for file in receipt.files]
    assert lines == [[2, 6], [3], [1, 4, 5]]
    assert {path.name for path in (lake.settings.lake / receipt.folder).iterdir()} == {"receipt.json"}


def test_the_day_is_that_of_the_organisation_and_any_that_the_contract_takes(lake: Lake) -> None:
    times = ["1900-01-01T00:00:00Z", "1969-12-31T23:30:00Z", "2026-03-29T22:00:00Z", "2026-10-25T22:59:59.999999Z"]
    times += ["2026-10-25T23:00:00Z", "2099-12-31T22:59:59Z", "2099-12-31T23:00:00Z"]
    rows = [event(number, occurred_at=at) for number, at in enumerate(times)]
    receipt = lake.land_one("web/events/a.ndjson", ndjson(rows))
    assert_as_on_disk(lake, receipt)
    assert [row["event_date"] for row in lake.rows()] == [
        landed_day(datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)) for at in times
    ]
    assert [file.event_date for file in receipt.files][-2:] == [date(2099, 12, 31), date(2100, 1, 1)]


def test_a_dataset_without_a_day_lands_in_its_batch(lake: Lake) -> None:
    receipt = lake.land_one("cms/contents/a.csv", contents(("c-1", "article", "a", "2026-01-15T00:00:00Z")))
    (file,) = receipt.files
    assert (file.path, file.event_date, file.rows) == (f"{receipt.folder}/data.parquet", None, 1)
    assert (lake.settings.lake / file.path).stat().st_size == file.bytes
    lake.assert_whole()


@pytest.mark.parametrize("data", [b"5\n", ndjson([event(1, platform="fax")])])
def test_where_no_row_fits_there_is_no_file_and_no_folder_of_a_day(lake: Lake, data: bytes) -> None:
    receipt = lake.land_one("web/events/a.ndjson", data)
    assert (receipt.files, receipt.columns) == ((), ())
    assert list(lake.settings.landed.glob("events/event_date=*")) == []


# --- more days than files may be open --------------------------------------------------------------------------------


@pytest.mark.parametrize(("open_files", "held", "group"), [(3, 40, 10), (1, 1, 1), (3, 0, 1_000), (64, 40, 10)])
def test_days_that_come_back_go_on_in_further_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, open_files: int, held: int, group: int
) -> None:
    monkeypatch.setattr(landed_files, "OPEN_FILES", open_files)
    monkeypatch.setattr(landed_files, "HELD_ROWS", held)
    monkeypatch.setattr(landed_files, "GROUP_ROWS", group)
    monkeypatch.setattr(limits, "CHUNK_RECORDS", 30)
    days = [(n * 7) % 11 for n in range(400)]
    receipt = lake.land_one("web/events/a.pb", in_format([on_day(n, day) for n, day in enumerate(days)], "pb"))
    assert_as_on_disk(lake, receipt)
    assert [(row["_line"], row["event_date"]) for row in lake.rows()] == [
        (n + 1, FIRST + timedelta(days=day)) for n, day in enumerate(days)
    ]
    by_day: dict[date | None, list[str]] = {}
    for file in receipt.files:
        by_day.setdefault(file.event_date, []).append(Path(file.path).name)
    assert len(by_day) == 11
    for names in by_day.values():
        more = [f"{batch_name(1)}-{number}.parquet" for number in range(2, len(names) + 1)]
        assert sorted(names) == sorted([f"{batch_name(1)}.parquet", *more])
    assert any(len(names) > 1 for names in by_day.values()) == (open_files < 11)


def test_a_landing_that_stops_halfway_leaves_no_file_of_a_day(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([on_day(1, 0)]))
    lake.deliver("web/events/b.ndjson", ndjson(on_day(n, n) for n in range(5)))
    sync, synced = commit.sync_file, []

    def stop(path: Path) -> None:
        synced.append(path)
        if len(synced) == 3:
            raise OSError("the disk is full")
        sync(path)

    monkeypatch.setattr(commit, "sync_file", stop)
    with pytest.raises(Exception, match="the disk is full"):
        lake.land()
    lake.assert_whole()
    monkeypatch.undo()
    (receipt,) = lake.land().receipts
    assert_as_on_disk(lake, receipt)
    assert [file.rows for file in receipt.files] == [1] * 5


# --- the words of a file ---------------------------------------------------------------------------------------------


def words_in(path: Path) -> dict[str, set[str]]:
    """The texts that a Parquet file's dictionaries hold, by column: with those that no row has."""
    names = [c.name for c in EVENTS.columns() if c.type == "string"]
    table = pq.ParquetFile(path, read_dictionary=names).read()
    return {name: {word for chunk in table[name].chunks for word in chunk.dictionary.to_pylist()} for name in names}


def test_the_few_rows_of_a_late_day_carry_no_words_of_the_other_days(lake: Lake) -> None:
    long = "x" * 200

    def rows() -> Iterable[dict[str, Any]]:
        for n in range(3_000):
            yield on_day(n, 9, session_id=f"s-{n}", body={"content_id": f"{long}-{n}", "content_type": "article"})
            if n % 1_000 == 0:
                yield on_day(10_000 + n, 0, session_id=f"late-{n}")

    receipt = lake.land_one("web/events/a.ndjson", ndjson(rows()))
    assert_as_on_disk(lake, receipt)
    late, others = receipt.files
    assert (late.rows, others.rows) == (3, 3_000)
    words = words_in(lake.settings.lake / late.path)
    assert words["content_id"] == {"c-1"}
    assert words["session_id"] == {"late-0", "late-1000", "late-2000"}
    bare = Lake(lake.settings.home / "bare")
    alone = bare.land_one("web/events/a.ndjson", ndjson(row for row in rows() if row["session_id"][0] == "l"))
    assert abs(late.bytes - alone.files[0].bytes) < 100  # but for the lines, as if the others were not there


def test_words_of_another_chunk_are_left_out_and_the_rows_stay(tmp_path: Path) -> None:
    """The dictionary of a chunk may hold more than its rows use: `take` and a filter leave it as it is."""
    size = 6
    columns = {c.name: pa.nulls(size, ARROW_TYPES[c.type]) for c in EVENTS.columns()}
    dictionary = pa.array([f"word {n}" for n in range(1_000)])
    used = pa.array([3, 3, None, 999, 0, 3], pa.int32())
    columns["product"] = pa.DictionaryArray.from_arrays(used, dictionary).cast(ARROW_TYPES["string"])
    columns["event_date"] = pa.array([FIRST, FIRST, FIRST, FIRST + timedelta(days=1), FIRST, FIRST])
    columns["_line"] = pa.array(range(size), pa.int64())
    with LandedFiles(EVENTS, 1, tmp_path) as landed:
        landed.write(pa.Table.from_pydict(columns, schema=landed_schema(EVENTS)))
    assert (landed.rows, [file.rows for file in landed.files]) == (size, [5, 1])
    first, second = (tmp_path / file.path for file in landed.files)
    assert [row["product"] for row in rows_of(first)] == ["word 3", "word 3", None, "word 0", "word 3"]
    assert [row["_line"] for row in rows_of(first)] == [0, 1, 2, 4, 5]
    assert (words_in(first)["product"], words_in(second)["product"]) == ({"word 0", "word 3"}, {"word 999"})


def test_the_receipt_in_its_folder_names_the_files(lake: Lake) -> None:
    receipt = lake.land_one("web/events/a.ndjson", ndjson(on_day(n, n % 4) for n in range(8)))
    written = json.loads((lake.settings.lake / receipt.folder / "receipt.json").read_text())
    assert written["files"] == [file.model_dump(mode="json") for file in receipt.files]
    assert Counter(file["event_date"] for file in written["files"]) == {f"2026-01-0{day}": 1 for day in range(1, 5)}
