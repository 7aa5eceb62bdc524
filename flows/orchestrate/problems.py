"""What is wrong now, reported to alerting: nodes that fail, files that were refused, jobs that fail or are late.

Each ``observe_...`` writes down all that holds in its scope, so that alerting knows what is new and what is over; who
called it then sends that by :func:`flows.alerts.notify.deliver`. With ``only_close`` nothing new is reported: so
commands that a person types close what they fixed, and leave it to the service to say what is wrong.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from filelock import FileLock

from flows.alerts.incidents import Incident, open_incidents
from flows.alerts.notify import Problem, deliver, digest, note
from flows.clock import minute
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.receipt import FILE_REMEDY, Status
from flows.land.receipts import Receipts
from flows.land.sent import zone_failure
from flows.orchestrate.due import Decision, ScheduleState, instant_of_slot
from flows.orchestrate.job import BACKFILL, LAND, OPERATOR, Build, Job, Maintain, Publish
from flows.orchestrate.runs import FailureStreak, Wait
from flows.rights import make_private
from flows.schedule import JOBS
from flows.settings import Settings
from flows.text import one_line

NODES_FAILED = "nodes failed: "
BUILD_AGAIN = "tidemark build --retry && tidemark publish"

log = logging.getLogger("tidemark.problems")


@contextmanager
def observing(settings: Settings) -> Iterator[None]:
    """From reading how things stand to writing down what that means, one process at a time: or what one read would undo
    what another has seen since."""
    make_private(settings.jobs)
    with FileLock(settings.jobs / ".observing.lock"):
        yield


def observe_failing(settings: Settings, flow_run_id: str) -> None:
    """Report which models and tests fail. Raises nothing: a build must not fail because its report did."""
    # With them comes dbt, which the watcher has no need of.
    from flows.build.warehouse import once_free, warehouse_held  # noqa: PLC0415

    @once_free
    def look(settings: Settings) -> None:
        with warehouse_held(settings, "reporting what fails"):
            note_failing(settings, flow_run_url(settings, flow_run_id))

    try:
        look(settings)
        deliver(settings, datetime.now(UTC))
    except TidemarkError as error:
        log.error("what fails could not be reported to its owners: %s", error)


def note_failing(settings: Settings, link: str | None, only_close: bool = False) -> tuple[Incident, ...]:
    """Write down which models and tests fail, and return what is over. ``link`` is the page of the run that looks, if
    one does: it found what fails, and fixed what is over. The caller holds the lock of the warehouse, so that no other
    build comes between.

    Raises :class:`TidemarkError` where another process has the warehouse, or incidents cannot be written.
    """
    from flows.build.staleness import read_failing  # noqa: PLC0415

    found = [
        Problem(
            key=failing.unique_id,
            scope="build",
            title=f"{failing.kind} {failing.name} " + ("failed" if failing.is_blocking else "warns"),
            owner=failing.owner or OPERATOR,
            since=failing.since,
            detail=_detail(failing.path, failing.message, failing.skipped),
            rows=failing.rows or None,
            reproduce=f"tidemark build -- --select {failing.name}",
            link=link,
            is_warning=not failing.is_blocking,
            remedy=f"fix it, then `{BUILD_AGAIN}`",
        )
        for failing in read_failing(settings)
    ]
    return note(settings, "build", found, datetime.now(UTC), only_close, fixed_by=link).recovered


def _detail(path: str, message: str, skipped: Sequence[str]) -> str:
    waits = f"; as they were before: {', '.join(skipped)}" if skipped else ""
    return f"{path}: {message.strip()}{waits}"


def observe_refused(settings: Settings, only_close: bool = False) -> tuple[Incident, ...]:
    """Report which files were refused, or had no row that fits, and were not delivered again since; and where what
    landed could not be sent to the object store. Returns what is over.

    Raises :class:`TidemarkError` where the receipts cannot be read, or incidents not written.
    """
    owners = {name: spec.owner for name, spec in load_specs().items()}
    try:
        with closing(Receipts(settings)) as receipts:
            refused = receipts.last_of_each_file(Status.REFUSED)
            unfit = receipts.last_without_a_fit()
    except (OSError, sqlite3.Error, ValueError) as error:
        raise TidemarkError(f"the receipts below {settings.landed} cannot be read: {error}") from error
    titles = [(receipt, f"file {one_line(receipt.file)} was refused") for receipt in refused]
    titles += [(receipt, f"no row of file {one_line(receipt.file)} fits") for receipt in unfit]
    found = [
        Problem(
            key=f"file:{receipt.file}",
            scope="landing",
            title=title,
            owner=owners.get(receipt.dataset, OPERATOR),
            since=receipt.landed_at,
            detail=receipt.reason or "",
            rows=None,
            reproduce=None,
            link=None,
            remedy=FILE_REMEDY,
        )
        for receipt, title in titles
    ]
    if failure := zone_failure(settings):
        found.append(_not_sent(*failure))
    return note(settings, "landing", found, datetime.now(UTC), only_close).recovered


def _not_sent(why: str, since: datetime) -> Problem:
    return Problem(
        key="landed:not sent",
        scope="landing",
        title="what landed could not be sent to the object store",
        owner=OPERATOR,
        since=since,
        detail=why,
        rows=None,
        reproduce="tidemark land",
        link=None,
        remedy="it is tried again with each landing; `tidemark status` shows how it stands",
    )


def observe_schedule(
    settings: Settings,
    decisions: Sequence[Decision],
    state: ScheduleState,
    now: datetime,
    waits: Sequence[Wait] = (),
    only_close: bool = False,
) -> tuple[Incident, ...]:
    """Report which slots are past their deadline, and what they wait for. Returns what is over.

    One that was given up is as late as before, until the job succeeds for it or a later one; and while it cannot be
    known what landed, nothing is said to have recovered.
    """
    owners = {job.name: job.owner for job in JOBS}
    found = [
        Problem(
            key=_late_key(decision.job, decision.due_at),
            scope="schedule",
            title=f"job {decision.job} is late",
            owner=owners[decision.job],
            since=decision.due_at,
            detail=f"due at {minute(decision.due_at)} for {decision.day}; " + _stands(decision, waits),
            rows=None,
            reproduce="tidemark status",
            link=None,
        )
        for decision in decisions
        if decision.is_late
    ]
    reported = {problem.key for problem in found}
    given_up = {_late_key(job, due_at) for job, due_at in _given_up(state)}
    found += [
        incident.problem
        for incident in open_incidents(settings)
        if incident.problem.scope == "schedule" and incident.problem.key not in reported
        if state.trouble or incident.problem.key in given_up
    ]
    return note(settings, "schedule", found, now, only_close).recovered


def _late_key(job: str, due_at: datetime) -> str:
    return f"late:{job}:{due_at.isoformat()}"


def _given_up(state: ScheduleState) -> Iterator[tuple[str, datetime]]:
    """The slots of clocks that no later success of their job made up for, by when they were due."""
    for job, slots in state.failed.items():
        succeeded = [slot for slot in state.succeeded.get(job, ()) if instant_of_slot(slot)]
        for slot in slots:
            if (due_at := instant_of_slot(slot)) and slot > max(succeeded, default=""):
                yield job, due_at


def _stands(decision: Decision, waits: Sequence[Wait]) -> str:
    if decision.waits_for:
        return f"no data by the deadline: it waits for {', '.join(decision.waits_for)}"
    if decision.state == "due":
        return "nobody started it: is the worker up?"
    held_up = [wait.waits_for for wait in waits if wait.job == decision.job]
    return f"it runs, and waits for {'; '.join(held_up)}" if held_up else "it runs"


def observe_runs(
    settings: Settings, failures: Sequence[FailureStreak], now: datetime, only_close: bool = False
) -> tuple[Incident, ...]:
    """Report which jobs failed in all their tries, and return what is over. What models and tests made fail, the owners
    of these know."""
    jobs = {job.name: job for job in JOBS}
    allowed = {LAND: 0, BACKFILL: 0} | {job.name: job.retries for job in JOBS}
    found = [
        Problem(
            key=f"job:{run.job}",
            scope="flow",
            title=f"job {run.job} {run.status}",
            owner=jobs[run.job].owner if run.job in jobs else OPERATOR,
            since=failed.since,
            detail=f"{failed.tries} tries; the last: {run.message or ''}",
            rows=None,
            reproduce=by_hand(run.job, jobs.get(run.job)),
            link=flow_run_url(settings, run.flow_run_id) if run.flow_run_id else None,
        )
        for failed in failures
        for run in [failed.newest]
        # A job that the schedule no longer has will not succeed again, and is nobody's any more.
        if run.job in allowed and failed.tries > allowed[run.job] and not (run.message or "").startswith(NODES_FAILED)
    ]
    return note(settings, "flow", found, now, only_close).recovered


def by_hand(name: str, job: Job | None) -> str | None:
    """The commands that do by hand what a job does; None where only its flow can."""
    if job is None:
        return {LAND: "tidemark land", BACKFILL: "tidemark build --from ... --to ..."}[name]
    commands: list[str] = []
    for asked in job.runs:
        match asked:
            case Build(select=None):
                commands.append("tidemark build --retry")
            case Build(select=str(select)):
                commands.append(f'tidemark build -- --select "{select}"')
            case Publish():
                commands.append("tidemark publish")
            case Maintain(task="test" | "audit" | "compact" | "expire" | "erase" as task):
                commands.append(f"tidemark {task}")
            case Maintain(task="topics"):
                commands.append("tidemark topics label")
            case _:
                return None
    return " && ".join(commands)


def observe_server(settings: Settings, error: str | None, now: datetime) -> None:
    """Report that Prefect's server does not answer, or does again."""
    found = Problem(
        key="server",
        scope="server",
        title="Prefect's server does not answer",
        owner=OPERATOR,
        since=now,
        detail=f"{api_url(settings)}: {error}; nothing lands and no job starts meanwhile; nothing is lost",
        rows=None,
        reproduce="make serve",
        link=None,
    )
    note(settings, "server", [found] if error else [], now)


def send_digest(settings: Settings) -> int:
    """Send the day's digest of warnings."""
    return digest(settings, datetime.now(UTC))


def api_url(settings: Settings) -> str:
    """Where Prefect's API is."""
    host = settings.server_host
    # What listens on all addresses answers on this one; of IPv6 the address is in brackets.
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return os.environ.get("PREFECT_API_URL") or f"http://{here}:{settings.server_port}/api"


def flow_run_url(settings: Settings, flow_run_id: str) -> str:
    """The page of a flow run."""
    return f"{_ui_url(settings)}/runs/flow-run/{flow_run_id}"


def deployment_url(settings: Settings, deployment_id: str) -> str:
    """The page of a deployment, from which people start a run of it."""
    return f"{_ui_url(settings)}/deployments/deployment/{deployment_id}"


def _ui_url(settings: Settings) -> str:
    return os.environ.get("PREFECT_UI_URL") or api_url(settings).removesuffix("/api")
