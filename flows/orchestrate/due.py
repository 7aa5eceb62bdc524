"""What is due now, what waits and for what: decided from the jobs and what is known of their runs, and nothing else.

Whoever wakes a job (a scheduler, an arrival, a person, a pass every half minute) asks here what is true. So it does
not matter how often or how late anybody asks: the slots that begin, and their order, are the same.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

from flows.land.receipt import LandedBatch
from flows.orchestrate.job import Arrival, Cron, Job, Success, roots

INSTANT = "%Y-%m-%dT%H:%M:%SZ"
MANUAL = "manual-"


@dataclass(frozen=True)
class ScheduleState:
    """What the decision needs to know of jobs and lake. Slots are by job, moments aware.

    ``first_seen``: from when a job's slots count; a job that is not in it has none. ``succeeded`` and ``finished``
    (when) hold the same slots. ``failed`` are given up, after all retries; ``retry_at`` says from when one that is
    not may try again. ``arrived`` are the batches with rows by dataset, at least those after what any arrival job has
    done; ``present`` the days each dataset is there for, None where that is not known, and ``trouble`` says why.
    ``downtimes`` are when nothing was served, from and to: deadlines stand still then.
    """

    first_seen: Mapping[str, datetime]
    succeeded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    failed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    running: Mapping[str, frozenset[str]] = field(default_factory=dict)
    arrived: Mapping[str, tuple[LandedBatch, ...]] = field(default_factory=dict)
    present: Mapping[str, frozenset[date]] | None = field(default_factory=dict)
    finished: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    retry_at: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    trouble: str | None = None
    downtimes: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True)
class Decision:
    """A slot that is due, waits or runs.

    ``day`` is the local day the slot stands for. ``is_late``: past its deadline, and neither succeeded nor given up; a
    deadline counts the time in which the service was up.
    """

    job: str
    slot: str
    due_at: datetime
    day: date
    state: Literal["due", "waits", "runs"]
    waits_for: tuple[str, ...]
    is_late: bool


@dataclass(frozen=True)
class _Slot:
    name: str
    due_at: datetime
    day: date


def decide(jobs: Sequence[Job], state: ScheduleState, now: datetime, timezone: str) -> list[Decision]:
    """Every slot that is due, waits or runs, in the order in which they are to run: by when they were due, then as
    the jobs are listed. ``timezone`` is that of the organisation's days."""
    by_name = {job.name: job for job in jobs}
    found = [d for job in jobs for d in _decisions(job, _open_slots(job, by_name, state, now, timezone), state, now)]
    return sorted(found, key=lambda decision: decision.due_at)


def next_due(job: Job, state: ScheduleState, now: datetime) -> datetime | None:
    """When the job's next slot comes, in UTC; None where only an arrival or another job decides."""
    if not isinstance(job.when, Cron):
        return None
    begins = max(state.first_seen.get(job.name, now), now + timedelta(microseconds=1))
    zone = ZoneInfo(job.when.timezone)
    # The first slot after a moment: asked from some time before it, since a clock that goes back repeats an hour.
    comes = (slot.astimezone(UTC) for slot in CronSim(job.when.cron, _noon_before(begins, zone)))
    return next((slot for slot in comes if slot >= begins), None)


