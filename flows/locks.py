"""Locks of which people can see who holds them.

A lock is a file that the system locks, so it ends with the process that has it. What the file holds says who that is:
number, command and since when, for those who wait and for ``tidemark status``.
"""

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from flows.errors import WarehouseInUseError
from flows.processes import COMMAND_CHARACTERS, command_of, is_alive, process_mark, started_at
from flows.text import cut

# A lock that is only tried, to tell who has it, is free again after less.
BRIEF_SECONDS = 0.2
PID = re.compile(r"PID (\d+)")

log = logging.getLogger("tidemark.locks")


@dataclass(frozen=True)
class Holder:
    """A process that others wait for; ``since`` is in UTC, ``work`` what it says it does, where either is known.

    Of a lock of ours ``since`` is when it was taken. Of another process' hold on the warehouse only its start is known.
    """

    pid: int
    command: str | None
    since: datetime | None
    work: str | None = None

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        known = [self.command or "", f"running since {since}" if since and not self.work else ""]
        about = ", ".join(filter(None, known))
        at = f", {self.work} since {since}" if self.work and since else ""
        return f"process {self.pid}" + (f" ({about})" if about else "") + at


@contextmanager
def held(path: Path, work: str) -> Iterator[None]:
    """Hold the lock at ``path``, once nobody else does, and say there that this process is at ``work``.

    To wait is no failure: the log says for whom, and it continues automatically.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=BRIEF_SECONDS)
    except Timeout:
        log.warning("%s waits for %s, and continues automatically", work, holder_of(path) or f"who holds {path}")
        lock.acquire()
    try:
        sign(path, work)
        yield
    finally:
        with suppress(OSError):
            os.truncate(path, 0)
        lock.release()


def sign(path: Path, work: str) -> None:
    """Say in the file of a lock that this process has it and is at ``work``."""
    pid = os.getpid()
    line = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    mark = {"pid": pid, "mark": process_mark(pid), "command": cut(line, COMMAND_CHARACTERS)}
    with suppress(OSError):  # a full disk is no reason not to work, and who looks then sees no name
        path.write_text(json.dumps({**mark, "work": work, "since": datetime.now(UTC).isoformat()}))


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock, by what its file says; None where nobody does, or did not say so."""
    try:
        said = json.loads(path.read_text())
        holder = Holder(int(said["pid"]), said["command"], datetime.fromisoformat(said["since"]), said["work"])
        return holder if is_alive(holder.pid, said["mark"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def holder_in(error: str) -> Holder | None:
    """The process that an error of DuckDB's names as having the file open; None where it names none."""
    found = PID.search(error)
    if found is None:
        return None
    pid = int(found[1])
    return Holder(pid, command_of(pid), started_at(pid, datetime.now(UTC)))


def warehouse_in_use(warehouse: Path, said: str) -> WarehouseInUseError:
    """The error where another process has the warehouse open, by what DuckDB ``said``: who, and what to do."""
    holder = holder_in(said)
    return WarehouseInUseError(
        f"{holder or 'another process'} has the warehouse {warehouse} open; close it there: readers should open "
        "published/current/marts.duckdb instead"
    )
