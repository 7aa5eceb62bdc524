"""The project's build from nothing against the script an engineer would write by hand, on the same landed batches.

Both use two threads and 8 GB. After every round each mart of the two is compared row for row: a yardstick that gives
other figures measures nothing.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb
from rich.table import Table

from benchmarks.compiled import compiled
from benchmarks.landing import make_sample
from benchmarks.measure import (
    MODELS_ONLY,
    ROUNDS,
    Measurement,
    all_passed,
    in_turn,
    land_all,
    measured,
    median,
    settings_of,
)
from flows.build.build import build
from flows.build.landings import enter_landings
from flows.contract.spec import PROJECT
from flows.land.compact import compact
from flows.topics.label import label
from flows.topics.topics import fit

SCRIPT = Path(__file__).with_name("handwritten.sql")
# What there is one way to write: the models' own text follows the script, in this order.
AS_MODELS = (
    "int_adverts__places_estimated", "agg_advert_positions", "int_adverts__adverts_adjusted",
    "fct_advert_attractiveness", "agg_advert_selection", "agg_content_sections_daily", "agg_content_enjoyment",
    "agg_content_returns_weekly",
)  # fmt: skip
# By what names the script has what these read.
IN_SCRIPT = {
    "intermediate.int_adverts__places_counted": "places",
    "intermediate.int_adverts__adverts_versioned": "dim_adverts",
    "intermediate.int_content__contents_versioned": "dim_contents",
    "intermediate.int_journeys__devices_shown": "journey_devices",
    "seeds.advert_segments": "(from read_csv(getvariable('seeds') || '/advert_segments.csv'))",
}
SMALL = 1_000_000
EVENTS_IN_MEMORY, EVENTS_IN_LAKE = "create temp table events as", "create temp view events as"
SLOWEST = 12


def tables(work: Path, size: int) -> Iterator[Table]:
    """For one million events and for ``size``: the times, and where they go."""
    for events in sorted({min(SMALL, size), size}):
        home = work / f"{events}"
        prepare(home, events)
        runs = compare_builds(home)
        yield _summary(events, runs)
        yield _details(events, runs)
        shutil.rmtree(home)


def prepare(home: Path, events: int) -> None:
    """A home with a sample of this many events landed and the topics of its calls told, its inbox empty again."""
    measured(make_sample, home=home, events=events)
    measured(land_all, home=home)
    measured(tell_topics, home=home)
    measured(land_all, home=home)
    measured(compact_all, home=home)
    measured(write_as_models, home=home)
    shutil.rmtree(settings_of(home).inbox)


def compare_builds(home: Path, rounds: int = ROUNDS) -> dict[str, list[Measurement]]:
    """Measure the script, the models alone, and models with tests, in turn. SystemExit where a mart differs."""
    jobs: dict[str, Callable[[], Measurement]] = {
        "script": partial(_from_nothing, run_script, home),
        "script, events in the lake": partial(_from_nothing, run_script_on_lake, home),
        "models": partial(_from_nothing, build_models, home),
        "models and tests": partial(_from_nothing, build_and_test, home),
    }
    runs = in_turn(jobs, rounds)
    measured(compare_marts, home=home)
    return runs


def tell_topics(home: str) -> int:
    """Job: find the topics of the calls, and deliver them; the calls."""
    fit(settings_of(home), "calls")
    return label(settings_of(home), "calls").texts_count


def write_as_models(home: str) -> int:
    """Job: the statements of what is written as the models are; the characters."""
    texts = compiled(*AS_MODELS)
    statements = []
    for name in AS_MODELS:
        text = texts[name]
        for model, ours in IN_SCRIPT.items():
            text = text.replace(model, ours)
        kind = "temp table" if name.startswith("int_") else "table"
        statements.append(f"create {kind} {name} as {re.sub(r'(intermediate|marts)[.]', '', text)};")
    return _as_models(home).write_text("\n\n".join(statements))


def compact_all(home: str) -> int:
    """Job: what a night does for the day after: each day's rows in one file."""
    settings = settings_of(home)
    done = compact(settings)
    done.raise_faults()
    settings.warehouse.parent.mkdir(exist_ok=True)
    enter_landings(settings)  # removes the files that were replaced
    settings.warehouse.unlink()
    return len(done.days)


def run_script_on_lake(home: str) -> dict[str, float]:
    """Job: the form of the script that keeps no events in memory."""
    assert EVENTS_IN_MEMORY in SCRIPT.read_text()
    return run_script(home, EVENTS_IN_LAKE)


