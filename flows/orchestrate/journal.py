"""What each job did: the journal of runs and waits in SQLite, and what the decision reads from it and the lake.

The journal is ``home/jobs/journal.sqlite``. Several processes write to it; each change is one transaction, written
through to the disk before it counts. So a run that finished stays finished, whatever is killed after that.

A run belongs to the process that began it. A process is known by its number and its start, since numbers are used
again; processes must therefore be of one machine, and see each other.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Literal

from flows.errors import TidemarkError
from flows.orchestrate.due import ScheduleState
from flows.orchestrate.job import Job
from flows.orchestrate.journal_store import JournalStore
from flows.orchestrate.runs import RUN_COLUMNS, JobRun, RunStatus, run_of
from flows.processes import is_alive, process_mark
from flows.settings import Settings
from flows.sqlite import moment_of, text_of

# Runs older than this are forgotten, and slots older than this are not made up.
KEEP = timedelta(days=400)
# Clocks are corrected by less than this all the time.
CLOCK_SLACK = timedelta(minutes=1)
# A watcher that was not seen for so long was down: its passes come twice a minute, and a slow one takes no longer.
DOWN_AFTER = timedelta(minutes=3)


class Journal(JournalStore):
    """The journal of a home. Close it after use, or use it as a context manager. One that is kept open and asked
    again reads only what landed since.

    ``clock`` gives the present moment, aware. One that is ``read_only`` must be there already and is not changed, for
    those who only look: :meth:`read_schedule_state` then takes a run whose process is gone for one that runs. Every
    method raises :class:`TidemarkError` where the journal cannot be read or written.
    """

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
                    (job.name, text_of(now), schedule, text_of(now)),
                )
                if job.name in known:
                    reported.append(f"job {job.name}: was {known[job.name]}, is {schedule}; counts from {text_of(now)}")
                else:
                    reported.append(f"job {job.name}: new, counts from {text_of(now)}")
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
                    text_of(due_at),
                    text_of(self._clock()),
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
                (status, text_of(self._clock()), message, run_id),
            )

    def note_by_hand(self, step: str, started_at: datetime, batch_id: int) -> None:
        """Note that somebody did a step of jobs by hand, just now and with success."""
        with self._transaction():
            self._database.execute(
                "insert or replace into by_hand values (?, ?, ?, ?)",
                (step, text_of(started_at), text_of(self._clock()), batch_id),
            )

    def note_served(self, now: datetime) -> timedelta | None:
        """Note that the service is up. Returns how long it was down before, None where it was not."""
        with self._transaction():
            row = self._database.execute("select seen_at from service").fetchone()
            self._database.execute("insert or replace into service values (1, ?)", (text_of(now),))
            if row is None or (down := now - moment_of(row[0])) <= DOWN_AFTER:
                return None
            self._database.execute("insert or replace into downtimes values (?, ?)", (row[0], text_of(now)))
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
                    "insert or ignore into noticed values (?, ?)", [(name, text_of(now)) for name in new]
                )
        return {name: moment_of(known[name]) if name in known else now for name in names}

    def crash(self) -> list[JobRun]:
        """Mark as crashed, and return, every running run whose process is no more; such a process waits no longer."""
        with self._transaction():
            return self._crash()

    def _crash(self) -> list[JobRun]:
        crashed: list[JobRun] = []
        for run_id, pid, process in self._running():
            if not is_alive(pid, process):
                rows = self._database.execute(
                    "update runs set status = 'crashed', finished_at = ?, message = ? where id = ? "
                    f"returning {RUN_COLUMNS}",
                    (text_of(self._clock()), f"its process {pid} ended without saying how", run_id),
                )
                crashed += map(run_of, rows.fetchall())
        for wait_id, pid, process in self._database.execute("select id, pid, process from waits").fetchall():
            if not is_alive(pid, process):
                self._database.execute("delete from waits where id = ?", (wait_id,))
        return crashed

    @contextmanager
    def waiting(self, flow_run_id: str | None, job: str, waits_for: str) -> Iterator[None]:
        """Let it be seen that a run of a job waits for something, as long as the block lasts."""
        with self._transaction():
            pid = os.getpid()
            wait_id = self._database.execute(
                "insert into waits (flow_run_id, job, pid, process, waits_for, since) values (?, ?, ?, ?, ?, ?)",
                (flow_run_id, job, pid, process_mark(pid) or "", waits_for, text_of(self._clock())),
            ).lastrowid
        try:
            yield
        finally:
            with self._transaction():
                self._database.execute("delete from waits where id = ?", (wait_id,))

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
                f"and (status <> 'succeeded' or slot > :limit and slot like '____-__-__T%') returning {RUN_COLUMNS}",
                {"limit": text_of(limit)},
            ).fetchall()
            self._database.execute(
                "update jobs set counts_from = ?, first_seen_at = min(first_seen_at, ?) where counts_from > ?",
                (text_of(now), text_of(now), text_of(limit)),
            )
        return sorted((run_of(row) for row in rows), key=lambda run: run.run_id)

    def prune(self, now: datetime) -> None:
        """Forget runs that began more than :data:`KEEP` ago, but for the newest of each job and status."""
        limit = text_of(now - KEEP)
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
        """As the store reads it, after runs of dead processes were marked as crashed, unless it is read only."""
        if not self._is_read_only:
            self.crash()
        return super().read_schedule_state(settings, jobs, now)
