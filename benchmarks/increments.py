"""Does a day cost the same on a year of history as on a month? One run with a new day on each."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table

from benchmarks.histories import copy_home, deliver_day, make_history
from benchmarks.measure import Measurement, in_turn, measured, median, run_all

NEW_EVENTS = 300_000
HISTORIES = (30, 365)


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: the steps of the run, on the short history and on the long one, and their ratios."""
    events = max(size // 100, 1000)
    for days in HISTORIES:
        make_history(work / f"{days}", days, events)
    runs = in_turn({f"{days}": partial(_one_more_day, work / f"{days}", work / "copy", days) for days in HISTORIES})
    short, long = (runs[f"{days}"] for days in HISTORIES)
    table = Table(
        f"a run with one day's {NEW_EVENTS:,} events",
        *(f"on {days} days, s" for days in HISTORIES),
        "ratio",
        title_justify="left",
        caption=f"each day of both histories has {events:,} events: SIZE / 100",
        caption_justify="left",
    )
    for step in ("land", "build", "publish"):
        a, b = (median(of, lambda run: run.result[step]) for of in (short, long))  # noqa: B023
        table.add_row(step, f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}")
    for name, figure in (("all, seconds", _seconds), ("all, CPU seconds", _cpu_seconds), ("peak MiB", _peak)):
        a, b = median(short, figure), median(long, figure)
        table.add_row(name, f"{a:,.2f}", f"{b:,.2f}", f"{b / a:.2f}")
    yield table


def _one_more_day(history: Path, copy: Path, days: int) -> Measurement:
    copy_home(history, copy)
    deliver_day(copy, days, NEW_EVENTS)
    return measured(run_all, home=copy)


def _seconds(run: Measurement) -> float:
    return run.seconds


def _cpu_seconds(run: Measurement) -> float:
    return run.cpu_seconds


def _peak(run: Measurement) -> float:
    return run.peak_mib