def run_script(home: str, events: str = EVENTS_IN_MEMORY) -> dict[str, float]:
    """Job: the script into a fresh file; the seconds of each statement by its first words."""
    script = SCRIPT.read_text().replace(EVENTS_IN_MEMORY, events) + _as_models(home).read_text()
    settings = settings_of(home)
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "preserve_insertion_order": False,
    }
    seconds: dict[str, float] = {}
    with duckdb.connect(str(_script_file(home)), config=config) as db:
        db.execute("set TimeZone = 'UTC'")
        db.execute(f"set variable landed = '{settings.landed.resolve()}'")
        db.execute(f"set variable seeds = '{PROJECT / 'seeds'}'")
        for statement in duckdb.extract_statements(script):
            started = time.monotonic()
            db.execute(statement)
            seconds[_name(statement.query)] = time.monotonic() - started
        started = time.monotonic()
    seconds["close the file"] = time.monotonic() - started
    return seconds


def build_models(home: str) -> dict[str, float]:
    """Job: every seed and model; the seconds of each."""
    return {node.name: node.seconds for node in all_passed(build(settings_of(home), MODELS_ONLY)).nodes}


def build_and_test(home: str) -> dict[str, float]:
    """Job: every seed, model and test; the seconds of each."""
    return {node.name: node.seconds for node in all_passed(build(settings_of(home))).nodes}


def compare_marts(home: str) -> int:
    """Job: SystemExit unless the script made every mart that the project has, same columns and same rows."""
    with duckdb.connect(config={"threads": 2}) as db:
        db.execute(f"attach '{_script_file(home)}' as script (read_only)")
        db.execute(f"attach '{settings_of(home).warehouse}' as project (read_only)")
        names = [
            name
            for (name,) in db.execute(
                "select table_name from duckdb_tables() "
                "where database_name = 'project' and schema_name = 'marts' order by all"
            ).fetchall()
        ]
        faults = [fault for name in names for fault in _differences(db, f"project.marts.{name}", f"script.main.{name}")]
    if faults or not names:
        raise SystemExit("the script and the project differ:\n" + "\n".join(faults or ["there are no marts"]))
    return len(names)


def _differences(db: duckdb.DuckDBPyConnection, ours: str, theirs: str) -> list[str]:
    """What is not the same in two tables; nothing where they are equal."""
    columns = [
        [(name, type_) for name, type_, *_ in db.execute(f"describe {table}").fetchall()] for table in (ours, theirs)
    ]
    if columns[0] != columns[1]:
        return [f"{ours} has the columns {columns[0]}, {theirs} has {columns[1]}"]
    faults = []
    for one, other in ((ours, theirs), (theirs, ours)):
        rows = db.execute(f"select * from {one} except all select * from {other} limit 3").fetchall()
        faults += [f"only {one} has {row}" for row in rows]
    counts = [db.execute(f"select count(*) from {table}").fetchone() for table in (ours, theirs)]
    if counts[0] != counts[1] or counts[0] == (0,):
        faults.append(f"{ours} has {counts[0]} rows, {theirs} has {counts[1]}")
    return faults


def _from_nothing(job: Callable[..., dict[str, float]], home: Path) -> Measurement:
    made = _script_file(str(home)) if job in (run_script, run_script_on_lake) else settings_of(home).warehouse
    made.unlink(missing_ok=True)
    return measured(job, home=home)


def _script_file(home: str) -> Path:
    return Path(home) / "handwritten.duckdb"


def _as_models(home: str) -> Path:
    return Path(home) / "as_models.sql"


def _name(statement: str) -> str:
    """The first line of a statement that is not a comment, without its ending words."""
    line = next(line for line in statement.splitlines() if line.strip() and not line.startswith("--"))
    return line.removeprefix("create ").removesuffix(" as").removesuffix(" by name")


def _summary(events: int, runs: dict[str, list[Measurement]]) -> Table:
    table = Table(
        f"full build of {events:,} events",
        "seconds",
        "ratio",
        "CPU seconds",
        "ratio of CPU",
        "peak MiB",
        title_justify="left",
    )
    script, script_cpu = median(runs["script"]), median(runs["script"], lambda m: m.cpu_seconds)
    for name, of in runs.items():
        seconds, cpu = median(of), median(of, lambda m: m.cpu_seconds)
        peak = median(of, lambda m: m.peak_mib)
        table.add_row(
            name, f"{seconds:.1f}", f"{seconds / script:.2f}", f"{cpu:.1f}", f"{cpu / script_cpu:.2f}", f"{peak:,.0f}"
        )
    return table


def _details(events: int, runs: dict[str, list[Measurement]]) -> Table:
    """The slowest models beside the slowest statements."""
    columns = []
    for of in (runs["models"], runs["script"]):
        seconds = {name: sorted(run.result[name] for run in of)[len(of) // 2] for name in of[0].result}
        columns.append(sorted(seconds.items(), key=lambda item: -item[1])[:SLOWEST])
    table = Table(f"model, {events:,} events", "seconds", "statement of the script", "seconds", title_justify="left")
    for (model, a), (statement, b) in zip(*columns, strict=True):
        table.add_row(model, f"{a:.2f}", statement, f"{b:.2f}")
    return table
