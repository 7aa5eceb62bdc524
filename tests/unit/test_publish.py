"""Readers see whole publications: refused when the build was not whole, swapped in one step, never mixed."""

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows import publish as publish_module
from flows.errors import TidemarkError
from flows.publish import current_version, newest_manifest, publish, read_manifest, rollback, versions
from flows.settings import Settings
from tests.conftest import FORKSERVER

START = datetime(2026, 1, 15)
TABLES = {"marts": ["dim_left", "dim_right"], "ops": ["ops_landings"]}


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(settings.warehouse))


def run(settings: Settings, status: str, minute: int, whole: bool = True, command: str = "build") -> None:
    """Enter a run of dbt as its hooks do."""
    with connect(settings) as db:
        run_id = f"{minute}-{status}"
        db.execute(
            "insert into ops.dbt_runs values (?, ?, ?, ?, null, ?)",
            [run_id, command, whole, START + timedelta(minutes=minute), status],
        )


def fill(settings: Settings, number: int, rows: int = 5_000) -> None:
    """A build: every mart carries the number, and one more landing is known."""
    with connect(settings) as db:
        db.execute("begin")
        for schema, names in TABLES.items():
            for name in names:
                select = f"select {number} as number, i as id from range({rows}) t(i)"
                db.execute(f"create or replace table {schema}.{name} as {select}")
        db.execute("insert into landed.landings values (?)", [number])
        db.execute("commit")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose warehouse is as a passed build leaves it, made by hand."""
    home = tmp_path_factory.mktemp("built")
    made = Settings(home=home)
    (home / "warehouse" / "target").mkdir(parents=True)
    with connect(made) as db:
        for schema in ("landed", "ops", "marts", "staging"):
            db.execute(f"create schema {schema}")
        db.execute("create table landed.landings (batch_id bigint)")
        db.execute(
            "create table ops.dbt_runs (run_id text, command text, is_whole boolean, started_at timestamp, "
            "finished_at timestamp, status text)"
        )
        db.execute("create table staging.stg_secret as select 1 as device_id")
        db.execute("create table marts.left_behind as select 'of a model since removed' as note")
    nodes = {
        f"model.tidemark.{name}": {
            "resource_type": "model",
            "schema": schema,
            "name": name,
            "description": f'One row per {name}; it\'s "quoted".',
            "columns": {"number": {"description": "The build's number."}, "id": {"description": ""}},
        }
        for schema, names in TABLES.items()
        for name in names
    }
    (home / "warehouse" / "target" / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    fill(made, 1)
    run(made, "passed", 1)
    return home


@pytest.fixture
def settings(built: Path, tmp_path: Path) -> Settings:
    """A copy of that home."""
    shutil.copytree(built, tmp_path / "home")
    return Settings(home=tmp_path / "home", keep_versions=3)


def seen(settings: Settings, version: str = "current") -> int:
    """The number that a reader of a version finds, the same in every table."""
    path = settings.published / version / "marts.duckdb"
    with duckdb.connect(str(path), read_only=True) as db:
        query = "select number from dim_left union select number from dim_right"
        (found,) = db.execute(f"{query} union select number from ops_landings").fetchall()
    return int(found[0])


# --- what may be published -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "allowed"),
    [
        ([], True),
        ([("failed", True)], False),
        ([("running", True)], False),
        ([("failed", True), ("passed", True)], True),
        ([("running", True), ("passed", True)], True),
        ([("failed", True), ("passed", False)], False),
        ([("passed", False)], True),
        ([("failed", False)], False),
        ([("running", False)], False),
        ([("failed", False), ("passed", False)], False),
    ],
)
def test_only_a_whole_build_that_passed_is_published(
    settings: Settings, runs: list[tuple[str, bool]], allowed: bool
) -> None:
    for minute, (status, whole) in enumerate(runs, start=2):
        run(settings, status, minute, whole)
    if allowed:
        assert publish(settings).is_new
        return
    with pytest.raises(TidemarkError, match="nothing was published"):
        publish(settings)
    assert versions(settings) == []
    assert current_version(settings) is None


def test_a_refused_publication_leaves_readers_the_last_good_version(settings: Settings) -> None:
    publish(settings)
    fill(settings, 2)
    run(settings, "failed", 2)
    with pytest.raises(TidemarkError, match="tidemark status"):
        publish(settings)
    assert seen(settings) == 1


def test_without_a_whole_build_there_is_nothing_to_publish(settings: Settings, tmp_path: Path) -> None:
    with connect(settings) as db:
        db.execute("update ops.dbt_runs set is_whole = false")
    with pytest.raises(TidemarkError, match="nothing was published"):
        publish(settings)
    with pytest.raises(TidemarkError, match="nothing was published"):
        publish(Settings(home=tmp_path / "elsewhere"))
    with connect(settings) as db:
        db.execute("drop table ops.dbt_runs")
    with pytest.raises(TidemarkError, match="nothing was published"):
        publish(settings)


# --- what is published -----------------------------------------------------------------------------------------------


def test_a_version_holds_the_marts_with_their_meaning_and_checksums(settings: Settings) -> None:
    manifest = publish(settings).manifest
    folder = settings.published / manifest.version
    assert [t.name for t in manifest.tables] == ["dim_left", "dim_right", "ops_landings"]
    for table in manifest.tables:
        data = (folder / table.parquet).read_bytes()
        assert (table.rows, table.bytes, table.sha256) == (5_000, len(data), hashlib.sha256(data).hexdigest())
        assert duckdb.sql(f"select distinct number from '{folder / table.parquet}'").fetchall() == [(1,)]
    assert read_manifest(settings, manifest.version) == manifest
    assert manifest.batch_high_water == 1
    with duckdb.connect(str(folder / "marts.duckdb"), read_only=True) as db:
        tables = db.execute("select table_name, comment from duckdb_tables() order by all").fetchall()
        assert [name for name, _ in tables] == ["dim_left", "dim_right", "ops_landings"]
        assert tables[0][1] == 'One row per dim_left; it\'s "quoted".'
        comment = "select comment from duckdb_columns() where table_name = 'dim_left' and column_name = 'number'"
        assert db.execute(comment).fetchall() == [("The build's number.",)]


def test_clients_of_duckdb_1_4_can_open_a_version(settings: Settings) -> None:
    publish(settings)
    with duckdb.connect() as db:
        db.execute(f"attach '{settings.published / 'current' / 'marts.duckdb'}' as m (read_only)")
        (tags,) = db.execute("select tags from duckdb_databases() where database_name = 'm'").fetchone() or ({},)
    assert tags["storage_version"].startswith("v1.4")


def test_nothing_new_makes_no_version(settings: Settings) -> None:
    first = publish(settings)
    again = publish(settings)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.manifest == first.manifest
    assert publish(settings, force=True).is_new
    fill(settings, 2)
    assert publish(settings).is_new
    assert seen(settings) == 2


def test_a_changed_project_is_published_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings)
    monkeypatch.setattr(publish_module, "project_fingerprint", lambda: "changed")
    assert publish(settings).is_new


def test_old_versions_go_beyond_the_number_kept_but_never_the_current_one(settings: Settings) -> None:
    made = []
    for number in range(2, 7):
        fill(settings, number)
        made.append(publish(settings).manifest.version)
    assert versions(settings) == made[-3:]
    rollback(settings, made[-3])
    for number in range(7, 9):
        fill(settings, number)
        publish(settings)
    assert len(versions(settings)) == 3
    assert current_version(settings) == versions(settings)[-1]


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


def test_a_clock_set_back_gives_a_later_name_all_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return next(moments)

    days = [20, 10, 9, 21, 1]
    moments = iter([datetime(2026, 1, day, tzinfo=UTC) for day in days for _ in range(2)])
    monkeypatch.setattr(publish_module, "datetime", Clock)
    made = []
    for number, _ in enumerate(days, start=2):
        fill(settings, number)
        made.append(publish(settings).manifest.version)
        assert current_version(settings) == made[-1] == versions(settings)[-1]
        assert seen(settings) == number
    assert made == sorted(set(made))


# --- killed, at once -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill."""


