"""What each job did: the journal of runs and waits in SQLite, and what the decision reads from it and the lake.

The journal is ``home/jobs/journal.sqlite``. Several processes write to it; each change is one transaction, written
through to the disk before it counts. So a run that finished stays finished, whatever is killed after that.

A run belongs to the process that began it. A process is known by its number and its start, since numbers are used
again; processes must therefore be of one machine, and see each other.
"""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Literal

from flows.clock import organisation_timezone
from flows.errors import TidemarkError
from flows.land.receipts import Receipts
from flows.orchestrate.due import ScheduleState
from flows.orchestrate.job import Arrival, Job
from flows.orchestrate.readiness import Presence
from flows.processes import is_alive, process_mark
from flows.readonly import open_to_read
from flows.settings import Settings

# Runs older than this are forgotten, and slots older than this are not made up.
KEEP = timedelta(days=400)
# Clocks are corrected by less than this all the time.
CLOCK_SLACK = timedelta(minutes=1)
# A watcher that was not seen for so long was down: its passes come twice a minute, and a slow one takes no longer.
DOWN_AFTER = timedelta(minutes=3)


class RunStatus(StrEnum):
    """How a run stands. Cancelled, by a person, it is not tried again; void is one of a future that a clock set wrongly
    made up."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    VOID = "void"


@dataclass(frozen=True)
class JobRun:
    """One run of a job for a slot. ``attempt`` counts from 1; moments are in UTC."""

    run_id: int
    job: str
    slot: str
    day: date
    due_at: datetime
    started_at: datetime
    finished_at: datetime | None
    status: RunStatus
    attempt: int
    flow_run_id: str | None
    pid: int
    message: str | None


@dataclass(frozen=True)
class FailureStreak:
    """The failures and crashes of a job since it last succeeded: the newest, how many, and since when in UTC."""

    newest: JobRun
    tries: int
    since: datetime


@dataclass(frozen=True)
class Wait:
    """Somebody waits: the run of a job, for what, and since when in UTC."""

    flow_run_id: str | None
    job: str
    pid: int
    waits_for: str
    since: datetime


@dataclass(frozen=True)
class ByHand:
    """When somebody last did a step of jobs by hand, with success, in UTC; ``batch_id`` is the last that had landed."""

    started_at: datetime
    finished_at: datetime
    batch_id: int


Arrived = dict[str, tuple[tuple[int, datetime], ...]]
Present = dict[str, frozenset[date]]

_RUN = "id, job, slot, day, due_at, started_at, finished_at, status, attempt, flow_run_id, pid, message"


class Journal:
    """The journal of a home. Close it after use, or use it as a context manager. One that is kept open and asked
    again reads only what landed since.

    ``clock`` gives the present moment, aware. One that is ``read_only`` must be there already and is not changed, for
    those who only look: :meth:`read_schedule_state` then takes a run whose process is gone for one that runs. Every
    method raises :class:`TidemarkError` where the journal cannot be read or written.
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
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            # Full: with less, runs that finished would be forgotten when the power fails, and run again.
            self._database.executescript(
                """
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
            )

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        self._database.close()

    def seen(self, jobs: Iterable[Job], now: datetime) -> list[str]:
        """Note from when the slots of each job count: since it was first seen, or since its ``when`` was last changed.

        Returns a line for each job that is new or changed, for the log: slots of its old schedule that were not done
        are not made up. A job that was taken out and comes back unchanged makes up what it missed.
        """
        reported = []
        with self._transaction():
            known = dict(self._database.execute("select name, schedule from jobs").fetchall())
            for job in jobs:
                schedule = repr(job.when)
                if known.get(job.name) == schedule:
                    continue
                self._database.execute(
                    "insert into jobs values (?, ?, ?, ?) on conflict (name) do update set "
                    "schedule = excluded.schedule, counts_from = excluded.counts_from",
                    (job.name, _text(now), schedule, _text(now)),
                )
                if job.name in known:
                    reported.append(f"job {job.name}: was {known[job.name]}, is {schedule}; counts from {_text(now)}")
                else:
                    reported.append(f"job {job.name}: new, counts from {_text(now)}")
        return reported

    def begin(self, job: str, slot: str, day: date, due_at: datetime, flow_run_id: str | None) -> int | None:
        """Note that this process begins a run, and give its id.

        None where it must not: the slot has succeeded meanwhile, or a run of the job is under way. Of several
        processes that find a slot due at once, one gets an id.
        """
        with self._transaction():
            self._crash()
            taken = self._database.execute(
                "select 1 from runs where job = ? and (status = 'running' or slot = ? and status = 'succeeded')",
                (job, slot),
            ).fetchone()
            if taken:
                return None
            (attempts,) = self._database.execute(
                "select count(*) from runs where job = ? and slot = ? and status <> 'void'", (job, slot)
            ).fetchone()
            pid = os.getpid()
            cursor = self._database.execute(
                "insert into runs (job, slot, day, due_at, started_at, status, attempt, flow_run_id, pid, process) "
                "values (?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)",
                (
                    job,
                    slot,
                    day.isoformat(),
                    _text(due_at),
                    _text(self._clock()),
                    attempts + 1,
                    flow_run_id,
                    pid,
                    process_mark(pid) or "",
                ),
            )
            return cursor.lastrowid

    def finish(
        self, run_id: int, status: Literal["succeeded", "failed", "cancelled"], message: str | None = None
    ) -> None:
        """Note how a run ended, also one that was taken for crashed. Raises :class:`TidemarkError` where it had ended
        already, or never began."""
        with self._transaction():
            row = self._database.execute("select status, job, slot from runs where id = ?", (run_id,)).fetchone()
            # A run taken for dead that ends well after all has done its work, which is not to be done again.
            if row is None or row[0] not in (RunStatus.RUNNING, RunStatus.CRASHED):
                how = f"of job {row[1]}, slot {row[2]}, is {row[0]}" if row else "is not in it"
                raise TidemarkError(
                    f"{self.path}: run {run_id} {how}, so it cannot be {status}; finish a run once, in the process "
                    "that began it"
                )
            self._database.execute(
                "update runs set status = ?, finished_at = ?, message = ? where id = ?",
                (status, _text(self._clock()), message, run_id),
            )

    def note_by_hand(self, step: str, started_at: datetime, batch_id: int) -> None:
        """Note that somebody did a step of jobs by hand, just now and with success."""
        with self._transaction():
            self._database.execute(
                "insert or replace into by_hand values (?, ?, ?, ?)",
                (step, _text(started_at), _text(self._clock()), batch_id),
            )

    def by_hand(self) -> dict[str, ByHand]:
        """When each step of jobs was last done by hand, with success."""
        with self._explained():
            rows = self._database.execute("select step, started_at, finished_at, batch_id from by_hand").fetchall()
        return {step: ByHand(_moment(began), _moment(ended), batch_id) for step, began, ended, batch_id in rows}

    def note_served(self, now: datetime) -> timedelta | None:
        """Note that the service is up. Returns how long it was down before, None where it was not."""
        with self._transaction():
            row = self._database.execute("select seen_at from service").fetchone()
            self._database.execute("insert or replace into service values (1, ?)", (_text(now),))
            if row is None or (down := now - _moment(row[0])) <= DOWN_AFTER:
                return None
            self._database.execute("insert or replace into downtimes values (?, ?)", (row[0], _text(now)))
            return down

    def noticed(self, files: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Since when each of these files of the inbox was noticed without a break; others are forgotten."""
        names = set(files)
        with self._explained():
            known = dict(self._database.execute("select file, since from noticed").fetchall())
        if names != known.keys():
            with self._transaction():
                gone, new = known.keys() - names, names - known.keys()
                self._database.executemany("delete from noticed where file = ?", [(name,) for name in gone])
                self._database.executemany(
                    "insert or ignore into noticed values (?, ?)", [(name, _text(now)) for name in new]
                )
        return {name: _moment(known[name]) if name in known else now for name in names}

    def crash(self) -> list[JobRun]:
        """Mark as crashed, and return, every running run whose process is no more; such a process waits no longer."""
        with self._transaction():
            return self._crash()

    def _crash(self) -> list[JobRun]:
        crashed: list[JobRun] = []
        for run_id, pid, process in self._running():
            if not is_alive(pid, process):
                rows = self._database.execute(
                    f"update runs set status = 'crashed', finished_at = ?, message = ? where id = ? returning {_RUN}",
                    (_text(self._clock()), f"its process {pid} ended without saying how", run_id),
                )
                crashed += map(_run, rows.fetchall())
        for wait_id, pid, process in self._database.execute("select id, pid, process from waits").fetchall():
            if not is_alive(pid, process):
                self._database.execute("delete from waits where id = ?", (wait_id,))
        return crashed

    def _running(self) -> list[tuple[int, int, str]]:
        return self._database.execute("select id, pid, process from runs where status = 'running'").fetchall()

    @contextmanager
    def waiting(self, flow_run_id: str | None, job: str, waits_for: str) -> Iterator[None]:
        """Let it be seen that a run of a job waits for something, as long as the block lasts."""
        with self._transaction():
            pid = os.getpid()
            wait_id = self._database.execute(
                "insert into waits (flow_run_id, job, pid, process, waits_for, since) values (?, ?, ?, ?, ?, ?)",
                (flow_run_id, job, pid, process_mark(pid) or "", waits_for, _text(self._clock())),
            ).lastrowid
        try:
            yield
        finally:
            with self._transaction():
                self._database.execute("delete from waits where id = ?", (wait_id,))

    def waits(self) -> list[Wait]:
        """Who waits now, the longest first."""
        with self._explained():
            rows = self._database.execute(
                "select flow_run_id, job, pid, waits_for, since, process from waits order by since, id"
            ).fetchall()
        return [
            Wait(flow_run_id, job, pid, waits_for, _moment(since))
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
                f"group by job) select tries, since, {_RUN} from unbroken join runs on id = newest order by job"
            ).fetchall()
        return [FailureStreak(_run(row), tries, _moment(since)) for tries, since, *row in rows]

    def newest(self) -> list[JobRun]:
        """The newest run of each job and status, by job; the watcher's landing is a job here."""
        with self._explained():
            rows = self._database.execute(
                f"select max(id), {_RUN} from runs group by job, status order by job, status"
            ).fetchall()
        return [_run(row) for _, *row in rows]  # with max(), SQLite takes the other columns from the row that has it

    def gone(self) -> frozenset[int]:
        """The ids of the runs that :meth:`crash` would mark: they run by the journal, and their process is no more."""
        with self._explained():
            return frozenset(run_id for run_id, pid, process in self._running() if not is_alive(pid, process))

    def history(self, limit: int) -> list[JobRun]:
        """The last runs, the newest first."""
        with self._explained():
            rows = self._database.execute(f"select {_RUN} from runs order by id desc limit ?", (limit,)).fetchall()
        return [_run(row) for row in rows]

    def void_future(self, now: datetime) -> list[JobRun]:
        """Stop believing what a clock that was set ahead made up. Returns the runs that are void from now on.

        Void are runs that say they began more than a minute from now, where their slot is still to come: it will be
        due at its time. Such a run of a slot that is past, or of a batch, did its work and stays; one that failed, or
        says it did in that future, is void too, or its retry would wait for a time far off. Jobs first seen in that
        future count from now.
        """
        limit = now + CLOCK_SLACK
        with self._transaction():
            rows = self._database.execute(
                "update runs set status = 'void' where status not in ('running', 'void') "
                "and (started_at > :limit or status <> 'succeeded' and finished_at > :limit) "
                f"and (status <> 'succeeded' or slot > :limit and slot like '____-__-__T%') returning {_RUN}",
                {"limit": _text(limit)},
            ).fetchall()
            self._database.execute(
                "update jobs set counts_from = ?, first_seen_at = min(first_seen_at, ?) where counts_from > ?",
                (_text(now), _text(now), _text(limit)),
            )
        return sorted((_run(row) for row in rows), key=lambda run: run.run_id)

    def prune(self, now: datetime) -> None:
        """Forget runs that began more than :data:`KEEP` ago, but for the newest of each job and status."""
        limit = _text(now - KEEP)
        with self._transaction():
            self._database.execute(
                "delete from runs where started_at < ? and status <> 'running' "
                "and id not in (select max(id) from runs group by job, status)",
                (limit,),
            )
            # Slots whose runs are forgotten would be due once more.
            self._database.execute("update jobs set counts_from = ? where counts_from < ?", (limit, limit))
            self._database.execute("delete from downtimes where ended_at < ?", (limit,))

    def read_schedule_state(self, settings: Settings, jobs: Sequence[Job], now: datetime) -> ScheduleState:
        """What the decision needs to know of these jobs and the lake of ``settings``.

        Runs of dead processes are marked as crashed first, unless it is read only. Where the lake's receipts cannot be
        read, presence is None and ``trouble`` says why: gates stay closed, and nothing counts as arrived.
        """
        if not self._is_read_only:
            self.crash()
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
                finished[name][slot] = _moment(succeeded_at)
            elif cancelled or failures > by_name[name].retries:
                failed[name].add(slot)
            else:
                retry_at[name][slot] = _moment(failed_at) + by_name[name].retry_delay
        arrived, present, trouble = self._read_lake(settings, jobs, succeeded)
        return ScheduleState(
            first_seen={name: _moment(counts_from[name]) for name in by_name if name in counts_from},
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
        return tuple((_moment(began), _moment(ended)) for began, ended in rows)

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
        with self._explained():
            self._database.execute("begin immediate")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:  # SQLite has rolled back already where the disk is full
                    self._database.execute("rollback")
                raise
            self._database.execute("commit")


def _frozen(slots: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(found) for name, found in slots.items()}


def _text(moment: datetime) -> str:
    """A moment as it stands in the journal: one form in UTC, which sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _run(row: Sequence[object]) -> JobRun:
    (run_id, job, slot, day, due_at, started_at, finished_at, status, attempt, flow_run_id, pid, message) = row
    return JobRun(
        run_id=int(str(run_id)),
        job=str(job),
        slot=str(slot),
        day=date.fromisoformat(str(day)),
        due_at=_moment(str(due_at)),
        started_at=_moment(str(started_at)),
        finished_at=_moment(str(finished_at)) if finished_at else None,
        status=RunStatus(str(status)),
        attempt=int(str(attempt)),
        flow_run_id=None if flow_run_id is None else str(flow_run_id),
        pid=int(str(pid)),
        message=None if message is None else str(message),
    )
