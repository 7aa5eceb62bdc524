"""Time Tidemark's build against SQLMesh's: everything from nothing, and one more day. README.md says why it is fair.

Both read the same landed Parquet with the same DuckDB, threads and memory, and make the same marts, which are compared
row for row: a difference ends the benchmark. Every measurement is a whole command in a process of its own, taken in
turn. ``SIZE`` is the number of events.
"""

import hashlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.peers.generate import PEER, PeerModel, generate
from flows import sample
from flows.contract.spec import PROJECT
from flows.land.land import land
from flows.sample.days import FIRST_DAY
from flows.settings import Settings

ROUNDS = 3
DAYS = 30
ENVIRONMENTS = PROJECT / "build" / "peers"
# By its name SQLMesh's views find their tables: the comparison calls it `peer` too.
WAREHOUSE = "peer.duckdb"

# The schemas whose tables are compared. Those of others are steps on the way; views cost nothing.
COMPARED = ("marts", "ops")
# The column with a row's last day, where that is not the one by which its days are replaced.
LAST_DAY = {"fct_sessions": "ended_date"}

# What `tidemark run` builds of models: SQLMesh's run leaves its audits out too.
BUILD_OUTDATED = """
import sys
from benchmarks.measure import MODELS_ONLY
from flows.build.build import run_named
from flows.build.landings import enter_landings
from flows.build.dbt import read_project
from flows.build.warehouse import read_pending_work, warehouse_held
from flows.settings import Settings

settings = Settings()
with warehouse_held(settings, "building"):
    enter_landings(settings)
    outdated = set(read_pending_work(settings, read_project(settings)).outdated)
    done = run_named(settings, outdated, print, arguments=MODELS_ONLY)
sys.exit(bool(done.failed))
"""


@dataclass(frozen=True)
class Run:
    """One command: seconds on the clock and of processor time, peak memory of its largest process in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Side:
    """One tool: its commands for both jobs, and the folder that is all it keeps between them."""

    name: str
    folder: Path
    full: list[str]
    increment: list[str]


@dataclass(frozen=True)
class Lake:
    """A sample lake of which the last day's files are held back."""

    settings: Settings
    last_day: date
    held_back: Path


def main() -> None:
    size = int(os.environ.get("SIZE", "1000000"))
    out = Console(width=130)
    python = peer_python(out)
    work = Path(tempfile.mkdtemp(prefix="tidemark-peers-"))
    try:
        models = generate(work / "project")
        compared = [model for model in models if model.is_stored and model.schema in COMPARED]
        lake = make_lake(work, size)
        ours, peer = sides(work, lake, python)
        out.print(
            f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {lake.settings.threads} threads, "
            f"{size:,} events over {DAYS + 1} days, DuckDB {duckdb.__version__}, medians of {ROUNDS} rounds"
        )
        table = Table("job", "tool", "seconds", "CPU s", "peak MiB", title="Tidemark and SQLMesh", title_justify="left")
        variables = surroundings(work, lake.settings)

        full = measure_in_turn([ours, peer], lambda side: side.full, variables, start=lambda side: empty(side.folder))
        add_rows(table, f"full build, {DAYS} days", full)
        checks = [compare_tables(compared, lake, peer, lake.last_day - timedelta(days=1), after="the full build")]

        for side in (ours, peer):
            shutil.copytree(side.folder, saved(side))
        deliver_held_back(lake)
        increment = measure_in_turn([ours, peer], lambda side: side.increment, variables, start=restore)
        add_rows(table, "one more day", increment)
        checks.append(compare_tables(compared, lake, peer, lake.last_day, after="one more day"))

        out.print(table)
        rows, left_out = (sum(counts) for counts in zip(*checks, strict=True))
        out.print(
            f"{len(compared)} tables compared after each job, {rows:,} rows in all: equal row for row "
            f"({left_out:,} left out, of days not over)"
        )
    finally:
        shutil.rmtree(work)