STEPS = ["_copy_tables", "sync_folder", "_point_current_at", "_prune", "_git_revision"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_publication_is_never_seen_and_heals(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, first: bool
) -> None:
    if not first:
        publish(settings)
        fill(settings, 2)
    with monkeypatch.context() as patch:

        def kill(*_: Any) -> None:
            raise Killed

        patch.setattr(publish_module, step, kill)
        with pytest.raises(Killed):
            publish(settings)
    if current_version(settings) is not None:
        assert seen(settings) in (1, 2)
    publish(settings)
    assert seen(settings) == (1 if first else 2)
    assert not list(settings.published.glob(".*.partial"))
    assert current_version(settings) == versions(settings)[-1]


def _publish_often(home: Path, ready: Any) -> None:
    ready.set()
    while True:
        publish(Settings(home=home, keep_versions=3), force=True)


def test_a_publication_killed_at_any_moment_is_never_seen_and_heals(settings: Settings) -> None:
    publish(settings)
    for delay in (0.02, 0.05, 0.09, 0.13, 0.17, 0.21, 0.25, 0.31):
        ready = FORKSERVER.Event()
        process = FORKSERVER.Process(target=_publish_often, args=(settings.home, ready))
        process.start()
        assert ready.wait(30)
        process.join(delay)
        process.kill()
        process.join()
        assert seen(settings) == 1
    fill(settings, 2)
    publish(settings)
    assert seen(settings) == 2
    assert not list(settings.published.glob(".*.partial"))
    assert len(versions(settings)) <= 3


def _publish(home: Path) -> None:
    publish(Settings(home=home))


def test_two_publications_at_once_make_one_version(settings: Settings) -> None:
    processes = [FORKSERVER.Process(target=_publish, args=(settings.home,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0]
    assert len(versions(settings)) == 1
    assert seen(settings) == 1


def _read_often(settings: Settings, stop: Any, ready: Any, found: Any) -> None:
    numbers = []
    while not stop.is_set():
        try:
            numbers.append(seen(settings))
        except Exception as error:
            found.put(repr(error))
            return
        ready.set()
    found.put(numbers)


def test_a_reader_in_a_loop_never_fails_and_never_sees_a_mixture(settings: Settings) -> None:
    publish(settings)
    stop, ready, found = FORKSERVER.Event(), FORKSERVER.Event(), FORKSERVER.Queue()
    reader = FORKSERVER.Process(target=_read_often, args=(settings, stop, ready, found))
    reader.start()
    assert ready.wait(30)
    for number in range(2, 10):
        fill(settings, number)
        publish(settings)
        if number % 4 == 0:
            rollback(settings)
    stop.set()
    numbers = found.get(timeout=30)
    reader.join()
    assert isinstance(numbers, list), numbers
    assert len(set(numbers)) > 3


def test_a_reader_that_stays_keeps_the_version_it_opened(settings: Settings) -> None:
    publish(settings)
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as reader:
        for number in range(2, 7):
            fill(settings, number)
            publish(settings)
        assert reader.execute("select distinct number from dim_right").fetchall() == [(1,)]
    newest = newest_manifest(settings)
    assert newest is not None
    assert newest.batch_high_water == 6
