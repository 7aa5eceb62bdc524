"""What a person fixes by hand is over at once: for jobs, incidents and those who were alerted."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flows.alerts.notify import deliver, note, open_incidents
from flows.build.staleness import Failing
from flows.cli import main
from flows.land.receipt import LandedBatch
from flows.land.receipts import Receipts
from flows.orchestrate import by_hand
from flows.orchestrate.by_hand import Counted, count, done_by_hand, slots_done
from flows.orchestrate.due import Decision, ScheduleState, slot_of_instant
from flows.orchestrate.intake import Intake
from flows.orchestrate.job import LAND, Arrival, Build, Cron, Maintain, Publish
from flows.orchestrate.journal import Journal
from flows.orchestrate.problems import observe_refused, observe_runs, observe_schedule
from flows.orchestrate.runs import ByHand, RunStatus
from flows.schedule import JOBS
from flows.settings import Settings
from flows.status.jobs import read_health
from tests.support.alerts import PROBLEM, Hook
from tests.support.deliveries import compressed, event, ndjson
from tests.support.lake import KEY, Lake
from tests.support.schedules import EVENTS_NEEDED, a_job, utc

NOW = utc("2026-11-22 05:00")
REFINE = next(job for job in JOBS if isinstance(job.when, Arrival))


@pytest.fixture(name="hook")
def hook_fixture() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.stop()


@pytest.fixture(name="settings")
def settings_fixture(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home where one file landed, a warehouse that says that it is built up to the last batch, and no node fails."""
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", KEY)
    made = Settings(home=tmp_path / "home", settle_seconds=0)
    made.channels.parent.mkdir(parents=True)
    made.channels.write_text(yaml.safe_dump({"default": [f"slack+http://{hook.at}/hook"]}))
    made.channels.chmod(0o600)
    Lake(made.home).land_one("web/events/a.ndjson", ndjson([event(1)]))
    with Journal(made) as journal:
        journal.seen((REFINE,), datetime.now(UTC) - timedelta(hours=1))
    monkeypatch.setattr(by_hand, "JOBS", (REFINE,))  # the others are due at some hours of the day
    monkeypatch.setattr(by_hand, "built_up_to", last_batch)
    monkeypatch.setattr("flows.build.staleness.read_failing", lambda settings: [])
    return made


def last_batch(settings: Settings) -> int:
    receipts = Receipts(settings)
    try:
        return receipts.last_batch_id()
    finally:
        receipts.close()


def give_up(settings: Settings, job: str, slot: str, tries: int) -> None:
    """All tries of a job for a slot fail, and its owner is alerted."""
    with Journal(settings) as journal:
        for _ in range(tries):
            run_id = journal.begin(job, slot, NOW.date(), NOW, None)
            assert run_id is not None
            journal.finish(run_id, "failed", "the disk is full")
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    deliver(settings, NOW)


def is_well(settings: Settings) -> bool:
    """Whether neither a job nor an incident needs a person, by `tidemark status`."""
    health = read_health(settings, datetime.now(UTC), (REFINE,))
    return not any(job.needs_a_person for job in health.jobs.jobs) and not health.incidents.needs_a_person


def test_a_job_that_was_given_up_is_over_once_all_its_steps_were_done_by_hand(settings: Settings, hook: Hook) -> None:
    slot = f"{last_batch(settings):012d}"
    give_up(settings, REFINE.name, slot, REFINE.retries + 1)
    assert hook.texts == [f"[tidemark] job {REFINE.name} failed"] and not is_well(settings)
    began = datetime.now(UTC)
    assert count(settings, began, [], has_built=True) == Counted((), ())
    assert not is_well(settings), "it is built, and nobody has published it"
    done = count(settings, began, ["publish"])
    assert done.slots == ((REFINE.name, slot),)
    assert [incident.problem.key for incident in done.recovered] == [f"job:{REFINE.name}"]
    assert "recovered" in hook.texts[1] and len(hook.texts) == 2 and is_well(settings)
    with Journal(settings) as journal:
        newest = journal.history(1)[0]
        assert (newest.slot, newest.status, newest.message) == (slot, RunStatus.SUCCEEDED, "done by hand")
    assert count(settings, began, ["publish"]) == Counted((), ()) and len(hook.texts) == 2


