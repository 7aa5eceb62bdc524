"""The journal's file, and what is read from it and from the lake: runs, waits, and the state of the schedule."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from typing import Self

from flows.clock import organisation_timezone
from flows.errors import TidemarkError
from flows.land.receipt import LandedBatch
from flows.land.receipts import Receipts
from flows.orchestrate.due import ScheduleState
from flows.orchestrate.job import Arrival, Job
from flows.orchestrate.readiness import Presence
from flows.orchestrate.runs import RUN_COLUMNS, ByHand, FailureStreak, JobRun, Wait, run_of
from flows.processes import is_alive
from flows.rights import make_private
from flows.settings import Settings
from flows.sqlite import moment_of, open_to_read, transaction

# Full: with less, runs that finished would be forgotten when the power fails, and run again.
SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists jobs (
    name text primary key, first_seen_at text not null, schedule text not null,
    counts_from text not null
);
create table if not exists runs (
    id integer primary key autoincrement, job text not null, slot text not null, day text not null,
    due_at text not null, started_at text not null, finished_at text, status text not null,
    attempt integer not null, flow_run_id text, pid integer not null, process text not null,
    message text
);
create index if not exists runs_by_slot on runs (job, slot);
create index if not exists runs_by_status on runs (status);
create table if not exists waits (
    id integer primary key autoincrement, flow_run_id text, job text not null, pid integer not null,
    process text not null, waits_for text not null, since text not null
);
create table if not exists by_hand (
    step text primary key, started_at text not null, finished_at text not null,
    batch_id integer not null
);
create table if not exists service (only integer primary key, seen_at text not null);
create table if not exists noticed (file text primary key, since text not null);
create table if not exists downtimes (began_at text primary key, ended_at text not null);
"""

Arrived = dict[str, tuple[LandedBatch, ...]]
Present = dict[str, frozenset[date]]


