"""The flows that Prefect runs: landing, and each job of the schedule.

A trigger only wakes a run; what is due it asks :mod:`flows.orchestrate.due`. One run of a job is at work at a time and
one more may wait for it; others leave at once, for the one that waits will do what they were woken for.
"""

import logging
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

from flows.audit.audit import audit
from flows.build.build import Build as Built
from flows.build.build import build, build_pending, run_every_test
from flows.clock import local_day, organisation_timezone
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.land import Landing, land
from flows.land.receipt import FILE_REMEDY, Receipt, Status
from flows.orchestrate import report
from flows.orchestrate.backfill_flow import backfill_days
from flows.orchestrate.due import MANUAL, Decision, ScheduleState, decide, files_gathered
from flows.orchestrate.event_names import JOB_SUCCEEDED, LANDED, dataset_resource, job_resource
from flows.orchestrate.extract_jobs import run_extract
from flows.orchestrate.job import BACKFILL, LAND, OPERATOR, Build, Extract, Job, Maintain, Publish, Step
from flows.orchestrate.journal import Journal
from flows.orchestrate.problems import (
    BUILD_AGAIN,
    deployment_url,
    flow_run_url,
    observe_failing,
    send_digest,
)
from flows.orchestrate.report import (
    Failure,
    Link,
    NodesFailedError,
    Report,
    counted_by_kind,
    failure_of_job,
    failures_of,
)
from flows.orchestrate.run_names import BY_HAND, first_name, rename
from flows.orchestrate.runs import RunStatus
from flows.orchestrate.steps import exclusive_run, flow_run_id, outcome, record_outcome, show_site, step
from flows.orchestrate.task_runs import record_nodes
from flows.orchestrate.writer import one_writer, show_waiting
from flows.privacy.erase import erase
from flows.privacy.renew import is_behind, renewed_build
from flows.privacy.retention import expire
from flows.publish.publish import NothingGoodError, Publication, publish
from flows.release.releases import is_outdated
from flows.rights import make_private
from flows.schedule import JOBS
from flows.settings import Settings
from flows.text import counted
from flows.topics.job import label_what_came

DEPLOYMENT = "tidemark"
# What comes before a flow's name where Prefect looks for it here, or a job could have the name of a function here.
ENTRYPOINT = "flow__"
# Prefect begins a scheduled run up to a second before its time.
EARLY_SECONDS = 15.0
REMEDY = f"once they are fixed, `{BUILD_AGAIN}`, or the next run, builds the rest"


@dataclass(frozen=True)
class _Run:
    """What the steps of a run share, and what they built and published for a slot."""

    settings: Settings
    journal: Journal
    job: str
    flow_run_id: str
    began: datetime
    built: list[Built] = field(default_factory=list)
    published: list[Publication] = field(default_factory=list)

    def for_slot(self) -> "_Run":
        """The same run, which has built and published nothing yet."""
        return replace(self, built=[], published=[])


@flow(name=LAND, flow_run_name=first_name(LAND), description="Lands what settled in the inbox; the watcher starts it.")
def land_inbox() -> State[Any]:
    """Land what settled, and let whoever waits for arrivals know which datasets came."""
    return outcome(_land_inbox)


def _land_inbox() -> State[Any]:
    settings = Settings()
    started = datetime.now(UTC)
    with Journal(settings) as journal:
        run_id = journal.begin(LAND, f"{MANUAL}{flow_run_id()}", local_day(started), started, flow_run_id())
        if run_id is None:
            return Completed(
                name="Gathered", message="another landing is at work, and the watcher looks again after it"
            )
        with record_outcome(journal, run_id):
            try:
                landing = step("land", lambda: land(settings, wait_for_young=False))
            except TidemarkError as error:
                report.write(LAND, Report(f"{LAND} failed", (failure_of_job(LAND, None, error),)))
                raise
    rename(flow_run_id(), LAND, counted(len(landing.receipts), "file"), started)
    _report_landing(landing)
    refused = sum(receipt.status == Status.REFUSED for receipt in landing.receipts)
    return Completed(
        message=f"{landing.rows('rows_landed'):,} rows landed from {counted(len(landing.receipts), 'file')}, "
        f"{landing.rows('rows_rejected'):,} quarantined" + (f"; {counted(refused, 'file')} refused" if refused else "")
    )