def cron_slots(cron: Cron, since: datetime, until: datetime) -> list[datetime]:
    """The moments of a cron from ``since`` to ``until``, both included, in UTC and in order, each once."""
    found: list[datetime] = []
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    month = since.year * 12 + since.month - 1
    while month <= until.year * 12 + until.month - 1:
        slots = _slots_of_month(cron, month // 12, month % 12 + 1)
        found += slots[bisect_left(slots, since) : bisect_right(slots, until)]
        month += 1
    return found


@lru_cache(maxsize=1024)
def _slots_of_month(cron: Cron, year: int, month: int) -> tuple[datetime, ...]:
    """The moments in a month of UTC: kept, since they are asked for again and again."""
    begins = datetime(year, month, 1, tzinfo=UTC)
    ends = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    found = []
    for local in CronSim(cron.cron, _noon_before(begins, ZoneInfo(cron.timezone))):
        slot = local.astimezone(UTC)
        if slot >= ends:
            break
        if slot >= begins:
            found.append(slot)
    return tuple(found)


def _noon_before(moment: datetime, zone: ZoneInfo) -> datetime:
    """Noon two days before: no clock is changed at noon, so going on from there gives the same slots always."""
    return datetime.combine(moment.astimezone(zone).date() - timedelta(days=2), time(12), zone)


def slot_of_instant(instant: datetime) -> str:
    """The slot of a cron's moment, such as 2026-11-21T05:00:00Z: sorts as time does."""
    return instant.astimezone(UTC).strftime(INSTANT)


def slot_of_batch(batch_id: int) -> str:
    """The slot of an arrival: the newest batch it gathers, in 12 digits."""
    return f"{batch_id:012d}"


def instant_of_slot(slot: str) -> datetime | None:
    """The moment of a cron's slot, None for other slots."""
    try:
        return datetime.strptime(slot, INSTANT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _open_slots(job: Job, jobs: Mapping[str, Job], state: ScheduleState, now: datetime, timezone: str) -> list[_Slot]:
    """The slots of a job that neither succeeded nor were given up, in order; running ones are among them."""
    if job.name not in state.first_seen:
        return []
    if isinstance(job.when, Arrival):
        return _arrival_slots(job, job.when, state, now, timezone)
    due = _cron_due(job, job.when, state, now) if isinstance(job.when, Cron) else _success_due(job, job.when, state)
    names = sorted(due)
    if job.catch_up == "latest":
        names = names[-1:]
    running = {slot for slot in state.running.get(job.name, ()) if not slot.startswith(MANUAL)}
    done = state.succeeded.get(job.name, frozenset()) | state.failed.get(job.name, frozenset())
    zone = _zone(job, jobs, timezone)
    slots = []
    for name in sorted({*names, *running} - done):
        instant = instant_of_slot(name)
        due_at = due.get(name) or instant or now
        # A job that follows others by a minute past midnight still stands for their day.
        slots.append(_Slot(name, due_at, (instant or due_at).astimezone(zone).date()))
    return slots


def _cron_due(job: Job, when: Cron, state: ScheduleState, now: datetime) -> dict[str, datetime]:
    return {slot_of_instant(slot): slot for slot in cron_slots(when, state.first_seen[job.name], now)}


def _success_due(job: Job, when: Success, state: ScheduleState) -> dict[str, datetime]:
    """The slots for which all the jobs it follows have succeeded, with the moment the last of them did."""
    common = frozenset.intersection(*(state.succeeded.get(name, frozenset()) for name in when.jobs))
    due = {
        slot: max(state.finished[name][slot] for name in when.jobs) for slot in common if not slot.startswith(MANUAL)
    }
    return {slot: moment for slot, moment in due.items() if moment >= state.first_seen[job.name]}


def _arrival_slots(job: Job, when: Arrival, state: ScheduleState, now: datetime, timezone: str) -> list[_Slot]:
    """One slot for all that landed since the last success; none while the newest of it was given up."""
    batches = _batches(job, when, state)
    running = sorted(slot for slot in state.running.get(job.name, ()) if slot.isdigit())
    if not batches and not running:
        return []
    name = running[0] if running else slot_of_batch(batches[-1].batch_id)
    if name in state.failed.get(job.name, ()):
        return []
    # What landed before the job was there is its first slot, and due since the job is.
    due_at = max(batches[0].landed_at, state.first_seen[job.name]) if batches else now
    return [_Slot(name, due_at, due_at.astimezone(ZoneInfo(timezone)).date())]


def _batches(job: Job, when: Arrival, state: ScheduleState) -> list[LandedBatch]:
    """What landed for a job since its last success, in order."""
    done = max((int(slot) for slot in state.succeeded.get(job.name, ()) if slot.isdigit()), default=0)
    return sorted(
        batch for dataset in when.datasets for batch in state.arrived.get(dataset, ()) if batch.batch_id > done
    )


def files_gathered(job: Job, state: ScheduleState, slot: str) -> int | None:
    """How many files the slot of an arrival gathers; None for other slots."""
    if not isinstance(job.when, Arrival) or not slot.isdigit():
        return None
    return sum(batch.is_file and batch.batch_id <= int(slot) for batch in _batches(job, job.when, state))


def _zone(job: Job, jobs: Mapping[str, Job], timezone: str) -> ZoneInfo:
    """The zone of a job's days: that of the cron it goes back to, else the organisation's."""
    crons = [root for root in roots(job, jobs) if isinstance(root, Cron)]
    return ZoneInfo(crons[0].timezone if crons else timezone)


def _decisions(job: Job, slots: Iterable[_Slot], state: ScheduleState, now: datetime) -> Iterable[Decision]:
    """One run of a job at a time, and its slots in order, but for those whose data is missing: these let others by."""
    running = state.running.get(job.name, frozenset())
    before = min(running, default=None)
    for slot in slots:
        verdict: Literal["due", "waits", "runs"] = "runs"
        waits_for: tuple[str, ...] = ()
        if slot.name not in running:
            missing = tuple(missing_data(job, slot.day, state))
            retry_at = state.retry_at.get(job.name, {}).get(slot.name, now)
            again = (f"another try at {retry_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",) if retry_at > now else ()
            earlier = (f"{job.name} of {before}",) if before else ()
            waits_for = (*missing, *again, *earlier)
            verdict = "waits" if waits_for else "due"
            if not missing:
                before = before or slot.name
        is_late = job.deadline is not None and _served_since(slot.due_at, state, now) > job.deadline
        yield Decision(job.name, slot.name, slot.due_at, slot.day, verdict, waits_for, is_late)


def _served_since(moment: datetime, state: ScheduleState, now: datetime) -> timedelta:
    """How long the service was up between a moment and now."""
    down = (min(ended, now) - max(began, moment) for began, ended in state.downtimes)
    return now - moment - sum((length for length in down if length > timedelta()), timedelta())


def missing_data(job: Job, day: date, state: ScheduleState) -> Iterable[str]:
    """What a job requires for a local day and is not there yet, for people."""
    for required in job.requires:
        needed = day - timedelta(days=required.days_before)
        if state.present is None:
            why = f": {state.trouble}" if state.trouble else ""
            yield f"it is not known whether {required.dataset} of {needed} are there{why}"
        elif needed not in state.present.get(required.dataset, ()):
            yield f"{required.dataset} of {needed}"