def peer_python(out: Console) -> Path:
    """The interpreter of SQLMesh's own environment, made from its lock where it is not there yet."""
    lock = PEER / "requirements.txt"
    mark = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / f"sqlmesh-{mark}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        out.print(f"Making SQLMesh's environment in {folder} ...")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        installer = (
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
            if uv
            else [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        )
        subprocess.run([*installer, "--require-hashes", "-r", str(lock)], check=True)
        done.touch()
    version = subprocess.run(
        [str(python), "-c", "import duckdb; print(duckdb.__version__)"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if version != duckdb.__version__:
        raise SystemExit(
            f"SQLMesh's environment has DuckDB {version}, this one {duckdb.__version__}: pin the same in "
            f"{PEER / 'requirements.in'} and lock again (README.md says how)"
        )
    return python


def make_lake(work: Path, size: int) -> Lake:
    """A sample lake, landed but for its last day."""
    settings = Settings(home=work / "home", settle_seconds=0)
    sample.generate(settings.home, size, DAYS + 1, 1)
    last_day = FIRST_DAY + timedelta(days=DAYS)
    held_back = work / "held_back"
    for path in sorted(settings.inbox.rglob("*")):
        name = path.relative_to(settings.inbox)
        if path.is_file() and last_day.isoformat() in str(name):
            (held_back / name).parent.mkdir(parents=True, exist_ok=True)
            path.rename(held_back / name)
    land(settings)
    return Lake(settings, last_day, held_back)


def deliver_held_back(lake: Lake) -> None:
    """The last day's files arrive, and land."""
    shutil.copytree(lake.held_back, lake.settings.inbox, dirs_exist_ok=True)
    if not land(lake.settings).rows("rows_landed"):
        raise SystemExit("the last day landed no row: there is no increment to measure")


def sides(work: Path, lake: Lake, python: Path) -> tuple[Side, Side]:
    """Tidemark and SQLMesh, each with the commands its users would give, tests and audits left out.

    SQLMesh takes a time for "now" only when it plans; a run is told the last day instead. It runs after midnight, so
    the day before is whole.
    """
    build = [sys.executable, "-m", "flows.cli", "build", "--", "--exclude-resource-type", "test"]
    outdated = [sys.executable, "-c", BUILD_OUTDATED]
    ours = Side("Tidemark (dbt)", lake.settings.warehouse.parent, build, outdated)
    folder = work / "sqlmesh"
    command = [str(python.parent / "sqlmesh"), "--paths", str(work / "project"), "--log-file-dir", str(folder / "logs")]
    plan = ["plan", "prod", "--auto-apply", "--no-prompts", "--no-diff", "--skip-tests", "--skip-linter"]
    run = ["run", "prod", "--skip-janitor", "--end", lake.last_day.isoformat()]
    now = f"{lake.last_day.isoformat()} 00:30:00"
    return ours, Side("SQLMesh", folder, [*command, *plan, "--execution-time", now], [*command, *run])


def surroundings(work: Path, settings: Settings) -> dict[str, str]:
    """The environment of both tools' commands."""
    return {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "DO_NOT_TRACK": "1",
        "TIDEMARK_HOME": str(settings.home),
        "TIDEMARK_THREADS": str(settings.threads),
        "TIDEMARK_MEMORY_LIMIT": settings.memory_limit,
        "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true",
        "PEERS_WAREHOUSE": str(work / "sqlmesh" / WAREHOUSE),
        "PEERS_CACHE": str(work / "sqlmesh" / "cache"),
    }


def empty(folder: Path) -> None:
    """A folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def saved(side: Side) -> Path:
    """Where a side's folder is kept as the full build left it."""
    return side.folder.with_name(f"{side.folder.name}-saved")


def restore(side: Side) -> None:
    """The side's folder as the full build left it."""
    shutil.rmtree(side.folder)
    shutil.copytree(saved(side), side.folder)


def measure_in_turn(
    both: list[Side], command: Callable[[Side], list[str]], variables: dict[str, str], start: Callable[[Side], None]
) -> dict[str, list[Run]]:
    """Each side's runs by name; ``start`` brings a side's folder to where a run begins, and is not timed."""
    runs: dict[str, list[Run]] = {side.name: [] for side in both}
    for _ in range(ROUNDS):
        for side in both:
            start(side)
            runs[side.name].append(measured(command(side), variables))
    return runs


# A process is charged with the memory of the one that started it, so a small one starts what is measured.
LAUNCHER = """
import os, subprocess, sys, time
started = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
print(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(status != 0)
"""


def measured(command: list[str], variables: dict[str, str]) -> Run:
    """Run a whole command, start-up and all; its output is shown where it fails."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER]
    done = subprocess.run([*launcher, *command], env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return Run(*map(float, done.stdout.split()))


def add_rows(table: Table, job: str, runs: dict[str, list[Run]]) -> None:
    """A row for each side, and one for how many times as fast the first is as the second."""
    medians = {
        name: [
            statistics.median(figure)
            for figure in zip(*((r.seconds, r.cpu_seconds, r.peak_mib) for r in of), strict=True)
        ]
        for name, of in runs.items()
    }
    for name, (seconds, cpu_seconds, peak_mib) in medians.items():
        table.add_row(job, name, f"{seconds:.1f}", f"{cpu_seconds:.1f}", f"{peak_mib:,.0f}")
    ours, theirs = medians.values()
    ratios = [f"{theirs[n] / ours[n]:.2f} x" for n in range(3)]
    table.add_row(job, "SQLMesh / Tidemark", *ratios, style="bold", end_section=True)


def compare_tables(models: list[PeerModel], lake: Lake, peer: Side, last_day: date, after: str) -> tuple[int, int]:
    """Compare tables row for row, column types too; returns the rows compared and those left out.

    A client's clock may run ahead, so some events are dated after the last day. Tidemark has them at once, SQLMesh when
    their day is over: rows that reach past the last day are left out.

    Raises:
        SystemExit: they differ; it says where.
    """
    faults, compared, left_out = [], 0, 0
    with duckdb.connect(str(peer.folder / WAREHOUSE), read_only=True) as both:
        both.execute(f"attach '{lake.settings.warehouse}' as ours (read_only)")
        for model in models:
            table, day = f"{model.schema}.{model.name}", LAST_DAY.get(model.name, model.day)
            ours, theirs = (
                {column: kind for column, kind, *_ in both.execute(f"describe {side}.{table}").fetchall()}
                for side in ("ours", "peer")
            )
            if ours != theirs:
                faults.append(f"{table}: columns differ: {sorted(set(ours.items()) ^ set(theirs.items()))}")
                continue
            rows, outside, only_ours, only_theirs = count_differences(both, table, list(ours), day, last_day)
            compared, left_out = compared + rows, left_out + outside
            if only_ours or only_theirs:
                faults.append(
                    f"{table}: of {rows:,} rows {only_ours:,} in Tidemark's alone, {only_theirs:,} in SQLMesh's"
                )
    if not compared:
        faults.append("there is no row in any table")
    if faults:
        raise SystemExit(
            f"the tables differ after {after}, so times mean nothing (a model changed on one side alone, or an event "
            "came later than SQLMesh's lookback of five days):\n" + "\n".join(faults)
        )
    return compared, left_out


def count_differences(
    both: duckdb.DuckDBPyConnection, table: str, columns: list[str], day: str | None, last_day: date
) -> tuple[int, int, int, int]:
    """Tidemark's rows up to the last day, its rows after, and rows of either tool that the other does not have."""
    after = f"{day} > date '{last_day}'" if day else "false"
    kept = f"where not ({after})"
    if table == "marts.fct_sessions":
        # SQLMesh has the part up to the last day of a session that goes on.
        kept = f"anti join (from ours.{table} where {after}) using (session_key)"
    ours, theirs = (f"(select {', '.join(columns)} from {side}.{table} {kept})" for side in ("ours", "peer"))
    counts = both.execute(
        f"select (select count(*) from {ours}), "
        f"(select count(*) from ours.{table} where {after}), "
        f"(select count(*) from (from {ours} except all from {theirs})), "
        f"(select count(*) from (from {theirs} except all from {ours}))"
    ).fetchone()
    assert counts is not None
    return counts[0], counts[1], counts[2], counts[3]


if __name__ == "__main__":
    main()
