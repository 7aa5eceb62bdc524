"""Whole runs on lakes of every kind: empty, events alone, tables alone, growing, failing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows import sample
from flows.audit.audit import audit
from flows.build.build import build, run_every_test
from flows.build.dbt import run_dbt
from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.land.land import land
from flows.publish.manifest import current_version
from flows.publish.publish import publish, rollback
from flows.run import run
from flows.settings import Settings
from tests.support.erased import copied
from tests.support.lakes import hold_back, marts_of, release, tidemark
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.sample_lake import run_all, settings_of

# Differ from run to run by nature: when, which batch, how long.
HISTORY = {"ops_landings", "ops_model_runs", "ops_test_runs"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small sample lake after one whole run. A test leaves it as it was."""
    settings = settings_of(tmp_path_factory.mktemp("built") / "home")
    sample.generate(settings.home, 3_000, 2, 3)
    run_all(settings)
    return settings


@pytest.fixture
def of_its_own(built: Settings, tmp_path: Path) -> Settings:
    """A copy of that lake, to be changed."""
    return copied(built, tmp_path / "home")


def test_an_empty_lake_runs_and_publishes_empty_marts_and_unit_tests_of_the_models_pass(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    landing, done, publication = run_all(settings)
    assert landing.receipts == [] and done.count("model") > 30
    rows = {t.name: t.rows for t in publication.manifest.tables if not t.name.startswith("ops_")}
    assert rows.pop("dim_dates") > 0
    assert set(rows.values()) == {0}
    # dbt's unit tests need the relations they replace to exist: an empty build makes them.
    tested = run_dbt(settings, ["test", "--select", "test_type:unit"]).results
    results = [r for r in tested if r.node.resource_type == "unit_test"]
    assert len(results) >= 30
    assert {str(r.status) for r in results} == {"pass"}, [r.node.name for r in results if str(r.status) != "pass"]


@pytest.mark.parametrize("kept", [pytest.param("events", marks=pytest.mark.long), "tables"])
def test_a_dataset_that_has_not_arrived_is_empty_not_an_error(kept: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    sample.generate(settings.home, 3_000, 2, 3)
    for path in list(settings.inbox.rglob("*")):
        if path.is_file() and ("events" in path.parts) != (kept == "events"):
            path.unlink()
    run_all(settings)
    marts = marts_of(settings)
    assert bool(marts["fct_sessions"]) == (kept == "events")
    assert bool(marts["dim_contents"]) == (kept == "tables")


@pytest.mark.long
def test_a_lake_that_grows_day_by_day_equals_one_built_at_once(tmp_path: Path) -> None:
    whole, grown = settings_of(tmp_path / "whole"), settings_of(tmp_path / "grown")
    sample.generate(whole.home, 12_000, 4, 11)
    run_all(whole)
    days = sorted({p.name.split(".")[0] if p.is_file() else p.name for p in whole.inbox.glob("*/*/*")})
    assert len(days) >= 4
    for day in days:
        for path in whole.inbox.rglob("*"):
            name = path.relative_to(whole.inbox)
            if path.is_file() and day in str(name):
                target = grown.inbox / name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
        # The same secret, so that the keys are the same.
        grown.key_file("pseudonym").parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole.key_file("pseudonym"), grown.key_file("pseudonym"))
        run_all(grown)
    assert marts_of(grown) == marts_of(whole)


def test_the_command_says_what_it_did_and_is_idempotent(tmp_path: Path) -> None:
    made = tidemark(tmp_path, "sample", "--events", "3000", "--days", "2")
    assert made.returncode == 0, made.stdout + made.stderr
    first = tidemark(tmp_path, "run")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "duckdb -readonly" in first.stdout and "access_mode=read_only" in first.stdout
    version = current_version(settings_of(tmp_path))
    again = tidemark(tmp_path, "run")
    assert again.returncode == 0 and "nothing new" in again.stdout
    assert current_version(settings_of(tmp_path)) == version
    status = tidemark(tmp_path, "status")
    assert status.returncode == 0 and f"current is {version}" in status.stdout
    back = tidemark(tmp_path, "rollback")
    assert back.returncode == 1 and "there is no version before" in back.stdout
    assert tidemark(tmp_path, "nonsense").returncode == 2


def test_a_blocking_test_stops_what_it_guards_and_readers_keep_the_last_good_rows(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path)
    sample.generate(settings.home, 3_000, 2, 3)
    held_back = hold_back(settings, "2026-01-02")
    _, _, first = run_all(settings)
    release(held_back)
    # A lineage that does not add up, as a bug in landing would leave it: a receipt says more than there is.
    land(settings)
    enter_landings(settings)
    with open_warehouse(settings) as warehouse:
        warehouse.execute(
            "update landed.landings set rows_rejected = rows_rejected + 1 "
            "where batch_id = (select max(batch_id) from landed.landings where status = 'landed')"
        )
    failed = run(settings)
    assert failed.build is not None and failed.publication is not None
    assert {n.name for n in failed.build.failed} == {"assert_files_conserve_rows", "assert_rejects_are_counted"}
    second = failed.publication.manifest
    assert {table.name: [cause.name for cause in table.stale_because] for table in second.stale} == {
        "ops_landings": ["assert_files_conserve_rows", "assert_rejects_are_counted"],
        "ops_rejects": ["assert_rejects_are_counted"],
    }
    before = {table.name: table.files for table in first.manifest.tables}
    assert all(table.files == before[table.name] for table in second.stale)
    assert current_version(settings) == second.version
    status = tidemark(tmp_path, "status")
    assert status.returncode == 1 and failed.build.failed[0].name in status.stdout

    with open_warehouse(settings) as warehouse:
        warehouse.execute(
            "update landed.landings set rows_rejected = rows_rejected - 1 "
            "where batch_id = (select max(batch_id) from landed.landings where status = 'landed')"
        )
    # Every model is built: what is left open is the tests that failed.
    repaired = run(settings)
    assert repaired.build is not None and repaired.publication is not None
    assert {n.name for n in repaired.build.nodes} == {"assert_files_conserve_rows", "assert_rejects_are_counted"}
    assert repaired.publication.is_new and current_version(settings) == repaired.publication.manifest.version
    assert repaired.is_good
    assert rollback(settings, first.manifest.version).version == current_version(settings)


def test_a_raw_model_built_whole_again_is_counted_whole(of_its_own: Settings) -> None:
    settings = of_its_own
    selected = ("--full-refresh", "--select", "raw_contents", "--exclude-resource-type", "test")
    assert not build(settings, selected).failed
    with open_warehouse(settings) as warehouse:
        warehouse.execute(
            "delete from raw.raw_contents where _batch_id = (select min(_batch_id) from raw.raw_contents) and _line = 2"
        )
    test = "raw_contents_is_conserved"
    assert [node.name for node in build(settings, ("--select", test)).failed] == [test]


def test_a_row_that_a_file_of_the_lake_lost_is_found_by_night(built: Settings) -> None:
    """In the lake itself: views of a copy's warehouse are of its files until the next build."""
    datasets = {"events", "calls"}
    damaged = [
        max(built.landed.glob(f"{dataset}/event_date=*/*.parquet"), key=lambda path: path.stat().st_size)
        for dataset in datasets
    ]
    whole = {path: path.read_bytes() for path in damaged}
    try:
        for path in damaged:
            pq.write_table(pq.ParquetFile(path).read().slice(1), path, store_schema=False)
        failed = {node.name for node in run_every_test(built).failed}
        assert {f"raw_{dataset}_is_conserved" for dataset in datasets} <= failed
        assert {found.dataset for found in audit(built).findings} == datasets
    finally:
        for path, data in whole.items():
            path.write_bytes(data)


def test_a_part_of_the_models_cannot_stand_for_the_whole(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert not build(settings, ("--select", "dim_dates")).failed
    with pytest.raises(TidemarkError, match="no complete build of the current project"):
        publish(settings)


@pytest.mark.long
def test_a_killed_build_is_finished_by_the_next(built: Settings, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    shutil.copytree(built.inbox, settings.inbox)
    settings.key_file("pseudonym").parent.mkdir(parents=True)
    shutil.copy(built.key_file("pseudonym"), settings.key_file("pseudonym"))  # the same keys of people and devices
    land(settings)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from flows.build.build import build; from flows.settings import Settings\n"
        "def die(line):\n"
        "    if 'events_deduplicated' in line: os.kill(os.getpid(), 9)\n"
        f"build(Settings(home=Path({str(tmp_path)!r})), progress=die)"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False)
    assert killed.returncode == -9
    with pytest.raises(TidemarkError, match="nothing was published"):
        publish(settings)
    run_all(settings)
    assert marts_of(settings) == marts_of(built)


READER = """
import duckdb, pathlib, sys
path, started, stop = sys.argv[1:]
reads, sums, is_last = 0, set(), False
while not is_last or reads <= 10:
    # Asked before reading: what was published before the stop is read at least once.
    is_last = pathlib.Path(stop).exists()
    with duckdb.connect(path, read_only=True) as marts:
        # Both figures are of who consented to analytics, and come from one version, or they differ.
        sessions = marts.execute("select coalesce(sum(content_views_count), 0) from fct_sessions").fetchone()[0]
        contents = marts.execute("select coalesce(sum(views_count), 0) from fct_content_engagement").fetchone()[0]
        assert sessions == contents, (sessions, contents)
        # Whether they consented or not.
        sums.add(int(marts.execute("select coalesce(sum(events_count), 0) from ops_late_arrivals").fetchone()[0]))
        reads += 1
    pathlib.Path(started).touch()
print(reads, sorted(sums))
"""


@pytest.mark.long
def test_readers_see_whole_publications_while_the_next_is_built(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "lake")
    sample.generate(settings.home, 4_000, 2, 5)
    files = hold_back(settings, "2026-01-02")
    run_all(settings)
    marts, started, stop = settings.published / "current" / "marts.duckdb", tmp_path / "started", tmp_path / "stop"
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(marts), str(started), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: started.exists() or reader.poll() is not None)
        release(files)
        run_all(settings)
        stop.touch()
        out, errors = reader.communicate(timeout=PATIENCE_SECONDS)
    finally:
        reader.kill()  # it would read for ever
        reader.wait()
    assert reader.returncode == 0, errors
    reads, sums = out.split(maxsplit=1)
    assert int(reads) > 10
    assert len(json.loads(sums)) == 2 and 4_000 in json.loads(sums)
