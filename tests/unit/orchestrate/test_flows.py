"""What connects the flows: automations, problems reported to alerting, and the watcher's ticks by a clock."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from flows.alerts.notify import deliver, open_incidents
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.receipt import LandedBatch
from flows.orchestrate import prefect_flows as jobs
from flows.orchestrate import problems
from flows.orchestrate.due import Decision, ScheduleState, slot_of_batch, slot_of_instant
from flows.orchestrate.event_names import JOB_SUCCEEDED, LANDED, dataset_resource, job_resource
from flows.orchestrate.intake import LEFT_FOR
from flows.orchestrate.job import BACKFILL, LAND, MAINTENANCE, Arrival, Requires, Success
from flows.orchestrate.journal import Journal
from flows.orchestrate.prefect_flows import FLOWS, MAINTAIN, entrypoint
from flows.orchestrate.problems import NODES_FAILED
from flows.orchestrate.service import watcher as watch
from flows.orchestrate.service.deploy import automations_of
from flows.orchestrate.service.watcher import (
    ALERT_AGAIN_SECONDS,
    GRACE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    POLL_SECONDS,
    RETRY_SECONDS,
    SEND_SECONDS,
    SERVER_SECONDS,
    Watcher,
)
from flows.schedule import JOBS
from flows.settings import Settings
from tests.support.alerts import Hook
from tests.support.deliveries import compressed, event, ndjson
from tests.support.lake import Lake
from tests.support.schedules import a_job, utc

DEPLOYMENT = UUID(int=7)
NOW = utc("2026-11-22 05:00")


# --- jobs and automations --------------------------------------------------------------------------------------------


def test_each_maintenance_task_has_a_function() -> None:
    assert MAINTAIN.keys() == MAINTENANCE.keys()


def test_each_job_and_the_landing_have_a_flow() -> None:
    assert FLOWS.keys() == {LAND, BACKFILL, *(job.name for job in JOBS)}
    for name, flow in FLOWS.items():
        assert flow.name == name
        assert load_flow_from_entrypoint(entrypoint(name)) is flow, "so the worker finds it"


def test_an_arrival_is_woken_by_any_of_its_datasets() -> None:
    (made,) = automations_of(a_job("refine", Arrival(("events", "calls"))), DEPLOYMENT)
    trigger = made.trigger.model_dump()
    assert trigger["expect"] == {LANDED}
    assert trigger["match_related"] == {"prefect.resource.id": ["tidemark.dataset.events", "tidemark.dataset.calls"]}
    assert dataset_resource("events") == "tidemark.dataset.events"
    (action,) = (action.model_dump() for action in made.actions)
    assert action["deployment_id"] == DEPLOYMENT
    assert action["parameters"] == {"only_if_due": True}


def test_a_success_is_woken_by_the_jobs_it_follows() -> None:
    (made,) = automations_of(a_job("after", Success(("first", "second"))), DEPLOYMENT)
    trigger = made.trigger.model_dump()
    assert trigger["expect"] == {JOB_SUCCEEDED}
    assert trigger["match"] == {"prefect.resource.id": [job_resource("first"), job_resource("second")]}


def test_a_clock_has_no_automation_nor_has_what_is_required() -> None:
    assert automations_of(a_job("daily", "0 6 * * *", requires=(Requires("events"),)), DEPLOYMENT) == []


@pytest.mark.parametrize(
    ("deployed_before", "only_if_due", "done"),
    [("nothing", True, ["1", "2"]), ("1", True, []), ("2", True, ["1"]), ("1", False, ["1"]), ("2", False, ["1"])],
)
def test_a_run_begins_nothing_more_once_another_release_is_active(
    deployed_before: str, only_if_due: bool, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def decisions(*_: Any) -> tuple[None, list[Decision]]:
        left = next((slot for slot in ("1", "2") if slot not in ran), None)
        if left == deployed_before:
            (tmp_path / "releases" / "next").mkdir(parents=True, exist_ok=True)
            (tmp_path / "releases" / "current").symlink_to("next")
        return None, [Decision("refine", left, NOW, NOW.date(), "due", (), is_late=False)] if left else []

    def run_slot(run: object, job: object, slot: str, *_: object) -> bool:
        ran.append(slot)
        return True

    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.setattr(jobs, "_decisions", decisions)
    monkeypatch.setattr(jobs, "_run_slot", run_slot)
    state = jobs._run_job(a_job("refine", Arrival(("events",))), only_if_due)
    assert ran == done
    assert state.name == ("Completed" if deployed_before == "nothing" else "Outdated")


# --- problems --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.stop()


@pytest.fixture
def settings(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose alerts, and whose server's health, are the hook's."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://{hook.at}/api")
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    made = Settings(home=tmp_path / "home", settle_seconds=0)
    made.channels.parent.mkdir(parents=True)
    made.channels.write_text(yaml.safe_dump({"default": [f"slack+http://{hook.at}/hook"]}))
    made.channels.chmod(0o600)
    return made


def observe_refused(settings: Settings) -> None:
    problems.observe_refused(settings)
    deliver(settings, NOW)


def observe_runs(settings: Settings, *arguments: Any) -> None:
    problems.observe_runs(settings, *arguments)
    deliver(settings, NOW)


def observe_schedule(settings: Settings, *arguments: Any) -> None:
    problems.observe_schedule(settings, *arguments)
    deliver(settings, NOW)


def observe_server(settings: Settings, *arguments: Any) -> None:
    problems.observe_server(settings, *arguments)
    deliver(settings, NOW)


def bodies(hook: Hook) -> list[str]:
    return [body["text"] for _, body in hook.bodies]


def late(job: str, **changes: object) -> Decision:
    made = Decision(job, slot_of_instant(NOW), NOW, NOW.date(), "due", (), is_late=True)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_slot_past_its_deadline_is_reported_once_with_what_it_waits_for_and_its_end(
    settings: Settings, hook: Hook
) -> None:
    job = next(job for job in JOBS if job.deadline)
    waits = late(job.name, state="waits", waits_for=("events of 2026-11-21",))
    for minutes in (1, 2):
        observe_schedule(settings, [waits], ScheduleState({}), NOW + timedelta(minutes=minutes))
    (text,) = bodies(hook)
    assert f"job {job.name} is late" in text and f"owner: {job.owner}" in text
    assert "no data by the deadline: it waits for events of 2026-11-21" in text
    assert "due at 2026-11-22 05:00 UTC for 2026-11-22" in text
    observe_schedule(settings, [replace(waits, is_late=False)], ScheduleState({}), NOW + timedelta(minutes=3))
    assert hook.texts[1:] == [f"[tidemark] recovered after 3 min: job {job.name} is late"]


@pytest.mark.parametrize(("state", "said"), [("due", "nobody started it: is the worker up?"), ("runs", "it runs")])
def test_a_late_slot_that_waits_for_nothing_says_how_it_stands(
    state: str, said: str, settings: Settings, hook: Hook
) -> None:
    observe_schedule(settings, [late(JOBS[0].name, state=state)], ScheduleState({}), NOW)
    assert said in bodies(hook)[0]


@pytest.mark.parametrize(
    "state",
    [
        ScheduleState({}, failed={JOBS[0].name: frozenset({slot_of_instant(NOW)})}),
        ScheduleState({}, present=None, trouble="the index is damaged"),
    ],
    ids=["given up", "cannot be read"],
)
def test_a_late_slot_has_not_recovered_because_it_is_no_longer_tried_or_seen(
    state: ScheduleState, settings: Settings, hook: Hook
) -> None:
    job = JOBS[0].name
    observe_schedule(settings, [late(job)], ScheduleState({}), NOW)
    observe_schedule(settings, [], state, NOW + timedelta(minutes=1))
    assert len(hook.texts) == 1 and [i.problem.title for i in open_incidents(settings)] == [f"job {job} is late"]
    later = ScheduleState(
        {}, failed=state.failed, succeeded={job: frozenset({slot_of_instant(NOW + timedelta(days=1))})}
    )
    observe_schedule(settings, [], later, NOW + timedelta(days=1))
    assert "recovered" in hook.texts[1] and open_incidents(settings) == []


def fail(journal: Journal, job: str, message: str, times: int) -> None:
    for number in range(times):
        run_id = journal.begin(job, "1", NOW.date(), NOW, f"flow-run-{number}")
        assert run_id is not None
        journal.finish(run_id, "failed", message)


def test_a_job_is_reported_when_all_its_tries_failed_and_when_it_is_well_again(settings: Settings, hook: Hook) -> None:
    job = JOBS[0]
    with Journal(settings) as journal:
        fail(journal, job.name, "the disk is full", job.retries)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
        assert hook.bodies == []
        fail(journal, job.name, "the disk is full", 1)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
        (text,) = bodies(hook)
        assert f"job {job.name} failed" in text and f"owner: {job.owner}" in text
        assert f"{job.retries + 1} tries; the last: the disk is full" in text
        assert f"link: http://{hook.at}/runs/flow-run/flow-run-0" in text
        run_id = journal.begin(job.name, "1", NOW.date(), NOW, None)
        assert run_id is not None
        journal.finish(run_id, "succeeded")
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    assert "recovered" in hook.texts[1] and len(hook.texts) == 2


def test_failed_nodes_are_reported_of_the_nodes_and_not_of_the_job(settings: Settings, hook: Hook) -> None:
    with Journal(settings) as journal:
        fail(journal, JOBS[0].name, f"{NODES_FAILED}fct_sessions", 5)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    assert hook.bodies == [] and open_incidents(settings) == []


def test_a_job_that_the_schedule_no_longer_has_is_nobodys_problem(settings: Settings, hook: Hook) -> None:
    with Journal(settings) as journal:
        fail(journal, "dropped", "out of order", 9)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    assert hook.bodies == [] and open_incidents(settings) == []


def test_what_reproduces_a_failing_job_are_the_commands_of_its_steps(settings: Settings) -> None:
    with Journal(settings) as journal:
        for job in (*(job.name for job in JOBS), LAND, BACKFILL):
            fail(journal, job, "out of order", 9)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    assert {incident.problem.key: incident.problem.reproduce for incident in open_incidents(settings)} == {
        "job:refine": "tidemark build --retry && tidemark publish",
        "job:daily_figures": "tidemark build --retry && tidemark publish",
        "job:nightly_test": "tidemark test",
        "job:nightly_audit": "tidemark audit",
        "job:nightly_compact": "tidemark compact",
        "job:nightly_expire": "tidemark expire && tidemark erase",
        "job:nightly_topics": "tidemark topics label",
        "job:warning_digest": None,
        "job:land": "tidemark land",
        "job:backfill": "tidemark build --from ... --to ...",
    }


def test_a_landing_that_fails_is_reported_to_the_operator_at_once(settings: Settings, hook: Hook) -> None:
    with Journal(settings) as journal:
        fail(journal, LAND, "the disk is full", 1)
        observe_runs(settings, journal.failures(), datetime.now(UTC))
    assert "job land failed" in bodies(hook)[0] and "owner: data-platform" in bodies(hook)[0]


def test_a_refused_file_is_reported_to_the_owner_of_its_dataset_until_it_is_delivered_again(
    settings: Settings, hook: Hook
) -> None:
    lake = Lake(settings.home)
    lake.land_one("web/events/a.ndjson.gz", b"not gzip")
    observe_refused(settings)
    (text,) = bodies(hook)
    assert "file web/events/a.ndjson.gz was refused" in text and f"owner: {load_specs()['events'].owner}" in text
    assert "remedy: have it delivered again, corrected; only where the contract or a reader was at fault" in text
    assert text.index("corrected") < text.index("tidemark land --retry-quarantine") and "reproduce" not in text
    lake.deliver("web/events/a.ndjson.gz", compressed(ndjson([event(1)]), ".gz"))
    lake.land()
    observe_refused(settings)
    assert "recovered" in hook.texts[1]


def test_a_file_of_which_no_row_fits_is_reported_until_rows_of_it_land(settings: Settings, hook: Hook) -> None:
    lake = Lake(settings.home)
    lake.land_one("web/events/a.ndjson", b'{"content_id":"c-1","title":"Tides"}\n')
    observe_refused(settings)
    (text,) = bodies(hook)
    assert "no row of file web/events/a.ndjson fits" in text and f"owner: {load_specs()['events'].owner}" in text
    assert "the dataset contents" in text
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    observe_refused(settings)
    assert "recovered" in hook.texts[1]


def test_a_server_that_does_not_answer_is_reported_once_and_its_return(settings: Settings, hook: Hook) -> None:
    for minutes in (0, 1):
        observe_server(settings, "connection refused", NOW + timedelta(minutes=minutes))
    observe_server(settings, None, NOW + timedelta(minutes=5))
    assert "connection refused" in bodies(hook)[0] and "nothing is lost" in bodies(hook)[0]
    assert hook.texts == [
        "[tidemark] Prefect's server does not answer",
        "[tidemark] recovered after 5 min: Prefect's server does not answer",
    ]


# --- the watcher -----------------------------------------------------------------------------------------------------

# How often it looks, where nobody says otherwise.
WATCH_SECONDS: float = Settings.model_fields["watch_seconds"].default
TIDY_SECONDS: float = Settings.model_fields["tidy_seconds"].default


class Started:
    """What the watcher starts instead of what it would: processes that end with ``code`` when asked to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.code = 0
        self._at_work: list[subprocess.Popen[bytes]] = []

    def __call__(self, settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
        self.asked.append(arguments)
        command = [sys.executable, "-I", "-S", "-c", f"input(); raise SystemExit({self.code})"]
        self._at_work.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
        return self._at_work[-1]

    def end(self) -> None:
        """Let what is at work come to its end."""
        while self._at_work:
            self._at_work.pop().communicate(b"\n", timeout=30)

    @property
    def jobs(self) -> list[tuple[str, ...]]:
        """The jobs asked for, each time that any were."""
        return [arguments[1:] for arguments in self.asked if arguments[0] == "jobs" and arguments[1:]]

    def count(self, what: str) -> int:
        return sum(arguments[0] == what for arguments in self.asked)


class WatchedLake:
    """A watcher whose clocks are moved by hand, on a lake."""

    def __init__(self, settings: Settings, started: Started, **changes: float) -> None:
        self.lake = Lake(settings.home, **changes)
        self.seconds = 1000.0
        self.offset = timedelta()
        self.started = started
        self.watcher = Watcher(self.lake.settings, lambda: self.seconds, self.now)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000) + self.offset

    def tick(self, after: float = 0.0, woken: bool = False) -> None:
        self.seconds += after
        self.watcher.tick(woken)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    made = Started()
    monkeypatch.setattr(watch, "start", made)
    yield made
    made.end()