class JournalStore:
    """An open journal, for those who only look; :class:`~flows.orchestrate.journal.Journal` also writes.

    ``clock`` gives the present moment, aware. One that is ``read_only`` must be there already and is not changed.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        read_only: bool = False,
    ) -> None:
        self._clock = clock
        self._is_read_only = read_only
        self._presence: dict[str, tuple[int, Presence]] = {}
        self.path = settings.home / "jobs" / "journal.sqlite"
        with self._explained():
            if read_only:
                self._database = open_to_read(self.path)
                return
            make_private(self.path.parent)
            self._database = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self._database.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        self._database.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise TidemarkError(
                f"the journal of jobs {self.path} cannot be used ({error}); fix the cause (a full disk, a missing "
                "permission); if the file is damaged, move it away: a new one begins, which makes up nothing missed"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One change, whole or not at all, and no other process between its questions and its answers."""
        with self._explained(), transaction(self._database):
            yield

    def by_hand(self) -> dict[str, ByHand]:
        """When each step of jobs was last done by hand, with success."""
        with self._explained():
            rows = self._database.execute("select step, started_at, finished_at, batch_id from by_hand").fetchall()
        return {step: ByHand(moment_of(began), moment_of(ended), batch_id) for step, began, ended, batch_id in rows}

    def waits(self) -> list[Wait]:
        """Who waits now, the longest first."""
        with self._explained():
            rows = self._database.execute(
                "select flow_run_id, job, pid, waits_for, since, process from waits order by since, id"
            ).fetchall()
        return [
            Wait(flow_run_id, job, pid, waits_for, moment_of(since))
            for flow_run_id, job, pid, waits_for, since, process in rows
            if is_alive(pid, process)
        ]

    def failures(self) -> list[FailureStreak]:
        """The jobs that have failed or crashed since they last succeeded, by name."""
        with self._explained():
            rows = self._database.execute(
                "with unbroken as ("
                "select max(id) as newest, count(*) as tries, min(finished_at) as since from runs as run "
                "where status in ('failed', 'crashed') and id > coalesce("
                "(select max(id) from runs as good where good.job = run.job and good.status = 'succeeded'), 0) "
                f"group by job) select tries, since, {RUN_COLUMNS} from unbroken join runs on id = newest order by job"
            ).fetchall()
        return [FailureStreak(run_of(row), tries, moment_of(since)) for tries, since, *row in rows]

    def newest(self) -> list[JobRun]:
        """The newest run of each job and status, by job; the watcher's landing is a job here."""
        with self._explained():
            rows = self._database.execute(
                f"select max(id), {RUN_COLUMNS} from runs group by job, status order by job, status"
            ).fetchall()
        return [run_of(row) for _, *row in rows]  # with max(), SQLite takes the other columns from the row that has it

    def gone(self) -> frozenset[int]:
        """The ids of the runs that :meth:`crash` would mark: they run by the journal, and their process is no more."""
        with self._explained():
            return frozenset(run_id for run_id, pid, process in self._running() if not is_alive(pid, process))

    def history(self, limit: int) -> list[JobRun]:
        """The last runs, the newest first."""
        with self._explained():
            rows = self._database.execute(
                f"select {RUN_COLUMNS} from runs order by id desc limit ?", (limit,)
            ).fetchall()
        return [run_of(row) for row in rows]

    def read_schedule_state(self, settings: Settings, jobs: Sequence[Job], now: datetime) -> ScheduleState:
        """What the decision needs to know of these jobs and the lake of ``settings``.

        Where the lake's receipts cannot be read, presence is None and ``trouble`` says why: gates stay closed, and
        nothing counts as arrived.
        """
        by_name = {job.name: job for job in jobs}
        succeeded: dict[str, set[str]] = defaultdict(set)
        failed: dict[str, set[str]] = defaultdict(set)
        running: dict[str, set[str]] = defaultdict(set)
        finished: dict[str, dict[str, datetime]] = defaultdict(dict)
        retry_at: dict[str, dict[str, datetime]] = defaultdict(dict)
        with self._explained():
            counts_from = dict(self._database.execute("select name, counts_from from jobs").fetchall())
            downtimes = self._downtimes()
            # Of a slot that both failed and succeeded, the success counts.
            slots = self._database.execute(
                "select job, slot, min(finished_at) filter (where status = 'succeeded'), "
                "count(*) filter (where status = 'running'), count(*) filter (where status in ('failed', 'crashed')), "
                "max(finished_at) filter (where status in ('failed', 'crashed')), "
                "count(*) filter (where status = 'cancelled') "
                "from runs where status <> 'void' group by job, slot"
            ).fetchall()
        for name, slot, succeeded_at, runs, failures, failed_at, cancelled in slots:
            if name not in by_name:
                continue
            if runs:
                running[name].add(slot)
            elif succeeded_at:
                succeeded[name].add(slot)
                finished[name][slot] = moment_of(succeeded_at)
            elif cancelled or failures > by_name[name].retries:
                failed[name].add(slot)
            else:
                retry_at[name][slot] = moment_of(failed_at) + by_name[name].retry_delay
        arrived, present, trouble = self._read_lake(settings, jobs, succeeded)
        return ScheduleState(
            first_seen={name: moment_of(counts_from[name]) for name in by_name if name in counts_from},
            succeeded=_frozen(succeeded),
            failed=_frozen(failed),
            running=_frozen(running),
            arrived=arrived,
            present=present,
            finished=finished,
            retry_at=retry_at,
            trouble=trouble,
            downtimes=downtimes,
        )

    def _downtimes(self) -> tuple[tuple[datetime, datetime], ...]:
        try:
            rows = self._database.execute("select began_at, ended_at from downtimes order by began_at").fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return ()  # read only, and made by an earlier Tidemark
        return tuple((moment_of(began), moment_of(ended)) for began, ended in rows)

    def _read_lake(
        self, settings: Settings, jobs: Sequence[Job], succeeded: Mapping[str, set[str]]
    ) -> tuple[Arrived, Present | None, str | None]:
        """What arrived for the jobs that wait for arrivals, and for which days that is there which jobs require."""
        awaited: dict[str, int] = {}
        for job in jobs:
            if isinstance(job.when, Arrival):
                done = max((int(slot) for slot in succeeded.get(job.name, ()) if slot.isdigit()), default=0)
                for dataset in job.when.datasets:
                    awaited[dataset] = min(done, awaited.get(dataset, done))
        required = {required.dataset for job in jobs for required in job.requires}
        if not awaited and not required:
            return {}, {}, None
        try:
            with closing(Receipts(settings, self._is_read_only)) as receipts:
                arrived = {name: tuple(receipts.landed_after(name, done)) for name, done in awaited.items()}
                present = {name: self._days_present(receipts, name) for name in required}
        except (OSError, sqlite3.Error, ValueError) as error:
            why = str(error).splitlines()[0]
            return {}, None, f"the receipts below {settings.landed} cannot be read ({why})"
        return arrived, present, None

    def _days_present(self, receipts: Receipts, dataset: str) -> frozenset[date]:
        """The days a dataset is present for. Only batches that are new since it was last asked are looked at."""
        last = receipts.last_batch_id()
        read, presence = self._presence.get(dataset, (0, None))
        if presence is None or last < read:  # or it is another lake by now
            read, presence = 0, Presence(organisation_timezone())
        presence.add(receipts.deliveries_with_rows(dataset, read, last))
        self._presence[dataset] = (last, presence)
        return presence.days()

    def _running(self) -> list[tuple[int, int, str]]:
        return self._database.execute("select id, pid, process from runs where status = 'running'").fetchall()


def _frozen(slots: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(found) for name, found in slots.items()}
