"""What `tidemark status` says of lake, jobs, service and incidents, from real files, journals and programs."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from flows.alerts.incidents import Problem
from flows.alerts.notify import observe
from flows.build.staleness import Cause
from flows.build.warehouse import lock_file, warehouse_held
from flows.cli import main
from flows.clock import local_day, minute
from flows.contract.spec import PROJECT, load_specs
from flows.errors import TidemarkError
from flows.land.receipt import Status
from flows.land.retry import retry_quarantine
from flows.land.rotation import Rotation, Rotations, Stage, write_rotations
from flows.locks import held
from flows.orchestrate.job import Arrival, Job, Success
from flows.orchestrate.journal import Journal
from flows.orchestrate.runs import RunStatus
from flows.publish.manifest import Manifest, MissingTable, PublishedTable
from flows.rights import Visibility, make_private, published_rights
from flows.settings import Settings
from flows.status.describe_lake import describe_lake
from flows.status.jobs import Health, JobHealth, describe_health, parse_program, read_health
from flows.status.lake import DatasetStatus, LakeStatus, read_status
from tests.support.deliveries import event, field_of, ndjson, small_spec
from tests.support.lake import KEY, Lake, make_warehouse_tables
from tests.support.patience import until
from tests.support.schedules import EVENTS_NEEDED, a_job, utc

CLOSED_PORT = 9
NOW = utc("2026-11-21 06:00")
SLOT, DUE, DAY = "2026-11-21T05:00:00Z", utc("2026-11-21 05:00"), date(2026, 11, 21)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    return Lake(tmp_path / "home", server_port=CLOSED_PORT)


def events_of(status: LakeStatus) -> DatasetStatus:
    return next(d for d in status.datasets if d.dataset == "events")


def lines(status: LakeStatus | Health, heading: str) -> list[str]:
    sections = describe_lake(status) if isinstance(status, LakeStatus) else describe_health(status)
    return dict(sections)[heading]


def publish_up_to(settings: Settings, batch_id: int, **changes: Any) -> None:
    """A version with the manifest of a publication; its tables do not matter here."""
    made: dict[str, Any] = {
        "version": f"20261121T05000{batch_id}.000000Z", "created_at": DUE, "git_revision": None, "warehouse_id": "w",
        "batch_high_water": batch_id, "change_high_water": 1, "project_fingerprint": "f", "tables": (),
    }  # fmt: skip
    manifest = Manifest(**made | changes)
    folder = settings.published / manifest.version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    (folder / "manifest.json").chmod(0o600)
    (settings.published / "current").unlink(missing_ok=True)
    (settings.published / "current").symlink_to(manifest.version)


def test_backlog_and_lag_go_from_the_inbox_to_readers(lake: Lake) -> None:
    first = lake.deliver("web/events/one.ndjson", ndjson([event(1)]))
    lake.deliver("web/events/two.ndjson", ndjson([event(2)]))
    status = read_status(lake.settings, datetime.now(UTC))
    waits = events_of(status)
    assert (waits.waiting_files, waits.unpublished_batches, waits.last) == (2, 0, None)
    assert waits.waiting_since == datetime.fromtimestamp(first.stat().st_ctime, UTC)
    assert lines(status, "inbox") == [
        "2 files waiting to land, 0 still being written",
        "events: 2 files waiting, the oldest for less than a minute",
    ]

    lake.land()
    later = datetime.now(UTC) + timedelta(minutes=90)
    landed = events_of(status := read_status(lake.settings, later))
    assert (landed.waiting_files, landed.waiting_since, landed.unpublished_batches) == (0, None, 2)
    assert 5400 <= landed.lag_seconds < 5460 and landed.readers_see is None
    assert "events: 2 batches not published, the oldest for 1 h 30 min; readers see nothing of it" in lines(
        status, "landed"
    )

    publish_up_to(lake.settings, 1)
    behind = events_of(status := read_status(lake.settings, later))
    one, two = lake.receipts()
    assert (behind.unpublished_batches, behind.readers_see) == (1, one.landed_at)
    assert behind.lag_seconds == (later - two.landed_at).total_seconds()
    assert lines(status, "published")[0].endswith("0 tables, published 2026-11-21 05:00 UTC, 1 landing behind")

    publish_up_to(lake.settings, 2)
    seen = events_of(status := read_status(lake.settings, later))
    assert (seen.unpublished_batches, seen.lag_seconds, seen.readers_see) == (0, 0, two.landed_at)
    assert not any("not published" in line for line in lines(status, "landed"))
    assert not status.needs_a_person


def test_after_a_rollback_the_lag_is_that_of_what_readers_see(lake: Lake) -> None:
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    lake.land_one("web/events/two.ndjson", ndjson([event(2)]))
    publish_up_to(lake.settings, 1)
    publish_up_to(lake.settings, 2)
    (lake.settings.published / "current").unlink()
    (lake.settings.published / "current").symlink_to("20261121T050001.000000Z")
    status = read_status(lake.settings, datetime.now(UTC))
    assert events_of(status).unpublished_batches == 1
    assert "rolled back: the newest version is 20261121T050002.000000Z" in lines(status, "published")


def test_a_batch_without_rows_and_a_refused_file_are_no_backlog(lake: Lake) -> None:
    lake.land_one("web/events/bad.ndjson", b"this is not JSON\n")
    lake.land_one("web/events/cut.ndjson.gz", b"\x1f\x8b\x08")
    status = read_status(lake.settings, datetime.now(UTC))
    assert (events_of(status).unpublished_batches, events_of(status).waiting_files) == (0, 0)
    assert [refused.file for refused in status.refused] == ["web/events/cut.ndjson.gz"]
    assert status.needs_a_person


def test_a_file_of_which_no_row_fits_needs_a_person_until_rows_of_it_land(lake: Lake) -> None:
    def named() -> list[str]:
        status = read_status(lake.settings, datetime.now(UTC))
        assert status.needs_a_person == bool(status.unfit)
        return [unfit.file for unfit in status.unfit]

    rows = [{"ts": 1, "name": "x", "n": number} for number in range(160)]
    receipt = lake.land_one("web/events/export.ndjson", ndjson(rows))
    assert (receipt.status, receipt.rows_rejected) == (Status.LANDED, 160)
    assert receipt.reason and receipt.reason.startswith("no row fits (160 read, all no payload); none of its 3 keys")
    status = read_status(lake.settings, datetime.now(UTC))
    assert [(u.file, u.rows, u.owner) for u in status.unfit] == [
        ("web/events/export.ndjson", 160, load_specs()["events"].owner)
    ]
    assert [
        line for line in lines(status, "landed") if line.startswith("NO ROW FITS: web/events/export.ndjson: no row")
    ]
    lake.land_one("web/events/partly.ndjson", ndjson([event(1), *rows]))
    assert named() == ["web/events/export.ndjson"], "a file of which a row fits is one of ours"
    lake.land_one("web/events/export.ndjson", ndjson(rows[:5]))
    assert named() == ["web/events/export.ndjson"]
    lake.land_one("web/events/export.ndjson", ndjson([event(2)]))
    assert named() == []


def test_a_retry_that_lands_rows_clears_a_file_of_which_none_fitted(lake: Lake) -> None:
    strict = small_spec([field_of("name", pattern="a+")], name="events")
    loose = small_spec([field_of("name")], name="events")
    receipt = lake.land_one("web/events/part.ndjson", ndjson([{"name": "b"}, {"name": "c"}]), strict)
    assert receipt.reason and receipt.reason.startswith("no row fits (2 read, all pattern mismatch in name)")
    assert read_status(lake.settings, NOW).unfit
    (again,) = retry_quarantine(lake.settings, specs=loose).receipts
    assert (again.rows_landed, again.reason) == (2, None)
    assert not read_status(lake.settings, NOW).unfit


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("array.ndjson", b'["event_id",1]\n["event_id",2]\n', "a JSON array"),
        ("table.ndjson", b"event_id;product\n1;news\n", "separated by semicolons"),
        ("accounts.ndjson", b'{"account_id":"1","created_at":"2026-01-01T00:00:00Z"}\n', "dataset accounts"),
        ("accounts.csv", b"account_id,created_at,country\n1,2026-01-01T00:00:00Z,SE\n", "dataset accounts"),
    ],
)
def test_a_file_of_which_no_row_fits_is_reported_with_a_likely_cause(
    lake: Lake, name: str, data: bytes, words: str
) -> None:
    lake.deliver(f"web/events/{name}", data)
    environment = {
        "TIDEMARK_HOME": str(lake.settings.home),
        "TIDEMARK_SETTLE_SECONDS": "0",
        "TIDEMARK_SERVER_PORT": "9",
    }
    done = CliRunner().invoke(main, ["land"], env=environment)
    assert done.exit_code == 0
    owner = load_specs()["events"].owner
    reported = [line for line in done.output.splitlines() if f"no row fits web/events/{name}: no row fits" in line]
    assert len(reported) == 1 and words in reported[0] and reported[0].endswith(f"(owner: {owner})")
    status = CliRunner().invoke(main, ["status"], env=environment)
    assert status.exit_code == 1 and words in status.output


def test_what_is_stale_or_missing_needs_a_person(lake: Lake) -> None:
    because = (Cause("t", "o"),)
    stale = PublishedTable(name="dim_a", day_column=None, files=(), as_of=DUE, stale_since=NOW, stale_because=because)
    publish_up_to(lake.settings, 1, tables=(stale,), missing=(MissingTable(name="dim_b", because=because),))
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person
    assert lines(status, "published")[1:3] == [
        "stale: dim_a since 2026-11-21 06:00 UTC, rows as of 2026-11-21 05:00 UTC: waits for t (owner: o)",
        "missing: dim_b: waits for t (owner: o)",
    ]


def test_a_version_that_cannot_be_read_is_reported_in_its_place(lake: Lake) -> None:
    publish_up_to(lake.settings, 1)
    manifest = lake.settings.published / "current" / "manifest.json"
    manifest.write_text("{")
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person and "cannot be read: it is damaged" in lines(status, "published")[0]
    manifest.unlink()
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person and "No such file" in lines(status, "published")[0]


def test_what_others_may_read_and_should_not_needs_a_person(lake: Lake) -> None:
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    make_private(lake.settings.warehouse.parent)
    tables = tuple(
        PublishedTable(name=level, day_column=None, files=(), as_of=NOW, visibility=level) for level in Visibility
    )
    publish_up_to(lake.settings, 1, tables=tables)
    folder = lake.settings.published / "20261121T050001.000000Z"
    for level in Visibility:
        (folder / "parquet" / level).mkdir(parents=True)
        (folder / "parquet" / level).chmod(published_rights(lake.settings, level).folder)
    assert (status := read_status(lake.settings, NOW)).open_to_others == () and not status.needs_a_person

    private = (lake.settings.landed, lake.settings.warehouse.parent, lake.settings.day_keys)
    closed = (*private, folder / "parquet/internal", folder / "parquet/restricted", folder / "manifest.json")
    for path in closed:
        path.chmod(path.stat().st_mode | 0o004)
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person and {*status.open_to_others} == {*map(str, closed)}
    said = lines(status, "rights")
    assert said[:-1] == [
        f"OPEN TO OTHERS: {path}: every user of this machine may use it" for path in status.open_to_others
    ]
    assert said[-1].startswith("remedy: `tidemark run` closes what")
    # What lands and builds next closes what is its own.
    lake.land_one("web/events/two.ndjson", ndjson([event(2)]))
    with warehouse_held(lake.settings, "building"):
        still = read_status(lake.settings, NOW).open_to_others
    assert {*still} == {*map(str, closed[len(private) :])}


HOLD = "import duckdb, sys, time; db = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(3600)"


def test_a_change_of_the_key_is_shown_and_needs_a_person_once_it_may_be_finished(lake: Lake) -> None:
    assert read_status(lake.settings, NOW).key_change is None
    change = Rotation(before="a", after="b", began_at=NOW, from_day=local_day(NOW) + timedelta(days=1))
    make_private(lake.settings.landed)

    def said(now: datetime) -> tuple[bool, list[str]]:
        status = read_status(lake.settings, now)
        return status.needs_a_person, lines(status, "keys")

    write_rotations(lake.settings, Rotations(rotations=(change,)))
    due = NOW + timedelta(days=29)
    both = f"rows land with the pseudonyms of two keys since {minute(NOW)}"
    needs, (line,) = said(due - timedelta(days=1))
    assert (needs, line) == (False, f"{both}; `tidemark keys rotate` finishes the change from {due.date()} on")
    needs, (line,) = said(due)
    assert (needs, line) == (True, f"DUE: {both}; `tidemark keys rotate` finishes the change")
    write_rotations(lake.settings, Rotations(rotations=(change.model_copy(update={"stage": Stage.FINISHING}),)))
    assert said(NOW) == (True, [
        "DUE: the change of the pseudonym key is being finished; `tidemark keys rotate` goes on where it stopped"
    ])  # fmt: skip
    write_rotations(lake.settings, Rotations(rotations=(change.model_copy(update={"stage": Stage.FINISHED}),)))
    assert read_status(lake.settings, due).key_change is None
    (lake.settings.landed / "pseudonym_keys.json").write_text("{")
    needs, (line,) = said(NOW)
    assert needs and "pseudonym_keys.json is damaged" in line


def test_a_build_that_holds_the_warehouse_is_no_fault_and_a_damaged_one_is(lake: Lake) -> None:
    make_private(lake.settings.warehouse.parent)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        make_warehouse_tables(warehouse)
    assert "not built yet" in lines(read_status(lake.settings, NOW), "warehouse")[0]
    command = [sys.executable, "-c", HOLD, str(lake.settings.warehouse)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline()
            status = read_status(lake.settings, NOW)
            assert not status.needs_a_person
            assert lines(status, "warehouse")[0].startswith(f"in use: process {holder.pid} (")
        finally:
            holder.kill()
    with held(lock_file(lake.settings), "building"):
        status = read_status(lake.settings, NOW)
        assert not status.needs_a_person
        assert f"in use by process {os.getpid()} (" in lines(status, "warehouse")[0]
    lake.settings.warehouse.write_bytes(b"no database" * 1000)
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person and "it is disposable: delete it" in lines(status, "warehouse")[0]


def test_a_stuck_upload_is_reported_and_needs_a_person(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver("web/events/.part.ndjson", b"")
    assert not read_status(lake.settings, NOW).needs_a_person
    monkeypatch.setattr("flows.land.inbox.STUCK_SECONDS", -1.0)
    status = read_status(lake.settings, NOW)
    assert status.needs_a_person
    assert any(
        line.startswith("left alone: web/events/.part.ndjson: has a temporary") for line in lines(status, "inbox")
    )


def test_after_a_build_that_was_killed_the_outdated_models_are_counted(lake: Lake) -> None:
    make_private(lake.settings.warehouse.parent)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        make_warehouse_tables(warehouse)
        warehouse.execute("insert into ops.dbt_runs values ('r', 'build', true, 'p', now(), null, 'running')")
        names = sorted(path.stem for path in (PROJECT / "models").rglob("*.sql"))
        for name in names[3:]:
            warehouse.execute(f"create view {name} as select 1 as a")
    status = read_status(lake.settings, NOW)
    assert status.warehouse.models_behind == 3
    assert lines(status, "warehouse")[1].startswith(
        "0 landings not built yet, 3 models outdated; `tidemark build --retry`"
    )


def test_a_damaged_receipt_is_reported_as_one(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    (receipt,) = lake.settings.landed.rglob("receipt.json")
    receipt.write_text("{}")
    for path in lake.settings.landed.glob("index.sqlite*"):
        path.unlink()
    with pytest.raises(TidemarkError, match="how the lake stands cannot be read"):
        read_status(lake.settings, NOW)


def test_a_damaged_landing_index_says_what_to_do(lake: Lake) -> None:
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    index = lake.settings.landed / "index.sqlite"
    for path in lake.settings.landed.glob("index.sqlite-*"):
        path.unlink()
    index.write_bytes(b"no database" * 1000)
    with pytest.raises(TidemarkError, match="delete it: it is rebuilt"):
        read_status(lake.settings, NOW)
    index.unlink()
    assert events_of(read_status(lake.settings, NOW)).unpublished_batches == 1


DAILY = a_job("daily", "0 6 * * *", retries=1, retry_delay=timedelta(minutes=10), deadline=timedelta(hours=2))
ARRIVAL = a_job("arrival", Arrival(("events", "calls")))
AFTER = a_job("after", Success(("daily",)))
GATED = a_job("gated", "0 6 * * *", requires=EVENTS_NEEDED, deadline=timedelta(hours=2))
JOBS = (ARRIVAL, DAILY, AFTER, GATED)


class Clock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(lake: Lake, clock: Clock) -> Iterator[Journal]:
    with Journal(lake.settings, clock) as journal:
        journal.seen(JOBS, utc("2026-11-20 12:00"))
        yield journal


def begin(journal: Journal, job: str = "daily", slot: str = SLOT) -> int:
    run_id = journal.begin(job, slot, DAY, DUE, None)
    assert run_id is not None
    return run_id


def health_of(lake: Lake, job: str, now: datetime, jobs: tuple[Job, ...] = JOBS) -> JobHealth:
    health = read_health(lake.settings, now, jobs)
    return next(j for j in health.jobs.jobs if j.job == job)


def lines_of(lake: Lake, job: str, now: datetime) -> list[str]:
    """The lines about a job, without its name."""
    found: list[str] = []
    for line in lines(read_health(lake.settings, now, JOBS), "jobs"):
        if line.startswith(f"{job}: "):
            found.append(line.removeprefix(f"{job}: "))
        elif found and line.startswith("  "):
            found.append(line.strip())
        elif found:
            break
    return found


def test_without_a_journal_that_is_said_and_none_is_made(lake: Lake) -> None:
    health = read_health(lake.settings, NOW, JOBS)
    assert lines(health, "jobs") == ["no job has run automatically yet; `tidemark serve` starts them"]
    assert not health.needs_a_person
    assert not lake.settings.jobs.exists()


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_damaged_journal_is_reported_and_hides_nothing_else(lake: Lake, content: bytes) -> None:
    lake.settings.jobs.mkdir(parents=True)
    (lake.settings.jobs / "journal.sqlite").write_bytes(content)
    health = read_health(lake.settings, NOW, JOBS)
    assert health.jobs.is_broken and health.needs_a_person
    assert "journal of jobs" in lines(health, "jobs")[0] and "move it away" in lines(health, "jobs")[0]
    assert lines(health, "incidents") == ["none open, and every message was sent"]


def test_a_job_that_succeeded_says_when_and_what_comes_next(lake: Lake, journal: Journal, clock: Clock) -> None:
    run_id = begin(journal)
    clock.now += timedelta(minutes=5)
    journal.finish(run_id, "succeeded")
    now = utc("2026-11-21 06:25")
    assert lines_of(lake, "daily", now) == [
        "last success at 2026-11-21 06:05 UTC, 20 min ago, for 2026-11-21T05:00:00Z; next due at 2026-11-22 05:00 UTC"
    ]
    assert lines_of(lake, "arrival", now) == ["has not succeeded yet; triggered by the arrival of events, calls"]
    assert lines_of(lake, "after", now) == [
        "has not succeeded yet; triggered by the success of daily",
        "2026-11-21T05:00:00Z, due at 2026-11-21 06:05 UTC, 20 min ago, not started",
    ]
    assert not health_of(lake, "daily", now).needs_a_person


def test_the_watchers_landing_is_reported_first(lake: Lake, journal: Journal) -> None:
    journal.finish(begin(journal, "land", "manual-1"), "succeeded")
    assert lines(read_health(lake.settings, NOW, JOBS), "jobs")[0] == (
        "land: last success at 2026-11-21 06:00 UTC, less than a minute ago; triggered by files in the inbox"
    )


def test_what_runs_and_who_waits_for_it_is_reported(lake: Lake, journal: Journal, clock: Clock) -> None:
    begin(journal)
    with journal.waiting("f-2", "daily", "the warehouse, which another run writes"):
        assert lines_of(lake, "daily", NOW + timedelta(minutes=3))[1:] == [
            "running since 2026-11-21 06:00 UTC, 3 min, try 1",
            "a run waits for the warehouse, which another run writes, for 3 min",
        ]
    daily = health_of(lake, "daily", NOW)
    assert daily.waiting == () and daily.running is not None and not daily.running.is_gone
    # A run past its deadline is late, though it is at work.
    assert health_of(lake, "daily", utc("2026-11-21 07:01")).needs_a_person
    assert lines_of(lake, "daily", utc("2026-11-21 07:01"))[-1] == "LATE: past its deadline"


BEGIN = """
import sys, time
from datetime import date, datetime, UTC
from pathlib import Path
from flows.orchestrate.journal import Journal
from flows.settings import Settings
Journal(Settings(home=Path(sys.argv[1]))).begin("daily", sys.argv[2], date(2026, 11, 21), datetime.now(UTC), None)
print("begun", flush=True)
time.sleep(3600)
"""


def test_a_run_whose_process_was_killed_is_reported_and_left_for_the_watcher(lake: Lake, journal: Journal) -> None:
    command = [sys.executable, "-c", BEGIN, str(lake.settings.home), SLOT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as process:
        assert process.stdout is not None and process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    now = datetime.now(UTC)
    daily = health_of(lake, "daily", now)
    assert daily.running is not None and daily.running.is_gone
    assert "its process is gone" in lines_of(lake, "daily", now)[1]
    # To look changed nothing: the watcher is the one to note it, and to act on it.
    assert [run.status for run in journal.history(9)] == [RunStatus.RUNNING]
    assert [run.slot for run in journal.crash()] == [SLOT]


def test_failures_are_reported_until_the_job_succeeds(lake: Lake, journal: Journal, clock: Clock) -> None:
    journal.finish(begin(journal), "failed", "the disk is full")
    assert lines_of(lake, "daily", NOW + timedelta(minutes=1))[1:] == [
        "2026-11-21T05:00:00Z, due at 2026-11-21 05:00 UTC, 1 h 1 min ago, "
        "waits for another try at 2026-11-21 06:10:00 UTC",
        "failed since 2026-11-21 06:00 UTC, 1 try: the disk is full",
    ]
    assert not health_of(lake, "daily", NOW).needs_a_person
    clock.now += timedelta(minutes=10)
    journal.finish(begin(journal), "failed", "the disk is full")
    assert lines_of(lake, "daily", clock.now)[1:] == [
        "failed since 2026-11-21 06:00 UTC, 2 tries, given up: the disk is full"
    ]
    assert health_of(lake, "daily", clock.now).needs_a_person
    journal.finish(begin(journal, slot="2026-11-22T05:00:00Z"), "succeeded")
    assert health_of(lake, "daily", clock.now).failing is None


def test_what_waits_for_data_says_for_which_and_becomes_late(lake: Lake, journal: Journal) -> None:
    waits = "2026-11-21T05:00:00Z, due at 2026-11-21 05:00 UTC, 1 h 0 min ago, waits for events of 2026-11-20"
    assert lines_of(lake, "gated", NOW)[1:] == [waits]
    assert not health_of(lake, "gated", NOW).needs_a_person
    assert lines_of(lake, "gated", utc("2026-11-21 07:01"))[1].startswith("LATE: 2026-11-21T05:00:00Z")
    assert health_of(lake, "gated", utc("2026-11-21 07:01")).needs_a_person


def test_of_many_slots_some_are_reported_and_the_others_counted(lake: Lake, journal: Journal) -> None:
    reported = lines_of(lake, "gated", utc("2026-11-28 06:00"))
    assert len(reported) == 1 + 5 + 1 and reported[-1] == "and 3 more slots"
    assert len(health_of(lake, "gated", utc("2026-11-28 06:00")).open_slots) == 8


def test_receipts_that_cannot_be_read_are_reported_with_the_jobs(lake: Lake, journal: Journal) -> None:
    lake.settings.landed.mkdir(parents=True)
    (lake.settings.landed / "index.sqlite").write_bytes(b"no database" * 1000)
    health = read_health(lake.settings, NOW, JOBS)
    assert "receipts" in lines(health, "jobs")[0] and health.needs_a_person
    assert len(health.jobs.jobs) == 5


def a_problem(**changes: Any) -> Problem:
    made: dict[str, Any] = {
        "key": "test:a", "scope": "build", "title": "test a failed", "owner": "data-platform", "since": NOW,
        "detail": "models/a.yml: Got 3\nresults", "rows": 3, "reproduce": "tidemark build -- --select a", "link": None,
    }  # fmt: skip
    return Problem(**made | changes)


def test_an_open_failure_needs_a_person_and_what_was_not_sent_is_reported(lake: Lake) -> None:
    observe(lake.settings, "build", [a_problem()], NOW)
    health = read_health(lake.settings, NOW + timedelta(minutes=7), JOBS)
    assert health.needs_a_person
    first, detail, reproduce, undelivered = lines(health, "incidents")
    assert reproduce.strip() == "run: tidemark build -- --select a"
    assert first == "FAILURE: test a failed, since 2026-11-21 06:00 UTC, 7 min (owner: data-platform)"
    assert detail.strip() == "models/a.yml: Got 3 results"
    assert undelivered.strip().startswith("not delivered to everybody: 1 try: ") and "channels.yml" in undelivered

    observe(lake.settings, "build", [], NOW + timedelta(minutes=8))
    health = read_health(lake.settings, NOW + timedelta(minutes=9), JOBS)
    assert not health.needs_a_person
    assert lines(health, "incidents")[0].startswith("over: test a failed")
    assert "not delivered to everybody" in lines(health, "incidents")[1]


def test_what_fixes_an_incident_is_reported_after_what_shows_it_again(lake: Lake) -> None:
    observe(lake.settings, "build", [a_problem(remedy="fix it, then `tidemark build --retry`")], NOW)
    _, _, reproduce, remedy, *_ = map(str.strip, lines(read_health(lake.settings, NOW, JOBS), "incidents"))
    assert reproduce == "reproduce: tidemark build -- --select a"
    assert remedy == "remedy: fix it, then `tidemark build --retry`"


def test_a_warning_needs_nobody(lake: Lake) -> None:
    observe(lake.settings, "build", [a_problem(is_warning=True)], NOW)
    health = read_health(lake.settings, NOW, JOBS)
    assert not health.needs_a_person and lines(health, "incidents")[0].startswith("warning: test a failed")


def test_incidents_that_cannot_be_read_are_reported_in_their_place(lake: Lake) -> None:
    lake.settings.jobs.mkdir(parents=True)
    lake.settings.incidents.write_bytes(b"no database" * 1000)
    health = read_health(lake.settings, NOW, JOBS)
    assert health.needs_a_person and "move it away" in lines(health, "incidents")[0]


def test_not_to_serve_is_said_and_is_no_fault(lake: Lake) -> None:
    health = read_health(lake.settings, NOW, JOBS)
    assert not (health.needs_a_person or health.service.is_served)
    assert lines(health, "service")[0].startswith("nothing is being served from this home")


SUPERVISED = """
[supervisord]
pidfile={folder}/supervisord.pid
logfile=/dev/null
logfile_maxbytes=0
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
[program:server]
command=sleep 3600
startsecs=0
[program:worker]
command=false
startretries=0
startsecs=1
"""


def test_the_programs_are_reported_as_the_supervisor_sees_them(lake: Lake) -> None:
    folder = lake.settings.sockets
    folder.mkdir(parents=True)
    configuration = folder / "supervisord.conf"
    configuration.write_text(SUPERVISED.format(folder=folder))
    command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as supervisor:
        try:

            def settled() -> Health | None:
                found = read_health(lake.settings, NOW, JOBS)
                return found if {p.state for p in found.service.programs} == {"RUNNING", "FATAL"} else None

            health = until(settled)
        finally:
            supervisor.terminate()
    reported = lines(health, "service")
    assert reported[0].startswith("server: running, pid ") and reported[1].startswith("worker: fatal, ")
    assert reported[2].startswith("the server does not answer: ")
    assert health.service.is_served and health.needs_a_person


def test_a_line_of_the_supervisor_is_read() -> None:
    good = parse_program("warm                             RUNNING   pid 16075, uptime 0:00:52\n")
    assert (good.name, good.state, good.note) == ("warm", "RUNNING", "pid 16075, uptime 0:00:52")
    bare = parse_program("worker STOPPED")
    assert (bare.name, bare.state, bare.note) == ("worker", "STOPPED", "")


def status_as_json(lake: Lake) -> tuple[int, dict[str, Any]]:
    environment = {
        "TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_SETTLE_SECONDS": "0",
        "TIDEMARK_SERVER_PORT": str(CLOSED_PORT),
    }  # fmt: skip
    result = CliRunner().invoke(main, ["status", "--json"], env=environment)
    return result.exit_code, json.loads(result.output)


def test_json_says_the_same_and_has_the_same_exit_code(lake: Lake) -> None:
    lake.deliver("web/events/one.ndjson", ndjson([event(1)]))
    with Journal(lake.settings) as journal:
        journal.finish(begin(journal, "land", "manual-1"), "succeeded")
    code, reported = status_as_json(lake)
    assert code == 0 and reported["needs_a_person"] is False
    events = next(d for d in reported["datasets"] if d["dataset"] == "events")
    assert (events["waiting_files"], events["lag_seconds"], events["last"]) == (1, 0, None)
    assert datetime.fromisoformat(events["waiting_since"]).tzinfo is not None
    assert reported["service"]["is_served"] is False and reported["service"]["server_error"]
    assert reported["jobs"]["jobs"][0]["last_success"]["slot"] == "manual-1"
    assert reported["jobs"]["jobs"][0]["hangs_on"] == "files in the inbox", "a published name, whatever Python calls it"
    assert reported["incidents"] == {"incidents": [], "note": None}
    assert reported["warehouse"]["is_broken"] is False and reported["published"]["version"] is None

    lake.deliver("web/nothing/two.ndjson", b"")
    code, reported = status_as_json(lake)
    assert code == 1 and reported["needs_a_person"] is True
    assert "no dataset nothing" in reported["left_alone"][0]


def test_json_says_whether_an_incident_was_delivered(lake: Lake) -> None:
    observe(lake.settings, "build", [a_problem()], NOW)
    _, reported = status_as_json(lake)
    assert [incident["is_told"] for incident in reported["incidents"]["incidents"]] == [False]


def test_it_needs_no_prefect() -> None:
    code = "import sys, flows.cli, flows.status.jobs; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_a_journal_opened_to_read_makes_and_changes_nothing(lake: Lake) -> None:
    with pytest.raises(TidemarkError, match="journal of jobs"):
        Journal(lake.settings, read_only=True)
    assert not lake.settings.jobs.exists()
    Journal(lake.settings).close()
    with Journal(lake.settings, read_only=True) as journal, pytest.raises(TidemarkError, match="readonly"):
        begin(journal)
    with sqlite3.connect(lake.settings.jobs / "journal.sqlite") as database:
        assert database.execute("select count(*) from runs").fetchone() == (0,)
