"""Does a warehouse age? A year of daily deliveries, one run each, against one build of the same landed batches."""

import os
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table

from benchmarks.histories import copy_home, deliver_day, empty_inbox
from benchmarks.measure import Measurement, in_turn, measured, median, run_all, run_steps, settings_of
from flows.land.compact import compact

EVENTS = 10_000


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: size of the warehouse file, and the time of one more day. ``DAYS`` shortens the year."""
    days = int(os.environ.get("DAYS", "365"))
    aged, fresh = work / "aged", work / "fresh"
    lived = measured(live_through, home=aged, days=days)
    copy_home(aged, fresh, warehouse=False)
    built = measured(run_all, home=fresh)
    sizes = [settings_of(home).warehouse.stat().st_size / 2**20 for home in (aged, fresh)]
    runs = in_turn({home.name: partial(_one_more_day, home, work / "copy", days) for home in (aged, fresh)})
    times = [median(runs[home.name]) for home in (aged, fresh)]
    table = Table(
        f"{days} days of {EVENTS:,} events, one run a day",
        "run day by day",
        "built at once",
        "ratio",
        title_justify="left",
    )
    table.add_row("warehouse, MiB", *(f"{mib:,.0f}" for mib in sizes), f"{sizes[0] / sizes[1]:.2f}")
    table.add_row("one more day, s", *(f"{seconds:.2f}" for seconds in times), f"{times[0] / times[1]:.2f}")
    table.add_row("all of it, s", f"{lived.seconds:,.0f}", f"{built.seconds:,.0f}", "")
    month = min(30, days)
    first, last = (statistics.median(part) for part in (lived.result[:month], lived.result[-month:]))
    table.add_row(f"a run, first and last {month} days, s", f"{first:.2f}", f"{last:.2f}", f"{last / first:.2f}")
    table.add_row("peak MiB", f"{lived.peak_mib:,.0f}", f"{built.peak_mib:,.0f}", "")
    yield table


def live_through(home: str, days: int) -> list[float]:
    """Job: deliver and run day after day in one process; the seconds of each run."""
    seconds = []
    for day in range(days):
        deliver_day(Path(home), day, EVENTS)
        seconds.append(sum(run_steps(settings_of(home)).values()))
        empty_inbox(Path(home))
        compact(settings_of(home))  # as by night
    return seconds


def _one_more_day(home: Path, copy: Path, days: int) -> Measurement:
    copy_home(home, copy)
    deliver_day(copy, days, EVENTS)
    return measured(run_all, home=copy)