def _report_landing(landing: Landing) -> None:
    log = get_run_logger()
    for receipt in landing.receipts:
        why = f": {receipt.reason}" if receipt.reason else ""
        counts = f"{receipt.rows_landed:,} rows landed, {receipt.rows_rejected:,} quarantined"
        level = logging.WARNING if receipt.status == Status.REFUSED or receipt.rows_rejected else logging.INFO
        log.log(level, f"{receipt.file}: {receipt.status}, {counts}{why}")
    if refused := [receipt for receipt in landing.receipts if receipt.status == Status.REFUSED]:
        failures = tuple(_failure_of_file(receipt) for receipt in refused)
        rest = len(landing.receipts) - len(refused)
        title = f"{LAND} · {counted(len(refused), 'file')} refused of {len(landing.receipts):,}"
        report.write(LAND, Report(title, failures, notes=("The other files landed.",) if rest else ()))
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


def _failure_of_file(receipt: Receipt) -> Failure:
    spec = load_specs().get(receipt.dataset)
    return Failure(
        title=f"file {receipt.file}",
        why=(receipt.reason or "it was refused",),
        owner=spec.owner if spec else OPERATOR,
        path="",
        command="",
        verb="was refused",
        remedy=FILE_REMEDY,
    )


def flow_of(job: Job) -> Flow[Any, Any]:
    """The flow of a job. Its parameter ``only_if_due`` is what triggers set: by hand, a job runs whether due or not."""

    def run(only_if_due: bool = False) -> State[Any]:
        return outcome(lambda: _run_job(job, only_if_due))

    description = f"{job.description} Owner: {job.owner}."
    return flow(name=job.name, flow_run_name=first_name(job.name), description=description)(run)


def _run_job(job: Job, only_if_due: bool) -> State[Any]:
    settings = Settings()
    _wait_for_schedule()
    with Journal(settings) as journal, _queued_run(settings, journal, job.name, only_if_due) as is_mine:
        if not is_mine:
            return Completed(name="Gathered", message=f"another run of {job.name} waits already, and will do this")
        run = _Run(settings, journal, job.name, flow_run_id(), datetime.now(UTC))
        done: list[str] = []
        state, decisions = _decisions(run, job)
        while due := next((d for d in decisions if d.state == "due"), None):
            if (only_if_due or done) and is_outdated(settings):
                return Completed(name="Outdated", message=f"{due.slot} is left to a run of the release deployed since")
            if not _run_slot(run.for_slot(), job, due.slot, due, state):
                break
            done.append(due.slot)
            state, decisions = _decisions(run, job)
        if not only_if_due and not done:
            done += _run_by_hand(run, job, decisions, state)
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


def _run_by_hand(run: _Run, job: Job, decisions: Iterable[Decision], state: ScheduleState) -> list[str]:
    """Somebody does not want to wait: then what waits is done without what it waits for, else the job for no slot."""
    waiting = [d for d in decisions if d.state == "waits"]
    done = [d.slot for d in waiting if _run_slot(run.for_slot(), job, d.slot, d, state)]
    if not waiting and _run_slot(run, job, slot := f"{MANUAL}{run.flow_run_id}", None, state):
        done.append(slot)
    return done


def _decisions(run: _Run, job: Job) -> tuple[ScheduleState, list[Decision]]:
    now = datetime.now(UTC)
    run.journal.seen(JOBS, now)
    state = run.journal.read_schedule_state(run.settings, JOBS, now)
    return state, [d for d in decide(JOBS, state, now, organisation_timezone()) if d.job == job.name]


def _run_slot(run: _Run, job: Job, slot: str, due: Decision | None, state: ScheduleState) -> bool:
    """Do the job's steps for a slot; False where another process was quicker."""
    now = datetime.now(UTC)
    day, due_at = (due.day, due.due_at) if due else (local_day(now), now)
    run_id = run.journal.begin(job.name, slot, day, due_at, run.flow_run_id)
    if run_id is None:
        return False
    gathered = files_gathered(job, state, slot)
    about = BY_HAND if due is None else str(day) if gathered is None else counted(gathered, "file")
    rename(run.flow_run_id, job.name, about, run.began)
    with record_outcome(run.journal, run_id):
        error: BaseException | None = None
        try:
            for asked in job.runs:
                _take(run, asked)
            if failures := failures_of(run.built):
                raise NodesFailedError(failures, REMEDY)
        except BaseException as raised:  # also of a person who cancels it
            error = raised
            raise
        finally:
            _report(run, job, about, error)
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
            _build(run, "build", lambda: build_pending(settings))
        case Build(select=str(select)):
            _build(run, f"build {select}", lambda: build(settings, ("--select", *select.split())))
        case Publish():
            _publish(run)
            show_site(run.settings)
        case Extract(what=name):
            step(f"extract {name}", lambda: run_extract(settings, name, get_run_logger().info))
        case Maintain(task=name):
            MAINTAIN[name](run)


