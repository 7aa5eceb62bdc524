"""The journal believes what happened and nothing else: through kills, races, clocks set wrong, and damaged files."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.land.receipt import LandedBatch
from flows.land.receipts import Receipts
from flows.orchestrate.due import Decision, decide
from flows.orchestrate.job import Arrival, Job, Success
from flows.orchestrate.journal import DOWN_AFTER, KEEP, Journal
from flows.orchestrate.runs import ByHand, JobRun, RunStatus
from flows.processes import process_mark
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake
from tests.support.processes import FORKSERVER
from tests.support.schedules import EVENTS_NEEDED, ZONE, a_job, utc

DAILY = a_job("daily", "0 6 * * *")
SLOT, DUE, DAY = "2026-11-21T05:00:00Z", utc("2026-11-21 05:00"), date(2026, 11, 21)


class Clock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = utc("2026-11-21 06:00")

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(lake: Lake, clock: Clock) -> Iterator[Journal]:
    with Journal(lake.settings, clock) as journal:
        yield journal


def begin(journal: Journal, job: str = "daily", slot: str = SLOT, flow_run_id: str | None = None) -> int:
    run_id = journal.begin(job, slot, DAY, DUE, flow_run_id)
    assert run_id is not None
    return run_id


def statuses(journal: Journal) -> list[tuple[str, RunStatus]]:
    return [(run.slot, run.status) for run in reversed(journal.history(100))]


def decisions(journal: Journal, lake: Lake, jobs: list[Job], now: datetime) -> list[Decision]:
    return decide(jobs, journal.read_schedule_state(lake.settings, jobs, now), now, ZONE)


def work(journal: Journal, lake: Lake, jobs: list[Job], clock: Clock) -> list[tuple[str, str]]:
    """Run what is due, one after the other, until nothing is."""
    done = []
    while due := next((d for d in decisions(journal, lake, jobs, clock.now) if d.state == "due"), None):
        run_id = journal.begin(due.job, due.slot, due.day, due.due_at, None)
        assert run_id is not None
        journal.finish(run_id, "succeeded")
        done.append((due.job, due.slot))
    return done


def test_a_run_is_kept_as_it_was(journal: Journal, clock: Clock) -> None:
    run_id = begin(journal, flow_run_id="f-1")
    clock.now += timedelta(minutes=5)
    journal.finish(run_id, "failed", "the disk is full")
    assert journal.history(1) == [
        JobRun(
            run_id, "daily", SLOT, DAY, DUE, utc("2026-11-21 06:00"), clock.now, RunStatus.FAILED, 1, "f-1",
            os.getpid(), "the disk is full",
        )
    ]  # fmt: skip


def test_a_slot_that_runs_or_succeeded_is_not_begun_again(journal: Journal) -> None:
    run_id = begin(journal)
    assert journal.begin("daily", SLOT, DAY, DUE, None) is None
    assert journal.begin("daily", "2026-11-22T05:00:00Z", DAY, DUE, None) is None  # one run of a job at a time
    assert begin(journal, "other")
    journal.finish(run_id, "succeeded")
    assert journal.begin("daily", SLOT, DAY, DUE, None) is None
    assert begin(journal, slot="2026-11-22T05:00:00Z")


def test_tries_are_counted_and_after_the_last_the_slot_is_given_up(journal: Journal, lake: Lake, clock: Clock) -> None:
    job = a_job("daily", "0 6 * * *", retries=2, retry_delay=timedelta(minutes=10))
    journal.seen([job], utc("2026-11-20 12:00"))
    for attempt in (1, 2, 3):
        assert [d.state for d in decisions(journal, lake, [job], clock.now)] == ["due"]
        journal.finish(begin(journal), "failed")
        assert journal.history(1)[0].attempt == attempt
        if attempt < 3:
            clock.now += timedelta(minutes=10) - timedelta(seconds=1)
            (decision,) = decisions(journal, lake, [job], clock.now)
            assert (decision.state, decision.waits_for[0][:14]) == ("waits", "another try at")
            clock.now += timedelta(seconds=1)
    assert decisions(journal, lake, [job], clock.now + timedelta(hours=1)) == []
    assert journal.read_schedule_state(lake.settings, [job], clock.now).failed == {"daily": frozenset({SLOT})}


def test_a_run_ends_once(journal: Journal) -> None:
    run_id = begin(journal)
    journal.finish(run_id, "succeeded")
    with pytest.raises(TidemarkError, match=rf"run {run_id} of job daily, slot {SLOT}, is succeeded"):
        journal.finish(run_id, "failed")
    with pytest.raises(TidemarkError, match="run 99 is not in it"):
        journal.finish(99, "failed")


JOBS = [f"job_{number}" for number in range(60)]


def test_of_several_processes_that_find_a_slot_due_one_begins_it(lake: Lake) -> None:
    Journal(lake.settings).close()
    gate, found = FORKSERVER.Barrier(4), FORKSERVER.Queue()
    processes = [FORKSERVER.Process(target=begin_all, args=(lake.settings.home, gate, found)) for _ in range(4)]
    for process in processes:
        process.start()
    begun = [job for _ in processes for job in found.get(timeout=30)]
    for process in processes:
        process.join()
    assert sorted(begun) == sorted(JOBS)


def begin_all(home: Path, gate: Any, found: Any) -> None:
    """Begin every job, at the same time as the others do; reports the jobs whose run this process got."""
    with Journal(Settings(home=home)) as journal:
        gate.wait(30)
        found.put([job for job in JOBS if journal.begin(job, SLOT, DAY, DUE, None) is not None])
        gate.wait(30)  # the runs of a process that ended would be begun again


KILLED = """
import os, signal, sys
from datetime import date, datetime, UTC
from flows.orchestrate.journal import Journal
from flows.settings import Settings
journal = Journal(Settings())
for slot in ("first", "second"):
    run_id = journal.begin("daily", slot, date(2026, 11, 21), datetime(2026, 11, 21, 5, tzinfo=UTC), "f-" + slot)
    if slot == "first":
        journal.finish(run_id, "succeeded")
