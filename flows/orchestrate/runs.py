"""What the journal says: a run of a job, a streak of failures, who waits, and what was done by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from flows.sqlite import moment_of

# The columns of a run, in the order in which run_of takes them.
RUN_COLUMNS = "id, job, slot, day, due_at, started_at, finished_at, status, attempt, flow_run_id, pid, message"


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


def run_of(row: Sequence[object]) -> JobRun:
    """A row of RUN_COLUMNS as a run."""
    (run_id, job, slot, day, due_at, started_at, finished_at, status, attempt, flow_run_id, pid, message) = row
    return JobRun(
        run_id=int(str(run_id)),
        job=str(job),
        slot=str(slot),
        day=date.fromisoformat(str(day)),
        due_at=moment_of(str(due_at)),
        started_at=moment_of(str(started_at)),
        finished_at=moment_of(str(finished_at)) if finished_at else None,
        status=RunStatus(str(status)),
        attempt=int(str(attempt)),
        flow_run_id=None if flow_run_id is None else str(flow_run_id),
        pid=int(str(pid)),
        message=None if message is None else str(message),
    )
