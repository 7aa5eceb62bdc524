"""Every step that loses or invents a row is named, with the file and a remedy that fixes it."""

import json
import shlex
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows.audit.audit import Audit, audit
from flows.audit.judge import DISPOSABLE, MISSING, Batch, Day, FileCount, Finding, judge, total_of
from flows.build.build import build
from flows.build.dbt import run_dbt
from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.cli import main
from flows.errors import TidemarkError
from flows.land.receipt import LandedFile, Receipt, Status, batch_name
from flows.land.receipts import Receipts
from flows.land.retry import retry_quarantine
from tests.support.contracts import strict_events
from tests.support.deliveries import contents, event, in_format, ndjson
from tests.support.lake import Lake, quarantined

A, B = "web/events/a.ndjson", "apps/events/b.pb"
RETRY = "web/events/tv.ndjson"
CMS_A, CMS_B = "cms/contents/a.csv", "cms/contents/b.csv"
DAY = "2026-01-15T00:00:00Z"


@pytest.fixture(name="sound", scope="module")
def sound_fixture(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with copies, rejects, a retry, a superseded file, a duplicate and a refused one; built."""
    lake = Lake(tmp_path_factory.mktemp("sound"))
    lake.land_one(A, ndjson([*(event(i) for i in range(40)), 5]))  # batch 1
    lake.land_one(B, in_format([event(i) for i in range(30, 60)], "pb"))  # 2
    lake.land_one(CMS_A, contents(("c-1", "article", "a", DAY), ("c-2", "article", "b", DAY)))  # 3
    lake.land_one(CMS_B, contents(("c-3", "article", "c", DAY), ("c-4", "article", "d", DAY)))  # 4
    lake.land_one(CMS_B, contents(("c-3", "article", "C", DAY), ("c-2", "article", "B", DAY)))  # 5, supersedes 4
    lake.land_one("web/events/copy.ndjson", (lake.settings.inbox / A).read_bytes())  # 6, a duplicate
    lake.land_one("web/events/empty.ndjson", b"")  # 7, refused
    lake.deliver(RETRY, ndjson([event(i, platform="tv" if i % 2 else "fax") for i in range(100, 106)]))
    lake.land(strict_events())  # 8
    retry_quarantine(lake.settings)  # 9
    calls = ["call_id,advert_id,started_at", f"c-1,a-1,{DAY}", f"c-2,a-1,{DAY}"]
    lake.land_one("telephony/calls/a.csv", "\n".join(calls).encode())  # 10
    failed = build(lake.settings).failed
    assert not failed, [(n.name, n.message) for n in failed]
    return lake


@pytest.fixture(name="built")
def built_fixture(sound: Lake, tmp_path: Path) -> Lake:
    """A copy of that lake, to be damaged."""
    shutil.copytree(sound.settings.home, tmp_path / "home", copy_function=shutil.copy2)
    return Lake(tmp_path / "home")


def run_audit(lake: Lake, **more: Any) -> Audit:
    return audit(lake.settings, **more)


def found(done: Audit) -> list[tuple[str, str, int | None]]:
    return [(f.dataset, f.step, f.batch_id) for f in done.findings]


def total(done: Audit, dataset: str) -> dict[str, Any]:
    (one,) = [t for t in done.totals if t.dataset == dataset]
    return vars(one)


# --- a sound lake ----------------------------------------------------------------------------------------------------


def test_a_sound_lake_is_proven_and_its_rows_add_up(sound: Lake) -> None:
    done = run_audit(sound)
    assert done.findings == []
    events = total(done, "events")
    assert (events["files"], events["not_landed"]) == (5, 2)
    assert (events["rows_in"], events["landed"], events["quarantined"]) == (41 + 30 + 6, 40 + 30 + 3, 1 + 3)
    assert (events["kept"], events["duplicates"], events["superseded"], events["not_built"]) == (63, 10, 0, 0)
    states = total(done, "contents")
    assert (states["landed"], states["kept"], states["duplicates"], states["superseded"]) == (6, 3, 1, 2)
    calls = total(done, "calls")
    assert (calls["landed"], calls["ends_at_staging"], calls["kept"], calls["not_built"]) == (2, False, 2, 0)
    assert done.notes == ["6 of 7 landed files are in the inbox still and were counted there again"]


def test_copies_that_tell_of_another_event_are_conflicts(built: Lake) -> None:
    before = total(run_audit(built), "events")
    same, other = event(900, device_id="d-1"), event(900, device_id="d-2", received_at="2026-01-15T20:15:09Z")
    built.land_one("web/events/conflict.ndjson", ndjson([same, same, other]))
    assert not build(built.settings, ()).failed
    done = run_audit(built)
    after = total(done, "events")
    assert done.findings == []
    assert [after[n] - before[n] for n in ("kept", "duplicates", "conflicts")] == [1, 1, 1]


def test_nothing_is_written(built: Lake) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        paths = [p for p in built.settings.home.rglob("*") if p.is_file() and "sqlite" not in p.name]
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in paths}

    before = state()
    run_audit(built)
    assert state() == before


def test_the_command_exits_1_only_where_something_is_lost(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(built.settings.home))
    result = CliRunner().invoke(main, ["audit"])
    assert result.exit_code == 0, result.output
    assert "every row that was checked is accounted for" in result.output
    data_of(built, 1).unlink()
    result = CliRunner().invoke(main, ["audit"])
    assert result.exit_code == 1
    missing = (
        "event_date=2026-01-15/batch-000000000001.parquet is missing; it held 40 rows (batch 1, web/events/a.ndjson)"
    )
    assert missing in result.output
    result = CliRunner().invoke(main, ["audit", "--dataset", "events", "--json"])
    assert result.exit_code == 1
    assert [f["step"] for f in json.loads(result.output)["findings"]] == ["landed"]
    assert CliRunner().invoke(main, ["audit", "--dataset", "calls"]).exit_code == 0
    assert CliRunner().invoke(main, ["audit", "--from", "yesterday"]).exit_code == 2
    assert CliRunner().invoke(main, ["audit", "--dataset", "nothing"]).exit_code == 1


# --- damage to the lake ----------------------------------------------------------------------------------------------


def data_of(lake: Lake, batch_id: int) -> Path:
    name = batch_name(batch_id)
    landed = lake.settings.landed
    (path,) = [*landed.glob(f"*/{name}/data.parquet"), *landed.glob(f"*/event_date=*/{name}.parquet")]
    return path


def quarantine_of(lake: Lake, batch_id: int) -> Path:
    (path,) = lake.settings.quarantine.glob(f"*/{batch_name(batch_id)}.parquet")
    return path


def receipt_of(lake: Lake, batch_id: int) -> Path:
    (path,) = lake.settings.landed.glob(f"*/{batch_name(batch_id)}/receipt.json")
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def read(path: Path) -> pa.Table:
    return quarantined(path) if "quarantine" in path.parts else pq.ParquetFile(path).read()


def without_first_row(path: Path) -> None:
    pq.write_table(read(path).slice(1), path)


def with_first_row_twice(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)


def with_other_lines(path: Path) -> None:
    table = read(path)
    pq.write_table(table.set_column(table.schema.get_field_index("_line"), "_line", pa.array([90, 91, 92])), path)


def edit(**changes: Any) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return act


@pytest.mark.parametrize(
    ("file", "batch_id", "damage", "expected"),
    [
        (data_of, 1, Path.unlink, [("events", "landed", 1)]),
        (data_of, 2, truncate, [("events", "landed", 2)]),
        (data_of, 5, without_first_row, [("contents", "landed", 5)]),
        (data_of, 4, with_first_row_twice, [("contents", "landed", 4)]),
        (quarantine_of, 1, Path.unlink, [("events", "quarantine", 1)]),
        (quarantine_of, 8, truncate, [("events", "quarantine", 8)]),
        (quarantine_of, 9, without_first_row, [("events", "quarantine", 9), ("events", "retry", 9)]),
        (quarantine_of, 9, with_other_lines, [("events", "retry", 9)]),
        (data_of, 9, with_other_lines, [("events", "retry", 9)]),
        (receipt_of, 1, Path.unlink, [("events", "receipt", 1)]),
        (receipt_of, 1, edit(batch_id=2), [("events", "receipt", 1)]),
        (receipt_of, 1, edit(rows_landed=39), [("events", "receipt", 1), ("events", "receipt", 1)]),
        (receipt_of, 1, edit(rows_landed=39, rows_read=40), [("events", "inbox", 1), ("events", "receipt", 1)]),
        (receipt_of, 1, edit(files=[]), [("events", "receipt", 1)]),
        (receipt_of, 9, edit(rows_landed=2, rows_read=5), [("events", "receipt", 9), ("events", "retry", 9)]),
        (receipt_of, 7, edit(rows_landed=2), [("events", "receipt", 7)]),
    ],
)  # fmt: skip
def test_what_the_lake_lost_is_named(
    built: Lake,
    file: Callable[[Lake, int], Path],
    batch_id: int,
    damage: Callable[[Path], None],
    expected: list[tuple[str, str, int]],
) -> None:
    damage(file(built, batch_id))
    done = run_audit(built)
    assert found(done) == expected
    assert all("backup" in f.remedy for f in done.findings)


def test_a_lost_batch_is_known_by_the_index(built: Lake) -> None:
    shutil.rmtree(receipt_of(built, 2).parent)
    (lost,) = run_audit(built).findings
    assert (lost.step, lost.batch_id, lost.file) == ("landed", 2, B)
    assert lost.text == "landed/events/batch-000000000002 is missing"


def test_a_file_no_longer_in_the_inbox_is_no_loss_and_other_bytes_wait(built: Lake) -> None:
    (built.settings.inbox / A).unlink()
    built.deliver(B, in_format([event(1)], "pb"))
    done = run_audit(built)
    assert done.findings == []
    assert "1 files of the inbox hold other bytes" in done.notes[1]


# --- damage to the warehouse -----------------------------------------------------------------------------------------


def filter_staging(db: duckdb.DuckDBPyConnection) -> None:
    """As a condition in the staging model would leave it."""
    (sql,) = db.execute("select sql from duckdb_views() where view_name = 'stg_clients__events'").fetchone() or ("",)
    body = sql.partition(" AS ")[2].removesuffix(";")
    db.execute(f"create or replace view staging.stg_clients__events as select * from ({body}) where _line <> 7")


EVENTS_MODEL = "intermediate.int_events__events_deduplicated"
COPIES_MODEL = "intermediate.int_events__copies_compared"
# The model is a view. To damage what it shows, its rows are put in its place.
FREEZE = (
    f"create table intermediate.frozen as from {EVENTS_MODEL}; drop view {EVENTS_MODEL}; "
    "alter table intermediate.frozen rename to int_events__events_deduplicated;"
)
# So is this one, of the lake: what it shows is damaged as an edit of the model would leave it.
RAW_EVENTS = "create or replace view raw.raw_events as"
WITHOUT_TEN_ROWS = f"{RAW_EVENTS} from landed.events where not (_batch_id = 2 and _line <= 10)"
CONTENTS_MODEL = "intermediate.int_content__contents_deduplicated"
WAREHOUSE_DAMAGE: list[tuple[str, list[tuple[str, str, int | None]], str]] = [
    (
        WITHOUT_TEN_ROWS,
        [("events", "raw", 2)],
        "raw_events holds 20 of 30 rows",
    ),
    (
        "create or replace view raw.raw_calls as select * from landed.calls where _line <> 2",
        [("calls", "raw", 10)],
        "raw_calls holds 1 of 2 rows",
    ),
    (
        "insert into raw.raw_contents select * from raw.raw_contents where _batch_id = 3",
        [("contents", "raw", 3)],
        "raw_contents holds 4 rows where 2 are right",
    ),
    (
        f"{RAW_EVENTS} select * replace (if(_batch_id = 9, 99, _batch_id) as _batch_id) from landed.events",
        [("events", "raw", None), ("events", "raw", 9)],
        "raw_events holds 3 rows of batch 99, which has no receipt",
    ),
    (
        "delete from landed.landings where batch_id = 5",
        [("contents", "landings", 5)],
        "landed.landings has no row for the batch",
    ),
    (
        "update landed.landings set rows_landed = 41 where batch_id = 1",
        [("events", "landings", 1)],
        "says 41 rows landed and 1 rejected, the receipt 40 and 1",
    ),
    (
        "delete from landed.landed_files where batch_id = 1",
        [("events", "files", 1)],
        "landed.landed_files counts 0 of 40 rows",
    ),
    (
        f"{FREEZE} delete from {EVENTS_MODEL} where _batch_id = 2 and _line = 30",
        [("events", "deduplicated", None)],
        "accounts for 72 of 73 copies of 2026-01-15",
    ),
    (
        f"{FREEZE} update {EVENTS_MODEL} set copies_count = 1",
        [("events", "deduplicated", None)],
        "accounts for 63 of 73 copies",
    ),
    (
        f"{FREEZE} delete from {EVENTS_MODEL}",
        [("events", "deduplicated", None)],
        "accounts for 0 of 73 copies",
    ),
    (
        f"{FREEZE} insert into {EVENTS_MODEL} select * from {EVENTS_MODEL} where _batch_id = 9",
        [("events", "deduplicated", 9), ("events", "deduplicated", None)],
        "keeps 6 rows where 3 are right",
    ),
    (
        f"{FREEZE} update {EVENTS_MODEL} set copies_count = 2 where _batch_id = 2 and _line = 30;"
        f"delete from {EVENTS_MODEL} where _batch_id = 2 and _line = 29",
        [("events", "deduplicated", None)],
        "keeps 62 events where 63 were delivered",
    ),
    (
        f"update {COPIES_MODEL} set is_first = false",
        [("events", "deduplicated", None)],
        "accounts for 53 of 73 copies",
    ),
    (
        f"delete from {CONTENTS_MODEL} where content_id = 'c-1'",
        [("contents", "deduplicated", 3)],
        "keeps 0 of 1 rows that count",
    ),
    (
        f"insert into {CONTENTS_MODEL} select * replace ('c-4' as content_id, 4 as _batch_id) "
        f"from {CONTENTS_MODEL} where content_id = 'c-1'",
        [("contents", "deduplicated", 4)],
        "keeps 1 rows where 0 are right",
    ),
]


@pytest.mark.parametrize(("sql", "expected", "words"), WAREHOUSE_DAMAGE)
def test_what_the_warehouse_lost_is_named(
    built: Lake, sql: str, expected: list[tuple[str, str, int | None]], words: str
) -> None:
    with open_warehouse(built.settings) as db:
        db.execute(sql)
    done = run_audit(built)
    assert found(done) == expected
    assert words in done.findings[0].text


def test_a_staging_model_that_filters_is_named(built: Lake) -> None:
    with open_warehouse(built.settings) as db:
        filter_staging(db)
    done = run_audit(built)
    assert found(done) == [("events", "staging", 1), ("events", "staging", 2)]
    assert "stg_clients__events holds 39 of 40 rows" in done.findings[0].text


@pytest.mark.parametrize(
    "sql",
    [
        f"update {COPIES_MODEL} set is_first = false",
        f"delete from {CONTENTS_MODEL} where content_id = 'c-1'",
    ],
)
def test_the_remedy_fixes(built: Lake, sql: str) -> None:
    with open_warehouse(built.settings) as db:
        db.execute(sql)
    remedy = run_audit(built).findings[0].remedy
    arguments = shlex.split(remedy.split(" -- ")[1])
    failed = build(built.settings, tuple(arguments)).failed
    assert not failed, [(n.name, n.message) for n in failed]
    assert run_audit(built).findings == []


@pytest.mark.parametrize("sql", [WITHOUT_TEN_ROWS, "delete from landed.landed_files where batch_id = 1"])
def test_a_warehouse_that_is_deleted_and_built_again_is_sound(built: Lake, sql: str) -> None:
    with open_warehouse(built.settings) as db:
        db.execute(sql)
    (lost,) = run_audit(built).findings
    assert lost.remedy == DISPOSABLE and "delete the folder warehouse/" in lost.remedy
    shutil.rmtree(built.settings.home / "warehouse")
    failed = build(built.settings).failed
    assert not failed, [(n.name, n.message) for n in failed]
    assert run_audit(built).findings == []


# --- what is not there yet -------------------------------------------------------------------------------------------


def test_what_the_build_has_not_seen_is_not_built_yet(built: Lake) -> None:
    built.land_one("web/events/new.ndjson", ndjson([event(200), event(201)]))
    built.land_one(CMS_A, contents(("c-9", "article", "z", DAY)))
    done = run_audit(built)
    assert done.findings == []
    assert total(done, "events")["not_built"] == 2
    states = total(done, "contents")
    assert (states["kept"], states["duplicates"], states["superseded"], states["not_built"]) == (3, 1, 2, 1)


def test_a_build_that_stopped_after_raw_lost_nothing(built: Lake) -> None:
    built.land_one("web/events/new.ndjson", ndjson([event(1), event(200)]))
    enter_landings(built.settings)
    run_dbt(built.settings, ["run", "--select", "raw_events"])
    done = run_audit(built)
    assert done.findings == []
    assert total(done, "events")["not_built"] == 2


def test_a_model_that_was_never_built_lost_nothing(built: Lake) -> None:
    with open_warehouse(built.settings) as db:
        db.execute(f"drop view {EVENTS_MODEL}")
        db.execute("drop view raw.raw_calls")
    done = run_audit(built)
    assert done.findings == []
    assert total(done, "events")["not_built"] == 73
    assert total(done, "calls")["not_built"] == 2


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_without_a_warehouse_the_lake_alone_is_looked_at(built: Lake, how: str) -> None:
    built.settings.warehouse.unlink()
    if how == "empty":
        duckdb.connect(str(built.settings.warehouse)).close()
    done = run_audit(built)
    assert done.findings == []
    assert total(done, "events")["kept"] is total(done, "events")["not_built"] is None
    assert "only the lake was looked at" in done.notes[-1]
    assert "tidemark build" in done.notes[-1]
    data_of(built, 1).unlink()
    assert found(run_audit(built)) == [("events", "landed", 1)]


def test_a_locked_warehouse_is_reported(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*arguments: object, **more: object) -> None:
        raise TidemarkError("another process has the warehouse open")

    monkeypatch.setattr("flows.audit.audit.open_warehouse", locked)
    done = run_audit(built)
    assert done.findings == []
    assert "another process" in done.notes[-1]


def test_an_empty_home_has_nothing_to_prove(lake: Lake) -> None:
    assert run_audit(lake).totals == run_audit(lake).findings == []


# --- the period ------------------------------------------------------------------------------------------------------


def test_the_period_is_of_landing_days_in_the_organisations_time_zone(built: Lake) -> None:
    moments = {
        1: "2026-01-14T22:59:59Z",
        2: "2026-01-14T23:00:00Z",
        8: "2026-01-15T22:59:59Z",
        9: "2026-02-01T00:00:00Z",
    }
    for batch_id, moment in moments.items():
        edit(landed_at=moment)(receipt_of(built, batch_id))
    day, after = date(2026, 1, 15), date(2026, 2, 1)
    assert total(run_audit(built, first=day, last=day), "events")["rows_in"] == 30 + 6
    assert total(run_audit(built, last=date(2026, 1, 14)), "events")["rows_in"] == 41
    assert total(run_audit(built, first=after, last=after), "events")["rows_in"] == 6  # by its retry, and whole
    data_of(built, 1).unlink()
    assert run_audit(built, first=day, last=after).findings == []
    assert found(run_audit(built, last=day)) == [("events", "landed", 1)]


# --- judging, without a lake -----------------------------------------------------------------------------------------


PATH = "landed/events/event_date=2026-01-15/batch-000000000001.parquet"


def counted(rows: int | None, fault: str | None = None, expected: int = 8) -> FileCount:
    return FileCount(PATH, expected, rows, fault)


def batch(batch_id: int = 1, dataset: str = "events", landed: int = 8, rejected: int = 2, **measured: Any) -> Batch:
    more = {k: measured.pop(k) for k in ("retries_batch_id", "rows_read", "status") if k in measured}
    files = tuple(LandedFile(path=PATH, rows=rows, bytes=1) for rows in measured.pop("named", [landed]))
    moment = datetime(2026, 1, 15, tzinfo=UTC)
    made: dict[str, Any] = {
        "batch_id": batch_id, "dataset": dataset, "source": "web", "file": "f", "sha256": "", "bytes": 1,
        "format": "csv", "status": Status.LANDED, "rows_read": landed + rejected, "rows_landed": landed,
        "rows_rejected": rejected, "contract": "v1", "key_check": "", "delivered_at": moment, "landed_at": moment,
        "files": files,
    }  # fmt: skip
    same: dict[str, Any] = {
        "delivered": landed + rejected, "files": (counted(landed, expected=landed),), "quarantine": rejected,
        "entered": (landed, rejected), "raw": landed, "staging": landed, "noted": landed, "kept": landed,
    }  # fmt: skip
    return Batch(Receipt(**(made | more)), **(same | measured))


def judged(*batches: Batch, days: tuple[Day, ...] = ()) -> list[Finding]:
    return judge(batches, days, {"events": "stg_clients__events", "contents": "stg_cms__contents"})


@pytest.mark.parametrize(
    ("measured", "steps"),
    [
        ({}, []),
        ({"delivered": 11}, ["inbox"]),
        ({"rows_read": 11, "delivered": 11}, ["receipt"]),
        ({"files": (counted(7),), "raw": 7, "staging": 7, "noted": 7, "kept": 7}, ["landed"]),
        ({"files": (counted(None, "is missing"),)}, ["landed"]),
        ({"files": (counted(4, expected=5), counted(4, expected=3))}, ["landed", "landed"]),
        ({"named": [5, 3]}, []),
        ({"named": [5, 2]}, ["receipt"]),
        ({"quarantine": 3}, ["quarantine"]),
        ({"quarantine": None, "quarantine_fault": "is missing"}, ["quarantine"]),
        ({"entered": MISSING, "raw": 0, "staging": 0, "noted": 0, "kept": 0}, ["landings"]),
        ({"entered": (7, 2)}, ["landings"]),
        ({"raw": 9, "staging": 9}, ["raw"]),
        ({"raw": 7, "staging": 7, "noted": 8, "kept": 8}, ["raw"]),
        ({"staging": 7, "noted": 7}, ["staging"]),
        ({"noted": 7}, ["files"]),
        ({"kept": 9}, ["deduplicated"]),
        ({"kept": 0}, []),
        ({"dataset": "contents", "noted": None, "kept": 7, "expected": 8}, ["deduplicated"]),
        ({"dataset": "contents", "noted": None, "kept": 3, "expected": 3}, []),
        ({"entered": None, "raw": None, "staging": None, "noted": None, "kept": None}, []),
        ({"raw": 8, "staging": None, "noted": None, "kept": None}, []),
        ({"delivered": None}, []),
    ],
)
def test_a_loss_is_reported_once_where_it_happened(measured: dict[str, Any], steps: list[str]) -> None:
    assert [f.step for f in judged(batch(**measured))] == steps


@pytest.mark.parametrize(
    ("counts", "is_found"),
    [((9, 9, 8, 8), False), ((9, 8, 8, 7), True), ((9, 10, 8, 9), True), ((9, 9, 8, 7), True), ((9, 9, 8, 9), True)],
)
def test_a_day_accounts_for_every_copy_and_keeps_every_event(counts: tuple[int, ...], is_found: bool) -> None:
    days = (Day(date(2026, 1, 15), *counts, batches=(1,)),)
    assert [f.step for f in judged(batch(), days=days)] == ["deduplicated"] * is_found


def test_a_dataset_that_no_model_deduplicates_is_counted_up_to_staging() -> None:
    own = [batch(1, "things", landed=8, kept=None), batch(2, "things", landed=3, staging=None, kept=None), batch(3)]
    total = total_of("things", own, ends_at_staging=True)
    assert total is not None and total.ends_at_staging
    assert (total.landed, total.not_built, total.kept, total.duplicates) == (11, 3, None, None)


def test_deduplication_is_not_blamed_for_what_raw_lost() -> None:
    days = (Day(date(2026, 1, 15), 7, 8, 7, 8, batches=(1,)),)
    assert [f.step for f in judged(batch(raw=7, staging=7), days=days)] == ["raw"]


def test_a_retry_must_take_up_what_was_rejected() -> None:
    first = batch(1, landed=8, rejected=5)
    assert judged(first, batch(2, landed=3, rejected=2, retries_batch_id=1, delivered=None)) == []
    short = batch(2, landed=2, rejected=2, retries_batch_id=1, delivered=None)
    assert [(f.step, f.expected, f.found) for f in judged(first, short)] == [("retry", 5, 4)]


def test_an_index_from_elsewhere_does_not_matter(built: Lake) -> None:
    Receipts(built.settings).close()
    (built.settings.landed / "index.sqlite").write_bytes(b"not a database")
    assert run_audit(built).findings == []
