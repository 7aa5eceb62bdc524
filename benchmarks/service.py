"""The way of :mod:`benchmarks.latency` through Prefect: from a file's rename to `current`, all of it served.

A home is served with server, worker, warm process and watcher on a port of its own. Measured are single files, a
thousand small ones at once, and what it takes while nothing comes. Needs Linux, for /proc.
"""

import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import duckdb
import pyarrow.parquet as pq
from rich.table import Table

from benchmarks.histories import make_history, write_day
from benchmarks.measure import settings_of
from flows.land.receipts import Receipts
from flows.orchestrate.journal import Journal
from flows.orchestrate.runs import RunStatus
from flows.orchestrate.service.supervisor import serve, stop
from flows.publish.manifest import current_version, newest_manifest
from flows.settings import Settings

DAYS = 30
FILES = 20
EVENTS = 10_000
SMALL_FILES = 1_000
SMALL_EVENTS = 20
IDLE_SECONDS = 120
# After its start the server goes on with preparations: that is not idling.
CALM_SECONDS = 60
PATIENCE_SECONDS = 600
DUCKDB_MIB = 2_048


def tables(work: Path, size: int) -> Iterator[Table]:
    """Three tables: single files, the burst, idling."""
    events = max(size // 100, 1000)
    home = work / "home"
    make_history(home, DAYS, events)
    with _served(home) as settings:
        time.sleep(CALM_SECONDS)
        idle = _idle_share(settings)
        seconds = sorted(_time_files(settings))
        burst = _burst(settings)
    yield _table(
        f"through Prefect, from rename to `current`, {EVENTS:,} events a file",
        f"{FILES} files of one new day, one after the other, on {DAYS} days of {events:,} events: SIZE / 100",
        {
            "median, s": f"{statistics.median(seconds):.2f}",
            "95th percentile, s": f"{seconds[-(-len(seconds) * 95 // 100) - 1]:.2f}",
        },
    )
    yield _table(
        f"{SMALL_FILES:,} files of some {SMALL_EVENTS} events at once",
        "memory: proportional set size, of all processes together",
        burst,
    )
    yield _table(f"nothing to do for {IDLE_SECONDS} s", "all processes together", {"of a core": f"{idle:.2%}"})


def _table(title: str, caption: str, figures: dict[str, str]) -> Table:
    table = Table(title, "", title_justify="left", caption=caption, caption_justify="left")
    for name, figure in figures.items():
        table.add_row(name, figure)
    return table


@contextmanager
def _served(home: Path) -> Iterator[Settings]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"server_port": port, "memory_limit": f"{DUCKDB_MIB}MiB", "settle_seconds": 0.0}
    os.environ.update({f"TIDEMARK_{name.upper()}": str(value) for name, value in given.items()})
    settings = settings_of(home).model_copy(update=given)
    serve(settings)
    try:
        yield settings
    finally:
        stop(settings)


def _time_files(settings: Settings) -> list[float]:
    """Deliver files one by one, each published before the next; the first one does not count."""
    times = []
    for part in range(FILES + 1):
        made = write_day(settings.home, DAYS, EVENTS, part)
        before = current_version(settings)
        started = time.monotonic()
        made.rename(made.with_name(made.name.removeprefix(".")))
        _wait(lambda before=before: current_version(settings) != before)  # type: ignore[misc]
        times.append(time.monotonic() - started)
        _wait(lambda: _is_at_rest(settings))
        shutil.rmtree(settings.inbox / "bench")
    return times[1:]


def _burst(settings: Settings) -> dict[str, str]:
    """Deliver many small files at once: when all are published, in how many versions, with how much memory."""
    made = [write_day(settings.home, DAYS + 1, SMALL_EVENTS, part) for part in range(SMALL_FILES)]
    delivered = sum(pq.read_metadata(path).num_rows for path in made)
    with closing(Receipts(settings)) as receipts:
        first = receipts.last_batch_id()
    versions = _versions(settings)
    peak, ended = [0.0], Event()
    watching = Thread(target=_watch_memory, args=(settings, peak, ended))
    watching.start()
    started = time.monotonic()
    for path in made:
        path.rename(path.with_name(path.name.removeprefix(".")))
    _wait(lambda: _published_batch(settings) >= first + SMALL_FILES)
    seconds = time.monotonic() - started
    _wait(lambda: _is_at_rest(settings))
    ended.set()
    watching.join()
    day = made[0].parent.name
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as marts:
        (published,) = marts.execute(
            "select sum(rows_landed) from ops_landings where file like ?", [f"%/{day}/%"]
        ).fetchone() or (0,)
    return {
        "all published after, s": f"{seconds:.1f}",
        "versions published": str(_versions(settings) - versions),
        "events missing": str(delivered - int(published)),
        "peak memory, MiB": f"{peak[0]:,.0f}",
        f"above DuckDB's limit of {DUCKDB_MIB:,}, MiB": f"{max(0.0, peak[0] - DUCKDB_MIB):,.0f}",
    }


def _idle_share(settings: Settings) -> float:
    """The processor time of all processes while nothing is delivered, as a share of one core."""
    before = _processor_seconds(settings)
    time.sleep(IDLE_SECONDS)
    after = _processor_seconds(settings)
    return sum(after[pid] - before[pid] for pid in after.keys() & before.keys()) / IDLE_SECONDS


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise SystemExit("what was delivered was never published; the home's logs say why")
        time.sleep(0.02)


def _is_at_rest(settings: Settings) -> bool:
    with Journal(settings) as journal:
        return all(run.status is not RunStatus.RUNNING for run in journal.history(20))


def _published_batch(settings: Settings) -> int:
    manifest = newest_manifest(settings)
    return manifest.batch_high_water if manifest else 0


def _versions(settings: Settings) -> int:
    return len(list(settings.published.glob("[0-9]*/manifest.json")))


def _processes(settings: Settings) -> Iterator[Path]:
    """The processes that serve a home: their environment says so."""
    mark = f"TIDEMARK_HOME={settings.home.resolve()}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in environment and int(process.name) != os.getpid():
            yield process


def _processor_seconds(settings: Settings) -> dict[str, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for process in _processes(settings):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        found[process.name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def _watch_memory(settings: Settings, peak: list[float], ended: Event) -> None:
    while not ended.wait(0.5):
        total = 0
        for process in _processes(settings):
            try:
                lines = (process / "smaps_rollup").read_text().splitlines()
            except OSError:  # it ended meanwhile
                continue
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        peak[0] = max(peak[0], total / 1024)
