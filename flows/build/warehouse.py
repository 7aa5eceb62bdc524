"""The warehouse file: open it, and find what in it is not yet built or tested."""

import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import duckdb
from filelock import FileLock, Timeout

from flows.build.dbt import read_project
from flows.build.project import STORED, DataTest, Project
from flows.errors import TidemarkError, WarehouseInUseError
from flows.locks import held, holder_of, warehouse_in_use
from flows.rights import make_private
from flows.settings import Settings

# What the warehouse holds besides the models, and the format of it.
TABLES = Path(__file__).parent / "warehouse_tables.sql"
FORMAT = 3
LOCK = ".build.lock"
# Who waits for another process looks so often whether it has done.
LOOK_SECONDS = 1.0
# What people read where everything is pending, and why that may be.
UNFINISHED = "no complete build of the current project has finished"
WHY_UNFINISHED = f"{UNFINISHED}: it was edited or another release deployed since, or the build was killed"
# What DuckDB says of a file that it cannot read whoever asks: it is none of its own, or damaged.
DAMAGE = ("not a valid DuckDB database", "corrupt", "Corrupt", "Serialization Error", "checksum", "database header")

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("tidemark.warehouse")


@dataclass(frozen=True)
class PendingWork:
    """What is still to do in the warehouse.

    ``everything`` where no whole build of the current project has finished. Else ``outdated`` are the models and seeds
    that have not seen all that landed, or that the current project has not built (they failed or were skipped), and
    ``tests`` those that have not passed since something they read changed. ``why_everything`` says to people why a
    warehouse that was built before is built again.
    """

    everything: bool
    outdated: tuple[str, ...] = ()
    tests: tuple[DataTest, ...] = ()
    why_everything: str | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether every model is up to date and every test has passed."""
        return not (self.everything or self.outdated or self.tests)

    @property
    def reason(self) -> str:
        """What is pending, for people."""
        if self.everything:
            return f"{UNFINISHED}; run `tidemark build`"
        if self.outdated:
            return f"not built with all that landed: {', '.join(sorted(self.outdated))}; run `tidemark run`"
        tests = ", ".join(sorted(test.name for test in self.tests if test.is_blocking))
        return f"tests have not passed: {tests}; fix the cause and run `tidemark run`"


def warehouse_lock(settings: Settings) -> FileLock:
    """The lock that whoever writes the warehouse holds, from what it reads of it to what it makes of that."""
    make_private(settings.warehouse.parent)
    # dbt takes it in one thread and gives it back in another.
    return FileLock(lock_file(settings), thread_local=False)


def lock_file(settings: Settings) -> Path:
    """The file of that lock; it says who holds it."""
    return settings.warehouse.parent / LOCK


@contextmanager
def warehouse_at_rest(settings: Settings) -> Iterator[None]:
    """Keep builds from beginning, for those who only look and may have no right to write.

    Raises :class:`BlockingIOError` where somebody is at work in the warehouse.
    """
    try:
        lock = lock_file(settings).open("rb")
    except OSError:  # nobody has built here, or this user may not see it: there is nothing to be held
        yield
        return
    with lock:
        # As filelock does it, which would need the right to write; gone when the file is closed.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


@contextmanager
def warehouse_held(settings: Settings, work: str) -> Iterator[None]:
    """Hold the lock of the warehouse, and say what ``work`` it was where a disk or a database fails meanwhile.

    That leaves nothing half done which counts: builds go on from what the warehouse says of itself, and a version is
    one once it is whole.
    """
    try:
        make_private(settings.warehouse.parent)
        with held(lock_file(settings), work):
            yield
    except (OSError, sqlite3.Error, duckdb.OperationalError, duckdb.FatalException) as error:
        raise TidemarkError(
            f"{work} stopped ({error}); what was published before is as it was; fix the cause (a full disk, a missing "
            "permission) and run the same again, which heals what this left"
        ) from error


def once_free(work: Callable[Concatenate[Settings, P], T]) -> Callable[Concatenate[Settings, P], T]:
    """Begin the work again, once the warehouse is free, where another process had it open: to wait is no failure.

    For work that may begin again after any of its steps, as builds and publications may.
    """

    @wraps(work)
    def begin(settings: Settings, /, *arguments: P.args, **named: P.kwargs) -> T:
        while True:
            try:
                return work(settings, *arguments, **named)
            except WarehouseInUseError:
                await_free(settings)

    return begin


@contextmanager
def _logged(held_by: str) -> Iterator[None]:
    log.warning("waits, and continues automatically: %s", held_by)
    yield
    log.warning("waited for that, and goes on")


def await_free(settings: Settings, shown: Callable[[str], AbstractContextManager[None]] = _logged) -> None:
    """Wait while another process has the warehouse open, ``shown`` by whom, until nobody has."""
    held_by = in_use_by(settings)
    while held_by:
        with shown(held_by):
            while (now_by := in_use_by(settings)) == held_by:
                time.sleep(LOOK_SECONDS)
        held_by = now_by


def in_use_by(settings: Settings) -> str | None:
    """What is to be said of the process that builds, publishes or has the warehouse open; None where none does."""
    if not settings.warehouse.exists():
        return None
    lock = warehouse_lock(settings)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return f"{holder_of(lock_file(settings)) or 'another process'} has the lock of the warehouse"
    try:
        with open_warehouse(settings):
            return None
    except WarehouseInUseError as error:
        return str(error)
    except TidemarkError:
        return None  # whoever waits learns what is wrong with it from what it does next
    finally:
        lock.release()


def open_warehouse(settings: Settings, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the warehouse; a :class:`WarehouseInUseError` says who has it where somebody does, a
    :class:`TidemarkError` what is wrong with it where something is."""
    try:
        return duckdb.connect(str(settings.warehouse), read_only=read_only)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise warehouse_in_use(settings.warehouse, str(error)) from error
        remedy = "fix the cause and run the same again"
        if any(words in str(error) for words in DAMAGE):
            remedy = "it is disposable: delete it and run `tidemark build` to rebuild it from the landed zone"
        elif "Permission denied" in str(error):
            remedy = "give this user the right to it, and run the same again"
        raise TidemarkError(f"the warehouse {settings.warehouse} cannot be opened ({error}); {remedy}") from error


