"""The flows that Prefect runs: landing, and each job of the schedule.

A trigger only wakes a run; what is due it asks :mod:`flows.decide`. One run of a job is at work at a time and one more
may wait for it; others leave at once, for the one that waits will do what they were woken for.
"""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.audit import audit
from flows.backfill_flow import backfill_days
from flows.build import Build as Built
from flows.build import build, build_open, run_every_test
from flows.decide import MANUAL, Decision, decide
from flows.errors import TidemarkError
from flows.journal import Journal
from flows.land import Landing, land
from flows.problems import NODES_FAILED, observe_failing, send_digest
from flows.publish import publish
from flows.record import record_nodes
from flows.schedule import (
    BACKFILL,
    JOBS,
    LAND,
    Build,
    Extract,
    Job,
    Maintain,
    Publish,
    Step,
    local_day,
    organisation_timezone,
)
from flows.settings import Settings
from flows.steps import flow_run_id, noted, step, turn
from flows.writer import one_writer, seen_to_wait

DEPLOYMENT = "tidemark"
# What comes before a flow's name where Prefect looks for it here, or a job could have the name of a function here.
ENTRYPOINT = "flow__"
LANDED = "tidemark.landed"
JOB_SUCCEEDED = "tidemark.job.succeeded"
# Prefect begins a scheduled run up to a second before its time.
EARLY_SECONDS = 15.0


class NodesFailedError(TidemarkError):
    """Models or tests failed; what does not hang on them was built."""

    def __init__(self, built: Iterable[Built]) -> None:
        names = ", ".join(node.name for done in built for node in done.failed)
        super().__init__(
            f"{NODES_FAILED}{names}; `tidemark build --retry` builds what hangs on them once they are mended"
        )


@dataclass(frozen=True)
class _Run:
    """What the steps of a run share, and what they built."""

    settings: Settings
    journal: Journal
    job: str
    flow_run_id: str
    built: list[Built] = field(default_factory=list)


@flow(name=LAND, description="Lands what settled in the inbox; the watcher starts it.")
def land_inbox() -> State[Any]:
    """Land what settled, and tell whoever waits for arrivals which datasets came."""
    settings = Settings()
    started = datetime.now(UTC)
    with Journal(settings) as journal:
        run_id = journal.begin(LAND, f"{MANUAL}{flow_run_id()}", local_day(started), started, flow_run_id())
        if run_id is None:
            return Completed(
                name="Gathered", message="another landing is at work, and the watcher looks again after it"
            )
        with noted(journal, run_id):
            landing = step("land", lambda: land(settings, wait_for_young=False))
    _tell_landing(landing)
    return Completed(
        message=f"{landing.rows('rows_landed'):,} rows landed from {len(landing.receipts):,} files, "
        f"{landing.rows('rows_rejected'):,} quarantined"
    )


def _tell_landing(landing: Landing) -> None:
    log = get_run_logger()
    for receipt in landing.receipts:
        why = f": {receipt.reason}" if receipt.reason else ""
        counts = f"{receipt.rows_landed:,} rows landed, {receipt.rows_rejected:,} quarantined"
        log.info(f"{receipt.file}: {receipt.status}, {counts}{why}")
    datasets = sorted({receipt.dataset for receipt in landing.receipts if receipt.rows_landed})
    if datasets:
        emit_event(
            event=LANDED,
            resource={"prefect.resource.id": "tidemark.lake", "prefect.resource.name": "lake"},
            related=[
                {"prefect.resource.id": dataset_resource(d), "prefect.resource.role": "dataset"} for d in datasets
            ],
            payload={"batch_id": max(receipt.batch_id for receipt in landing.receipts)},
        )


def dataset_resource(dataset: str) -> str:
    """The resource id of a dataset in events."""
    return f"tidemark.dataset.{dataset}"


def job_resource(job: str) -> str:
    """The resource id of a job in events."""
    return f"tidemark.job.{job}"


def flow_of(job: Job) -> Flow[Any, Any]:
    """The flow of a job. Its parameter ``only_if_due`` is what triggers set: by hand, a job runs whether due or not."""

    def run(only_if_due: bool = False) -> State[Any]:
        return _run_job(job, only_if_due)

    return flow(name=job.name, description=f"{job.description} Owner: {job.owner}.")(run)


def _run_job(job: Job, only_if_due: bool) -> State[Any]:
    settings = Settings()
    _wait_for_schedule()
    with Journal(settings) as journal, _turn(settings, journal, job.name, only_if_due) as is_mine:
        if not is_mine:
            return Completed(name="Gathered", message=f"another run of {job.name} waits already, and will do this")
        run = _Run(settings, journal, job.name, flow_run_id())
        done: list[str] = []
        decisions = _decisions(run, job)
        while due := next((d for d in decisions if d.state == "due"), None):
            if not _run_slot(replace(run, built=[]), job, due.slot, due):
                break
            done.append(due.slot)
            decisions = _decisions(run, job)
        if not only_if_due and not done:
            done += _run_by_hand(run, job, decisions)
    if done:
        return Completed(message=f"done: {', '.join(done)}")
    if waiting := [f"{d.slot} waits for {', '.join(d.waits_for)}" for d in decisions if d.state == "waits"]:
        return Completed(name="Waiting", message="; ".join(waiting))
    return Completed(name="NothingDue", message=f"{job.name} has nothing due")


