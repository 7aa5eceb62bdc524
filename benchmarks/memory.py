"""How much memory does a full build take? All models and tests from nothing, on SIZE events, a million a day."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from benchmarks.histories import deliver_day, empty_inbox
from benchmarks.measure import all_passed, land_all, measured, settings_of
from flows.build.build import build
from flows.settings import Settings

EVENTS_A_DAY = 1_000_000
# What it is where nobody sets it.
LIMIT = Settings.model_fields["memory_limit"].default


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: rows, time, peak memory and the size of the warehouse file."""
    home = work / "home"
    days = max(size // EVENTS_A_DAY, 1)
    landed = 0
    for day in range(days):
        deliver_day(home, day, size // days)
        # A day at a time, so that the disk need not hold all extracts beside what landed of them.
        landed += int(measured(land_all, home=home).result)
        empty_inbox(home)
    done = measured(build_all, home=home)
    shutil.rmtree(home / "lake")
    table = Table(
        "full build of all models, with every test",
        f"{landed:,} rows",
        title_justify="left",
        caption=f"two threads, {LIMIT} for DuckDB, which spills what is more to disk",
        caption_justify="left",
    )
    table.add_row("seconds", f"{done.seconds:,.0f}")
    table.add_row("CPU seconds", f"{done.cpu_seconds:,.0f}")
    table.add_row("peak memory of the process, GiB", f"{done.peak_mib / 1024:.1f}")
    table.add_row("warehouse, GiB", f"{settings_of(home).warehouse.stat().st_size / 2**30:.1f}")
    yield table


def build_all(home: str) -> None:
    """Job: build and test everything."""
    all_passed(build(settings_of(home).model_copy(update={"memory_limit": LIMIT})))
