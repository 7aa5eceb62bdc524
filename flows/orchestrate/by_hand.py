"""What a person does by hand counts: for the jobs as if they had done it, and for the incidents that it ends.

A command that built, tested, published or landed says so here when it has done. A job of which all steps were done by
hand, one after the other, has succeeded for every slot that was due before: it fails no longer, is not late, and does
not run for them again. Incidents that are over by that are closed, and their owners alerted, at once. Nothing new is
opened: who types sees what fails.

It does the same whether the service runs or not. A home in which no job has ever run has no journal, and nothing to do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from filelock import Timeout

from flows.alerts.incidents import Incident, open_incidents
from flows.alerts.notify import deliver
from flows.build.warehouse import built_up_to, warehouse_lock
from flows.clock import local_day
from flows.clock import organisation_timezone as timezone
from flows.errors import WarehouseInUseError
from flows.land.receipts import Receipts
from flows.orchestrate.due import Decision, ScheduleState, decide, instant_of_slot, missing_data
from flows.orchestrate.intake import SCOPE as INBOX
from flows.orchestrate.intake import Intake
from flows.orchestrate.job import BACKFILL, LAND, Arrival, Build, Extract, Job, Maintain, Publish, Step
from flows.orchestrate.journal import Journal
from flows.orchestrate.problems import note_failing, observe_refused, observe_runs, observe_schedule, observing
from flows.orchestrate.runs import ByHand, FailureStreak
from flows.schedule import JOBS
from flows.settings import Settings

# A build that begins right after ours says itself what is over.
LOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Counted:
    """The slots that count as done now, as job and slot, and the incidents that are over."""

    slots: tuple[tuple[str, str], ...]
    recovered: tuple[Incident, ...]


def count(settings: Settings, started_at: datetime, steps: Sequence[str], has_built: bool = False) -> Counted:
    """Count what a command did by hand since ``started_at``, with success and in this order.

    ``steps`` are of ``land``, ``build``, ``publish``, ``test``, ``audit``, ``compact``, ``expire``, ``erase`` and
    ``backfill``. Where it ``has_built``, whether all went well or not, the warehouse says whether that made everything
    good: then it is a ``build`` as well. Raises :class:`TidemarkError` where the journal or the incidents cannot be
    read or written.
    """
    now = datetime.now(UTC)
    recovered: list[Incident] = []
    with Journal(settings) as journal:
        if has_built:
            batch_id, over = _look_at_build(settings)
            recovered += over
            if batch_id is not None:
                journal.note_by_hand("build", started_at, batch_id)
        last_batch = _last_batch(settings)
        for step in steps:
            journal.note_by_hand(step, started_at, last_batch)
        with observing(settings):
            slots = tuple(_succeed(settings, journal, now))
            recovered += _close(settings, journal, now)
    deliver(settings, now)
    return Counted(slots, tuple(recovered))


def _look_at_build(settings: Settings) -> tuple[int | None, tuple[Incident, ...]]:
    """The last batch with which everything is built and tested, None where something is pending; and what is over."""
    lock = warehouse_lock(settings)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        return None, ()
    try:
        over = note_failing(settings, None, only_close=True) if _is_open(settings, "build") else ()
        return built_up_to(settings), over
    except WarehouseInUseError:  # what is over, the next build says
        return None, ()
    finally:
        lock.release()


def _close(settings: Settings, journal: Journal, now: datetime) -> Iterator[Incident]:
    """Close what the journal and the receipts say is over."""
    if _is_open(settings, "landing"):
        yield from observe_refused(settings, only_close=True)
    if _is_open(settings, INBOX):
        yield from Intake(settings, journal).observe(now, only_close=True)
    if _is_open(settings, "flow"):
        yield from observe_runs(settings, journal.failures(), now, only_close=True)
    if _is_open(settings, "schedule"):
        state = journal.read_schedule_state(settings, JOBS, now)
        yield from observe_schedule(settings, decide(JOBS, state, now, timezone()), state, now, only_close=True)


def _is_open(settings: Settings, scope: str) -> bool:
    return any(incident.problem.scope == scope for incident in open_incidents(settings))


def _last_batch(settings: Settings) -> int:
    receipts = Receipts(settings)
    try:
        return receipts.last_batch_id()
    finally:
        receipts.close()


def _succeed(settings: Settings, journal: Journal, now: datetime) -> Iterator[tuple[str, str]]:
    """Enter a success for each slot that was done by hand."""
    by_hand = journal.by_hand()
    state = journal.read_schedule_state(settings, JOBS, now)
    failures = {streak.newest.job: streak for streak in journal.failures()}
    found: list[tuple[str, str, date, datetime]] = []
    for job in JOBS:
        if done := done_by_hand(job, by_hand):
            decisions = [d for d in decide(JOBS, state, now, timezone()) if d.job == job.name]
            slots = slots_done(job, done, decisions, state, failures.get(job.name))
            found += [(job.name, slot, day, due_at) for slot, day, due_at in slots]
    for name, step in ((LAND, "land"), (BACKFILL, "backfill")):
        failing, done = failures.get(name), by_hand.get(step)
        if failing and done and failing.newest.finished_at and failing.newest.finished_at <= done.finished_at:
            found.append((name, failing.newest.slot, local_day(now), now))
    for name, slot, day, due_at in found:
        run_id = journal.begin(name, slot, day, due_at, None)
        if run_id is not None:  # nobody did it meanwhile, or is at it
            journal.finish(run_id, "succeeded", "done by hand")
            yield name, slot


def done_by_hand(job: Job, by_hand: dict[str, ByHand]) -> ByHand | None:
    """When all steps of a job were done by hand, one after the other; None where they were not."""
    steps = [_command_of(step) for step in job.runs]
    done = [by_hand[step] for step in steps if step in by_hand]
    if len(done) < len(steps) or any(a.finished_at > b.finished_at for a, b in pairwise(done)):
        return None
    return ByHand(done[0].started_at, done[-1].finished_at, min(one.batch_id for one in done))


def _command_of(step: Step) -> str:
    """What a command that does a step is noted as; some have none."""
    match step:
        case Build():
            return "build"
        case Publish():
            return "publish"
        case Maintain(task=task):
            return task
        case Extract(what=what):
            return f"extract {what}"


def slots_done(
    job: Job, done: ByHand, decisions: Iterable[Decision], state: ScheduleState, failing: FailureStreak | None
) -> Iterator[tuple[str, date, datetime]]:
    """The slots of a job that ``done`` by hand did: name, local day, and when each was due.

    Of arrivals: what had landed by then. Of others: those that were due when it began, and whose data is there; a slot
    that waits for data is not done by a build without them. What failed after that is not done either.
    """
    if failing and failing.newest.finished_at and failing.newest.finished_at > done.finished_at:
        return
    zone = ZoneInfo(timezone())
    if isinstance(job.when, Arrival):
        if failing and failing.newest.slot.isdigit() and int(failing.newest.slot) > done.batch_id:
            return
        before = max((int(slot) for slot in state.succeeded.get(job.name, ()) if slot.isdigit()), default=0)
        landed = {batch for name in job.when.datasets for batch in state.arrived.get(name, ())}
        batches = sorted(batch for batch in landed if before < batch.batch_id <= done.batch_id)
        if batches:
            due_at = batches[0].landed_at
            yield f"{batches[-1].batch_id:012d}", due_at.astimezone(zone).date(), due_at
            return
    else:
        due = {d.slot: (d.day, d.due_at) for d in decisions if d.state != "runs"}
        newest = max((s for s in state.succeeded.get(job.name, ()) if instant_of_slot(s)), default="")
        for slot in state.failed.get(job.name, ()):
            if slot > newest and (instant := instant_of_slot(slot)):
                due[slot] = (instant.astimezone(zone).date(), instant)
        found = [
            (slot, day, due_at)
            for slot, (day, due_at) in sorted(due.items())
            if due_at <= done.started_at and not any(missing_data(job, day, state))
        ]
        yield from found
        if found:
            return
    # It failed for a slot that nobody asks for any more, such as one that somebody started by hand.
    if failing and not instant_of_slot(failing.newest.slot):
        yield failing.newest.slot, failing.newest.day, failing.newest.due_at