def read_pending_work(settings: Settings, project: Project) -> PendingWork:
    """What is still to do in the warehouse, for all landings entered into it."""
    if not settings.warehouse.exists():
        return PendingWork(everything=True)
    with open_warehouse(settings, read_only=True) as warehouse:
        # The first build was killed before it began, or an earlier Tidemark made these tables.
        if not has_tables(warehouse, "changes", "failed_or_skipped", "test_progress", "dbt_runs"):
            return PendingWork(everything=True)
        if not has_whole_build(warehouse, project.fingerprint):
            known = warehouse.execute("select 1 from ops.dbt_runs limit 1").fetchone()
            return PendingWork(everything=True, why_everything=WHY_UNFINISHED if known else None)
        failed = {name for (name,) in warehouse.execute("select node from ops.failed_or_skipped").fetchall()}
        progress = dict(warehouse.execute("select model, batch_id from ops.model_progress").fetchall())
        changes = dict(warehouse.execute("select model, max(change) from ops.changes group by model").fetchall())
        passed = dict(
            warehouse.execute(
                "select test, change from ops.test_progress where project = ?", [project.fingerprint]
            ).fetchall()
        )
        last = last_batch(warehouse)
    return PendingWork(
        everything=False,
        outdated=(
            *(
                model.name
                for model in project.models.values()
                if model.name in failed or (model.materialized in STORED and progress.get(model.name, -1) < last)
            ),
            *sorted(project.seeds & failed),
        ),
        tests=tuple(
            test
            for test in project.tests
            if test.unique_id not in passed or any(changes.get(name, 0) > passed[test.unique_id] for name in test.reads)
        ),
    )


def has_whole_build(warehouse: duckdb.DuckDBPyConnection, fingerprint: str) -> bool:
    """Whether a whole build of the project with this fingerprint has finished, and no other project touched it since.

    What another touched, even a part of it, may not be as this one makes it.
    """
    finished = warehouse.execute(
        """
        select 1 from ops.dbt_runs
        where
            is_whole and project = $project and status <> 'running'
            and rowid > (
                select coalesce(max(rowid), -1) from ops.dbt_runs where project <> $project and command <> 'test'
            )
        """,
        {"project": fingerprint},
    ).fetchone()
    return finished is not None


def outdated_models(warehouse: duckdb.DuckDBPyConnection, models: Collection[str]) -> set[str]:
    """Which of these models are not there, were not made when they were last to be, or have not seen all that landed.

    As :func:`read_pending_work`, but for who has not parsed the project and knows the names alone.
    """
    if not has_tables(warehouse, "model_progress", "failed_or_skipped"):
        return set(models)
    rows = warehouse.execute(
        "select table_name from duckdb_tables() union all select view_name from duckdb_views()"
    ).fetchall()
    late = warehouse.execute(
        "select node from ops.failed_or_skipped union all select model from ops.model_progress where batch_id < ?",
        [last_batch(warehouse)],
    ).fetchall()
    return (set(models) - {name for (name,) in rows}) | (set(models) & {name for (name,) in late})


def built_up_to(settings: Settings) -> int | None:
    """The last landing entered into the warehouse, where everything is built with it and every test has passed; None
    where something is pending. The caller holds the lock."""
    if not read_pending_work(settings, read_project(settings)).is_empty:
        return None
    with open_warehouse(settings, read_only=True) as warehouse:
        return last_batch(warehouse)


def has_tables(warehouse: duckdb.DuckDBPyConnection, *names: str) -> bool:
    """Whether the warehouse has all of these tables of its own, in the schema ``ops``."""
    return all(has_table(warehouse, "ops", name) for name in names)


def check_format(settings: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Raise :class:`TidemarkError` where the tables of a warehouse are of another format than this Tidemark's."""
    made_as = _format(warehouse)
    if made_as > FORMAT:
        raise TidemarkError(
            f"the warehouse {settings.warehouse} was made by a later Tidemark; use that one, or another TIDEMARK_HOME"
        )
    if made_as < FORMAT:
        raise TidemarkError(
            f"the warehouse {settings.warehouse} was made by an earlier Tidemark; it is disposable: "
            "delete it and run `tidemark build` to rebuild it from the landed zone"
        )


def _format(warehouse: duckdb.DuckDBPyConnection) -> int:
    """The format of the warehouse's tables, 0 where it is of before there was one."""
    if not has_table(warehouse, "ops", "warehouse"):
        return 0
    row = warehouse.execute("select format from ops.warehouse").fetchone()
    return int(row[0]) if row else 0


def last_batch(warehouse: duckdb.DuckDBPyConnection) -> int:
    """The last landing that was entered into the warehouse, 0 before the first."""
    row = warehouse.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone()
    return int(row[0]) if row else 0


def has_table(warehouse: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    """Whether the warehouse has a table in a schema of its own."""
    found = warehouse.execute(
        "select 1 from duckdb_tables() where schema_name = ? and table_name = ?", [schema, name]
    ).fetchone()
    return found is not None
