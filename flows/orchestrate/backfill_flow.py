"""The flow of backfills: each chunk is a task, and before each one it gives way to everything else.

A backfill has time. While a job is due or at work, or any other run waits for the warehouse, the next chunk waits too,
but for :data:`GIVE_WAY_SECONDS` at most, or jobs without a pause would starve it.
"""

import time
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.build.backfill import Chunk, Rebuilt, Request, check, plan, rebuild
from flows.build.build import Build
from flows.clock import local_day, organisation_timezone
from flows.errors import TidemarkError
from flows.orchestrate import report
from flows.orchestrate.due import MANUAL, decide
from flows.orchestrate.job import BACKFILL
from flows.orchestrate.journal import Journal
from flows.orchestrate.problems import observe_failing
from flows.orchestrate.report import NodesFailedError, Report, failures_of
from flows.orchestrate.run_names import days, first_name, rename
from flows.orchestrate.steps import exclusive_run, flow_run_id, outcome, record_outcome, show_site, step
from flows.orchestrate.task_runs import record_nodes
from flows.orchestrate.writer import one_writer, show_waiting
from flows.publish.publish import Publication, publish
from flows.schedule import JOBS
from flows.settings import Settings

# Before a chunk, a backfill gives way for so long and no longer.
GIVE_WAY_SECONDS = 600.0
LOOK_SECONDS = 1.0


@flow(
    name=BACKFILL,
    flow_run_name=first_name(BACKFILL),
    description="Rebuilds days of what is partitioned by day, chunk by chunk, and publishes it. `select` names the "
    "models in dbt's syntax; what is downstream of them is rebuilt too. Started again with the same parameters, it "
    "continues where it stopped.",
)
def backfill_days(first_day: date, last_day: date, select: str = "", chunk_days: int = 7) -> State[Any]:
    """Rebuild these days, both ends included, and publish. One backfill at a time; others wait for it.

    It fails where the request is wrong, and where models or tests of a chunk failed: then what is good is published
    first.
    """
    return outcome(lambda: _backfill(Request(first_day, last_day, select, chunk_days)))


def _backfill(request: Request) -> State[Any]:
    settings = Settings()
    run, started = flow_run_id(), datetime.now(UTC)
    check(settings, request)
    rename(run, BACKFILL, days(request.first_day, request.last_day), started)
    with Journal(settings) as journal, exclusive_run(settings, journal, BACKFILL):
        started = datetime.now(UTC)
        run_id = journal.begin(BACKFILL, f"{MANUAL}{run}", local_day(started), started, run)
        if run_id is None:
            raise TidemarkError(f"flow run {run} has done its backfill already; start a new run")
        with record_outcome(journal, run_id):
            done = _rebuild_all(settings, journal, run, request)
    return Completed(message=done)


def _rebuild_all(settings: Settings, journal: Journal, flow_run_id: str, request: Request) -> str:
    """Do what is left, publish, and report what was done."""
    with one_writer(settings, journal, BACKFILL, flow_run_id):
        chunks = step("plan", lambda: plan(settings, request))
    built: list[Build] = []
    published: list[Publication] = []
    try:
        for chunk in chunks:
            _give_way(settings, journal, flow_run_id)
            get_run_logger().info(f"chunk {chunk.number} of {chunk.count}: {chunk.days}")
            done = _rebuild(settings, journal, flow_run_id, chunk)
            record_nodes(done.builds, recorded=sum(len(build.nodes) for build in built))
            built += done.builds
            if not done.is_done:
                break
        with one_writer(settings, journal, BACKFILL, flow_run_id):
            published.append(step("publish", lambda: publish(settings)))
        show_site(settings)
    finally:
        failures = tuple(failures_of(built))
        about = days(request.first_day, request.last_day)
        title = f"{BACKFILL} · {about} · {'failed' if failures or not published else 'done'}"
        report.write(BACKFILL, Report(title, failures, tuple(built), published[0] if published else None))
        observe_failing(settings, flow_run_id)
    if not done.is_done:
        raise _failed(done)
    if why := published[0].unsent:
        raise TidemarkError(f"published here, and not sent to the object store: {why}; the next run tries again")
    return f"{len(chunks)} of {chunks[-1].count} chunks rebuilt, the others before"


def _rebuild(settings: Settings, journal: Journal, flow_run_id: str, chunk: Chunk) -> Rebuilt:
    """Rebuild a chunk as a task of its own, which fails where the chunk does."""
    rebuilt: list[Rebuilt] = []

    def rebuild_or_fail() -> None:
        rebuilt.append(rebuild(settings, chunk))
        if not rebuilt[0].is_done:
            error = _failed(rebuilt[0])
            report.log_failures(error.failures)
            raise error

    with one_writer(settings, journal, BACKFILL, flow_run_id), suppress(NodesFailedError):
        step(chunk.days, rebuild_or_fail)
    return rebuilt[0]


def _failed(done: Rebuilt) -> NodesFailedError:
    return NodesFailedError(
        failures_of(done.builds),
        "once they are fixed, start the backfill again with the same parameters: it goes on here",
    )


def _give_way(settings: Settings, journal: Journal, flow_run_id: str) -> None:
    """Wait while anything else has work for the warehouse, for a while."""
    until = time.monotonic() + GIVE_WAY_SECONDS
    while first := _first_in_line(settings, journal, flow_run_id):
        with show_waiting(journal, BACKFILL, flow_run_id, first):
            while time.monotonic() < until and _first_in_line(settings, journal, flow_run_id) == first:
                time.sleep(LOOK_SECONDS)
        if time.monotonic() >= until:
            get_run_logger().warning(f"gave way for {GIVE_WAY_SECONDS:.0f} s, so a chunk is next, before {first}")
            return


def _first_in_line(settings: Settings, journal: Journal, flow_run_id: str) -> str | None:
    """What has work to do before a backfill: a job that is due or at work, so also what landed and is not yet built,
    or a run that waits for its turn. None where nothing does."""
    now = datetime.now(UTC)
    state = journal.read_schedule_state(settings, JOBS, now)
    for job, slots in sorted(state.running.items()):
        if slots:
            return f"{job}, which is at work"
    for decision in decide(JOBS, state, now, organisation_timezone()):
        if decision.state == "due":
            return f"{decision.job}, which is due"
    for wait in journal.waits():
        if wait.job != BACKFILL and wait.flow_run_id != flow_run_id:
            return f"{wait.job}, which waits for {wait.waits_for}"
    return None