def _build(run: _Run, name: str, work: Callable[[], Built | None]) -> None:
    """Build or test. Failed nodes stop no later step: what is not downstream of them goes on."""

    def work_or_fail() -> Built | None:
        done = work()
        # Where nothing was pending, what failed before may be fixed all the same, by hand.
        run.built.append(done or Built())
        if done and done.failed:
            failures = failures_of([done])
            report.log_failures(failures)
            raise NodesFailedError(failures, REMEDY)
        return done

    with one_writer(run.settings, run.journal, run.job, run.flow_run_id), suppress(NodesFailedError):
        step(name, work_or_fail)


def _publish(run: _Run) -> None:
    """Publish what is good. Where nothing is because of what failed, that is what the run is about."""
    with one_writer(run.settings, run.journal, run.job, run.flow_run_id):
        try:
            run.published.append(step("publish", lambda: publish(run.settings)))
        except NothingGoodError:
            if not failures_of(run.built):
                raise
            return
        if why := run.published[-1].unsent:
            raise TidemarkError(f"published here, and not sent to the object store: {why}; the next run tries again")


def _report(run: _Run, job: Job, about: str, error: BaseException | None) -> None:
    """Say on the run's page how it went, and alert owners to what fails or no longer does: last, as nobody waits for
    it."""
    failures = failed_nodes = tuple(failures_of(run.built))
    if isinstance(error, Exception) and not isinstance(error, NodesFailedError):
        failures = (failure_of_job(job.name, job, error), *failures)
    verdict = f"failed: {counted_by_kind(failures)}" if failures else "stopped" if error else "done"
    made = Report(
        title=f"{job.name} · {about} · {verdict}",
        failures=failures,
        notes=(f"{REMEDY[0].upper()}{REMEDY[1:]}.",) if failed_nodes else (),
        builds=tuple(run.built),
        publication=run.published[-1] if run.published else None,
        links=tuple(_links(run)),
    )
    if any(built.nodes for built in run.built):
        record_nodes(run.built)
    report.write(job.name, made)  # the newest artifact is the first on the page
    if run.built:
        observe_failing(run.settings, run.flow_run_id)


def _links(run: _Run) -> Iterator[Link]:
    last = next((r for r in run.journal.newest() if r.job == run.job and r.status is RunStatus.SUCCEEDED), None)
    if last and last.flow_run_id and last.flow_run_id != run.flow_run_id:
        yield Link("the last run that succeeded", flow_run_url(run.settings, last.flow_run_id))
    if deployment := runtime.deployment.id:
        yield Link(f"run {run.job} again", deployment_url(run.settings, str(deployment)))


def _audit(run: _Run) -> None:
    def work() -> None:
        if findings := audit(run.settings).findings:
            first = "; ".join(f"{found.dataset}, {found.step}: {found.text} {found.remedy}" for found in findings[:5])
            raise TidemarkError(f"the audit found {len(findings)} faults; `tidemark audit` lists all of them: {first}")

    with one_writer(run.settings, run.journal, run.job, run.flow_run_id):
        step("audit", work)


def _expire(run: _Run) -> None:
    step("expire", lambda: expire(run.settings))
    if is_behind(run.settings):
        _build(run, "renew", lambda: renewed_build(run.settings))


def _erase(run: _Run) -> None:
    with one_writer(run.settings, run.journal, run.job, run.flow_run_id):
        step("erase", lambda: erase(run.settings))


# What the tasks of a Maintain step do; their names are flows.orchestrate.job.MAINTENANCE.
MAINTAIN: dict[str, Callable[[_Run], Any]] = {
    "test": lambda run: _build(run, "test", lambda: run_every_test(run.settings)),
    "audit": _audit,
    "compact": lambda run: step("compact", lambda: compact(run.settings).raise_faults()),
    "expire": _expire,
    "erase": _erase,
    "topics": lambda run: step("topics", lambda: label_what_came(run.settings, get_run_logger().info)),
    "digest": lambda run: step("digest", lambda: send_digest(run.settings)),
}


@contextmanager
def _queued_run(settings: Settings, journal: Journal, job: str, only_if_due: bool) -> Iterator[bool]:
    """One run of a job at work, one more that waits for it; True for these, False for any other that was woken.

    A run by hand does what nobody else will, so it waits in any case.
    """
    make_private(settings.jobs)
    queue = FileLock(settings.jobs / f".{job}.queue.lock")
    try:
        queue.acquire(timeout=0)
    except Timeout:
        if only_if_due:
            yield False
            return
        with show_waiting(journal, job, flow_run_id(), f"the runs of {job} before it"):
            queue.acquire()
    with ExitStack() as mine:
        try:
            mine.enter_context(exclusive_run(settings, journal, job))
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