with journal.waiting("f-second", "daily", "the warehouse"):
    print("there", flush=True)
    signal.pause()
"""


@pytest.fixture
def other_process(lake: Lake) -> Iterator[subprocess.Popen[str]]:
    """A process that finished a run, began a second, and waits."""
    environment = os.environ | {"TIDEMARK_HOME": str(lake.settings.home), "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


def test_a_killed_process_leaves_what_it_finished_and_a_crashed_run(
    journal: Journal, other_process: subprocess.Popen[str]
) -> None:
    assert journal.crash() == []
    assert [(wait.flow_run_id, wait.job, wait.waits_for) for wait in journal.waits()] == [
        ("f-second", "daily", "the warehouse")
    ]
    other_process.send_signal(signal.SIGKILL)
    wait_for_zombie(other_process.pid)
    assert journal.waits() == []
    assert [run.slot for run in journal.crash()] == ["second"]  # not yet reaped: a dead process all the same
    other_process.wait()
    assert journal.crash() == []
    assert statuses(journal) == [("first", RunStatus.SUCCEEDED), ("second", RunStatus.CRASHED)]
    assert str(other_process.pid) in str(journal.history(1)[0].message)
    assert begin(journal, slot="second")
    assert journal.history(1)[0].attempt == 2


def wait_for_zombie(pid: int) -> None:
    until = time.monotonic() + 10
    while process_mark(pid) is not None and time.monotonic() < until:
        time.sleep(0.01)


def test_a_dead_process_holds_up_nobody_that_begins(journal: Journal, other_process: subprocess.Popen[str]) -> None:
    assert journal.begin("daily", "third", DAY, DUE, None) is None
    other_process.kill()
    other_process.wait()
    assert begin(journal, slot="third")


def test_a_number_used_again_is_another_process(journal: Journal, lake: Lake) -> None:
    begin(journal)
    assert journal.crash() == []
    with sqlite3.connect(journal.path) as database:
        database.execute("update runs set process = 'started at another time'")
    database.close()
    assert [run.slot for run in journal.crash()] == [SLOT]


def test_a_run_marked_as_crashed_is_believed_if_it_ends_well_after_all(journal: Journal) -> None:
    run_id = begin(journal)
    with sqlite3.connect(journal.path) as database:
        database.execute("update runs set process = 'started at another time'")
    database.close()
    assert [run.run_id for run in journal.crash()] == [run_id]
    assert statuses(journal) == [(SLOT, RunStatus.CRASHED)]
    journal.finish(run_id, "succeeded")
    assert statuses(journal) == [(SLOT, RunStatus.SUCCEEDED)]


def test_a_wait_is_seen_as_long_as_it_lasts(journal: Journal, clock: Clock) -> None:
    with pytest.raises(RuntimeError), journal.waiting("f-1", "daily", "the warehouse"):
        (wait,) = journal.waits()
        assert (wait.flow_run_id, wait.job, wait.pid, wait.since) == ("f-1", "daily", os.getpid(), clock.now)
        raise RuntimeError
    assert journal.waits() == []


def test_a_job_counts_from_when_it_was_first_seen_or_changed(journal: Journal, lake: Lake, clock: Clock) -> None:
    follower = a_job("after", Success(("daily",)))
    assert [line[:17] for line in journal.seen([DAILY, follower], utc("2026-11-10 12:00"))] == [
        "job daily: new, c", "job after: new, c",
    ]  # fmt: skip
    assert journal.seen([DAILY, follower], utc("2026-11-15 12:00")) == []
    assert work(journal, lake, [DAILY, follower], clock)[0] == ("daily", "2026-11-11T05:00:00Z")
    changed = a_job("daily", "30 4 * * *", retries=0)
    (reported,) = journal.seen([changed, follower], clock.now)
    assert "0 6 * * *" in reported
    assert "30 4 * * *" in reported
    assert work(journal, lake, [changed, follower], clock) == []
    clock.now += timedelta(days=1)
    assert work(journal, lake, [changed, follower], clock) == [
        ("daily", "2026-11-22T03:30:00Z"), ("after", "2026-11-22T03:30:00Z"),
    ]  # fmt: skip


def test_a_job_never_seen_has_no_slots(journal: Journal, lake: Lake, clock: Clock) -> None:
    assert decisions(journal, lake, [DAILY], clock.now + timedelta(days=9)) == []


def test_what_a_clock_set_ahead_made_up_is_void_and_runs_at_its_time(
    journal: Journal, lake: Lake, clock: Clock
) -> None:
    jobs = [a_job("after", Success(("daily",))), DAILY]
    journal.seen(jobs, utc("2026-11-20 12:00"))
    clock.now = utc("2026-11-24 12:00")  # three days ahead, when the machine comes up
    assert len(work(journal, lake, jobs, clock)) == 8
    journal.seen([*jobs, a_job("new", "0 7 * * *")], clock.now)
    failing = begin(journal, "failing")
    journal.finish(failing, "failed")
    clock.now = utc("2026-11-21 12:00")
    voided = journal.void_future(clock.now)
    assert [(run.job, run.slot[:10]) for run in voided] == [
        ("daily", "2026-11-22"), ("daily", "2026-11-23"), ("daily", "2026-11-24"),
        ("after", "2026-11-22"), ("after", "2026-11-23"), ("after", "2026-11-24"), ("failing", "2026-11-21"),
    ]  # fmt: skip
    assert journal.void_future(clock.now) == []
    jobs.append(a_job("new", "0 7 * * *"))
    again = []
    while clock.now < utc("2026-11-25 12:00"):
        again += work(journal, lake, jobs, clock)
        clock.now += timedelta(hours=3)
    assert [slot for name, slot in again if name == "daily"] == [f"2026-11-{day}T05:00:00Z" for day in (22, 23, 24, 25)]
    assert [slot for name, slot in again if name == "after"] == [f"2026-11-{day}T05:00:00Z" for day in (22, 23, 24, 25)]
    assert [slot for name, slot in again if name == "new"] == [f"2026-11-{day}T06:00:00Z" for day in (22, 23, 24, 25)]


def test_a_failure_noted_while_the_clock_was_ahead_holds_up_no_retry(
    journal: Journal, lake: Lake, clock: Clock
) -> None:
    run_id = begin(journal)
    clock.now += timedelta(days=365)
    journal.finish(run_id, "failed", "out of order")
    clock.now -= timedelta(days=365)
    assert [run.run_id for run in journal.void_future(clock.now)] == [run_id]
    assert journal.read_schedule_state(lake.settings, [], clock.now).retry_at == {}


def test_a_full_disk_is_reported_as_a_full_disk(journal: Journal) -> None:
    journal._database.execute("pragma max_page_count = 1")
    with pytest.raises(TidemarkError, match="database or disk is full"):
        for number in range(1_000):
            begin(journal, slot=f"{number} {'x' * 1_000}")


def test_a_clock_corrected_by_less_than_a_minute_voids_nothing(journal: Journal, lake: Lake, clock: Clock) -> None:
    journal.seen([DAILY], utc("2026-11-20 12:00"))
    clock.now = DUE
    assert len(work(journal, lake, [DAILY], clock)) == 1
    assert journal.void_future(DUE - timedelta(seconds=59)) == []
    assert len(journal.void_future(DUE - timedelta(seconds=61))) == 1


def test_a_batch_refined_by_a_clock_set_ahead_stays_refined(journal: Journal, lake: Lake, clock: Clock) -> None:
    job = a_job("refine", Arrival(("events",)))
    journal.seen([job], utc("2026-01-01 12:00"))
    lake.land_one("web/events/1.ndjson", ndjson([event(1)]))
    clock.now = datetime.now(UTC) + timedelta(days=3)
    assert work(journal, lake, [job], clock) == [("refine", "000000000001")]
    assert journal.void_future(datetime.now(UTC)) == []
    assert work(journal, lake, [job], clock) == []


def test_old_runs_are_forgotten_and_their_slots_are_not_due_again(journal: Journal, lake: Lake, clock: Clock) -> None:
    journal.seen([DAILY], utc("2025-09-01 12:00"))
    clock.now = utc("2025-09-02 12:00")
    journal.finish(begin(journal, "gone"), "failed")
    while clock.now < utc("2025-09-12 12:00"):
        assert len(work(journal, lake, [DAILY], clock)) == 1
        clock.now += timedelta(days=1)
    clock.now = utc("2025-09-10 12:00") + KEEP
    journal.prune(clock.now)
    assert [run.slot for run in journal.history(1000) if run.job == "daily"] == [
        "2025-09-11T04:00:00Z", "2025-09-10T04:00:00Z",
    ]  # fmt: skip
    assert journal.history(1000)[-1].job == "gone"
    (first, *_) = decisions(journal, lake, [DAILY], clock.now)
    assert first.slot == "2025-09-12T04:00:00Z"
    clock.now += timedelta(days=30)
    journal.prune(clock.now)
    assert [run.slot for run in journal.history(1000) if run.job == "daily"] == ["2025-09-11T04:00:00Z"]
    (first, *_) = decisions(journal, lake, [DAILY], clock.now)
    assert first.slot == "2025-10-11T04:00:00Z"


def test_arrivals_are_the_batches_with_rows_after_the_last_success(journal: Journal, lake: Lake, clock: Clock) -> None:
    clock.now = datetime.now(UTC) + timedelta(minutes=1)
    jobs = [a_job("refine", Arrival(("events", "contents")))]
    journal.seen(jobs, utc("2026-01-01 12:00"))
    assert work(journal, lake, jobs, clock) == []
    first = lake.land_one("web/events/1.ndjson", ndjson([event(1)]))
    second = lake.land_one("web/events/2.ndjson", ndjson([event(2)]))
    lake.land_one("web/events/same.ndjson", ndjson([event(2)]))
    lake.land_one("web/events/none.ndjson", ndjson([event(3, platform="fax")]))
    known = journal.read_schedule_state(lake.settings, jobs, clock.now)
    assert known.arrived == {
        "events": (LandedBatch(1, first.landed_at), LandedBatch(2, second.landed_at)),
        "contents": (),
    }
    assert work(journal, lake, jobs, clock) == [("refine", "000000000002")]
    assert journal.read_schedule_state(lake.settings, jobs, clock.now).arrived["events"] == ()
    lake.land_one("web/events/5.ndjson", ndjson([event(5)]))
    assert work(journal, lake, jobs, clock) == [("refine", "000000000005")]


def test_what_rows_tell_of_consent_is_built_and_is_no_file(journal: Journal, lake: Lake, clock: Clock) -> None:
    clock.now = datetime.now(UTC) + timedelta(minutes=1)
    jobs = [a_job("refine", Arrival(("events", "consents")))]
    journal.seen(jobs, utc("2026-01-01 12:00"))
    lake.land_one("web/events/1.ndjson", ndjson([event(1, consent=[])]))
    known = journal.read_schedule_state(lake.settings, jobs, clock.now)
    assert [batch.is_file for batch in known.arrived["consents"]] == [False]
    assert work(journal, lake, jobs, clock) == [("refine", "000000000002")]


def test_a_gate_opens_by_what_landed(journal: Journal, lake: Lake, clock: Clock) -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED)
    clock.now = utc("2026-01-21 06:00")
    journal.seen([job], utc("2026-01-20 12:00"))
    (decision,) = decisions(journal, lake, [job], clock.now)
    assert decision.waits_for == ("events of 2026-01-20",)
    written_at(lake.deliver("web/events/2026-01-20/1.ndjson", ndjson([event(1)])), "2026-01-20 12:00")
    lake.land()
    assert [d.state for d in decisions(journal, lake, [job], clock.now)] == ["waits"]
    written_at(lake.deliver("web/events/2026-01-20/2.ndjson", ndjson([event(2, platform="fax")])), "2026-01-21 01:00")
    lake.land()
    assert [d.state for d in decisions(journal, lake, [job], clock.now)] == ["waits"]  # no row of it landed
    # The same bytes again: the source said once more what it had said, which is rows all the same.
    written_at(lake.deliver("web/events/2026-01-20/3.ndjson", ndjson([event(1)])), "2026-01-21 02:00")
    lake.land()
    assert [d.state for d in decisions(journal, lake, [job], clock.now)] == ["due"]


def written_at(path: Path, moment: str) -> None:
    os.utime(path, times=(utc(moment).timestamp(),) * 2)


def test_a_file_is_not_written_after_it_landed_whatever_a_copy_says(lake: Lake) -> None:
    written_at(lake.deliver("web/events/a.ndjson", ndjson([event(1)])), "2090-01-01 00:00")
    (receipt,) = lake.land().receipts
    receipts = Receipts(lake.settings)
    assert list(receipts.deliveries_with_rows("events", 0, 1)) == [("web/events/a.ndjson", receipt.landed_at)]
    assert list(receipts.deliveries_with_rows("events", 1, 1)) == []
    receipts.close()


def test_another_lake_in_its_place_is_read_from_its_beginning(journal: Journal, lake: Lake, clock: Clock) -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED)
    lake.land_one("web/events/2026-01-19.ndjson", ndjson([event(1)]))
    lake.land_one("web/events/2026-01-20.ndjson", ndjson([event(2)]))
    present = journal.read_schedule_state(lake.settings, [job], clock.now).present
    assert present == {"events": {date(2026, 1, 19), date(2026, 1, 20)}}
    shutil.rmtree(lake.settings.lake)
    lake.land_one("web/events/2026-01-18.ndjson", ndjson([event(3)]))
    assert journal.read_schedule_state(lake.settings, [job], clock.now).present == {"events": {date(2026, 1, 18)}}


@pytest.mark.parametrize("damage", [b"this is no database " * 100, None])
def test_where_the_lake_cannot_be_read_gates_stay_closed_and_say_so(
    journal: Journal, lake: Lake, clock: Clock, damage: bytes | None
) -> None:
    jobs = [a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED), a_job("refine", Arrival(("events",)))]
    journal.seen(jobs, utc("2026-11-20 12:00"))
    lake.settings.landed.mkdir(parents=True)
    index = lake.settings.landed / "index.sqlite"
    if damage is None:
        index.mkdir()
    else:
        index.write_bytes(damage)
    known = journal.read_schedule_state(lake.settings, jobs, clock.now)
    assert known.present is None
    assert str(lake.settings.landed) in str(known.trouble)
    (decision,) = decide(jobs, known, clock.now, ZONE)
    assert (decision.job, decision.state) == ("daily", "waits")
    assert decision.waits_for[0].startswith(
        "it is not known whether events of 2026-11-20 are there: the receipts below"
    )


def test_a_damaged_journal_is_reported_with_its_place(lake: Lake) -> None:
    path = lake.settings.home / "jobs" / "journal.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(
        TidemarkError, match=r"journal\.sqlite cannot be used \(file is not a database\); .* move it away"
    ):
        Journal(lake.settings)


def test_the_mark_of_a_process_tells_it_from_others() -> None:
    assert process_mark(os.getpid()) == process_mark(os.getpid()) is not None
    with subprocess.Popen(["sleep", "60"]) as other:
        assert process_mark(other.pid) not in (None, process_mark(os.getpid()))
        other.kill()
    assert process_mark(other.pid) is None


def test_failures_are_counted_since_the_last_success(journal: Journal, clock: Clock) -> None:
    for slot, status in [("1", "failed"), ("2", "succeeded"), ("3", "failed"), ("4", "failed")]:
        run_id = begin(journal, slot=slot)
        clock.now += timedelta(minutes=1)
        journal.finish(run_id, RunStatus(status), f"of {slot}")
    begin(journal, job="other")
    (failed,) = journal.failures()
    assert (failed.newest.slot, failed.newest.message, failed.tries) == ("4", "of 4", 2)
    assert failed.since == clock.now - timedelta(minutes=1)
    journal.finish(begin(journal, slot="5"), RunStatus.SUCCEEDED)
    assert journal.failures() == []


def test_what_somebody_cancelled_is_not_tried_again(journal: Journal, lake: Lake, clock: Clock) -> None:
    journal.seen([DAILY], utc("2026-11-21 00:00"))
    journal.finish(begin(journal), "cancelled", "somebody cancelled it")
    clock.now += timedelta(minutes=10)
    assert decisions(journal, lake, [DAILY], clock.now) == []
    assert journal.failures() == []
    clock.now = utc("2026-11-22 05:01")
    assert [d.slot for d in decisions(journal, lake, [DAILY], clock.now)] == ["2026-11-22T05:00:00Z"]


def test_the_time_in_which_nothing_was_served_is_known_until_it_is_old(
    journal: Journal, lake: Lake, clock: Clock
) -> None:
    assert journal.note_served(clock()) is None, "it was never served before"
    began = clock()
    clock.now += DOWN_AFTER
    assert journal.note_served(clock()) is None, "a pass that took long"
    began = clock()
    clock.now += timedelta(hours=5)
    assert journal.read_schedule_state(lake.settings, [], clock()).downtimes == (), "while it lasts, it excuses nothing"
    assert journal.note_served(clock()) == timedelta(hours=5)
    assert journal.read_schedule_state(lake.settings, [], clock()).downtimes == ((began, clock()),)
    assert journal.note_served(clock() - timedelta(hours=1)) is None, "a clock that was set back"
    journal.prune(clock() + KEEP + timedelta(minutes=1))
    assert journal.read_schedule_state(lake.settings, [], clock()).downtimes == ()


def test_what_an_earlier_tidemark_made_can_be_read(journal: Journal, lake: Lake, clock: Clock) -> None:
    with closing(sqlite3.connect(journal.path)) as database:
        database.executescript("drop table downtimes; drop table service; drop table by_hand")
    with Journal(lake.settings, read_only=True) as read:
        assert read.read_schedule_state(lake.settings, [], clock()).downtimes == ()
    with Journal(lake.settings, clock) as made:
        made.note_by_hand("build", clock(), 7)
        assert made.by_hand() == {"build": ByHand(clock(), clock(), 7)}