def _wait_for_schedule() -> None:
    """Before its time the slot of a clock is not due: a run that began early would leave it to the watcher."""
    begins = runtime.flow_run.scheduled_start_time
    if begins and 0 < (early := (begins - datetime.now(UTC)).total_seconds()) <= EARLY_SECONDS:
        time.sleep(early)


def _run_by_hand(run: _Run, job: Job, decisions: Iterable[Decision]) -> list[str]:
    """Somebody does not want to wait: then what waits is done without what it waits for, else the job for no slot."""
    waiting = [d for d in decisions if d.state == "waits"]
    done = [d.slot for d in waiting if _run_slot(replace(run, built=[]), job, d.slot, d)]
    if not waiting and _run_slot(run, job, slot := f"{MANUAL}{run.flow_run_id}", None):
        done.append(slot)
    return done


def _decisions(run: _Run, job: Job) -> list[Decision]:
    now = datetime.now(UTC)
    run.journal.seen(JOBS, now)
    known = run.journal.known(run.settings, JOBS, now)
    return [d for d in decide(JOBS, known, now, organisation_timezone()) if d.job == job.name]


def _run_slot(run: _Run, job: Job, slot: str, due: Decision | None) -> bool:
    """Do the job's steps for a slot; False where another process was quicker."""
    now = datetime.now(UTC)
    day, due_at = (due.day, due.due_at) if due else (local_day(now), now)
    run_id = run.journal.begin(job.name, slot, day, due_at, run.flow_run_id)
    if run_id is None:
        return False
    with noted(run.journal, run_id):
        try:
            for asked in job.runs:
                _take(run, asked)
        finally:
            _tell_built(run)
        if any(done.failed for done in run.built):
            raise NodesFailedError(run.built)
    emit_event(
        event=JOB_SUCCEEDED,
        resource={"prefect.resource.id": job_resource(job.name), "prefect.resource.name": job.name},
        payload={"slot": slot},
    )
    return True


def _take(run: _Run, asked: Step) -> None:
    settings = run.settings
    match asked:
        case Build(select=None):
            _build(run, "build", lambda: build_open(settings))
        case Build(select=str(select)):
            _build(run, f"build {select}", lambda: build(settings, ("--select", *select.split())))
        case Publish():
            with one_writer(settings, run.journal, run.job, run.flow_run_id):
                step("publish", lambda: publish(settings))
        case Extract(function=name):
            step(f"extract {name}", lambda: _function(name)(settings))
        case Maintain(task=name):
            MAINTAIN[name](run)


def _build(run: _Run, name: str, work: Callable[[], Built | None]) -> None:
    """Build or test. Failed nodes stop no later step: what does not hang on them goes on."""

    def work_or_fail() -> Built | None:
        done = work()
        # Where nothing was open, what failed before may be mended all the same, by hand.
        run.built.append(done or Built())
        if done and done.failed:
            raise NodesFailedError([done])
        return done

    with one_writer(run.settings, run.journal, run.job, run.flow_run_id), suppress(NodesFailedError):
        step(name, work_or_fail)


def _tell_built(run: _Run) -> None:
    """Tell the server how each node went, and owners what fails or no longer does: last, as nobody waits for it."""
    if any(done.nodes for done in run.built):
        record_nodes(run.built)
    if run.built:
        observe_failing(run.settings, run.flow_run_id)


def _audit(run: _Run) -> None:
    def work() -> None:
        if findings := audit(run.settings).findings:
            first = "; ".join(f"{found.dataset}, {found.step}: {found.text} {found.remedy}" for found in findings[:5])
            raise TidemarkError(f"the audit found {len(findings)} faults; `tidemark audit` tells all of them: {first}")

    with one_writer(run.settings, run.journal, run.job, run.flow_run_id):
        step("audit", work)


# What the tasks of a Maintain step do; their names are flows.schedule.MAINTENANCE.
MAINTAIN: dict[str, Callable[[_Run], Any]] = {
    "test": lambda run: _build(run, "test", lambda: run_every_test(run.settings)),
    "audit": _audit,
    "digest": lambda run: step("digest", lambda: send_digest(run.settings)),
}


def _function(name: str) -> Callable[[Settings], Any]:
    module, _, attribute = name.partition(":")
    function: Callable[[Settings], Any] = getattr(importlib.import_module(module), attribute)
    return function


@contextmanager
def _turn(settings: Settings, journal: Journal, job: str, only_if_due: bool) -> Iterator[bool]:
    """One run of a job at work, one more that waits for it; True for these, False for any other that was woken.

    A run by hand does what nobody else will, so it waits in any case.
    """
    settings.jobs.mkdir(parents=True, exist_ok=True)
    queue = FileLock(settings.jobs / f".{job}.queue.lock")
    try:
        queue.acquire(timeout=0)
    except Timeout:
        if only_if_due:
            yield False
            return
        with seen_to_wait(journal, job, flow_run_id(), f"the runs of {job} before it"):
            queue.acquire()
    with ExitStack() as mine:
        try:
            mine.enter_context(turn(settings, journal, job))
        finally:
            queue.release()
        yield True


FLOWS: dict[str, Flow[Any, Any]] = {
    LAND: land_inbox,
    BACKFILL: backfill_days,
    **{job.name: flow_of(job) for job in JOBS},
}


def entrypoint(name: str) -> str:
    """Where the worker finds the flow of this name."""
    return f"{__name__}.{ENTRYPOINT}{name}"


def __getattr__(name: str) -> Any:
    if name.startswith(ENTRYPOINT) and (found := FLOWS.get(name.removeprefix(ENTRYPOINT))):
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
