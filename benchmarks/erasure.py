"""What does it cost to erase people? A hundred of them at once, and one, against a full build of the same lake."""

import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from benchmarks.histories import copy_home, deliver_day, devices_of, empty_inbox
from benchmarks.measure import land_all, measured, run_all, settings_of
from flows.land.compact import compact
from flows.land.pseudonyms import Kind
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.requests import Queue

EVENTS_A_DAY = 1_000_000
DAYS = 100
MANY = 100


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: seconds of each step, and how much of the lake was rewritten. SIZE events, a million a day."""
    home = work / "home"
    days = min(DAYS, max(size // EVENTS_A_DAY, 10))
    landed = 0
    for day in range(days):
        deliver_day(home, day, size // days)
        landed += int(measured(land_all, home=home).result)
        empty_inbox(home)
    compact(settings_of(home))
    built = measured(run_all, home=home)
    table = Table(
        f"{landed:,} events over {days} days",
        "full build and publication",
        "1 person",
        f"{MANY} people",
        title_justify="left",
        caption="of the CPU most is the build of the touched days; a person is on few of them, a hundred are on all",
        caption_justify="left",
    )
    done = []
    # Under the path at which it was built: at another, dbt would parse the project from nothing.
    kept = home.rename(work / "kept")
    for people in (1, MANY):
        copy_home(kept, home)
        users = [f"user-{number}" for number in spread(devices_of(size // days), people)]
        done.append(measured(erase_people, home=home, users=users))
    table.add_row("seconds", f"{built.seconds:,.0f}", *(f"{run.seconds:,.0f}" for run in done))
    table.add_row("of these, the lake", "", *(f"{run.result['lake']:,.0f}" for run in done))
    table.add_row("the models and versions", "", *(f"{run.result['rest']:,.0f}" for run in done))
    table.add_row("the proof", "", *(f"{run.result['proof']:,.0f}" for run in done))
    table.add_row("CPU seconds", f"{built.cpu_seconds:,.0f}", *(f"{run.cpu_seconds:,.0f}" for run in done))
    table.add_row("peak MiB", f"{built.peak_mib:,.0f}", *(f"{run.peak_mib:,.0f}" for run in done))
    table.add_row("rows erased", "", *(f"{run.result['rows']:,}" for run in done))
    table.add_row("days rewritten", "", *(f"{run.result['files'][0]} of {run.result['files'][1]}" for run in done))
    yield table


def spread(devices: int, people: int) -> list[int]:
    """As many of the devices as there are people to erase, far from each other; every third has a user."""
    return [number * (devices // people) // 3 * 3 for number in range(people)]


def erase_people(home: str, users: list[str]) -> dict[str, object]:
    """Job: erase users with their devices; what each part of it took, and what was done."""
    settings = settings_of(home)
    Queue(settings).receive([(Given(Kind.USER, user),) for user in users], with_shared=False)
    started = time.monotonic()
    (request,) = erase(settings)
    found, reached = request.found, request.reached
    at = [reached[state] for state in ("rewritten", "published", "proven")]
    rest, proof = (at[1] - at[0]).total_seconds(), (at[2] - at[1]).total_seconds()
    files = found["landed_files"]["events"]
    return {
        "lake": time.monotonic() - started - rest - proof,
        "rest": rest,
        "proof": proof,
        "rows": sum(found["before"]["landed"]["events"].values()),
        "files": [files["rewritten"], files["of"]],
    }
