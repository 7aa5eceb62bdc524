"""Readers see whole publications: gated, swapped in one step, never mixed; unchanged days are linked, not copied."""

import errno
import grp
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset

from flows.build.project import DataTest, Model
from flows.build.warehouse import open_warehouse
from flows.errors import TidemarkError
from flows.publish import access, files, marts
from flows.publish import manifest as manifest_module
from flows.publish import publish as publish_module
from flows.publish.access import open_to_others
from flows.publish.manifest import (
    Manifest,
    PublishedTable,
    current_version,
    damaged_files,
    newest_manifest,
    read_manifest,
)
from flows.publish.publish import publish, rollback, versions
from flows.publish.views import moved_from
from flows.settings import Settings
from flows.status.describe_lake import describe_lake
from flows.status.lake import read_status
from tests.support.lake import make_warehouse_tables
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER, NOBODY, as_nobody
from tests.support.small_marts import NO_METRICS

START = datetime(2026, 1, 15)
DAYS = [date(2026, 1, day) for day in range(10, 15)]
ROWS = 200
KEY_OF_ROW = "cast(md5(cast(i as varchar)) as uuid)"
QUOTED = 'One row per thing; it\'s "quoted".'
# A path that has to be escaped in SQL.
HOME = "it's home"


def model(name: str, schema: str, materialized: str, day: str | None = None, upstream: str = "") -> Model:
    """A model as the project describes it."""
    columns = {"number": "The build's number; it's \"quoted\"."} if schema == "marts" else {}
    return Model(name, schema, materialized, day, QUOTED, columns, frozenset(upstream.split()), "restricted")


MODELS = [
    model("stg_things", "staging", "view"),
    model("int_things", "intermediate", "incremental"),
    model("fct_days", "marts", "incremental", "event_date", upstream="int_things stg_things"),
    model("fct_none", "marts", "incremental", "event_date"),
    model("dim_whole", "marts", "table"),
    model("dim_none", "marts", "table"),
    model("ops_landings", "ops", "view", "landed_date"),
    model("ops_model_runs", "ops", "view", "recorded_date"),
]
IN_A_VERSION = {"parquet", "public.duckdb", "internal.duckdb", "marts.duckdb", "manifest.json"}
PUBLISHED = ["dim_none", "dim_whole", "fct_days", "fct_none", "ops_landings", "ops_model_runs"]
TESTS = [
    DataTest("test.days", "days_hold", True, frozenset({"fct_days", "dim_whole"}), frozenset({"fct_days"})),
    DataTest("test.warns", "days_look_well", False, frozenset({"fct_days"}), frozenset({"fct_days"})),
    DataTest("test.landings", "landings_hold", True, frozenset({"landings"}), frozenset({"ops_landings"})),
]


def stand_in() -> SimpleNamespace:
    """A project of these models and tests."""
    return SimpleNamespace(
        models={m.name: m for m in MODELS},
        seeds=frozenset(),
        tests=list(TESTS),
        owners={"int_things": "it's us", "dim_whole": "them"},
        fingerprint="first",
        semantic_manifest=NO_METRICS,
    )


def note(db: duckdb.DuckDBPyConnection, name: str, days: Iterable[date | None] = (None,)) -> None:
    """Note that a model changed, as the macros do."""
    for day in days:
        db.execute("delete from ops.changes where model = ? and day is not distinct from ?", [name, day])
        db.execute("insert into ops.changes values (?, ?, nextval('ops.change_number'))", [name, day])


def run(
    db: duckdb.DuckDBPyConnection,
    status: str = "passed",
    whole: bool = True,
    project: str = "first",
) -> None:
    """Enter a run of dbt, its one result and what that changes, as the hooks do."""
    db.execute("insert into ops.dbt_runs values ('run', 'build', ?, ?, ?, null, ?)", [whole, project, START, status])
    db.execute(
        "insert into ops.dbt_results values "
        "('run', 'model.a', 'model', 'a', 'success', null, null, null, null, 0.5, ?)",
        [START],
    )
    note(db, "ops_model_runs", [START.date()])
    if whole and status == "passed":
        db.execute("update ops.test_progress set project = ?", [project])


def pass_tests(db: duckdb.DuckDBPyConnection, *ids: str, project: str = "first") -> None:
    """Note that tests passed on all there is."""
    for id_ in ids:
        db.execute("delete from ops.test_progress where test = ?", [id_])
        db.execute(
            "insert into ops.test_progress select ?, ?, (select max(change) from ops.changes), "
            "(select max(batch_id) from landed.landings)",
            [id_, project],
        )


def land(db: duckdb.DuckDBPyConnection, number: int) -> None:
    """One more landing, each on a day of its own."""
    at = START + timedelta(days=number)
    db.execute(
        "insert into landed.landings by name select ? as batch_id, 'events' as dataset, 'f' as file, 's' as sha256, "
        "1 as bytes, 'landed' as status, 1 as rows_read, 1 as rows_landed, 0 as rows_rejected, 0 as unknown_keys, "
        "? as landed_at",
        [number, at],
    )
    note(db, "ops_landings", [at.date()])
    note(db, "landings")


def make_days(db: duckdb.DuckDBPyConnection, number: int, days: Iterable[date]) -> None:
    """Build days again: all their rows carry the number."""
    days = list(days)
    for day in days:
        db.execute("delete from marts.fct_days where event_date = ?", [day])
        db.execute(
            f"insert into marts.fct_days select ?, ?, 'p' || i % 3, cast(i as decimal(18, 2)) / 7, [i, null], "
            f"timestamp '2026-01-15 10:00:00.123456' + to_seconds(i), {KEY_OF_ROW}, [{KEY_OF_ROW}] "
            f"from range({ROWS}) t(i)",
            [number, day],
        )
    note(db, "fct_days", days)


def fill(settings: Settings, number: int, days: Iterable[date] = DAYS[:1]) -> None:
    """A whole build that passed: one more landing, these days and the table not partitioned by day carry the number."""
    with open_warehouse(settings) as db:
        db.execute("begin")
        land(db, number)
        make_days(db, number, days)
        db.execute(f"create or replace table marts.dim_whole as select i as id, {number} as number from range(99) t(i)")
        note(db, "dim_whole")
        db.execute("update ops.model_progress set batch_id = ?", [number])
        pass_tests(db, *(test.unique_id for test in TESTS))
        run(db)
        db.execute("commit")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose warehouse is as a passed build leaves it, made by hand."""
    home = tmp_path_factory.mktemp("built")
    settings = Settings(home=home)
    settings.warehouse.parent.mkdir()
    with open_warehouse(settings) as db:
        make_warehouse_tables(db)
        db.execute(
            """
            create schema marts; create schema staging; create schema intermediate;
            create view staging.stg_things as select 1 as device_id;
            create table intermediate.int_things as select 1 as device_id;
            create table marts.left_behind as select 'of a model since removed' as note;
            create table marts.fct_days (
                number bigint, event_date date, product varchar, "the amount" decimal(18, 2), tags bigint[],
                seen_at timestamp, device_key uuid, device_keys uuid[]
            );
            create table marts.fct_none as from marts.fct_days;
            create table marts.dim_none (number bigint, note varchar, "order" timestamp);
            create view ops.ops_landings as
            select batch_id, cast(landed_at as date) as landed_date, file from landed.landings;
            create view ops.ops_model_runs as
            select run_id, cast(recorded_at as date) as recorded_date from ops.dbt_results;
            """
        )
        for name in ("int_things", "fct_days", "fct_none", "dim_whole", "dim_none"):
            db.execute("insert into ops.model_progress values (?, 0, ['events'], '', 0, ?)", [name, START])
        note(db, "int_things")
        note(db, "dim_none")
    fill(settings, 1, DAYS)
    return home


@pytest.fixture
def settings(built: Path, tmp_path: Path) -> Settings:
    """A copy of that home."""
    shutil.copytree(built, tmp_path / HOME)
    return Settings(home=tmp_path / HOME, keep_versions=3)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The project that the publications of a test see."""
    made = stand_in()
    monkeypatch.setattr(publish_module, "read_project", lambda settings: made)
    return made


@contextmanager
def opened(settings: Settings, version: str = "current") -> Iterator[duckdb.DuckDBPyConnection]:
    """A reader's connection to a version."""
    with duckdb.connect(str(settings.published / version / "marts.duckdb"), read_only=True) as db:
        yield db


def seen(settings: Settings, version: str = "current") -> int:
    """The number of the build that a reader of a version finds, the same in every table."""
    with opened(settings, version) as db:
        found = db.execute(
            f"select max(number), count(*) % {ROWS} from fct_days union select max(number), 0 from dim_whole "
            "union select max(batch_id), 0 from ops_landings"
        ).fetchall()
    assert len(found) == 1, found
    assert found[0][1] == 0
    return int(found[0][0])


def table_of(manifest: Manifest, name: str) -> PublishedTable:
    return next(table for table in manifest.tables if table.name == name)


def inodes(settings: Settings, manifest: Manifest, name: str) -> dict[date | None, int]:
    """The file of each day of a table, by day."""
    folder = settings.published / manifest.version
    found = {file.day: (folder / file.path).stat().st_ino for file in table_of(manifest, name).files}
    assert len(found) == len(table_of(manifest, name).files)
    return found


