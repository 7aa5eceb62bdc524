"""A question to a publication, and what is known with the answer: its version, and how fresh its tables are."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date
from typing import Any

import anyio

from flows.ask.connection import Limits
from flows.ask.publication import Publication, Table
from flows.ask.statement import UnknownTableError
from flows.ask.values import Value
from flows.ask.worker import GRACE, too_long, too_much
from flows.clock import minute
from flows.errors import TidemarkError
from flows.settings import PROJECT
from flows.text import counted

# What the process that answers keeps of the environment. Secrets are in none of these.
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
# Seconds that it may take to begin, on a busy machine, beside those of the question.
TO_BEGIN = 30.0


@dataclass(frozen=True)
class Answer:
    """The rows of an answer, whether there are more, and which tables of which publication it is of."""

    sql: str
    publication: Publication
    columns: tuple[tuple[str, str], ...]
    rows: list[list[Value]]
    is_more: bool
    tables: tuple[Table, ...]
    seconds: float

    @property
    def data_up_to(self) -> date | None:
        """The day that every table of the question has data up to."""
        return self.publication.up_to([table.name for table in self.tables])

    @property
    def notes(self) -> list[str]:
        """What has to be known with the rows: that there are more, and which tables are stale."""
        found = []
        if self.is_more:
            found.append(f"the first {counted(len(self.rows), 'row')}; there are more")
        for table in self.tables:
            if table.stale_since:
                since, because = minute(table.stale_since.replace(tzinfo=UTC)), table.stale_because or "what failed"
                found.append(f"{table.name} is stale since {since}: it waits for {because}")
        return found


def ask(publication: Publication, sql: str, limits: Limits) -> Answer:
    """Answer a question. Raises :class:`TidemarkError` where it is refused, fails, or takes too much."""
    try:
        done = subprocess.run(
            COMMAND,
            input=request_of(publication, sql, limits),
            capture_output=True,
            env=_environment(),
            timeout=limits.seconds + GRACE + TO_BEGIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TidemarkError(too_long(limits)) from None
    return _answer(publication, sql, limits, done)


async def ask_beside(publication: Publication, sql: str, limits: Limits) -> Answer:
    """Answer a question beside others. Who no longer waits for the answer ends the process that works on it."""
    try:
        with anyio.fail_after(limits.seconds + GRACE + TO_BEGIN):
            done = await anyio.run_process(
                COMMAND, input=request_of(publication, sql, limits), env=_environment(), check=False
            )
    except TimeoutError:
        raise TidemarkError(too_long(limits)) from None
    return _answer(publication, sql, limits, done)


COMMAND = [sys.executable, "-P", "-m", "flows.ask.worker"]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8", "TZ": "UTC"}


def request_of(publication: Publication, sql: str, limits: Limits) -> bytes:
    """What the process that answers is asked."""
    request = {
        "database": str(publication.database),
        "folders": [str(folder) for folder in publication.folders],
        "tables": [table.name for table in publication.tables],
        "limits": asdict(limits),
        "sql": sql,
    }
    return json.dumps(request).encode()


def _answer(publication: Publication, sql: str, limits: Limits, done: "subprocess.CompletedProcess[bytes]") -> Answer:
    if done.returncode == -signal.SIGALRM:
        raise TidemarkError(too_long(limits))
    if done.returncode:
        # What it says on the way out is of memory where that was at its end, whose shortage shows in many ways.
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if done.returncode < 0 or "MemoryError" in said or "bad_alloc" in said:
            raise TidemarkError(f"DuckDB ended without an answer: {too_much(limits)}")
        raise TidemarkError(f"the question could not be answered: {said or done.returncode}")
    reply: dict[str, Any] = json.loads(done.stdout)
    if "error" in reply:
        raise (UnknownTableError if reply.get("is_unknown") else TidemarkError)(reply["error"])
    return Answer(
        sql=sql,
        publication=publication,
        columns=tuple((name, kind) for name, kind in reply["columns"]),
        rows=reply["rows"],
        is_more=reply["is_more"],
        tables=tuple(publication.table(name) for name in reply["tables"]),
        seconds=reply["seconds"],
    )