def test_two_that_fix_at_once_tell_it_once(settings: Settings, hook: Hook) -> None:
    give_up(settings, REFINE.name, f"{last_batch(settings):012d}", REFINE.retries + 1)
    began = datetime.now(UTC)
    both = [threading.Thread(target=count, args=(settings, began, ["publish"], True)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [text for text in hook.texts if "recovered" in text] == [
        f"[tidemark] recovered after less than a minute: job {REFINE.name} failed"
    ]
    with Journal(settings) as journal:
        assert [run.status for run in journal.history(9)].count(RunStatus.SUCCEEDED) == 1


def test_a_build_by_hand_ends_what_no_longer_fails_and_opens_nothing(
    settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    still, over = (replace(PROBLEM, key=f"model.tidemark.{name}", title=f"model {name} failed") for name in "ab")
    note(settings, "build", [still, over], NOW)
    deliver(settings, NOW)
    failing = Failing("", "a", "model", "a.sql", still.owner, "error", 0, "", NOW, True, ())
    new = replace(failing, unique_id="model.tidemark.c", name="c")
    monkeypatch.setattr(
        "flows.build.staleness.read_failing", lambda settings: [replace(failing, unique_id=still.key), new]
    )
    monkeypatch.setattr(by_hand, "built_up_to", lambda settings: None)
    done = count(settings, NOW, [], has_built=True)
    assert [incident.problem.key for incident in done.recovered] == [over.key]
    (left,) = open_incidents(settings)
    assert left.problem.key == still.key and left.problem.link == still.link, "a build by hand has no page of its own"
    assert len(hook.texts) == 3 and "recovered" in hook.texts[2]
    with Journal(settings) as journal:
        assert "build" not in journal.by_hand(), "something is still open"


def test_a_landing_that_failed_is_over_once_one_by_hand_did_not(settings: Settings, hook: Hook) -> None:
    give_up(settings, LAND, "manual-1", 1)
    done = CliRunner(env={"TIDEMARK_HOME": str(settings.home)}).invoke(main, ["land"])
    assert done.exit_code == 0, done.output
    assert "resolved job land failed (owner: data-platform)" in done.output
    assert "job land counts as done" in done.output and is_well(settings) and "recovered" in hook.texts[1]


def test_a_refused_file_that_is_delivered_again_by_hand_is_over(settings: Settings, hook: Hook) -> None:
    lake = Lake(settings.home)
    lake.land_one("web/events/b.ndjson.gz", b"not gzip")
    observe_refused(settings)
    lake.deliver("web/events/b.ndjson.gz", compressed(ndjson([event(2)]), ".gz"))
    done = CliRunner(env={"TIDEMARK_HOME": str(settings.home), "TIDEMARK_SETTLE_SECONDS": "0"}).invoke(main, ["land"])
    assert "resolved file web/events/b.ndjson.gz was refused" in done.output, done.output
    assert open_incidents(settings) == [] and len(hook.texts) == 2


def test_a_file_in_a_wrong_folder_that_was_moved_by_hand_is_over_once_it_landed(settings: Settings, hook: Hook) -> None:
    misplaced = Lake(settings.home).deliver("web/evnts/b.ndjson", ndjson([event(2)]))
    with Journal(settings) as journal:
        for minutes in (0, 10):
            Intake(settings, journal).observe(datetime.now(UTC) + timedelta(minutes=minutes))
    assert [i.problem.title for i in open_incidents(settings)] == ["file web/evnts/b.ndjson cannot be taken"]
    misplaced.rename(settings.inbox / "web" / "events" / "b.ndjson")
    done = CliRunner(env={"TIDEMARK_HOME": str(settings.home), "TIDEMARK_SETTLE_SECONDS": "0"}).invoke(main, ["land"])
    assert "resolved file web/evnts/b.ndjson cannot be taken" in done.output, done.output
    assert open_incidents(settings) == [] and len(hook.texts) == 2


def test_a_late_job_is_late_no_more_once_it_was_done_by_hand(settings: Settings, hook: Hook) -> None:
    with Journal(settings) as journal:
        now = datetime.now(UTC) + timedelta(hours=2)
        state = journal.read_schedule_state(settings, (REFINE,), now)
        late = by_hand.decide((REFINE,), state, now, by_hand.timezone())
        assert [d.job for d in late if d.is_late] == [REFINE.name]
        observe_schedule(settings, late, state, now)
    done = count(settings, datetime.now(UTC), ["publish"], has_built=True)
    assert [incident.problem.title for incident in done.recovered] == [f"job {REFINE.name} is late"]
    assert "recovered" in hook.texts[1]


def test_without_a_journal_nothing_is_counted_and_none_is_made(tmp_path: Path) -> None:
    done = CliRunner(env={"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_PSEUDONYM_KEY": KEY}).invoke(main, ["land"])
    assert done.exit_code == 0 and not (tmp_path / "jobs").exists()


def test_a_journal_that_cannot_be_used_does_not_undo_what_was_done(settings: Settings) -> None:
    for path in settings.jobs.glob("journal.sqlite*"):
        path.write_bytes(b"no database" * 1000)
    done = CliRunner(env={"TIDEMARK_HOME": str(settings.home)}).invoke(main, ["land"])
    assert done.exit_code == 0 and "not recorded for jobs and incidents" in done.output
    assert "the journal of jobs" in done.output


# --- what counts -----------------------------------------------------------------------------------------------------


def hand(begins: str, ends: str, batch_id: int = 7) -> ByHand:
    return ByHand(utc(f"2026-11-22 {begins}"), utc(f"2026-11-22 {ends}"), batch_id)


def test_a_job_is_done_by_hand_when_all_its_steps_are_in_their_order() -> None:
    job = a_job("refine", Arrival(("events",)), runs=(Build(), Publish()))
    build, publish = hand("05:00", "05:10", 6), hand("05:20", "05:21", 7)
    assert done_by_hand(job, {"build": build, "publish": publish}) == hand("05:00", "05:21", 6)
    assert done_by_hand(job, {"build": build}) is None
    assert done_by_hand(job, {"build": hand("05:30", "05:40"), "publish": publish}) is None, "what was built since"
    digest = a_job("digest", "0 6 * * *", runs=(Maintain("digest"),))
    assert done_by_hand(digest, {"build": build, "publish": publish}) is None, "no command does that"


def test_of_arrivals_those_count_that_had_landed_by_then() -> None:
    job = a_job("refine", Arrival(("events", "calls")))
    landed = {
        name: tuple(LandedBatch(number, NOW) for number in numbers)
        for name, numbers in {"events": (3, 9), "calls": (5, 2)}.items()
    }
    state = ScheduleState({job.name: NOW}, succeeded={job.name: frozenset({"000000000002"})}, arrived=landed)
    done = list(slots_done(job, hand("05:00", "05:10", 7), [], state, None))
    assert [slot for slot, _, _ in done] == ["000000000005"]
    assert list(slots_done(job, hand("05:00", "05:10", 2), [], state, None)) == []


def decision(job: str, due: datetime, **changes: object) -> Decision:
    made = Decision(job, slot_of_instant(due), due, due.date(), "due", (), is_late=False)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_of_a_clock_those_slots_count_that_were_due_before_and_have_their_data() -> None:
    job = a_job("daily", Cron("0 5 * * *", "UTC"), requires=EVENTS_NEEDED)
    before, after = decision(job.name, utc("2026-11-22 05:00")), decision(job.name, utc("2026-11-22 05:05"))
    done = hand("05:02", "05:10")
    is_there = ScheduleState({job.name: NOW}, present={"events": frozenset({utc("2026-11-21 00:00").date()})})
    assert [s for s, _, _ in slots_done(job, done, [before, after], is_there, None)] == [before.slot]
    missing = ScheduleState({job.name: NOW}, present={"events": frozenset()})
    assert list(slots_done(job, done, [before], missing, None)) == [], "what it waits for has not come"
    runs = replace(before, state="runs")
    assert list(slots_done(job, done, [runs], is_there, None)) == []
    given_up = replace(is_there, failed={job.name: frozenset({before.slot})})
    assert [s for s, _, _ in slots_done(job, done, [], given_up, None)] == [before.slot]


def test_what_failed_after_it_was_done_by_hand_is_not_done(settings: Settings) -> None:
    count(settings, datetime.now(UTC), ["publish"], has_built=True)
    Lake(settings.home).land_one("web/events/b.ndjson", ndjson([event(2)]))
    give_up(settings, REFINE.name, f"{last_batch(settings):012d}", REFINE.retries + 1)
    assert count(settings, datetime.now(UTC), ["land"]) == Counted((), ())
    assert not is_well(settings)
