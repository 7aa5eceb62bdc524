"""What every table needs: a job in a fresh interpreter with its times and peak memory, rounds in turn, medians."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from flows.build.build import Build, build_pending
from flows.land.land import land
from flows.publish.publish import publish
from flows.settings import Settings

ROUNDS = 3
MODELS_ONLY = ("--exclude-resource-type", "test")


@dataclass(frozen=True)
class Measurement:
    """One job: what it returned, seconds on the clock and of processor time, peak memory in MiB.

    Imports are not counted in the times, for what a program imports once is not what it does; they are in the peak,
    which is that of the whole process.
    """

    result: Any
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(job: Callable[..., Any], **arguments: Any) -> Measurement:
    """Run a function of a module in a fresh interpreter; arguments and result must be JSON, paths are text.

    Raises SystemExit where the job fails; what it printed is on the terminal.
    """
    name = f"{job.__module__}:{job.__name__}"
    command = [sys.executable, "-m", __name__, name, json.dumps(arguments, default=str)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a measurement failed: {name} {arguments}\n{text}")
    done = json.loads(text.splitlines()[-1])
    return Measurement(done["result"], done["seconds"], done["cpu_seconds"], usage.ru_maxrss / 1024)


def in_turn(jobs: dict[str, Callable[[], Measurement]], rounds: int = ROUNDS) -> dict[str, list[Measurement]]:
    """Each job once a round, so that what the machine does besides meets all of them alike."""
    runs: dict[str, list[Measurement]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            runs[name].append(job())
    return runs


def median(runs: list[Measurement], figure: Callable[[Measurement], float] = lambda run: run.seconds) -> float:
    """The median of a figure over rounds; of the seconds where none is given."""
    return statistics.median(figure(run) for run in runs)


def settings_of(home: str | Path) -> Settings:
    """The settings of a benchmark's home: two threads and 8 GB, whatever the environment says.

    Published versions are kept by number alone: a year of them made in an hour would all be kept for a day.
    """
    return Settings(home=Path(home), settle_seconds=0, threads=2, memory_limit="8GB", keep_hours=0)


def run_steps(settings: Settings) -> dict[str, float]:
    """Land, build what is pending, publish; the seconds of each. Raises SystemExit where a model or test fails."""
    at = [time.monotonic()]
    land(settings)
    at.append(time.monotonic())
    done = build_pending(settings)
    if done is not None:
        all_passed(done)
    at.append(time.monotonic())
    publish(settings)
    at.append(time.monotonic())
    return {name: at[i + 1] - at[i] for i, name in enumerate(("land", "build", "publish"))}


def all_passed(done: Build) -> Build:
    """The build; SystemExit where a model or test of it failed, for its time would mean nothing."""
    if done.failed:
        raise SystemExit("\n".join(f"{node.name}: {node.message}" for node in done.failed))
    return done


def land_all(home: str) -> int:
    """Job: land what is in a home's inbox; the rows read."""
    return land(settings_of(home)).rows("rows_read")


def run_all(home: str) -> dict[str, float]:
    """Job: one run of a home."""
    return run_steps(settings_of(home))


def machine() -> str:
    """The day and the machine, for the head of a report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _main() -> None:
    """In the fresh interpreter: import, run, tell the result as the last line."""
    module, name = sys.argv[1].split(":")
    job = getattr(import_module(module), name)
    arguments = json.loads(sys.argv[2])
    started, worked = time.monotonic(), time.process_time()
    result = job(**arguments)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - worked
    print()
    print(json.dumps({"result": result, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    _main()
