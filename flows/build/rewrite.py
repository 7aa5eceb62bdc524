"""Rewrite the warehouse file: DuckDB keeps the bytes of deleted rows in it until it needs the room."""

import shutil
from pathlib import Path

import duckdb

from flows.build.warehouse import once_free, open_warehouse, warehouse_held
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.field_sql import literal
from flows.settings import Settings


@once_free
def rewrite_warehouse(settings: Settings) -> None:
    """Copy what the warehouse holds into a new file, which takes its place in one step; nothing where there is none.

    Builds and publications wait meanwhile. It needs room for a second warehouse. Raises :class:`TidemarkError` where it
    cannot be done: the file is then as it was.
    """
    if not settings.warehouse.exists():
        return
    made = settings.warehouse.with_name(f".{settings.warehouse.name}.rewritten")
    with warehouse_held(settings, "rewriting the warehouse"):
        _remove(made)
        # What a build that was killed had put beside it meanwhile.
        shutil.rmtree(f"{settings.warehouse}.tmp", ignore_errors=True)
        # What is in the log beside the file belongs to the old one: it must not be taken for the new one's.
        with open_warehouse(settings) as warehouse:
            warehouse.execute("checkpoint")
        try:
            _copy(settings, made)
        except duckdb.Error as error:
            _remove(made)
            raise TidemarkError(
                f"the warehouse {settings.warehouse} could not be rewritten ({error}); it is as it was, and the "
                "bytes of removed rows are in it still; fix the cause (a full disk) and run the same again, or delete "
                "it: `tidemark build` makes it from the lake"
            ) from error
        sync_file(made)
        made.replace(settings.warehouse)
        sync_folder(made.parent)


def _copy(settings: Settings, made: Path) -> None:
    with duckdb.connect(
        str(made), config={"threads": settings.threads, "memory_limit": settings.memory_limit}
    ) as target:
        target.execute(f"attach {literal(str(settings.warehouse))} as before (read_only)")
        (name,) = target.execute("select current_database()").fetchone() or ("",)
        target.execute(f'copy from database before to "{name}"')
        target.execute("detach before")
        target.execute("checkpoint")


def _remove(path: Path) -> None:
    for each in (path, path.with_name(f"{path.name}.wal")):
        each.unlink(missing_ok=True)