@pytest.fixture
def watched(settings: Settings, started: Started) -> WatchedLake:
    settings.inbox.mkdir(parents=True)
    return WatchedLake(settings, started)


def use_jobs(monkeypatch: pytest.MonkeyPatch, *jobs: object) -> None:
    monkeypatch.setattr(watch, "JOBS", jobs)


def test_one_landing_gathers_what_comes_while_it_is_at_work(watched: WatchedLake, started: Started) -> None:
    watched.tick(woken=True)
    assert started.count("land") == 0, "nothing was delivered"
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(woken=True)
    for number in range(5):
        watched.lake.deliver(f"web/events/b{number}.ndjson", ndjson([event(number)]))
        watched.tick(POLL_SECONDS, woken=True)
    assert started.count("land") == 1
    watched.lake.land()
    started.end()
    watched.tick(0.5)
    assert started.count("land") == 1, "all had landed"
    watched.lake.deliver("web/events/c.ndjson", ndjson([event(9)]))
    watched.tick(0.5, woken=True)
    assert started.count("land") == 2


def test_what_landed_is_sent_beside_landing(settings: Settings, started: Started) -> None:
    settings.inbox.mkdir(parents=True)
    watched = WatchedLake(settings, started, landed_url="s3://bucket/lake")  # type: ignore[arg-type]
    watched.tick()
    assert started.count("send") == 1, "what a process before could not send"
    watched.tick(SEND_SECONDS / 2)
    started.end()
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(POLL_SECONDS, woken=True)
    assert (started.count("land"), started.count("send")) == (1, 1)
    watched.lake.land()
    started.end()
    watched.tick(1)
    assert started.count("send") == 2, "it has landed"
    watched.lake.deliver("web/events/b.ndjson", ndjson([event(2)]))
    watched.tick(POLL_SECONDS, woken=True)
    assert started.count("land") == 2, "which waits for no store"
    watched.tick(SEND_SECONDS * 2)
    assert started.count("send") == 2, "one at a time"
    started.end()
    watched.tick(1)
    assert started.count("send") == 3


