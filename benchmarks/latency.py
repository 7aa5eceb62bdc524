"""From a file's rename into the inbox to marts that hold it, in a process that is warm: land, build, publish."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from benchmarks.histories import empty_inbox, make_history, write_day
from benchmarks.measure import measured, run_steps, settings_of
from flows.publish.manifest import current_version

DAYS = 30
FILES = 20
EVENTS = 10_000


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: the median and the 95th percentile over the files, by step."""
    events = max(size // 100, 1000)
    make_history(work / "home", DAYS, events)
    runs = measured(time_files, home=work / "home", files=FILES).result
    table = Table(
        f"from rename to `current`, {EVENTS:,} events a file",
        "median, s",
        "95th percentile, s",
        title_justify="left",
        caption=f"{FILES} files of one new day, on {DAYS} days of {events:,} events: SIZE / 100",
        caption_justify="left",
    )
    for step in runs[0]:
        seconds = sorted(run[step] for run in runs)
        table.add_row(step, f"{statistics.median(seconds):.2f}", f"{_percentile(seconds, 0.95):.2f}")
    yield table


def time_files(home: str, files: int) -> list[dict[str, float]]:
    """Job: deliver files one by one, each published before the next; the seconds of each by step, and all of them."""
    settings = settings_of(home)
    times = []
    for part in range(files + 1):
        made = write_day(Path(home), DAYS, EVENTS, part)
        before = current_version(settings)
        started = time.monotonic()
        made.rename(made.with_name(made.name.removeprefix(".")))
        steps = run_steps(settings)
        times.append(steps | {"all": time.monotonic() - started})
        if current_version(settings) == before:
            raise SystemExit(f"nothing was published for {made.name}")
        empty_inbox(Path(home))
    return times[1:]  # the first one warms the process


def _percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile: a value that was measured, not one between two."""
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]
