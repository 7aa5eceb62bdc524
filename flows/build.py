"""Build and test the models: what landed is entered into the warehouse, then dbt does the rest."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner
from filelock import FileLock

from flows.contract import PROJECT
from flows.errors import TidemarkError
from flows.receipts import Receipts
from flows.settings import Settings

BUILD_LOCK = ".build.lock"
FAILED = {"error", "fail", "runtime error"}


@dataclass(frozen=True)
class Node:
    """A model, seed or test that dbt ran; ``path`` is its file in the project."""

    name: str
    kind: str
    status: str
    path: str
    seconds: float
    failures: int
    message: str
    owner: str


@dataclass
class Build:
    """What a build did, node by node."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def failed(self) -> list[Node]:
        """Nodes that failed: while there are any, nothing is published."""
        return [n for n in self.nodes if n.status in FAILED]

    @property
    def warned(self) -> list[Node]:
        """Tests that found something which does not block."""
        return [n for n in self.nodes if n.status == "warn"]

    def count(self, kind: str, *statuses: str) -> int:
        """Nodes of a kind (model, test, seed), of these statuses where any are given."""
        return sum(n.kind == kind and (not statuses or n.status in statuses) for n in self.nodes)


def build(
    settings: Settings,
    arguments: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Build:
    """Enter new landings into the warehouse, then build and test every model that ``arguments`` (dbt's own) select.

    Another build of the same warehouse is waited for. Raises :class:`TidemarkError` where the warehouse cannot be
    opened or the project cannot be parsed; failed models and tests are in the result.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.warehouse.parent / BUILD_LOCK):
        progress(f"{enter_landings(settings)} new landings entered")
        return _build(settings, arguments, progress)


def enter_landings(settings: Settings) -> int:
    """Copy the receipts of batches the warehouse does not know into ``landed.landings``; returns how many."""
    with open_warehouse(settings) as warehouse:
        missing = not warehouse.execute(
            "select 1 from duckdb_tables() where schema_name = 'landed' and table_name = 'landings'"
        ).fetchone()
    if missing:
        run_dbt(settings, ["run-operation", "make_warehouse_tables"])
    receipts = Receipts(settings)
    try:
        with open_warehouse(settings) as warehouse:
            known = warehouse.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone()
            rows = [r.model_dump(mode="json", exclude={"key_check"}) for r in receipts.after(known[0] if known else 0)]
            if rows:
                new = pa.Table.from_pylist(rows)
                warehouse.register("new", new)
                warehouse.execute(
                    "insert into landed.landings by name select * replace ("
                    "cast(cast(delivered_at as timestamptz) at time zone 'UTC' as timestamp) as delivered_at, "
                    "cast(cast(landed_at as timestamptz) at time zone 'UTC' as timestamp) as landed_at) from new"
                )
            return len(rows)
    finally:
        receipts.close()


def open_warehouse(settings: Settings, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the warehouse; a :class:`TidemarkError` says who has it where somebody does."""
    try:
        return duckdb.connect(str(settings.warehouse), read_only=read_only)
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise TidemarkError(
                f"another process has the warehouse {settings.warehouse} open ({str(error).splitlines()[0]}); "
                "readers should open published/current/marts.duckdb instead; close it and run again"
            ) from error
        raise TidemarkError(
            f"the warehouse {settings.warehouse} cannot be opened ({error}); it is disposable: "
            "delete it and run `tidemark build` to rebuild it from the landed zone"
        ) from error


def run_dbt(settings: Settings, arguments: list[str], callbacks: list[Callable[..., None]] | None = None) -> Any:
    """Run dbt in this process on the settings' home and give its connections back, or the warehouse stays locked."""
    os.environ["TIDEMARK_HOME"] = str(settings.home.resolve())
    os.environ["TIDEMARK_THREADS"] = str(settings.threads)
    os.environ["TIDEMARK_MEMORY_LIMIT"] = settings.memory_limit
    os.environ["DO_NOT_TRACK"] = "1"
    folder = settings.home.resolve() / "warehouse"
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")]
    outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    try:
        done = dbtRunner(callbacks=callbacks).invoke(["--quiet", *arguments, *folders, *outputs])
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        reset_adapters()  # type: ignore[no-untyped-call]
    if done.exception is not None:
        text = str(done.exception)
        if "Could not set lock" in text:
            raise TidemarkError(
                f"another process has the warehouse {settings.warehouse} open; readers should open "
                "published/current/marts.duckdb instead; close it and run again"
            )
        raise TidemarkError(f"dbt could not run: {text}\nMore in {folder / 'logs' / 'dbt.log'}")
    return done.result


def _build(settings: Settings, arguments: tuple[str, ...], progress: Callable[[str], None]) -> Build:
    def on_event(event: Any) -> None:
        if event.info.name in ("LogModelResult", "LogSeedResult"):
            data = event.data
            relation = f"{data.node_info.node_relation.schema}.{data.node_info.node_name}"
            how = data.status.split()[0].lower()
            progress(f"build    {data.index:>3} of {data.total}  {relation}  {how}  {data.execution_time:.1f} s")

    result = run_dbt(settings, ["build", "--exclude-resource-type", "unit_test", *arguments], [on_event])
    return Build([_node(r) for r in result.results])


def _node(result: Any) -> Node:
    node = result.node
    meta = node.config.meta or {}
    group = getattr(node, "group", None) or getattr(node.config, "group", None)
    return Node(
        name=node.name,
        kind=str(node.resource_type),
        status=str(result.status),
        path=node.original_file_path,
        seconds=result.execution_time,
        failures=result.failures or 0,
        message=str(result.message or ""),
        owner=meta.get("owner") or group or "",
    )


def last_whole_run_passed(settings: Settings) -> bool:
    """Whether a whole build passed and nothing that ran since failed or was killed."""
    if not settings.warehouse.exists():
        return False
    with open_warehouse(settings, read_only=True) as warehouse:
        if not warehouse.execute("select 1 from duckdb_tables() where table_name = 'dbt_runs'").fetchone():
            return False  # the first build was killed before it began
        row = warehouse.execute(
            """
            select count(*) filter (where is_whole) > 0 and bool_and(status = 'passed')
            from ops.dbt_runs
            where started_at >= (
                select max(started_at) from ops.dbt_runs where is_whole and status = 'passed' and command = 'build'
            )
            """
        ).fetchone()
    return bool(row and row[0])


def project_fingerprint(project: Path = PROJECT) -> str:
    """A mark of everything in the project that shapes the marts: models, macros, seeds, tests, settings."""
    mark = hashlib.sha256()
    for folder in ("models", "macros", "seeds", "tests/generic", "tests/singular"):
        for path in sorted((project / folder).rglob("*")):
            if path.is_file():
                mark.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes() + b"\0")
    mark.update((project / "dbt_project.yml").read_bytes())
    return mark.hexdigest()