def assert_true(settings: Settings, manifest: Manifest) -> None:
    """A version's folder holds what its manifest says and nothing else, and its views give the warehouse's rows."""
    folder = settings.published / manifest.version
    assert {p.name for p in folder.iterdir()} == {*IN_A_VERSION, manifest.version}
    assert [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o222] == []
    assert read_manifest(settings, manifest.version) == manifest
    listed = {folder / file.path: file for table in manifest.tables for file in table.files}
    assert set(folder.glob("parquet/**/*.parquet")) == set(listed)
    for path, file in listed.items():
        data = path.read_bytes()
        rows = pq.read_metadata(path).num_rows
        assert (file.rows, file.bytes, file.sha256) == (rows, len(data), hashlib.sha256(data).hexdigest())
    with open_warehouse(settings) as db:
        db.execute(f"attach '{str(folder / 'marts.duckdb').replace(chr(39), chr(39) * 2)}' as published (read_only)")
        for name in (table.name for table in manifest.tables):
            schema = "ops" if name.startswith("ops_") else "marts"
            ours, theirs = f"{schema}.{name}", f"published.{name}"
            kinds = [
                db.execute(f"select column_name, column_type from (describe {table})").fetchall()
                for table in (theirs, ours)
            ]
            assert kinds[0] == kinds[1]
            rows, made = (db.execute(f"select * from {table} order by all").fetchall() for table in (theirs, ours))
            assert rows == made
            assert table_of(manifest, name).rows == len(made)
            for file in table_of(manifest, name).files:
                if file.day is not None:
                    day = table_of(manifest, name).day_column
                    of_day = db.execute(f"select count(*) from {ours} where {day} = ?", [file.day]).fetchone()
                    assert of_day == (file.rows,)


def assert_tidy(settings: Settings) -> None:
    """The published folder holds whole versions, the link to the newest, and nothing else."""
    kept = versions(settings)
    assert {p.name for p in settings.published.iterdir()} == {".publish.lock", "current", *kept}
    assert current_version(settings) == kept[-1]
    for version in kept:
        assert {p.name for p in (settings.published / version).iterdir()} == {*IN_A_VERSION, version}


# --- what may be published -------------------------------------------------------------------------------------------

UNBUILT = ["no complete build of the current project has finished", "tidemark build"]
Runs = list[tuple[str, bool, str]]


@pytest.mark.parametrize(
    ("runs", "allowed"),
    [
        ([("passed", True, "first")], True),
        # What it did not make is noted elsewhere, as is which tests have not passed.
        ([("failed", True, "first")], True),
        # Killed, after one that came to its end: models keep their own account.
        ([("running", True, "first")], True),
        ([("passed", True, "second")], False),
        ([("passed", False, "second")], False),
        ([("passed", True, "second"), ("running", True, "first")], False),
        ([("passed", True, "second"), ("running", True, "first"), ("passed", False, "first")], False),
        ([("passed", True, "second"), ("failed", True, "first")], True),
    ],
)
def test_a_whole_build_of_this_project_must_have_come_to_its_end(settings: Settings, runs: Runs, allowed: bool) -> None:
    with open_warehouse(settings) as db:
        for status, whole, of in runs:
            run(db, status, whole, of)
        pass_tests(db, *(test.unique_id for test in TESTS))
    if allowed:
        assert publish(settings).manifest.is_fresh
    else:
        assert_refused(settings, *UNBUILT)


def assert_refused(settings: Settings, *words: str) -> None:
    """Nothing is published, forced or not, and the error says all of this."""
    before = versions(settings), current_version(settings)
    for force in (False, True):
        with pytest.raises(TidemarkError, match=r"nothing was published.*`tidemark status`") as error:
            publish(settings, force)
        for word in words:
            assert word in str(error.value)
    assert (versions(settings), current_version(settings)) == before


def test_without_a_whole_build_there_is_nothing_to_publish(settings: Settings, tmp_path: Path) -> None:
    assert_refused(Settings(home=tmp_path / "elsewhere"), *UNBUILT)
    with open_warehouse(settings) as db:
        db.execute("update ops.dbt_runs set is_whole = false")
    assert_refused(settings, *UNBUILT)
    with open_warehouse(settings) as db:
        db.execute("delete from ops.dbt_runs")
    assert_refused(settings, *UNBUILT)
    with open_warehouse(settings) as db:
        db.execute("drop table ops.changes")
    assert_refused(settings, *UNBUILT)


def not_good(manifest: Manifest) -> dict[str, list[str]]:
    """The tables that are stale or missing, and what they wait for."""
    found = {table.name: table.stale_because for table in manifest.stale}
    found |= {table.name: table.because for table in manifest.missing}
    return {name: [cause.name for cause in because] for name, because in found.items()}


