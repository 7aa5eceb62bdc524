"""Rewrite the warehouse file: DuckDB keeps the bytes of deleted rows in it until it needs the room."""

import shutil
from pathlib import Path
from typing import Any

import duckdb

from flows.build.dbt import read_project
from flows.build.project import Project
from flows.build.warehouse import last_batch, once_free, open_warehouse, warehouse_held
from flows.errors import TidemarkError
from flows.files import replace_private, sync_file, sync_folder
from flows.land.field_sql import identifier, literal
from flows.settings import Settings

# Beside the warehouse: up to which batch its file holds nothing that was removed.
REWRITTEN = ".rewritten"
# The schema of the warehouse's own tables.
OWN = "ops"


@once_free
def rewrite_warehouse(settings: Settings) -> None:
    """Copy what the warehouse holds into a new file, which takes its place in one step; nothing where there is none.

    Tables that no model makes any more go. Builds and publications wait meanwhile. It needs room for a second
    warehouse. Raises :class:`TidemarkError` where it cannot be done: the file is then as it was.
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
            _drop_left_over(warehouse, read_project(settings))
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
        with open_warehouse(settings, read_only=True) as warehouse:
            last = last_batch(warehouse)
        made.replace(settings.warehouse)
        sync_folder(made.parent)
        note_rewritten(settings, last)


def note_rewritten(settings: Settings, last: int) -> None:
    """Note that the warehouse's file holds nothing that was removed up to this batch."""
    replace_private(settings.warehouse.with_name(REWRITTEN), f"{last}\n".encode())


def rewritten_up_to(settings: Settings) -> int:
    """The last batch, removals among them, that the warehouse had entered when its file was last rewritten; 0 where it
    never was."""
    try:
        return int(settings.warehouse.with_name(REWRITTEN).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0


def _drop_left_over(warehouse: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Drop the tables that no model makes any more: no build would take out of them what was removed."""
    nodes: Any = project.manifest.nodes.values()
    made = {(node.schema, node.alias) for node in nodes if str(node.resource_type) in ("model", "seed", "snapshot")}
    # Beside the models of runs stand the warehouse's own tables.
    schemas = {schema for schema, _ in made} - {OWN}
    there = warehouse.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
    for schema, table in there:
        if schema in schemas and (schema, table) not in made:
            warehouse.execute(f"drop table {identifier(schema)}.{identifier(table)}")


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
