"""How jobs, the service and incidents stand: what ran, runs, waits and comes next; whether the server answers.

Read from the journal, the incidents and the supervisor; the server is only asked whether it answers. Nothing is
written but the landing index where it was behind. How lake and publication stand is in :mod:`flows.status.lake`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from flows.alerts.incidents import Incident, open_incidents, unsent
from flows.clock import ago, minute, organisation_timezone
from flows.errors import TidemarkError
from flows.orchestrate.due import MANUAL, Decision, ScheduleState, decide, next_due
from flows.orchestrate.job import LAND, Arrival, Job, Success
from flows.orchestrate.journal import Journal
from flows.orchestrate.runs import FailureStreak, JobRun, RunStatus, Wait
from flows.orchestrate.service.supervisor import programs, ui_url
from flows.orchestrate.service.watcher import server_error
from flows.schedule import JOBS
from flows.settings import Settings
from flows.status.describe_lake import Section
from flows.text import counted, cut

# How many slots of a job are shown, and how many characters of what went wrong.
SHOWN_SLOTS = 5
SHOWN_CHARACTERS = 300
# A supervised program with which nothing is wrong.
GOOD_STATES = ("RUNNING", "STARTING")


@dataclass(frozen=True)
class LastSuccess:
    """When a job last succeeded, in UTC, and for which slot."""

    slot: str
    finished_at: datetime


@dataclass(frozen=True)
class RunningNow:
    """A run at work since a moment in UTC; ``is_gone``: its process is no more, and nobody has noted that yet."""

    slot: str
    since: datetime
    attempt: int
    is_gone: bool


@dataclass(frozen=True)
class FailingNow:
    """The failures of a job since it last succeeded. ``is_given_up``: there were as many as it may have tries."""

    tries: int
    since: datetime
    status: str
    slot: str
    message: str
    is_given_up: bool


@dataclass(frozen=True)
class JobHealth:
    """How a job stands. ``open_slots`` are due or wait; ``next_due`` is None where it is ``triggered_by`` something
    other than a clock. ``is_late``: some slot is past its deadline, be it that it waits, was not begun, or runs."""

    job: str
    owner: str
    last_success: LastSuccess | None
    running: RunningNow | None
    failing: FailingNow | None
    open_slots: tuple[Decision, ...]
    waiting: tuple[Wait, ...]
    next_due: datetime | None
    triggered_by: Annotated[str | None, Field(serialization_alias="hangs_on")]
    is_late: bool

    @property
    def needs_a_person(self) -> bool:
        """Whether it is late, or failed in all its tries."""
        return self.is_late or bool(self.failing and self.failing.is_given_up)


@dataclass(frozen=True)
class JobsHealth:
    """Every job. ``note`` says what of that cannot be read and why; ``is_broken`` that a person must see to it."""

    jobs: tuple[JobHealth, ...] = ()
    note: str | None = None
    is_broken: bool = False


@dataclass(frozen=True)
class Program:
    """A supervised program, its state as supervisord calls it (``RUNNING``, ``BACKOFF``), and more of it."""

    name: str
    state: str
    note: str


@dataclass(frozen=True)
class ServiceHealth:
    """Whether `tidemark serve` runs, how its programs are, and why the server does not answer, where it does not."""

    is_served: bool
    programs: tuple[Program, ...]
    server_error: str | None
    ui_url: str

    @property
    def needs_a_person(self) -> bool:
        """Whether it is served, and not well. Not to serve is no fault: runs may be started by cron."""
        is_well = self.server_error is None and all(p.state in GOOD_STATES for p in self.programs)
        return self.is_served and not is_well


@dataclass(frozen=True)
class OpenIncident:
    """A problem that holds, or is over. ``is_delivered``: every channel of its owner has the messages about it;
    ``attempts`` is how often that was tried in vain, ``unsent_error`` what went wrong last."""

    title: str
    owner: str
    since: datetime
    detail: str
    reproduce: str | None
    remedy: str | None
    link: str | None
    is_warning: bool
    is_over: bool
    is_delivered: Annotated[bool, Field(serialization_alias="is_told")]
    attempts: int
    unsent_error: str | None


@dataclass(frozen=True)
class IncidentsHealth:
    """Open incidents, and those that are over and not reported to everybody yet. ``note``: why they cannot be read."""

    incidents: tuple[OpenIncident, ...] = ()
    note: str | None = None

    @property
    def needs_a_person(self) -> bool:
        """Whether a failure is open, or the incidents cannot be read. A warning waits for the digest."""
        return bool(self.note) or any(not (i.is_warning or i.is_over) for i in self.incidents)


@dataclass(frozen=True)
class Health:
    """How jobs, the service and incidents stood at ``read_at``."""

    read_at: datetime
    jobs: JobsHealth
    service: ServiceHealth
    incidents: IncidentsHealth

    @property
    def needs_a_person(self) -> bool:
        """Whether something is wrong that does not fix itself."""
        return (
            self.jobs.is_broken
            or any(job.needs_a_person for job in self.jobs.jobs)
            or self.service.needs_a_person
            or self.incidents.needs_a_person
        )


def read_health(settings: Settings, now: datetime, jobs: Sequence[Job] = JOBS) -> Health:
    """Read how things stand. What cannot be read says so in its place, and raises nothing."""
    found = programs(settings)
    return Health(
        read_at=now,
        jobs=_read_jobs(settings, jobs, now),
        service=ServiceHealth(
            is_served=bool(found),
            programs=tuple(parse_program(line) for line in found),
            server_error=server_error(settings),
            ui_url=ui_url(settings),
        ),
        incidents=_read_incidents(settings),
    )


def parse_program(line: str) -> Program:
    """A line of `supervisorctl status`: name, state, and what it says of it."""
    name, state, note = (*line.split(maxsplit=2), "", "", "")[:3]
    return Program(name, state, note.strip())


def _read_jobs(settings: Settings, jobs: Sequence[Job], now: datetime) -> JobsHealth:
    if not (settings.jobs / "journal.sqlite").exists():
        return JobsHealth(note="no job has run automatically yet; `tidemark serve` starts them")
    try:
        with Journal(settings, read_only=True) as journal:
            state = journal.read_schedule_state(settings, jobs, now)
            newest, gone, failures, waits = journal.newest(), journal.gone(), journal.failures(), journal.waits()
    except TidemarkError as error:
        return JobsHealth(note=str(error), is_broken=True)
    decisions = decide(jobs, state, now, organisation_timezone())
    return JobsHealth(
        jobs=health_of_jobs(jobs, state, decisions, newest, gone, failures, waits, now),
        note=state.trouble,
        is_broken=state.trouble is not None,
    )


def health_of_jobs(
    jobs: Sequence[Job],
    state: ScheduleState,
    decisions: Sequence[Decision],
    newest: Sequence[JobRun],
    gone: Collection[int],
    failures: Sequence[FailureStreak],
    waits: Sequence[Wait],
    now: datetime,
) -> tuple[JobHealth, ...]:
    """Put together what is known of each job: the watcher's landing first, then the schedule's in their order."""
    found = {(run.job, run.status): run for run in newest}
    failing = {streak.newest.job: streak for streak in failures}
    by_name = {job.name: job for job in jobs}
    return tuple(
        JobHealth(
            job=name,
            owner=job.owner if job else "",
            last_success=_last_success(found.get((name, RunStatus.SUCCEEDED))),
            running=_running(found.get((name, RunStatus.RUNNING)), gone),
            failing=_failing(failing.get(name), job.retries if job else 0),
            open_slots=tuple(d for d in decisions if d.job == name and d.state != "runs"),
            waiting=tuple(wait for wait in waits if wait.job == name),
            next_due=next_due(job, state, now) if job else None,
            triggered_by=_triggered_by(job) if job else "files in the inbox",
            is_late=any(d.is_late for d in decisions if d.job == name),
        )
        for name in (LAND, *by_name)
        for job in [by_name.get(name)]
    )


def _last_success(run: JobRun | None) -> LastSuccess | None:
    return LastSuccess(run.slot, run.finished_at) if run and run.finished_at else None


def _running(run: JobRun | None, gone: Collection[int]) -> RunningNow | None:
    return RunningNow(run.slot, run.started_at, run.attempt, run.run_id in gone) if run else None


def _failing(streak: FailureStreak | None, retries: int) -> FailingNow | None:
    if streak is None:
        return None
    run = streak.newest
    is_given_up = streak.tries > retries
    return FailingNow(streak.tries, streak.since, run.status, run.slot, run.message or "", is_given_up)


def _triggered_by(job: Job) -> str | None:
    match job.when:
        case Arrival(datasets=datasets):
            return f"the arrival of {', '.join(datasets)}"
        case Success(jobs=jobs):
            return f"the success of {', '.join(jobs)}"
        case _:
            return None


def _read_incidents(settings: Settings) -> IncidentsHealth:
    try:
        held, undelivered = open_incidents(settings), unsent(settings)
    except TidemarkError as error:
        return IncidentsHealth(note=str(error))
    return IncidentsHealth(incidents_to_show(held, undelivered))


def incidents_to_show(held: Sequence[Incident], undelivered: Sequence[Incident]) -> tuple[OpenIncident, ...]:
    """The incidents that are open, and those that are over and not delivered to everybody, the oldest first."""
    waiting = {incident.id: incident for incident in undelivered}
    found = {incident.id: incident for incident in held} | waiting
    return tuple(
        OpenIncident(
            title=incident.problem.title,
            owner=incident.problem.owner,
            since=incident.problem.since,
            detail=incident.problem.detail,
            reproduce=incident.problem.reproduce,
            remedy=incident.problem.remedy,
            link=incident.problem.link,
            is_warning=incident.problem.is_warning,
            is_over=incident.recovered_at is not None,
            is_delivered=incident.id not in waiting,
            attempts=incident.attempts,
            unsent_error=incident.last_error,
        )
        for _, incident in sorted(found.items())
    )


def describe_health(health: Health) -> list[Section]:
    """The status in lines for people, by section."""
    return [
        ("jobs", [*_describe_jobs(health.jobs, health.read_at)]),
        ("service", [*_describe_service(health.service)]),
        ("incidents", [*_describe_incidents(health.incidents, health.read_at)]),
    ]


def _describe_jobs(jobs: JobsHealth, now: datetime) -> Iterator[str]:
    if jobs.note:
        yield jobs.note
    for job in jobs.jobs:
        yield f"{job.job}: {_describe_when(job, now)}"
        yield from (f"  {line}" for line in _describe_job(job, now))


def _describe_when(job: JobHealth, now: datetime) -> str:
    last = "has not succeeded yet"
    if job.last_success:
        slot = "" if job.last_success.slot.startswith(MANUAL) else f", for {job.last_success.slot}"
        at = job.last_success.finished_at
        last = f"last success at {minute(at)}, {ago(at, now)} ago{slot}"
    return f"{last}; " + (f"next due at {minute(job.next_due)}" if job.next_due else f"triggered by {job.triggered_by}")


def _describe_job(job: JobHealth, now: datetime) -> Iterator[str]:
    if job.running:
        since = f"since {minute(job.running.since)}, {ago(job.running.since, now)}, try {job.running.attempt}"
        gone = "; its process is gone, and the next run heals what it left" if job.running.is_gone else ""
        yield f"running {since}{gone}"
    for wait in job.waiting:
        yield f"a run waits for {wait.waits_for}, for {ago(wait.since, now)}"
    for slot in job.open_slots[:SHOWN_SLOTS]:
        late = "LATE: " if slot.is_late else ""
        what = f"waits for {', '.join(slot.waits_for)}" if slot.waits_for else "not started"
        yield f"{late}{slot.slot}, due at {minute(slot.due_at)}, {ago(slot.due_at, now)} ago, {what}"
    if len(job.open_slots) > SHOWN_SLOTS:
        yield f"and {counted(len(job.open_slots) - SHOWN_SLOTS, 'more slot')}"
    if job.is_late and not any(slot.is_late for slot in job.open_slots[:SHOWN_SLOTS]):
        yield "LATE: past its deadline"
    if job.failing:
        tries = "1 try" if job.failing.tries == 1 else f"{job.failing.tries:,} tries"
        end = ", given up" if job.failing.is_given_up else ""
        message = cut(job.failing.message, SHOWN_CHARACTERS)
        yield f"{job.failing.status} since {minute(job.failing.since)}, {tries}{end}: {message}"


def _describe_service(service: ServiceHealth) -> Iterator[str]:
    if not service.is_served:
        yield "nothing is being served from this home by this user: no job starts; `tidemark serve` starts the service"
        if service.server_error is None:
            yield f"something answers at {service.ui_url}: another home, another user, or no Tidemark"
        return
    for program in service.programs:
        yield f"{program.name}: {program.state.lower()}, {program.note}"
    if service.server_error:
        yield f"the server does not answer: {service.server_error}; nothing lands and no job starts meanwhile"
    else:
        yield f"the server answers; its pages are at {service.ui_url}"


def _describe_incidents(incidents: IncidentsHealth, now: datetime) -> Iterator[str]:
    if incidents.note:
        yield incidents.note
    elif not incidents.incidents:
        yield "none open, and every message was sent"
    for i in incidents.incidents:
        kind = "over" if i.is_over else "warning" if i.is_warning else "FAILURE"
        yield f"{kind}: {i.title}, since {minute(i.since)}, {ago(i.since, now)} (owner: {i.owner})"
        if not i.is_over:
            yield f"  {cut(' '.join(i.detail.split()), SHOWN_CHARACTERS)}"
            if i.reproduce and i.reproduce != "tidemark status":
                yield f"  {'reproduce' if i.remedy else 'run'}: {i.reproduce}"
            if i.remedy:
                yield f"  remedy: {i.remedy}"
        if not i.is_delivered:
            tries = "1 try" if i.attempts == 1 else f"{i.attempts} tries"
            yield f"  not delivered to everybody: {f'{tries}: {i.unsent_error}' if i.unsent_error else 'no try yet'}"