def test_a_model_that_has_not_seen_all_that_landed_holds_back_what_is_made_from_it(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute("update ops.model_progress set batch_id = 0 where model = 'int_things'")
    first = publish(settings).manifest
    assert not_good(first) == {"fct_days": ["int_things"]}
    assert [table.name for table in first.tables] == [name for name in PUBLISHED if name != "fct_days"]
    assert_true(settings, first)
    with open_warehouse(settings) as db:
        db.execute("update ops.model_progress set batch_id = 1 where model = 'int_things'")
    second = publish(settings).manifest
    assert second.is_fresh
    assert_true(settings, second)


def test_what_landed_and_is_not_built_leaves_tables_stale(settings: Settings) -> None:
    publish(settings)
    with open_warehouse(settings) as db:
        land(db, 2)
        pass_tests(db, "test.landings")
    manifest = publish(settings).manifest
    expected = {"dim_none": ["dim_none"], "dim_whole": ["dim_whole"], "fct_none": ["fct_none"]}
    assert not_good(manifest) == expected | {"fct_days": ["int_things"]}
    with opened(settings) as reader:
        assert reader.execute(
            "select max(number) from fct_days union select max(number) from dim_whole"
        ).fetchall() == [(1,)]
        assert reader.execute("select max(batch_id) from ops_landings").fetchone() == (2,)


def test_a_blocking_test_that_has_not_passed_since_its_models_changed_holds_them_back(settings: Settings) -> None:
    publish(settings)
    with open_warehouse(settings) as db:
        make_days(db, 2, DAYS[:1])
        pass_tests(db, "test.warns")
    manifest = publish(settings).manifest
    assert not_good(manifest) == {"fct_days": ["days_hold"]}
    assert seen(settings) == 1
    with open_warehouse(settings) as db:
        pass_tests(db, "test.days")
    assert publish(settings).manifest.is_fresh


@pytest.mark.parametrize(
    ("id_", "expected"),
    [("test.days", {"fct_days": ["days_hold"]}), ("test.landings", {"ops_landings": ["landings_hold"]})],
)
def test_a_blocking_test_that_never_passed_holds_back_what_it_guards(
    settings: Settings, id_: str, expected: dict[str, list[str]]
) -> None:
    with open_warehouse(settings) as db:
        db.execute("delete from ops.test_progress where test = ?", [id_])
    assert not_good(publish(settings).manifest) == expected


def test_a_test_that_only_warns_holds_nothing_back(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        make_days(db, 1, DAYS[:1])
        pass_tests(db, "test.days")
        db.execute("delete from ops.test_progress where test = 'test.warns'")
    assert publish(settings).manifest.is_fresh


# --- what is stale ---------------------------------------------------------------------------------------------------


def fail(settings: Settings, *names: str) -> None:
    """A build that came to its end without making these."""
    with open_warehouse(settings) as db:
        for name in names:
            db.execute("insert into ops.failed_or_skipped values (?, ?)", [name, START])


def heal(settings: Settings) -> None:
    """A build that made all that was left."""
    with open_warehouse(settings) as db:
        db.execute("delete from ops.failed_or_skipped")


def freshness(settings: Settings) -> dict[str, list[Any]]:
    """What readers see of the tables that are stale."""
    with opened(settings) as db:
        assert db.execute("select name from published_tables").fetchall() == [(name,) for name in PUBLISHED]
        rows = db.execute(
            "select name, as_of, stale_since, stale_because, owner, version from published_tables where is_stale"
        ).fetchall()
    return {name: rest for name, *rest in rows}


def test_a_stale_table_keeps_its_rows_and_says_so_until_it_is_good(settings: Settings) -> None:
    first = publish(settings).manifest
    assert {table.as_of for table in first.tables} == {first.created_at}
    fill(settings, 2, DAYS[1:3])
    fail(settings, "int_things", "dim_whole")
    second = publish(settings).manifest
    assert not_good(second) == {"dim_whole": ["dim_whole"], "fct_days": ["int_things"]}
    for name in ("dim_whole", "fct_days"):
        before, after = table_of(first, name), table_of(second, name)
        assert (after.as_of, after.stale_since) == (first.created_at, second.created_at)
        assert inodes(settings, first, name) == inodes(settings, second, name) and before.files == after.files
    assert table_of(second, "ops_landings").as_of == second.created_at

    # Over further versions since when and of when stay.
    fill(settings, 3, DAYS[:1])
    third = publish(settings).manifest
    moments = (first.created_at.replace(tzinfo=None), second.created_at.replace(tzinfo=None))
    assert freshness(settings) == {
        "dim_whole": [*moments, "dim_whole (owner: them)", "them", third.version],
        "fct_days": [*moments, "int_things (owner: it's us)", None, third.version],
    }
    with opened(settings) as db:
        marks = dict(db.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
        numbers = db.execute("select distinct number from fct_days union all select max(number) from dim_whole")
        assert numbers.fetchall() == [(1,), (1,)]
    assert marks["fct_days"] == f"STALE since {second.created_at:%Y-%m-%d %H:%M} UTC. {QUOTED}"
    assert marks["ops_landings"] == QUOTED

    heal(settings)
    fourth = publish(settings).manifest
    assert fourth.is_fresh and freshness(settings) == {}
    assert_true(settings, fourth)
    # Only what changed meanwhile is written.
    before, after = inodes(settings, first, "fct_days"), inodes(settings, fourth, "fct_days")
    assert {day for day in DAYS if before[day] == after[day]} == {*DAYS[3:]}


def test_the_same_stale_tables_make_no_version_and_others_do(settings: Settings) -> None:
    publish(settings)
    fail(settings, "dim_whole")
    assert publish(settings).is_new
    assert not publish(settings).is_new
    fail(settings, "int_things")
    assert publish(settings).is_new
    # The same table waits for something else.
    with open_warehouse(settings) as db:
        db.execute("update ops.failed_or_skipped set node = 'stg_things' where node = 'int_things'")
    assert publish(settings).is_new
    assert not publish(settings).is_new
    heal(settings)
    assert publish(settings).manifest.is_fresh


def test_with_nothing_good_readers_see_what_is_stale_if_there_is_a_version(settings: Settings) -> None:
    every = [m.name for m in MODELS if m.schema in ("marts", "ops")]
    fail(settings, *every)
    assert_refused(settings, "no table is good yet", "dim_none, dim_whole, fct_days,", "tidemark build --retry")
    heal(settings)
    first = publish(settings).manifest
    fail(settings, *every)
    second = publish(settings).manifest
    assert len(second.stale) == len(PUBLISHED)
    assert seen(settings) == 1
    assert [table.files for table in second.tables] == [table.files for table in first.tables]
    heal(settings)
    assert publish(settings).manifest.is_fresh


def test_a_stale_table_whose_relation_is_gone_or_changed_keeps_its_columns(
    settings: Settings, project: SimpleNamespace
) -> None:
    first = publish(settings).manifest
    fail(settings, "fct_days", "fct_none", "dim_none")
    project.models["fct_days"] = replace(
        model("fct_days", "marts", "table"), columns={"number": "A number.", "started": "New."}
    )
    with open_warehouse(settings) as db:
        db.execute("alter table marts.fct_days rename column product to renamed")
        db.execute("drop table marts.fct_none; drop table marts.dim_none")
    second = publish(settings).manifest
    for name in ("fct_days", "fct_none", "dim_none"):
        assert table_of(second, name).day_column == table_of(first, name).day_column
        with opened(settings, first.version) as db:
            before = db.execute(f"describe {name}").fetchall(), db.execute(f"from {name} order by all").fetchall()
        with opened(settings) as db:
            assert (
                db.execute(f"describe {name}").fetchall(),
                db.execute(f"from {name} order by all").fetchall(),
            ) == before
    with opened(settings) as db:
        assert db.execute("select comment from duckdb_columns() where comment = 'A number.'").fetchall() == [
            ("A number.",)
        ]
        # Empty, as it was, and stale again in the version after.
        assert db.execute("select count(*) from fct_none").fetchone() == (0,)
    third = publish(settings, force=True).manifest
    assert third.stale == second.stale


@pytest.mark.parametrize("name", ["fct_days", "ops_landings"])
def test_stale_files_of_another_warehouse_are_written_again_when_good(settings: Settings, name: str) -> None:
    publish(settings)
    with open_warehouse(settings) as db:
        db.execute("update ops.warehouse set warehouse_id = uuid(); update marts.fct_days set number = 1 + number")
    fail(settings, name)
    second = publish(settings).manifest
    assert {file.change for file in table_of(second, name).files} == {-1}
    heal(settings)
    third = publish(settings).manifest
    assert not {*inodes(settings, second, name).values()} & {*inodes(settings, third, name).values()}
    assert_true(settings, third)


def test_a_stale_view_of_another_project_is_written_again_when_good(
    settings: Settings, project: SimpleNamespace
) -> None:
    publish(settings)
    project.fingerprint = "second"
    with open_warehouse(settings) as db:
        run(db, project="second")
    fail(settings, "ops_landings", "fct_days")
    second = publish(settings).manifest
    assert {file.change for file in table_of(second, "ops_landings").files} == {-1}
    # What keeps rows keeps their changes too.
    assert -1 not in {file.change for file in table_of(second, "fct_days").files}
    # The view shows other rows, though nothing was noted to have changed.
    with open_warehouse(settings) as db:
        db.execute(
            "create or replace view ops.ops_landings as "
            "select batch_id, cast(landed_at as date) as landed_date, upper(file) as file from landed.landings"
        )
    heal(settings)
    third = publish(settings).manifest
    assert_true(settings, third)
    with opened(settings) as db:
        assert db.execute("select file from ops_landings").fetchall() == [("F",)]


def test_versions_of_before_tables_could_be_stale_are_read(settings: Settings) -> None:
    first = publish(settings).manifest
    path = settings.published / first.version / "manifest.json"
    text = json.loads(path.read_text())
    del text["missing"]
    for table in text["tables"]:
        for name in ("owner", "as_of", "stale_since", "stale_because"):
            del table[name]
    path.write_text(json.dumps(text))
    fail(settings, "dim_whole")
    (stale,) = publish(settings).manifest.stale
    assert stale.as_of == first.created_at


# --- what is published -----------------------------------------------------------------------------------------------


def test_a_version_holds_the_marts_and_ops_tables_of_the_project_and_nothing_else(settings: Settings) -> None:
    manifest = publish(settings).manifest
    assert [table.name for table in manifest.tables] == PUBLISHED
    assert_true(settings, manifest)
    with open_warehouse(settings) as db:
        ids = db.execute("select cast(warehouse_id as varchar) from ops.warehouse").fetchone()
        highest = db.execute("select max(change) from ops.changes where model <> 'ops_model_runs'").fetchone()
        changes = db.execute("select day, change from ops.changes where model = 'fct_days'").fetchall()
    assert (manifest.warehouse_id,) == ids
    assert (manifest.change_high_water,) == highest
    assert (manifest.batch_high_water, manifest.project_fingerprint) == (1, "first")
    days = table_of(manifest, "fct_days")
    assert days.day_column == "event_date"
    assert {file.day: file.change for file in days.files} == dict(changes)
    assert [file.path for file in days.files] == [f"parquet/fct_days/fct_days-{day}.parquet" for day in DAYS]


def test_the_views_say_what_the_project_says(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        views = "select view_name, comment from duckdb_views() where not internal"
        tables = f"{views} union all select table_name, comment from duckdb_tables() order by all"
        about = ("published_tables", marts.FRESHNESS_DESCRIPTION)
        assert db.execute(tables).fetchall() == [*((name, QUOTED) for name in PUBLISHED), about]
        columns = "select table_name, comment from duckdb_columns() where not internal and column_name = 'number'"
        assert db.execute(f"{columns} order by all").fetchall() == [
            (name, "The build's number; it's \"quoted\".") for name in PUBLISHED if not name.startswith("ops_")
        ]


def test_published_tables_say_what_a_row_is(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        found = db.execute(f"select distinct description from {marts.PUBLISHED_TABLES}").fetchall()
    assert found == [('One row per thing; it\'s "quoted".',)]


def test_a_question_about_days_opens_the_files_of_those_days(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        for which, files in [
            ("= date '2026-01-11'", 1),
            ("in (date '2026-01-11', date '2026-01-13')", 2),
            ("between date '2026-01-11' and date '2026-01-13'", 3),
        ]:
            plan = db.execute(f"explain select sum(number) from fct_days where event_date {which}").fetchall()
            assert f"Scanning Files: {files}/5" in plan[0][1]


def test_a_column_may_be_called_as_duckdb_calls_that_of_the_file(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute("alter table marts.fct_days add column FileName varchar default 'mine'")
    assert_true(settings, publish(settings).manifest)


READERS: dict[str, Callable[[Path], pa.Table]] = {
    "pandas.read_parquet": pq.read_table,  # which is all that it does, before it makes a data frame of that
    "pyarrow.dataset": lambda folder: dataset.dataset(folder).to_table(),
    "pyarrow.dataset, hive": lambda folder: dataset.dataset(folder, partitioning="hive").to_table(),
    "duckdb": lambda folder: duckdb.read_parquet(f"{folder}/*.parquet").to_arrow_table(),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", ["fct_days", "dim_whole", "ops_landings"])
def test_a_tables_folder_can_be_read_as_it_is(settings: Settings, table: str, reader: str) -> None:
    publish(settings)
    found = READERS[reader](settings.published / "current" / "parquet" / table)
    with opened(settings) as db:
        text = "replace (device_key::varchar as device_key, device_keys::varchar[] as device_keys)"
        wanted = db.execute(f"select * {text if table == 'fct_days' else ''} from {table}").to_arrow_table()
    assert found.column_names == wanted.column_names
    # Spark reads no UUID.
    assert not any("uuid" in str(kind) for kind in found.schema.types)

    def rows(of: pa.Table) -> list[str]:
        return sorted(str({name: str(value) for name, value in row.items()}) for row in of.to_pylist())

    assert rows(found) == rows(wanted)


def test_empty_tables_can_be_queried(settings: Settings) -> None:
    manifest = publish(settings).manifest
    with opened(settings) as db:
        for name in ("fct_none", "dim_none"):
            assert table_of(manifest, name).rows == 0
            assert db.execute(f"select number from {name}").fetchall() == []
        assert db.execute("select event_date, seen_at from fct_none").fetchall() == []
    with open_warehouse(settings) as db:
        db.execute("insert into marts.fct_none from marts.fct_days limit 7")
        note(db, "fct_none", DAYS)
        db.execute("delete from marts.fct_days")
        note(db, "fct_days", DAYS)
        pass_tests(db, "test.days")
    manifest = publish(settings).manifest
    assert (table_of(manifest, "fct_none").rows, table_of(manifest, "fct_days").files) == (7, ())
    assert_true(settings, manifest)


def test_readers_stand_anywhere(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(settings.home)
    publish(Settings(home=Path()))
    for place in (tmp_path / "a" / "b", tmp_path, settings.published / "current"):
        monkeypatch.chdir(place)
        assert seen(settings) == 1
    monkeypatch.chdir(settings.home.parent)
    assert seen(Settings(home=Path(HOME))) == 1
    with duckdb.connect() as db:
        # A view is resolved in the file that holds it, under whatever name a reader attached that.
        db.execute(f"attach '{HOME.replace(chr(39), chr(39) * 2)}/published/current/marts.duckdb' as other (read_only)")
        assert db.execute("select max(number) from other.fct_days").fetchone() == (1,)


def test_clients_of_duckdb_1_4_can_open_a_version(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        found = db.execute("select tags from duckdb_databases() where database_name = 'marts'").fetchone()
    assert found is not None
    assert found[0]["storage_version"].startswith("v1.4")


def test_nothing_new_makes_no_version(settings: Settings) -> None:
    first = publish(settings)
    again = publish(settings)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.manifest == first.manifest
    assert versions(settings) == [first.manifest.version]
    forced = publish(settings, force=True)
    assert forced.is_new
    assert versions(settings) == [first.manifest.version, forced.manifest.version]
    fill(settings, 2)
    assert publish(settings).is_new
    assert seen(settings) == 2


def test_records_of_runs_alone_make_no_version_and_come_with_the_next(settings: Settings) -> None:
    first = publish(settings).manifest
    with open_warehouse(settings) as db:
        run(db)
    assert not publish(settings).is_new
    fill(settings, 2)
    second = publish(settings).manifest
    assert table_of(second, "ops_model_runs").rows == table_of(first, "ops_model_runs").rows + 2
    assert_true(settings, second)


def test_a_changed_project_is_published_again(settings: Settings, project: SimpleNamespace) -> None:
    publish(settings)
    project.fingerprint = "second"
    with open_warehouse(settings) as db:
        run(db, project="second")
    assert publish(settings).manifest.project_fingerprint == "second"
    assert not publish(settings).is_new


def test_a_model_that_is_gone_from_the_project_is_not_published(settings: Settings, project: SimpleNamespace) -> None:
    publish(settings)
    del project.models["dim_whole"]
    project.fingerprint = "second"
    with open_warehouse(settings) as db:
        run(db, project="second")
    manifest = publish(settings).manifest
    assert [table.name for table in manifest.tables] == [name for name in PUBLISHED if name != "dim_whole"]
    assert_true(settings, manifest)


# --- what is linked --------------------------------------------------------------------------------------------------


def test_files_of_unchanged_days_are_linked_and_of_changed_days_written(settings: Settings) -> None:
    first = publish(settings).manifest
    with open_warehouse(settings) as db:
        make_days(db, 2, DAYS[1:3])
        pass_tests(db, "test.days", "test.warns")
    second = publish(settings).manifest
    before, after = (inodes(settings, manifest, "fct_days") for manifest in (first, second))
    assert {day for day in DAYS if before[day] == after[day]} == {DAYS[0], *DAYS[3:]}
    # Those not partitioned by day, and ops tables, have not changed.
    for name in ("dim_whole", "dim_none", "ops_landings"):
        assert inodes(settings, first, name) == inodes(settings, second, name)
        assert table_of(first, name).files == table_of(second, name).files
    assert_true(settings, second)
    with opened(settings, first.version) as db:
        assert db.execute("select distinct number from fct_days").fetchall() == [(1,)]


def test_published_tables_say_which_days_they_have(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        rows = db.execute("select name, first_day, last_day from published_tables").fetchall()
    days = {name: (first, last) for name, first, last in rows}
    assert days["fct_days"] == (DAYS[0], DAYS[-1]) and days["dim_whole"] == days["dim_none"] == (None, None)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_is_lost_or_cut_is_written_again_though_nothing_is_new(settings: Settings, damage: str) -> None:
    first = publish(settings).manifest
    lost = settings.published / first.version / table_of(first, "fct_days").files[1].path
    content = lost.read_bytes()
    lost.unlink()
    if damage == "cut":
        lost.write_bytes(content[:-1])
    assert damaged_files(settings, first) == [str(lost.relative_to(settings.published))]
    reported = "\n".join(dict(describe_lake(read_status(settings, datetime.now(UTC))))["published"])
    assert "DAMAGED" in reported and lost.name in reported

    second = publish(settings)
    assert second.is_new and damaged_files(settings, second.manifest) == []
    assert_true(settings, second.manifest)
    before, after = (inodes(settings, first, "ops_landings"), inodes(settings, second.manifest, "ops_landings"))
    assert before == after, "and nothing else is"
    assert not publish(settings).is_new


def test_a_lost_file_of_a_stale_table_stops_publishing_and_says_which(settings: Settings) -> None:
    first = publish(settings).manifest
    fill(settings, 2, DAYS[1:3])
    fail(settings, "int_things")
    lost = settings.published / first.version / table_of(first, "fct_days").files[1].path
    lost.unlink()
    with pytest.raises(TidemarkError, match=f"{lost.name} is missing or damaged, and fct_days cannot.*int_things"):
        publish(settings)
    heal(settings)
    assert_true(settings, publish(settings).manifest)


def test_a_table_not_partitioned_by_day_is_written_when_it_changed(settings: Settings) -> None:
    first = publish(settings).manifest
    with open_warehouse(settings) as db:
        db.execute("update marts.dim_whole set id = -id")
        note(db, "dim_whole")
        pass_tests(db, "test.days")
    second = publish(settings).manifest
    assert inodes(settings, first, "dim_whole") != inodes(settings, second, "dim_whole")
    assert inodes(settings, first, "fct_days") == inodes(settings, second, "fct_days")
    assert_true(settings, second)


def test_days_come_and_go(settings: Settings) -> None:
    publish(settings)
    new = DAYS[-1] + timedelta(days=1)
    with open_warehouse(settings) as db:
        db.execute("delete from marts.fct_days where event_date = ?", [DAYS[2]])
        make_days(db, 1, [new])
        note(db, "fct_days", [DAYS[2]])
        pass_tests(db, "test.days")
    left = [*DAYS[:2], *DAYS[3:], new]
    second = publish(settings).manifest
    assert [file.day for file in table_of(second, "fct_days").files] == left
    assert_true(settings, second)
    fill(settings, 3)
    third = publish(settings).manifest
    assert [file.day for file in table_of(third, "fct_days").files] == left
    assert inodes(settings, third, "fct_days")[new] == inodes(settings, second, "fct_days")[new]
    assert_true(settings, third)
    with open_warehouse(settings) as db:
        make_days(db, 3, [DAYS[2]])
        pass_tests(db, "test.days")
    assert [file.day for file in table_of(publish(settings).manifest, "fct_days").files] == [*DAYS, new]


def test_a_table_built_whole_is_written_whole(settings: Settings) -> None:
    first = publish(settings).manifest
    with open_warehouse(settings) as db:
        note(db, "fct_days", DAYS)
        pass_tests(db, "test.days")
    second = publish(settings).manifest
    assert not {*inodes(settings, first, "fct_days").values()} & {*inodes(settings, second, "fct_days").values()}
    assert_true(settings, second)


def test_a_version_links_to_the_newest_even_when_another_is_current(settings: Settings) -> None:
    publish(settings)
    fill(settings, 2)
    second = publish(settings).manifest
    rollback(settings)
    fill(settings, 3, DAYS[1:2])
    third = publish(settings).manifest
    assert inodes(settings, third, "fct_days")[DAYS[0]] == inodes(settings, second, "fct_days")[DAYS[0]]
    assert_true(settings, third)


def test_a_warehouse_made_again_links_nothing(settings: Settings) -> None:
    first = publish(settings).manifest
    with open_warehouse(settings) as db:
        # Another warehouse's changes may well carry the same numbers.
        db.execute("update ops.warehouse set warehouse_id = uuid(); update marts.fct_days set number = 1 + number")
    second = publish(settings).manifest
    assert second.warehouse_id != first.warehouse_id
    for name in PUBLISHED:
        before, after = (set(inodes(settings, manifest, name).values()) for manifest in (first, second))
        assert not before & after
    assert_true(settings, second)


def test_a_table_now_partitioned_by_another_column_is_written_again(
    settings: Settings, project: SimpleNamespace
) -> None:
    publish(settings)
    project.models["fct_days"] = model("fct_days", "marts", "table")
    project.fingerprint = "second"
    with open_warehouse(settings) as db:
        db.execute("delete from ops.changes where model = 'fct_days'")
        note(db, "fct_days")
        pass_tests(db, "test.days")
        run(db, project="second")
    manifest = publish(settings).manifest
    assert [file.path for file in table_of(manifest, "fct_days").files] == ["parquet/fct_days/fct_days.parquet"]
    assert_true(settings, manifest)


def test_without_hard_links_files_are_copied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(settings).manifest

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    fill(settings, 2)
    second = publish(settings).manifest
    before, after = (inodes(settings, manifest, "fct_days") for manifest in (first, second))
    assert not {*before.values()} & {*after.values()}
    assert [f for f in table_of(second, "fct_days").files if f.day != DAYS[0]] == [
        f for f in table_of(first, "fct_days").files if f.day != DAYS[0]
    ]
    assert_true(settings, second)


def test_dropping_a_version_leaves_those_that_share_its_files_whole(settings: Settings) -> None:
    settings = settings.model_copy(update={"keep_hours": 0, "keep_versions": 2})
    first = publish(settings).manifest
    for number in (2, 3):
        fill(settings, number)
        last = publish(settings).manifest
    assert first.version not in versions(settings)
    assert_true(settings, last)


# --- how long --------------------------------------------------------------------------------------------------------


class Clock(datetime):
    """The time of day as a test sets it."""

    at = datetime(2026, 1, 20, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return cls.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """The clock that publications look at."""
    monkeypatch.setattr(Clock, "at", Clock.at)
    monkeypatch.setattr(publish_module, "datetime", Clock)
    return Clock


def publish_hourly(settings: Settings, clock: type[Clock], numbers: Iterable[int]) -> list[str]:
    """Versions an hour apart."""
    made = []
    for number in numbers:
        clock.at += timedelta(hours=1)
        fill(settings, number)
        made.append(publish(settings).manifest.version)
    return made


def test_old_versions_go_beyond_the_number_kept(settings: Settings, clock: type[Clock]) -> None:
    settings = settings.model_copy(update={"keep_hours": 0})
    made = publish_hourly(settings, clock, range(2, 7))
    assert versions(settings) == made[-3:]
    assert_tidy(settings)


def test_young_versions_stay_beyond_the_number_kept(settings: Settings, clock: type[Clock]) -> None:
    settings = settings.model_copy(update={"keep_hours": 4.5})
    made = publish_hourly(settings, clock, range(2, 9))
    # A version was left when the next came: the one made six hours ago was read until five hours ago.
    assert versions(settings) == made[-6:]
    assert_tidy(settings)


def test_the_number_kept_stays_however_old(settings: Settings, clock: type[Clock]) -> None:
    settings = settings.model_copy(update={"keep_hours": 1})
    made = []
    for number in range(2, 6):
        clock.at += timedelta(days=30)
        made += publish_hourly(settings, clock, [number])
    assert versions(settings) == made[-3:]


def test_the_current_version_is_never_dropped(settings: Settings, clock: type[Clock]) -> None:
    made = publish_hourly(settings, clock, range(2, 6))
    rollback(settings, made[0])
    publish_module._prune(settings.model_copy(update={"keep_hours": 0, "keep_versions": 2}))
    assert versions(settings) == [made[0], *made[-2:]]
    assert seen(settings) == 2


def test_a_clock_set_back_gives_a_later_name_all_the_same(settings: Settings, clock: type[Clock]) -> None:
    made = []
    for number, day in enumerate([20, 10, 9, 21, 1], start=2):
        clock.at = datetime(2026, 1, day, tzinfo=UTC)
        fill(settings, number)
        made.append(publish(settings).manifest.version)
        assert current_version(settings) == made[-1] == versions(settings)[-1]
        assert seen(settings) == number
    assert made == sorted(set(made))


# --- back ------------------------------------------------------------------------------------------------------------


def test_rollback_goes_to_the_version_before_or_the_one_named(settings: Settings) -> None:
    made = [publish(settings).manifest.version]
    for number in (2, 3):
        fill(settings, number)
        made.append(publish(settings).manifest.version)
    assert rollback(settings).version == made[1]
    assert seen(settings) == 2
    assert rollback(settings).version == made[0]
    assert seen(settings) == 1
    with pytest.raises(TidemarkError, match="no version before"):
        rollback(settings)
    assert rollback(settings, made[2]).version == made[2]
    assert seen(settings) == 3
    with pytest.raises(TidemarkError, match="no version 20200101") as error:
        rollback(settings, "20200101")
    assert made[0] in str(error.value)
    assert seen(settings) == 3


@pytest.mark.parametrize("name", ["..", "current", ".", "", "../../warehouse", ".publish.lock"])
def test_rollback_takes_no_name_that_is_no_version(settings: Settings, name: str) -> None:
    publish(settings)
    version = current_version(settings)
    with pytest.raises(TidemarkError, match="no version"):
        rollback(settings, name)
    assert current_version(settings) == version


def test_rollback_takes_no_version_that_was_never_finished(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings)
    version = current_version(settings)
    fill(settings, 2)
    kill(monkeypatch, "code_revision", settings)
    (unfinished,) = {p.name for p in settings.published.glob("[0-9]*")} - {version}
    with pytest.raises(TidemarkError, match="no version"):
        rollback(settings, unfinished)
    assert current_version(settings) == version


def test_rollback_with_nothing_published_is_an_error(settings: Settings) -> None:
    with pytest.raises(TidemarkError, match="no version"):
        rollback(settings)


def test_a_version_rolled_back_from_comes_back_only_with_something_new(settings: Settings) -> None:
    publish(settings)
    fill(settings, 2)
    publish(settings)
    rollback(settings)
    assert not publish(settings).is_new
    assert seen(settings) == 1
    fill(settings, 3)
    publish(settings)
    assert seen(settings) == 3


# --- killed, at once -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill."""


def kill(monkeypatch: pytest.MonkeyPatch, step: str, settings: Settings, after: bool = False, call: int = 1) -> None:
    """Publish, and be killed just before or after a call of this step."""
    *path, name = step.split(".")
    modules: list[Any] = [publish_module, files, marts, manifest_module, access]
    holders = [reduce(getattr, path, module) for module in modules if hasattr(module, (path or [name])[0])]
    real, calls = getattr(holders[0], name), iter(range(1, 1000))

    def killed(*arguments: Any, **named: Any) -> Any:
        is_last = next(calls) == call
        if is_last and not after:
            raise Killed
        result = real(*arguments, **named)
        if is_last:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        for holder in holders:
            patch.setattr(holder, name, killed)
        with pytest.raises(Killed):
            publish(settings)


# In order, each with the call of it just before which the publication is killed.
STEPS = [
    ("_read_source", 1),
    ("link_unchanged", 1),
    ("link_unchanged", 4),
    ("write_changed", 3),
    ("_described", 2),
    ("make_views", 1),
    ("code_revision", 1),
    ("_prepare_current", 1),
    ("Path.rename", 1),
    ("shutil.rmtree", 1),
    ("give_rights", 1),
    ("give", 1),
    ("give", 6),
    ("write_manifest", 1),
    ("sync_file", 3),
    ("sync_folder", 1),
    ("_point_current_at", 1),
    ("_prepare_current", 2),
    ("Path.replace", 1),
    ("sync_folder", 2),
    ("_prune", 1),
]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize(("step", "call"), STEPS)
def test_a_killed_publication_is_never_seen_and_heals(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, call: int, first: bool
) -> None:
    if not first:
        publish(settings)
        fill(settings, 2)
    old, new = (None, 1) if first else (1, 2)
    kill(monkeypatch, step, settings, call=call)
    is_swapped = (step, call) in {("sync_folder", 2), ("_prune", 1)}
    now = seen(settings) if current_version(settings) else None
    assert now == (new if is_swapped else old)
    for version in versions(settings):
        assert_same_number(settings, version)
    done = publish(settings)
    assert seen(settings) == new
    assert_tidy(settings)
    # One that was finished but for the link is finished, not made once more.
    assert len(versions(settings)) == (1 if first else 2)
    assert_true(settings, done.manifest)


def assert_same_number(settings: Settings, version: str) -> None:
    manifest = read_manifest(settings, version)
    assert seen(settings, version) == manifest.batch_high_water


def test_a_killed_linking_of_a_file_heals(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings)
    fill(settings, 2)
    kill(monkeypatch, "os.link", settings, after=True, call=3)
    assert seen(settings) == 1
    assert_true(settings, publish(settings).manifest)
    assert_tidy(settings)


@pytest.mark.parametrize("step", ["shutil.rmtree", "Path.unlink"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_killed_pruning_heals(
    settings: Settings, clock: type[Clock], monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    publish_hourly(settings, clock, range(2, 5))
    settings = settings.model_copy(update={"keep_hours": 0, "keep_versions": 2})
    clock.at += timedelta(hours=1)
    fill(settings, 6)
    # What comes first are the days' files that got their names, the manifest, and the link that is made again.
    kill(monkeypatch, step, settings, after, call=2 if step == "shutil.rmtree" else 5)
    assert seen(settings) == 6
    for version in versions(settings):
        assert_same_number(settings, version)
    clock.at += timedelta(hours=1)
    made = publish_hourly(settings, clock, [7, 8])
    assert versions(settings) == made
    assert_tidy(settings)


def test_a_version_killed_before_the_link_may_be_rolled_back_past(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [publish(settings).manifest.version]
    fill(settings, 2)
    made.append(publish(settings).manifest.version)
    fill(settings, 3)
    kill(monkeypatch, "_point_current_at", settings)
    assert seen(settings) == 2
    # Who rolls back now means what readers see: what was killed must not come back over it.
    assert rollback(settings).version == made[0]
    assert not publish(settings).is_new
    assert seen(settings) == 1


def _publish_often(home: Path, ready: Any) -> None:
    publish_module.read_project = lambda settings: stand_in()  # type: ignore[assignment,return-value]
    ready.set()
    while True:
        publish(Settings(home=home, keep_versions=3, keep_hours=0), force=True)


def test_a_publication_killed_at_any_moment_is_never_seen_and_heals(settings: Settings) -> None:
    settings = settings.model_copy(update={"keep_hours": 0})
    publish(settings)
    for delay in (0.02, 0.06, 0.1, 0.14, 0.18, 0.22):
        ready = FORKSERVER.Event()
        process = FORKSERVER.Process(target=_publish_often, args=(settings.home, ready), daemon=True)
        process.start()
        assert ready.wait(PATIENCE_SECONDS)
        process.join(delay)
        process.kill()
        process.join()
        assert seen(settings) == 1
        for version in versions(settings):
            assert_same_number(settings, version)
    fill(settings, 2)
    manifest = publish(settings).manifest
    assert seen(settings) == 2
    assert_true(settings, manifest)
    assert_tidy(settings)
    assert len(versions(settings)) <= 3


def _publish(home: Path) -> None:
    publish_module.read_project = lambda settings: stand_in()  # type: ignore[assignment,return-value]
    publish(Settings(home=home))


def test_two_publications_at_once_make_one_version(settings: Settings) -> None:
    processes = [FORKSERVER.Process(target=_publish, args=(settings.home,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
    assert [p.exitcode for p in processes] == [0, 0]
    assert len(versions(settings)) == 1
    assert seen(settings) == 1


def _read_often(settings: Settings, stop: Any, ready: Any, found: Any) -> None:
    numbers = []
    while not stop.is_set():
        try:
            numbers.append(seen(settings))
        except BaseException as error:
            found.put(repr(error))
            return
        ready.set()
    found.put(numbers)


def test_a_reader_in_a_loop_never_fails_and_never_sees_a_mixture(settings: Settings) -> None:
    publish(settings)
    stop, ready, found = FORKSERVER.Event(), FORKSERVER.Event(), FORKSERVER.Queue()
    reader = FORKSERVER.Process(target=_read_often, args=(settings, stop, ready, found), daemon=True)
    reader.start()
    assert ready.wait(PATIENCE_SECONDS)
    for number in range(2, 14):
        fill(settings, number, [DAYS[number % 5]])
        publish(settings)
        if number % 4 == 0:
            rollback(settings)
        # The reader goes on meanwhile; it has its turn with each version, however busy the machine is.
        ready.clear()
        assert ready.wait(PATIENCE_SECONDS)
    stop.set()
    numbers = found.get(timeout=PATIENCE_SECONDS)
    reader.join()
    assert isinstance(numbers, list), numbers
    assert len(set(numbers)) > 3


def test_a_reader_that_stays_keeps_the_version_it_opened(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as reader:
        for number in range(2, 7):
            fill(settings, number, DAYS)
            publish(settings)
        # Files are looked up only now: versions stay for the hours that readers have.
        assert reader.execute("select distinct number from fct_days").fetchall() == [(1,)]
        assert reader.execute("select distinct number from dim_whole").fetchall() == [(1,)]
    newest = newest_manifest(settings)
    assert newest is not None
    assert newest.batch_high_water == 6


def test_a_view_whose_logic_changed_is_written_again(settings: Settings, project: SimpleNamespace) -> None:
    publish(settings)
    project.fingerprint = "second"
    with open_warehouse(settings) as db:
        db.execute(
            "create or replace view ops.ops_landings as select batch_id, cast(landed_at as date) as landed_date, "
            "upper(file) as file, 1 as added from landed.landings"
        )
        run(db, project="second")
    assert_true(settings, publish(settings).manifest)


def test_a_build_of_some_models_by_another_project_blocks(settings: Settings) -> None:
    publish(settings)
    with open_warehouse(settings) as db:
        # `tidemark build -- --select fct_days` on a branch, which is then left.
        make_days(db, 999, DAYS)
        pass_tests(db, "test.days", "test.warns")
        run(db, whole=False, project="branch")
    assert_refused(settings, *UNBUILT)


def test_a_version_read_until_now_stays_for_its_readers(settings: Settings, clock: type[Clock]) -> None:
    settings = settings.model_copy(update={"keep_hours": 24, "keep_versions": 2})
    publish(settings)
    first = current_version(settings)
    clock.at += timedelta(days=3)  # a weekend with nothing new: it was current all the time
    fill(settings, 2)
    publish(settings)
    clock.at += timedelta(minutes=10)
    fill(settings, 3)
    publish(settings)
    assert first in versions(settings)


def test_a_version_of_an_earlier_tidemark_is_named(settings: Settings) -> None:
    publish(settings)
    old = settings.published / "20250101T000000.000000Z"
    old.mkdir()
    (old / "manifest.json").write_text('{"version": "20250101T000000.000000Z"}')
    with pytest.raises(TidemarkError, match=rf"{old.name}.*cannot be read.*delete the folder"):
        rollback(settings, old.name)


def test_copied_files_are_durable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings)
    synced, real = set(), files.os.fsync

    def sync(descriptor: int) -> None:
        synced.add(files.os.fstat(descriptor).st_ino)
        real(descriptor)

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "fsync", sync)
    monkeypatch.setattr(files.os, "link", refuse)
    fill(settings, 2)
    manifest = publish(settings).manifest
    assert set(inodes(settings, manifest, "fct_days").values()) <= synced


def rows_of(settings: Settings, version: str = "current") -> dict[str, int]:
    """What readers find in each table of a version, by its own views."""
    with opened(settings, version) as db:
        tables = [
            name
            for (name,) in db.execute(
                "select table_name from duckdb_columns() where not internal group by all"
            ).fetchall()
        ]
        return {name: db.execute(f'select count(*) from "{name}"').fetchall()[0][0] for name in tables}


def described(settings: Settings, version: str) -> list[Any]:
    """What a version says of its tables and columns, and in which format."""
    with opened(settings, version) as db:
        columns = db.execute(
            "select table_name, column_name, data_type, comment from duckdb_columns() where not internal order by all"
        ).fetchall()
        views = db.execute("select view_name, comment from duckdb_views() where not internal order by all").fetchall()
        formats = db.execute("select database_name, tags from duckdb_databases() where not internal").fetchall()
    return [columns, views, formats]


# --- who may write it -------------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(built: Path) -> Iterator[Settings]:
    """That home in a folder that an ordinary user owns and can reach, which those of pytest are not."""
    home = Path(tempfile.mkdtemp(prefix="tidemark-")) / "home"
    shutil.copytree(built, home)
    if not os.geteuid():
        for path in (home.parent, home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    yield Settings(home=home, keep_versions=2, keep_hours=0)
    shutil.rmtree(home.parent)


def test_its_owner_cannot_write_what_is_published_nor_lock_readers_out(theirs: Settings) -> None:
    def work() -> list[str]:
        publish(theirs)
        refused = []
        marts = theirs.published / "current" / "marts.duckdb"
        try:
            with duckdb.connect(str(marts)):
                assert seen(theirs) == 1, "never reached: it is opened to be written"
        except duckdb.Error as error:
            refused.append(str(error))
        for path in (marts, *marts.parent.glob("parquet/*/*.parquet"), marts.parent / "manifest.json"):
            try:
                path.open("r+b").close()
            except PermissionError:
                refused.append(path.name)
        assert len(refused) == 2 + len([*marts.parent.glob("parquet/*/*.parquet")]) + 1
        # All that Tidemark does goes on: linking, going back, pruning, healing.
        for number in (2, 3, 4):
            fill(theirs, number)
            publish(theirs)
        rollback(theirs)
        assert seen(theirs) == 3
        assert len(versions(theirs)) == 2
        moved = Settings(home=theirs.home.with_name("elsewhere"))
        theirs.home.rename(moved.home)
        rollback(moved, versions(moved)[-1])
        assert not any(moved_from(moved.published / version) for version in versions(moved))
        assert seen(moved) == 4
        first = versions(moved)[0]
        files = {path.stat().st_ino for path in (moved.published / first).glob("parquet/fct_days/*")}
        assert files & {path.stat().st_ino for path in (moved.published / "current").glob("parquet/fct_days/*")}
        shutil.rmtree(moved.home)
        return refused

    def reported() -> tuple[list[str], str]:
        try:
            return work(), ""
        except BaseException as error:
            return [], repr(error)

    refused, error = as_nobody(reported)
    assert error == ""
    assert "marts.duckdb" in refused[0] and "Permission denied" in refused[0]


def test_a_file_system_without_modes_is_published_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    publish(settings)
    assert seen(settings) == 1


# --- who may read it --------------------------------------------------------------------------------------------------

COLUMNS = (
    "number", "event_date", "product", "the amount", "tags", "seen_at", "device_key", "device_keys", "id", "note",
    "order", "batch_id", "landed_date", "file", "run_id", "recorded_date",
)  # fmt: skip
LEVELS = {
    "dim_whole": "public", "dim_none": "public", "ops_landings": "internal", "fct_none": "internal",
    "fct_days": "restricted", "ops_model_runs": "restricted",
}  # fmt: skip


def see(project: SimpleNamespace, **levels: str) -> None:
    """Let the project say who may see these tables, whose columns all say nothing of a person."""
    privacy = dict.fromkeys(COLUMNS, "none")
    for name, level in levels.items():
        project.models[name] = replace(project.models[name], visibility=level, privacy=privacy)


def tables_in(settings: Settings, file: str, version: str = "current") -> set[str]:
    """The tables of a DuckDB file, and of its list of them: the same."""
    with duckdb.connect(str(settings.published / version / f"{file}.duckdb"), read_only=True) as db:
        found = db.execute("select distinct table_name from duckdb_columns() where not internal").fetchall()
        listed = db.execute("select name from published_tables").fetchall()
    assert {name for (name,) in found} == {"published_tables", *(name for (name,) in listed)}
    return {name for (name,) in listed}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(settings: Settings, version: str, table: str) -> tuple[int, set[int]]:
    """The modes of a table's folder and of its files."""
    folder = settings.published / version / "parquet" / table
    return mode(folder), {mode(path) for path in folder.iterdir()}


def a_group() -> str:
    """A group that this process may give files to, and that is not its own where it has another."""
    own = [grp.getgrgid(number).gr_name for number in os.getgroups() if number != os.getgid()]
    if not os.geteuid():
        own = [group.gr_name for group in grp.getgrall() if group.gr_gid != os.getgid()]
    return own[0] if own else grp.getgrgid(os.getgid()).gr_name


def test_each_level_has_a_file_with_its_tables_and_those_of_the_levels_before(
    settings: Settings, project: SimpleNamespace
) -> None:
    see(project, **LEVELS)
    manifest = publish(settings).manifest
    assert {table.name: table.visibility for table in manifest.tables} == LEVELS
    assert tables_in(settings, "public") == {"dim_whole", "dim_none"}
    assert tables_in(settings, "internal") == {"dim_whole", "dim_none", "ops_landings", "fct_none"}
    assert tables_in(settings, "marts") == {*PUBLISHED}
    assert_true(settings, manifest)
    with opened(settings) as db:
        assert dict(db.execute("select name, visibility from published_tables").fetchall()) == LEVELS
    for name in ("public", "internal"):
        with duckdb.connect(str(settings.published / "current" / f"{name}.duckdb"), read_only=True) as db:
            assert db.execute("select max(number) from dim_whole").fetchone() == (1,)
        text = (settings.published / "current" / f"{name}.duckdb").read_bytes()
        assert b"fct_days" not in text and b"ops_model_runs" not in text


def test_a_narrower_file_attached_beside_another_finds_its_own_files(
    settings: Settings, project: SimpleNamespace, tmp_path: Path
) -> None:
    see(project, **LEVELS)
    publish(settings)
    copy = tmp_path / "elsewhere"
    shutil.copytree(settings.published / "current", copy)
    shutil.rmtree(settings.home)
    with duckdb.connect(str(copy / "internal.duckdb"), read_only=True) as db:
        db.execute(f"attach '{copy / 'public.duckdb'}' as beside (read_only)")
        assert db.execute("select max(number) from beside.dim_whole").fetchone() == (1,)


def test_without_groups_what_is_not_public_is_its_owners_alone(settings: Settings, project: SimpleNamespace) -> None:
    see(project, **LEVELS)
    before = os.umask(0o077)
    try:
        version = publish(settings).manifest.version
    finally:
        os.umask(before)
    folder = settings.published / version
    for path in (settings.published, folder, folder / "parquet", folder / version):
        assert mode(path) == 0o755
    assert modes(settings, version, "dim_whole") == (0o755, {0o444})
    assert modes(settings, version, "ops_landings") == (0o700, {0o400})
    assert modes(settings, version, "fct_days") == (0o700, {0o400})
    wanted = {"public.duckdb": 0o444, "internal.duckdb": 0o400, "marts.duckdb": 0o400, "manifest.json": 0o400}
    assert {name: mode(folder / name) for name in wanted} == wanted
    assert mode(folder / version / "README.txt") == 0o444
    assert [*open_to_others(settings, read_manifest(settings, version))] == []


def test_a_level_is_its_groups(settings: Settings, project: SimpleNamespace) -> None:
    see(project, **LEVELS)
    publish(settings)
    group = a_group()
    internal = settings.model_copy(update={"group_internal": group})
    # Groups that were set later are those of the kept versions too, though nothing else is new.
    assert not publish(internal).is_new
    version = versions(settings)[0]
    folder = settings.published / version
    assert modes(settings, version, "ops_landings") == (0o750, {0o440})
    assert modes(settings, version, "fct_days") == (0o700, {0o400})
    assert (mode(folder / "internal.duckdb"), mode(folder / "marts.duckdb")) == (0o440, 0o400)
    assert (folder / "internal.duckdb").group() == (folder / "parquet/ops_landings").group() == group
    # Who may see what is restricted may see what is internal.
    restricted = settings.model_copy(update={"group_restricted": group})
    fill(restricted, 2)
    publish(restricted)
    for table in ("ops_landings", "fct_days"):
        for kept in versions(settings):
            assert modes(settings, kept, table) == (0o750, {0o440})
            assert {path.group() for path in (settings.published / kept / "parquet" / table).iterdir()} == {group}


def test_a_group_that_is_not_there_stops_before_anything_is_changed(settings: Settings) -> None:
    publish(settings)
    fill(settings, 2)
    before = snapshot(settings.published)
    unknown = settings.model_copy(update={"group_restricted": "no such group"})
    with pytest.raises(TidemarkError, match="there is no group no such group, which TIDEMARK_GROUP_INTERNAL or"):
        publish(unknown)
    assert snapshot(settings.published) == before


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mode, path.lstat().st_ino) for path in folder.rglob("*")}


def test_a_table_that_became_restricted_is_so_in_every_kept_version(
    settings: Settings, project: SimpleNamespace
) -> None:
    group = a_group()
    settings = settings.model_copy(update={"group_internal": group})
    see(project, **LEVELS | {"fct_days": "internal"})
    first = publish(settings).manifest.version
    fill(settings, 2)
    second = publish(settings).manifest.version
    assert modes(settings, first, "fct_days") == modes(settings, second, "fct_days") == (0o750, {0o440})
    see(project, fct_days="restricted")
    # At once, though there is nothing new to publish.
    assert not publish(settings).is_new
    for version in (first, second):
        assert modes(settings, version, "fct_days") == (0o700, {0o400})
        assert table_of(read_manifest(settings, version), "fct_days").visibility == "restricted"
        assert modes(settings, version, "ops_landings") == (0o750, {0o440})
    rollback(settings, first)
    assert seen(settings) == 1
    # What it was kept from stays so when it is opened again.
    see(project, fct_days="internal")
    third = publish(settings, force=True).manifest.version
    assert modes(settings, third, "fct_days") == (0o750, {0o440})
    assert modes(settings, first, "fct_days")[0] == modes(settings, second, "fct_days")[0] == 0o700
    assert tables_in(settings, "internal", third) == {*PUBLISHED} - {"ops_model_runs"}


def test_healing_an_earlier_version_leaves_what_it_shares_to_the_later_one(
    settings: Settings, project: SimpleNamespace
) -> None:
    settings = settings.model_copy(update={"group_internal": a_group()})
    see(project, **LEVELS)
    first = publish(settings).manifest.version
    see(project, fct_days="internal")
    second = publish(settings, force=True).manifest
    assert inodes(settings, second, "fct_days") == inodes(settings, read_manifest(settings, first), "fct_days")
    (settings.published / first / "parquet/fct_days").chmod(0o755)
    publish(settings)
    assert modes(settings, first, "fct_days") == (0o700, {0o440})
    assert modes(settings, second.version, "fct_days") == (0o750, {0o440})


def test_a_stale_table_stays_as_narrow_as_its_files(settings: Settings, project: SimpleNamespace) -> None:
    see(project, **LEVELS)
    publish(settings)
    fill(settings, 2)
    fail(settings, "int_things")
    see(project, fct_days="public")
    manifest = publish(settings).manifest
    assert [table.name for table in manifest.stale] == ["fct_days"]
    assert table_of(manifest, "fct_days").visibility == "restricted"
    assert "fct_days" not in tables_in(settings, "public") | tables_in(settings, "internal")
    assert modes(settings, manifest.version, "fct_days") == (0o700, {0o400})
    heal(settings)
    assert table_of(publish(settings).manifest, "fct_days").visibility == "public"
    assert "fct_days" in tables_in(settings, "public")


def test_a_version_of_an_earlier_tidemark_is_restricted(settings: Settings, project: SimpleNamespace) -> None:
    see(project, **LEVELS)
    first = publish(settings).manifest.version
    as_an_earlier_tidemark(settings, first)
    folder = settings.published / first
    open_now = {*open_to_others(settings, read_manifest(settings, first))}
    assert open_now == {*folder.glob("parquet/*"), folder / "marts.duckdb", folder / "manifest.json"}
    second = publish(settings, force=True).manifest
    assert [*open_to_others(settings, read_manifest(settings, first))] == []
    assert modes(settings, first, "dim_whole")[0] == 0o700
    assert modes(settings, second.version, "dim_whole") == (0o755, {0o444})
    rollback(settings)
    assert seen(settings) == 1
    assert rollback(settings, second.version) == second
    assert tables_in(settings, "public") == {"dim_whole", "dim_none"}


@pytest.mark.parametrize(("name", "level"), [("fct_days", "public"), ("fct_days", "internal"), ("dim_whole", "public")])
def test_a_column_that_the_project_does_not_describe_is_published_to_nobody_but_the_fewest(
    settings: Settings, project: SimpleNamespace, name: str, level: str
) -> None:
    publish(settings)
    fill(settings, 2)
    project.models[name] = replace(project.models[name], visibility=level, privacy={"number": "none"}, path="a.yml")
    with pytest.raises(
        TidemarkError, match=rf"a.yml: {name} says `visibility: {level}`, and its columns allow no more"
    ):
        publish(settings)
    assert seen(settings) == 1
    assert_tidy(settings)


def test_a_model_that_does_not_say_who_may_see_it_is_not_published(
    settings: Settings, project: SimpleNamespace
) -> None:
    project.models["dim_none"] = replace(project.models["dim_none"], visibility="", path="models/marts/dim_none.yml")
    with pytest.raises(TidemarkError, match=r"dim_none\.yml: dim_none does not say who may see it.*`visibility: "):
        publish(settings)
    assert versions(settings) == []


def test_what_is_being_made_nobody_looks_into(
    settings: Settings, project: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(project, **LEVELS)
    found = []
    real = publish_module.give_rights

    def look(settings: Settings, folder: Path, *rest: Any) -> None:
        found.append(mode(folder))
        real(settings, folder, *rest)

    monkeypatch.setattr(publish_module, "give_rights", look)
    publish(settings)
    assert found == [0o700]


@pytest.mark.skipif(bool(os.geteuid()), reason="only root can become a user who is refused something")
def test_other_users_read_what_is_public_and_nothing_else(built: Path, project: SimpleNamespace) -> None:
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    shutil.copytree(built, home, dirs_exist_ok=True)
    home.chmod(0o755)
    settings = Settings(home=home)
    see(project, **LEVELS)
    publish(settings)
    marts_folder = settings.published / "current"

    def work() -> list[str]:
        said = []
        with duckdb.connect(str(marts_folder / "public.duckdb"), read_only=True) as db:
            said.append(str(db.execute("select max(number) from dim_whole").fetchall()[0][0]))
        said.append(str(dataset.dataset(marts_folder.resolve() / "parquet/dim_whole").count_rows()))
        for path in (marts_folder / "internal.duckdb", marts_folder / "marts.duckdb", marts_folder / "manifest.json"):
            try:
                path.open("rb").close()
            except PermissionError:
                said.append(path.name)
        for table in ("ops_landings", "fct_days"):
            try:
                [*(marts_folder / "parquet" / table).iterdir()]
            except PermissionError:
                said.append(table)
        return said

    assert as_nobody(work) == [
        "1",
        "99",
        "internal.duckdb",
        "marts.duckdb",
        "manifest.json",
        "ops_landings",
        "fct_days",
    ]
    shutil.rmtree(home)


# --- where it may be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["as it was", "it's mine"])
def test_a_copied_version_is_whole_wherever_it_is(settings: Settings, tmp_path: Path, name: str) -> None:
    publish(settings)
    before = rows_of(settings)
    copy = tmp_path / "else where" / (versions(settings)[0] if name == "as it was" else name)
    shutil.copytree(settings.published / "current", copy)
    fill(settings, 2)
    publish(settings)
    other = tmp_path / "other"
    shutil.copytree(settings.published / "current", other)
    shutil.rmtree(settings.home)
    with duckdb.connect(str(copy / "marts.duckdb"), read_only=True) as db:
        assert {name: db.execute(f"select count(*) from {name}").fetchall()[0][0] for name in before} == before
        assert db.execute("select max(number) from fct_days").fetchone() == (1,)
        # What is attached cannot follow: it fails, and never shows the files of the one that was opened.
        db.execute(f"attach '{other / 'marts.duckdb'}' as other (read_only)")
        with pytest.raises(duckdb.IOException, match="No files found"):
            db.execute("select max(number) from other.fct_days")
    with duckdb.connect() as db:
        db.execute(f"attach '{other / 'marts.duckdb'}' as other (read_only)")
        with pytest.raises(duckdb.IOException, match="No files found"):
            db.execute("select max(number) from other.fct_days")
        db.execute("set variable version_folder = ?", [str(copy)])
        with pytest.raises(duckdb.IOException, match="No files found"):
            db.execute("select max(number) from other.fct_days")
        db.execute("set variable version_folder = ?", [str(other)])
        assert db.execute("select max(number) from other.fct_days").fetchone() == (2,)


def test_published_may_be_mounted_elsewhere(settings: Settings, tmp_path: Path) -> None:
    publish(settings)
    fill(settings, 2)
    publish(settings)
    mount = tmp_path / "mnt"
    settings.published.rename(mount)
    first, second = sorted(path.name for path in mount.glob("[0-9]*"))
    (tmp_path / "link").symlink_to(mount)
    shutil.rmtree(settings.home)
    for root in (mount, tmp_path / "link"):
        for name, number in ((first, 1), (second, 2), ("current", 2)):
            with duckdb.connect(str(root / name / "marts.duckdb"), read_only=True) as db:
                assert db.execute("select max(number) from fct_days").fetchone() == (number,)
        with duckdb.connect(str(root / "current" / "marts.duckdb"), read_only=True) as db:
            # Two versions compared: each shows its own.
            db.execute(f"attach '{root / first / 'marts.duckdb'}' as before (read_only)")
            assert db.execute("select max(number) from before.fct_days").fetchone() == (1,)
    # A reader that lets nothing but the published folder be read, and one whose temporary files go elsewhere.
    with duckdb.connect(str(mount / "current" / "marts.duckdb"), read_only=True) as db:
        db.execute(f"set allowed_directories = ['{mount}']; set enable_external_access = false")
        db.execute("set lock_configuration = true")
        assert db.execute("select max(number) from fct_days").fetchone() == (2,)


def test_a_reader_whose_temporary_files_go_elsewhere_finds_the_files_where_they_were_made(settings: Settings) -> None:
    publish(settings)
    with opened(settings) as db:
        db.execute("set temp_directory = '/somewhere'")
        assert db.execute("select max(number) from fct_days").fetchone() == (1,)


def as_an_earlier_tidemark(settings: Settings, version: str) -> None:
    """Let a version be one of before: a folder per day, named by its column, and views of absolute paths."""
    folder = settings.published / version
    text = json.loads((folder / "manifest.json").read_text())
    columns = {}
    for table in text["tables"]:
        with opened(settings, version) as db:
            described = db.execute(f"describe {table['name']}").fetchall()
            columns[table["name"]] = ", ".join(f'cast("{name}" as {kind}) as "{name}"' for name, kind, *_ in described)
        for file in table["files"] if table["day_column"] else ():
            path = f"parquet/{table['name']}/{table['day_column']}={file['day']}/part-0.parquet"
            (folder / path).parent.mkdir()
            (folder / file["path"]).rename(folder / path)
            file["path"] = path
        del table["visibility"]
    del text["format"]
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("public.duckdb", "internal.duckdb"):
        (folder / name).unlink()
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(text))
    with duckdb.connect(str(folder / "marts.duckdb")) as db:
        below = str(folder.absolute() / "parquet").replace("'", "''")
        for table in text["tables"]:
            if table["files"]:
                name, day = table["name"], table["day_column"]
                files, options = f"{name}/*.parquet", ""
                if day:
                    files, options = (
                        f"{name}/*/*.parquet",
                        f", hive_partitioning = true, hive_types = {{'{day}': date}}",
                    )
                rows = f"read_parquet('{below}/{files}'{options})"
                db.execute(f"create or replace view {name} as select {columns[name]} from {rows}")
        db.execute("drop macro version_folder")
    shutil.rmtree(folder / version)


def test_versions_of_an_earlier_tidemark_are_read_linked_and_gone_back_to(settings: Settings, tmp_path: Path) -> None:
    first = publish(settings).manifest
    before = inodes(settings, first, "fct_days")
    as_an_earlier_tidemark(settings, first.version)
    assert seen(settings) == 1
    # A stale table keeps its files; the others are written as they are named and typed now.
    fail(settings, "int_things")
    second = publish(settings).manifest
    assert [table.name for table in second.stale] == ["fct_days"]
    assert inodes(settings, second, "fct_days") == before
    assert inodes(settings, second, "dim_whole") != inodes(settings, first, "dim_whole")
    assert_true(settings, second)
    heal(settings)
    third = publish(settings).manifest
    assert not {*before.values()} & {*inodes(settings, third, "fct_days").values()}
    assert_true(settings, third)
    rollback(settings, second.version)
    assert seen(settings) == 1
    rollback(settings)
    assert seen(settings) == 1
    rollback(settings, second.version)
    shutil.move(settings.home, tmp_path / "elsewhere")
    moved = Settings(home=tmp_path / "elsewhere")
    rollback(moved)
    assert seen(moved) == 1
    rollback(moved, second.version)
    assert seen(moved) == 1


@pytest.mark.parametrize("original", ["moved", "copied and gone", "copied"])
def test_a_moved_home_is_reported_and_the_next_publication_heals_every_version(
    settings: Settings, tmp_path: Path, original: str
) -> None:
    publish(settings)
    fill(settings, 2)
    publish(settings)
    first, second = versions(settings)
    before = {version: (rows_of(settings, version), described(settings, version)) for version in (first, second)}
    home = tmp_path / "it's elsewhere"
    if original == "moved":
        shutil.move(settings.home, home)
    else:
        shutil.copytree(settings.home, home, symlinks=True)
    if original == "copied and gone":
        shutil.rmtree(settings.home)
    moved = Settings(home=home)
    published = read_status(moved, datetime.now(UTC)).published
    assert published.moved_from == str(settings.published.absolute() / second)
    assert not publish(moved).is_new
    for version in (first, second):
        assert (rows_of(moved, version), described(moved, version)) == before[version]
        assert moved_from(moved.published / version) is None
    assert read_status(moved, datetime.now(UTC)).published.moved_from is None
    assert not [*moved.published.rglob(".marts*")]


def test_a_rollback_of_a_moved_home_heals_it_too(settings: Settings, tmp_path: Path) -> None:
    publish(settings)
    fill(settings, 2)
    publish(settings)
    shutil.move(settings.home, tmp_path / "elsewhere")
    moved = Settings(home=tmp_path / "elsewhere")
    rollback(moved)
    assert sum(rows_of(moved).values()) > 0


def test_a_home_reached_by_another_path_was_not_moved(settings: Settings, tmp_path: Path) -> None:
    publish(settings)
    (tmp_path / "link").symlink_to(settings.home)
    marts = settings.published / current_version(settings) / "marts.duckdb"  # type: ignore[operator]
    before = marts.stat().st_ino
    linked = Settings(home=tmp_path / "link")
    assert read_status(linked, datetime.now(UTC)).published.moved_from is None
    publish(linked)
    assert marts.stat().st_ino == before


def named(db: duckdb.DuckDBPyConnection) -> str:
    """The folder in which the views of an opened file look where nothing else says where it is."""
    db.execute("set temp_directory = '/somewhere'")
    return str(db.execute("select version_folder()").fetchall()[0][0])


@pytest.mark.parametrize("call", range(1, 7))
def test_a_healing_killed_half_way_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    publish(settings)
    fill(settings, 2)
    publish(settings)
    shutil.move(settings.home, tmp_path / "elsewhere")
    moved = Settings(home=tmp_path / "elsewhere")
    real, calls = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == call:
            raise Killed
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            publish(moved)
    publish(moved)
    assert all(moved_from(moved.published / version) is None for version in versions(moved))
    assert not [*moved.published.rglob(".*.duckdb*")]
    for version in versions(moved):
        for name in ("public", "internal", "marts"):
            with duckdb.connect(str(moved.published / version / f"{name}.duckdb"), read_only=True) as db:
                assert named(db) == str(moved.published.absolute() / version)


def test_a_clock_that_ran_ahead_neither_stops_publishing_nor_pruning(settings: Settings, clock: type[Clock]) -> None:
    settings = settings.model_copy(update={"keep_hours": 1, "keep_versions": 3})
    publish(settings)
    clock.at += timedelta(days=3_000)
    publish(settings, force=True)
    clock.at -= timedelta(days=2_999)
    names = []
    for _ in range(6):
        clock.at += timedelta(hours=2)
        names.append(publish(settings, force=True).manifest.version)
        assert current_version(settings) == versions(settings)[-1] == names[-1]
    assert names == sorted(names) and {len(name) for name in names} == {len(names[0])}
    assert versions(settings) == names[-4:] or versions(settings) == names[-3:]
    clock.at += timedelta(days=3_000)
    assert publish(settings, force=True).manifest.version > names[-1]


def test_a_version_named_when_clocks_were_told_apart_by_a_suffix_is_followed(settings: Settings) -> None:
    publish(settings)
    first = versions(settings)[0]
    later = f"2999{first[4:]}"
    (settings.published / first).rename(settings.published / f"{later}+1")
    (settings.published / "current").unlink()
    (settings.published / "current").symlink_to(f"{later}+1")
    manifest = settings.published / f"{later}+1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"version": "{first}"', f'"version": "{later}+1"'))
    version = publish(settings, force=True).manifest.version
    assert versions(settings)[-1] == version and "+" not in version


def test_a_rollback_without_a_publication_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="there is no version below"):
        rollback(Settings(home=tmp_path / "none"))
    assert not (tmp_path / "none").exists()
