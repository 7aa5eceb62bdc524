"""The views over the lake: exactly the files of the batches entered, and of a day no other day's."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.contract.spec import DatasetSpec, load_specs
from flows.land.compact import compact
from flows.land.land import land
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

FIRST = date(2026, 1, 10)
DAYS = 6


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two files, each with an event on each of six days."""
    made = Lake(tmp_path)
    for number in range(2):
        made.land_one(f"web/events/{number}.ndjson", ndjson(events(10 * number)))
    made.settings.warehouse.parent.mkdir()
    return made


def events(first: int) -> list[dict[str, Any]]:
    return [event(first + i, occurred_at=f"{FIRST + timedelta(i)}T12:00:00Z") for i in range(DAYS)]


def ids(warehouse: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    return warehouse.execute("select _batch_id, _line from landed.events order by all").fetchall()


def files_read(warehouse: duckdb.DuckDBPyConnection, condition: str) -> int:
    """How many files a query of the view opens for these days."""
    query = f"explain analyze select * from landed.events where {condition}"
    plan = "".join(text for _, text in warehouse.execute(query).fetchall())
    return sum(map(int, re.findall(r"Total Files Read: (\d+)", plan)))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_query_of_some_days_opens_their_files_and_no_others(lake: Lake, is_compacted: bool) -> None:
    if is_compacted:
        compact(lake.settings)
    enter_landings(lake.settings)
    a_day = 1 if is_compacted else 2
    with open_warehouse(lake.settings) as warehouse:
        assert files_read(warehouse, f"event_date in (date '{FIRST}')") == a_day
        assert files_read(warehouse, f"event_date in (date '{FIRST}', date '{FIRST + timedelta(3)}')") == 2 * a_day
        assert files_read(warehouse, f"event_date >= date '{FIRST + timedelta(4)}'") == 2 * a_day
        assert files_read(warehouse, "true") == DAYS * a_day


def test_a_file_of_another_day_may_be_gone_without_harm(lake: Lake) -> None:
    enter_landings(lake.settings)
    for path in lake.settings.landed.glob(f"events/event_date={FIRST + timedelta(1)}/*.parquet"):
        path.write_bytes(b"no Parquet")
    with open_warehouse(lake.settings) as warehouse:
        query = f"select count(*) from landed.events where event_date in (date '{FIRST}')"
        assert warehouse.execute(query).fetchone() == (2,)


def test_a_file_that_is_gone_stops_what_reads_its_dataset_alone(lake: Lake) -> None:
    enter_landings(lake.settings)
    (path,) = lake.settings.landed.glob(f"events/event_date={FIRST}/batch-000000000002.parquet")
    held = path.read_bytes()
    path.unlink()
    for _ in range(2):
        enter_landings(lake.settings)
        with open_warehouse(lake.settings) as warehouse:
            with pytest.raises(duckdb.Error, match=rf"event_date={FIRST}/batch-000000000002.parquet below .* audit"):
                ids(warehouse)
            assert warehouse.execute("select count(*) from landed.calls").fetchone() == (0,)
    path.write_bytes(held)
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        assert len(ids(warehouse)) == 2 * DAYS


def test_what_lands_after_a_build_began_is_seen_by_the_next_alone(lake: Lake) -> None:
    enter_landings(lake.settings)
    lake.land_one("web/events/late.ndjson", ndjson(events(20)))
    with open_warehouse(lake.settings) as warehouse:
        assert len(ids(warehouse)) == 2 * DAYS
    assert enter_landings(lake.settings) == 1
    with open_warehouse(lake.settings) as warehouse:
        assert len(ids(warehouse)) == 3 * DAYS


def test_a_batch_that_lands_as_a_build_begins_is_seen_whole_or_not_at_all(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, connect = Receipts.after, sqlite3.connect
    # A compaction waits half a minute for readers of the index. Here it is in the way of one that waits for it.
    monkeypatch.setattr(sqlite3, "connect", lambda *path, **options: connect(*path, **options | {"timeout": 0.1}))

    def after(receipts: Receipts, batch_id: int) -> Iterator[Receipt]:
        found = list(real(receipts, batch_id))
        monkeypatch.setattr(Receipts, "after", real)
        lake.land_one("web/events/between.ndjson", ndjson(events(20)))
        compact(lake.settings)
        return iter(found)

    monkeypatch.setattr(Receipts, "after", after)
    for entered, batches in ((2, [1, 2]), (1, [1, 2, 3])):
        assert enter_landings(lake.settings) == entered
        with open_warehouse(lake.settings) as warehouse:
            known = warehouse.execute("select batch_id from landed.landings order by all").fetchall()
            assert sorted({batch for batch, _ in ids(warehouse)}) == [batch for (batch,) in known] == batches


def test_files_that_no_receipt_names_are_not_read(lake: Lake) -> None:
    enter_landings(lake.settings)
    (path,) = lake.settings.landed.glob(f"events/event_date={FIRST}/batch-000000000001.parquet")
    path.with_name("batch-000000000003.parquet").write_bytes(path.read_bytes())
    lake.land_one("cms/contents/a.csv", b"content_id,content_type,product,title,updated_at\n")
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        assert len(ids(warehouse)) == 2 * DAYS


def older(spec: DatasetSpec) -> DatasetSpec:
    """The contract before it had the country."""
    return spec.model_copy(update={"fields": tuple(f for f in spec.fields if f.name != "country")})


@pytest.mark.parametrize("is_compacted", [False, True])
def test_rows_of_an_older_contract_read_null_in_what_came_later(tmp_path: Path, is_compacted: bool) -> None:
    lake, specs = Lake(tmp_path), dict(load_specs())
    lake.deliver("web/events/old.ndjson", ndjson([event(1), event(2)]))
    land(lake.settings, specs | {"events": older(specs["events"])})
    lake.land_one("web/events/new.ndjson", ndjson([event(3)]))
    (old, new) = lake.receipts()
    assert "country" not in old.columns and "country" in new.columns
    if is_compacted:
        compact(lake.settings)
    lake.settings.warehouse.parent.mkdir()
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        found = warehouse.execute("select _batch_id, _line, country from landed.events order by all").fetchall()
    assert found == [(1, 1, None), (1, 2, None), (2, 1, "SE")]


def test_a_warehouse_knows_of_each_file_its_day_and_rows(lake: Lake) -> None:
    compact(lake.settings)
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        known = warehouse.execute(
            "select batch_id, event_date, rows_landed from landed.landed_files order by all"
        ).fetchall()
        changed = warehouse.execute("select day from ops.changes where model = 'raw_events' order by all").fetchall()
    assert known == [(batch, FIRST + timedelta(i), 1) for batch in (1, 2) for i in range(DAYS)]
    assert changed == [(FIRST + timedelta(i),) for i in range(DAYS)]


def test_without_events_the_view_is_empty_and_has_the_contracts_columns(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.settings.warehouse.parent.mkdir(parents=True)
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        described = warehouse.execute("describe landed.events").fetchall()
        assert warehouse.execute("select count(*) from landed.events").fetchone() == (0,)
    assert [name for name, *_ in described] == [column.name for column in load_specs()["events"].columns()]


def test_the_view_has_one_type_a_column_whatever_it_reads(lake: Lake) -> None:
    enter_landings(lake.settings)
    with open_warehouse(lake.settings) as warehouse:
        found = {name: kind.lower() for name, kind, *_ in warehouse.execute("describe landed.events").fetchall()}
    kinds = {"string": "varchar"}
    assert found == {c.name: kinds.get(c.type, c.type) for c in load_specs()["events"].columns()}
    (path, *_) = lake.settings.landed.glob("events/event_date=*/*.parquet")
    assert "event_date" in pq.read_schema(path).names, "a file says its day even away from its folder"