def test_where_no_store_is_set_nothing_is_sent(watched: WatchedLake, started: Started) -> None:
    watched.tick()
    watched.tick(SEND_SECONDS * 2)
    assert started.count("send") == 0


def test_what_came_during_a_landing_lands_at_once_after_it(watched: WatchedLake, started: Started) -> None:
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(woken=True)
    started.end()
    watched.tick(0.1)
    assert started.count("land") == 2


def test_polling_finds_what_no_file_event_reported(watched: WatchedLake, started: Started) -> None:
    watched.tick()
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(POLL_SECONDS * 0.5)
    assert started.count("land") == 0
    watched.tick(POLL_SECONDS)
    assert started.count("land") == 1


def test_what_was_written_in_place_lands_as_soon_as_it_has_settled(
    settings: Settings, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.inbox.mkdir(parents=True)
    watched = WatchedLake(settings, started, settle_seconds=2.0)
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    at = (settings.inbox / "web" / "events" / "a.ndjson").stat().st_ctime
    os.utime(settings.inbox / "web" / "events" / "a.ndjson", (at + 60, at + 60))  # not renamed into place, that is
    monkeypatch.setattr(watch.time, "time", lambda: at + 1)
    watched.tick(woken=True)
    assert started.count("land") == 0
    monkeypatch.setattr(watch.time, "time", lambda: at + 3)
    watched.tick(2.1)
    assert started.count("land") == 1


def test_what_is_not_ours_or_may_still_be_written_starts_nothing(watched: WatchedLake, started: Started) -> None:
    watched.lake.deliver("web/nowhere/a.ndjson", ndjson([event(1)]))
    (watched.lake.settings.inbox / "web" / "events").mkdir()
    (watched.lake.settings.inbox / "web" / "events" / ".a.ndjson").write_bytes(ndjson([event(1)]))
    watched.tick(POLL_SECONDS, woken=True)
    assert started.count("land") == 0


def test_a_landing_that_fails_is_tried_again_ever_more_seldom_and_file_events_do_not_hurry_it(
    watched: WatchedLake, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    started.code = 3
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(woken=True)
    pauses = []
    for number in range(1, 9):
        assert started.count("land") == number
        started.end()
        watched.tick(0.1)
        began = watched.seconds
        while started.count("land") == number:
            watched.tick(0.5, woken=True)
            assert watched.seconds - began < 2 * LONGEST_PAUSE_SECONDS
        pauses.append(watched.seconds - began)
    assert pauses[0] == pytest.approx(2 * RETRY_SECONDS, abs=1)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS, abs=1) == pauses[-2]
    assert "landing ended with code 3; what it left waits in the inbox; next try in 4 s" in caplog.text
    started.code = 0
    started.end()
    started.asked.clear()
    watched.tick(0.5)
    watched.tick(LONGEST_PAUSE_SECONDS)
    assert started.count("land") == 1
    watched.lake.land()
    started.end()
    watched.tick(0.1)
    watched.lake.deliver("web/events/b.ndjson", ndjson([event(2)]))
    watched.tick(0.1, woken=True)
    assert started.count("land") == 2, "after one that went well, there is no pause"


def test_without_the_server_files_wait_and_that_is_said_once(
    watched: WatchedLake,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hook: Hook,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    for _ in range(4):
        watched.tick(POLL_SECONDS, woken=True)
    assert started.count("land") == 0
    said = "files wait in the inbox: Prefect's server at http://127.0.0.1:9/api does not answer"
    assert caplog.text.count(said) == 1
    monkeypatch.setenv("PREFECT_API_URL", f"http://{hook.at}/api")
    watched.tick(POLL_SECONDS)
    assert started.count("land") == 1
    assert caplog.text.count("answers again") == 1


def test_a_server_that_is_away_is_no_incident_before_it_had_time_to_be_restarted(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, hook: Hook
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    watched.tick(SERVER_SECONDS - WATCH_SECONDS)
    assert hook.texts == []
    watched.tick(WATCH_SECONDS + 1)
    watched.tick(WATCH_SECONDS)
    assert hook.texts == ["[tidemark] Prefect's server does not answer"]
    monkeypatch.setenv("PREFECT_API_URL", f"http://{hook.at}/api")
    watched.tick(WATCH_SECONDS)
    assert len(hook.texts) == 2 and "recovered" in hook.texts[1]


def test_what_is_due_and_nobody_started_is_started_after_a_while(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    use_jobs(monkeypatch, a_job("hourly", "0 * * * *"))
    watched.tick()  # sees the job, and runs the slot of this very moment
    run_due(watched)
    started.end()
    watched.tick(3600 + GRACE_SECONDS - 1)
    assert started.jobs == [], "whoever is to start it has the time to"
    started.end()
    watched.tick(WATCH_SECONDS)
    assert started.jobs == [("hourly",)]
    assert "hourly of 2026-11-22T06:00:00Z is due since 2026-11-22 06:00:00+00:00 and was not started" in caplog.text
    watched.tick(WATCH_SECONDS)
    assert started.jobs == [("hourly",)], "the one that was started is still at work"
    started.end()
    watched.tick(WATCH_SECONDS)
    assert started.jobs == [("hourly",)] * 2, "it did not begin, so another is started"
    run_due(watched)
    started.end()
    watched.tick(WATCH_SECONDS)
    assert started.jobs == [("hourly",)] * 2


def test_starting_jobs_that_fails_is_said_and_tried_again(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_jobs(monkeypatch, a_job("hourly", "0 * * * *"))
    watched.tick()
    started.end()
    started.code = 1
    watched.tick(3600)
    watched.tick(GRACE_SECONDS + WATCH_SECONDS)
    started.end()
    watched.tick(WATCH_SECONDS)
    assert len(started.jobs) >= 2
    assert "starting jobs ended with code 1" in caplog.text


def test_without_the_server_no_job_is_started_and_none_is_lost(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, hook: Hook
) -> None:
    use_jobs(monkeypatch, a_job("hourly", "0 * * * *"))
    watched.tick()
    started.end()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    for _ in range(3):
        watched.tick(3600)
    assert started.jobs == []
    monkeypatch.setenv("PREFECT_API_URL", f"http://{hook.at}/api")
    watched.tick(WATCH_SECONDS)
    assert started.jobs == [("hourly",)]
    run_due(watched)
    assert succeeded(watched) == [slot_of_instant(utc(f"2026-11-22 0{hour}:00")) for hour in (8, 7, 6, 5)]


def test_a_run_whose_process_is_gone_is_reported_and_marked_and_its_slot_comes_again(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = a_job("refine", Arrival(("events",)), retry_delay=timedelta(0))
    use_jobs(monkeypatch, job)
    watched.tick()
    watched.lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    code = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime; "
        "from flows.orchestrate.journal import Journal; from flows.settings import Settings; now = datetime.now(UTC); "
        f"Journal(Settings(home=Path(sys.argv[1]))).begin('refine', '{slot_of_batch(1)}', now.date(), now, 'f')"
    )
    subprocess.run([sys.executable, "-c", code, str(watched.lake.settings.home)], check=True)
    watched.offset = datetime.now(UTC) - watched.now()  # receipts carry the time of the machine
    watched.tick(WATCH_SECONDS)
    assert f"refine of {slot_of_batch(1)} crashed" in caplog.text and "the next run heals" in caplog.text
    started.end()
    watched.tick(GRACE_SECONDS + WATCH_SECONDS)
    assert started.jobs[-1] == ("refine",)


def test_now_and_then_flow_runs_are_tidied_though_nothing_is_due(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_jobs(monkeypatch)
    watched.tick()
    started.end()
    watched.tick(TIDY_SECONDS - 1)
    assert started.asked == [("jobs",)], "at the start, and not again before its time"
    watched.tick(WATCH_SECONDS)
    assert started.asked == [("jobs",)] * 2


def test_the_settings_say_how_often_it_looks_and_tidies(
    settings: Settings, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_jobs(monkeypatch)
    settings.inbox.mkdir(parents=True)
    watched = WatchedLake(settings, started, watch_seconds=2.0, tidy_seconds=5.0)
    for _ in range(7):
        watched.tick(1)
        started.end()
    assert started.asked == [("jobs",)] * 2, "at once, and with the first look after five seconds"


def test_a_service_that_comes_up_again_calls_nothing_late_that_it_had_no_time_to_do(
    watched: WatchedLake, started: Started, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_jobs(monkeypatch, a_job("refine", Arrival(("events",)), deadline=timedelta(minutes=10)))
    monkeypatch.setattr(problems, "JOBS", watch.JOBS)
    watched.tick(after=WATCH_SECONDS)
    watched.lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    watched.offset += timedelta(hours=5)  # it was stopped meanwhile
    monkeypatch.setattr(
        "flows.orchestrate.journal_store.Receipts.landed_after", lambda *_: [LandedBatch(1, NOW + timedelta(minutes=1))]
    )
    again = WatchedLake(watched.lake.settings, started)
    again.offset = watched.offset
    for _ in range(9):
        again.tick(after=60)
    assert hook.texts == []
    for _ in range(3):
        again.tick(after=60)
    assert hook.texts == ["[tidemark] job refine is late"]


def test_a_file_in_a_wrong_folder_is_reported_and_that_it_is_gone(watched: WatchedLake, hook: Hook) -> None:
    misplaced = watched.lake.deliver("web/evnts/a.ndjson", ndjson([event(1)]))
    for _ in range(2):
        watched.tick(after=WATCH_SECONDS)
    assert hook.texts == []
    watched.tick(after=LEFT_FOR.total_seconds())
    assert hook.texts == ["[tidemark] file web/evnts/a.ndjson cannot be taken"]
    misplaced.unlink()
    watched.tick(after=WATCH_SECONDS)
    assert "recovered" in hook.texts[1]


def test_a_schedule_that_cannot_be_looked_at_stops_no_landing(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise TidemarkError("the journal cannot be used")

    monkeypatch.setattr(watched.watcher._journal, "read_schedule_state", broken)
    watched.lake.deliver("web/events/a.ndjson", ndjson([event(1)]))
    watched.tick(WATCH_SECONDS, woken=True)
    assert started.count("land") == 1
    assert "the schedule could not be looked at: the journal cannot be used" in caplog.text


def test_where_no_incident_can_be_written_the_operator_is_alerted_all_the_same_and_not_each_time(
    watched: WatchedLake, settings: Settings, hook: Hook
) -> None:
    settings.incidents.parent.mkdir(parents=True, exist_ok=True)
    settings.incidents.write_bytes(b"no database, as after a full disk " * 100)
    for _ in range(10):
        watched.tick(WATCH_SECONDS)
    (reported,) = bodies(hook)
    assert "the watcher cannot do its work" in reported and "incidents.sqlite" in reported
    watched.tick(ALERT_AGAIN_SECONDS)
    assert len(bodies(hook)) == 2


def test_a_landing_index_that_cannot_be_read_ends_no_watcher_and_is_reported(
    watched: WatchedLake, started: Started, settings: Settings, hook: Hook
) -> None:
    index = settings.landed / "index.sqlite"
    watched.lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    whole = index.read_bytes()
    for path in settings.landed.glob("index.sqlite*"):
        path.unlink()
    index.write_bytes(b"no database, as after a full disk " * 100)
    watched.lake.deliver("web/events/b.ndjson", ndjson([event(2)]))
    for _ in range(5):
        watched.tick(WATCH_SECONDS, woken=True)
    assert started.count("land") == 0
    assert sum("the inbox cannot be checked for new files, so nothing lands" in text for text in bodies(hook)) == 1
    index.write_bytes(whole)
    watched.tick(WATCH_SECONDS)
    assert started.count("land") == 1


def test_a_watcher_that_cannot_begin_says_so_and_begins_when_it_can(
    settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.jobs.mkdir(parents=True)
    journal = settings.jobs / "journal.sqlite"
    journal.write_bytes(b"no database, as after a full disk " * 100)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if pauses.count(WATCH_SECONDS) == 3:  # channels pause too
            journal.unlink(missing_ok=True)

    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch._begin(settings).tick(woken=False)
    assert pauses.count(WATCH_SECONDS) == 3
    (reported,) = bodies(hook)
    assert "the watcher cannot begin" in reported and "journal.sqlite" in reported


def test_a_clock_set_back_runs_nothing_twice_and_loses_nothing(
    watched: WatchedLake, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_jobs(monkeypatch, a_job("hourly", "0 * * * *"))
    watched.tick()

    def passes(hours: float) -> None:
        """This many hours of passes; whatever is asked for is done at once, and well."""
        for _ in range(int(hours * 60)):
            asked = len(started.jobs)
            watched.tick(60)
            if len(started.jobs) > asked:
                run_due(watched)
            started.end()

    passes(3.5)
    assert succeeded(watched) == hours_of(8, 7, 6, 5)
    watched.offset -= timedelta(hours=2)  # 06:30 once more; 07:00 and 08:00 are still to come
    watched.tick(WATCH_SECONDS)
    assert "the clock was set back: the run of hourly for 2026-11-22T08:00:00Z that says it began at" in caplog.text
    assert succeeded(watched) == hours_of(6, 5), "what ran for a time that is still to come is not believed"
    passes(4)
    assert succeeded(watched) == hours_of(10, 9, 8, 7, 6, 5), "each once"


def hours_of(*hours: int) -> list[str]:
    return [slot_of_instant(utc(f"2026-11-22 {hour:02}:00")) for hour in hours]


def run_due(watched: WatchedLake) -> None:
    """Do what a run does: begin what is due, and end well."""
    now = watched.now()
    with Journal(watched.lake.settings, watched.now) as journal:
        state = journal.read_schedule_state(watched.lake.settings, watch.JOBS, now)
        for decision in watch.decide(watch.JOBS, state, now, "Europe/Stockholm"):
            run_id = journal.begin(decision.job, decision.slot, decision.day, decision.due_at, None)
            assert run_id is not None
            journal.finish(run_id, "succeeded")


def succeeded(watched: WatchedLake) -> list[str]:
    """The slots whose runs succeeded, the last first."""
    with Journal(watched.lake.settings) as journal:
        return [run.slot for run in journal.history(1000) if run.status == "succeeded"]
