"""The process that answers one question, and is gone: ``python -m flows.ask.worker``.

A process of its own, because not all that a question may do ends when it is interrupted or stays within DuckDB's memory
limit: a distance between two long texts is not interrupted, and a text of 2 GB is beside the limit. So the system holds
it: a clock ends it, memory ends where the limit says, and no file can be written. It has the environment that it needs
and no secret. Whatever it does, who started it goes on.

It reads a request as JSON and prints the answer as JSON: what it says of values stands in ``flows/ask/values.py``.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from flows.ask.connection import Limits, open_locked
from flows.ask.statement import RefusedError, UnknownTableError, check, readable
from flows.ask.values import shown
from flows.text import cut

# Seconds after which a question that did not end when it was interrupted is ended by the system.
GRACE = 2.0
# Memory beside DuckDB's own, in MB: of Python, of the answer, and of what DuckDB does not count.
BESIDE = 600
MEGABYTE = 1_000_000
# So that one short question is not answered by gigabytes of names.
MOST_COLUMNS, LONGEST_NAME = 1_000, 1_000


def hold(limits: Limits) -> None:
    """Let the system end this process when its time is over, and give it no more memory and no file to write."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + GRACE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(OSError, ValueError):  # a system that does not say or limit it
        most = _used() + (limits.memory + BESIDE) * MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _used() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a request asks for, or ``error``: why there is no answer."""
    limits = Limits(**request["limits"])
    folders = [Path(folder) for folder in request["folders"]]
    try:
        with open_locked(Path(request["database"]), folders, limits) as db:
            checked = check(db, request["sql"], request["tables"], Path(request["database"]).stem)
            began = time.monotonic()
            with _interrupted_after(db, limits.seconds):
                cursor = db.execute(checked.statement)
                columns = _columns(cursor)
                rows, is_more = _read(cursor, limits, len(columns))
            seconds = time.monotonic() - began
        return {"columns": columns, "rows": rows, "is_more": is_more, "tables": checked.tables, "seconds": seconds}
    except RefusedError as error:
        return {"error": str(error), "is_unknown": isinstance(error, UnknownTableError)}
    except duckdb.InterruptException:
        return {"error": too_long(limits)}
    except (duckdb.OutOfMemoryException, MemoryError):
        return {"error": too_much(limits)}
    except duckdb.PermissionException:
        return {"error": "the question reaches for something that is not published; ask about published tables alone"}
    except duckdb.IOException:
        return {"error": "a file of this publication cannot be read: it may just have been removed; ask once more"}
    except duckdb.Error as error:
        said = readable(error)
        return {"error": too_much(limits) if "allocation failure" in said.lower() else said}


@contextmanager
def _interrupted_after(db: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection does within, should it take longer."""
    interrupt = threading.Timer(seconds, db.interrupt)
    interrupt.daemon = True
    interrupt.start()
    try:
        yield
    finally:
        interrupt.cancel()


def too_long(limits: Limits) -> str:
    """Said of a question whose time is over."""
    return f"the question took more than {limits.seconds:g} seconds; ask for fewer days or rows, or for a total"


def too_much(limits: Limits) -> str:
    """Said of a question that takes too much memory."""
    return f"the question needs more than {limits.memory:,} MB of memory; ask for fewer days or rows, or for a total"


def _columns(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The names and types of the columns."""
    described = cursor.description or []
    if len(described) > MOST_COLUMNS:
        raise RefusedError(f"the answer has {len(described):,} columns; at most {MOST_COLUMNS:,} are given")
    return [(cut(name, LONGEST_NAME), cut(str(kind), LONGEST_NAME)) for name, kind, *_ in described]


def _read(cursor: duckdb.DuckDBPyConnection, limits: Limits, columns: int) -> tuple[list[list[Any]], bool]:
    """The rows of the answer, as far as its limits go, and whether there are more."""
    rows: list[list[Any]] = []
    room = limits.characters
    # One row at least, however wide, has to fit.
    of_value = min(limits.value, limits.characters // max(columns, 1))
    while batch := cursor.fetchmany(min(limits.rows + 1 - len(rows), 500)):
        for row in batch:
            values = [shown(value, of_value) for value in row]
            room -= sum(len(value) if isinstance(value, str) else 8 for value in values)
            if len(rows) == limits.rows or (room < 0 and rows):
                return rows, True
            rows.append(values)
    return rows, False


def main() -> None:
    """The process."""
    request = json.load(sys.stdin)
    hold(Limits(**request["limits"]))
    json.dump(answer(request), sys.stdout)


if __name__ == "__main__":
    main()
