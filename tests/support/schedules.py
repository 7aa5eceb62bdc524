"""A small world for schedules: a clock that is moved by hand, data that lands when asked, and jobs run as decided."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

from flows.land.receipt import LandedBatch
from flows.orchestrate.due import Decision, ScheduleState, decide
from flows.orchestrate.job import Arrival, Build, Cron, Job, Requires, Success

ZONE = "Europe/Stockholm"


def utc(text: str) -> datetime:
    """A moment in UTC, as in 2026-11-21 05:00."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_job(name: str, when: Cron | Arrival | Success | str, **more: object) -> Job:
    """A job that builds; text is a cron in the organisation's zone."""
    made: dict[str, object] = {"description": "A job.", "runs": (Build(),), "owner": "data-platform"} | more
    return Job(name=name, when=Cron(when, ZONE) if isinstance(when, str) else when, **made)  # type: ignore[arg-type]


EVENTS_NEEDED = (Requires("events"),)


class World:
    """Jobs, what became of them, and a lake, from a moment on. Runs take no time."""

    def __init__(self, jobs: Sequence[Job], now: datetime) -> None:
        self.jobs = tuple(jobs)
        self.now = now
        self.zone = ZONE
        self.started: list[tuple[str, str]] = []
        self.first_seen = {job.name: now for job in jobs}
        self.finished: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.failed: dict[str, set[str]] = defaultdict(set)
        self.running: dict[str, set[str]] = defaultdict(set)
        self.retry_at: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.arrived: dict[str, list[LandedBatch]] = defaultdict(list)
        self.present: dict[str, set[date]] | None = defaultdict(set)
        self.trouble: str | None = None
        self.outcome: Callable[[Decision], bool] = lambda decision: True

    def state(self) -> ScheduleState:
        """The state of the schedule now."""
        return ScheduleState(
            first_seen=self.first_seen,
            succeeded={name: frozenset(slots) for name, slots in self.finished.items()},
            failed={name: frozenset(slots) for name, slots in self.failed.items()},
            running={name: frozenset(slots) for name, slots in self.running.items()},
            arrived={name: tuple(batches) for name, batches in self.arrived.items()},
            present=None if self.present is None else {n: frozenset(days) for n, days in self.present.items()},
            finished=self.finished,
            retry_at=self.retry_at,
            trouble=self.trouble,
        )

    def decisions(self) -> list[Decision]:
        """What is due, waits or runs now."""
        return decide(self.jobs, self.state(), self.now, self.zone)

    def run(self) -> None:
        """Run what is due, one after the other, until nothing is."""
        while due := next((d for d in self.decisions() if d.state == "due"), None):
            assert (due.job, due.slot) not in self.started, f"{due.job} of {due.slot} begins twice"
            self.started.append((due.job, due.slot))
            if self.outcome(due):
                self.finished[due.job][due.slot] = self.now
            else:
                self.failed[due.job].add(due.slot)

    def step_to(self, moment: datetime, step: timedelta = timedelta(minutes=30)) -> None:
        """Move the clock on by steps, running what is due after each."""
        while self.now < moment:
            self.now = min(self.now + step, moment)
            self.run()

    def land(self, dataset: str, *days: str, is_file: bool = True) -> None:
        """Land a batch now, and have these days present by it."""
        number = 1 + max((batch.batch_id for batches in self.arrived.values() for batch in batches), default=0)
        self.arrived[dataset].append(LandedBatch(number, self.now, is_file))
        if self.present is not None:
            self.present[dataset] |= {date.fromisoformat(day) for day in days}

    def slots(self, job: str) -> list[str]:
        """The slots of a job that were begun, in that order."""
        return [slot for name, slot in self.started if name == job]

    def of(self, job: str) -> list[Decision]:
        """The decisions about a job."""
        return [decision for decision in self.decisions() if decision.job == job]

    @contextmanager
    def under_way(self, job: str, slot: str) -> Iterator[None]:
        """Have a slot run meanwhile; afterwards it has succeeded."""
        self.running[job].add(slot)
        yield
        self.running[job].remove(slot)
        self.finished[job][slot] = self.now
