"""What the marts of a home's warehouse have otherwise than a publication: for the review of a change.

It tells of tables, columns, numbers of rows and sums, never of a row. Of a table that is restricted it tells no sums
either: where one row changed, their difference is that row's value.
"""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from flows.build.dbt import read_project
from flows.build.lent import PUBLISHED, read_lent
from flows.build.project import Project
from flows.build.warehouse import open_warehouse
from flows.develop.compare import Shape, TableDiff, comparison, counting, read_comparison
from flows.errors import TidemarkError
from flows.land.field_sql import identifier, literal
from flows.publish.manifest import CURRENT, OPS, PublishedTable, describe_causes, read_manifest
from flows.publish.views import DATABASES, VERSION_FOLDER
from flows.rights import Visibility
from flows.settings import Settings

LAYER = "marts"


@dataclass(frozen=True)
class Diff:
    """What differs from which version. The warehouse lacks what is ``not_built``; ``unseen`` this user may not see."""

    version: str
    tables: tuple[TableDiff, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    not_built: tuple[str, ...]
    unseen: tuple[str, ...]


def diff(settings: Settings, against: Path | None = None) -> Diff:
    """Compare the warehouse with what is published in the home ``against``; where none is given in the home whose lake
    it reads, or its own.

    Raises :class:`TidemarkError` where there is no warehouse, or no publication that this user may read.
    """
    if against is None and (lent := read_lent(settings)):
        against = lent.home
    published = settings if against is None else settings.model_copy(update={"home": against})
    folder, level = _publication(published)
    manifest = read_manifest(published, folder.name)
    project = read_project(settings)
    # What tells of the warehouse's own work differs with each run.
    theirs = {table.name: table for table in manifest.tables if not table.name.startswith(OPS)}
    mine = {name for name, model in project.models.items() if model.schema == LAYER}
    seen = {name for name, table in theirs.items() if level.may_see(table.visibility)}
    if not settings.warehouse.exists():
        raise TidemarkError(
            f"there is no warehouse in {settings.home.absolute()}: `tidemark build` or `dbt build` makes one, and "
            "TIDEMARK_HOME says which home is meant"
        )
    with open_warehouse(settings, read_only=True) as db:
        built = set(_tables(db, "current_database()", LAYER))
        _attach(db, folder, level)
        tables = [_compare(db, project, theirs[name], folder) for name in sorted(mine & built & seen)]
    return Diff(
        folder.name,
        tuple(tables),
        added=tuple(sorted((mine & built) - {*theirs})),
        removed=tuple(sorted({*theirs} - mine)),
        not_built=tuple(sorted(mine - built)),
        unseen=tuple(sorted((mine & built & {*theirs}) - seen)),
    )


def _publication(settings: Settings) -> tuple[Path, Visibility]:
    """The folder of the version that readers see, and the level of this user there."""
    try:
        folder = (settings.published / CURRENT).resolve(strict=True)
    except OSError:
        raise TidemarkError(
            f"nothing is published in {settings.published.absolute()}: `tidemark run` publishes there, and "
            "`--against HOME` names the home of another publication"
        ) from None
    for level in reversed(Visibility):
        if os.access(folder / DATABASES[level], os.R_OK):
            return folder, level
    raise TidemarkError(f"you may read nothing of {folder}: ask whoever runs Tidemark for the right to it")


def _attach(db: duckdb.DuckDBPyConnection, folder: Path, level: Visibility) -> None:
    db.execute(f"set variable {VERSION_FOLDER} = {literal(str(folder))}")
    db.execute(f"attach {literal(str(folder / DATABASES[level]))} as {PUBLISHED} (read_only)")


def _compare(db: duckdb.DuckDBPyConnection, project: Project, table: PublishedTable, folder: Path) -> TableDiff:
    name = table.name
    here, there = f"{LAYER}.{identifier(name)}", f"{PUBLISHED}.main.{identifier(name)}"
    columns_here = _tables(db, "current_database()", LAYER)[name]
    columns_there = _tables(db, literal(PUBLISHED), "main")[name]
    model = project.models[name]
    day = model.day_column if model.day_column in columns_here and model.day_column in columns_there else None
    shape = Shape(
        name, columns_here, columns_there, _key(project, name), day,
        _days(db, day, here, there) if day else None, _figures(project, name, table.visibility),
    )  # fmt: skip
    stale = describe_causes(table.stale_because)
    rows_here, keys_here = _one(db, counting(shape, here))
    rows_there, keys_there = _one(db, counting(shape, there))
    why_not = ""
    if not shape.has_key:
        why_not = "its key is not in both" if shape.key else "its YAML names no key (the test valid_rows)"
    elif rows_here != keys_here or rows_there != keys_there:
        why_not = (
            f"{', '.join(shape.key)} is no key of {'the warehouse' if rows_here != keys_here else 'what is published'}"
        )
    if why_not:
        return TableDiff(shape, rows_there, rows_here, why_not=why_not, stale_because=stale)
    return read_comparison(shape, _one(db, comparison(shape, here, there)), stale)


def _key(project: Project, name: str) -> tuple[str, ...]:
    """The columns of which the model's test of valid rows says that no two rows have the same."""
    for node in project.manifest.nodes.values():
        found: Any = getattr(node, "test_metadata", None)
        attached = project.manifest.nodes.get(getattr(node, "attached_node", None) or "")
        if found and found.name == "valid_rows" and attached is not None and attached.name == name:
            return tuple(found.kwargs.get("key", ()))
    return ()


def _figures(project: Project, name: str, published_as: Visibility) -> frozenset[str]:
    """The columns whose sums mean something and may be shown."""
    if Visibility.RESTRICTED in (published_as, project.models[name].visibility):
        return frozenset()
    node = next(
        node for node in project.manifest.nodes.values() if node.name == name and str(node.resource_type) == "model"
    )
    return frozenset(c.name for c in node.columns.values() if (c.config.meta or {}).get("additive") is True)


def _days(db: duckdb.DuckDBPyConnection, day: str, here: str, there: str) -> tuple[date, date] | None:
    """The first and last day that both have rows of; None where they share none, or one is empty: all is compared."""
    ends = [_one(db, f"select min({identifier(day)}), max({identifier(day)}) from {place}") for place in (here, there)]
    if any(first is None for first, _ in ends):
        return None
    first, last = max(end[0] for end in ends), min(end[1] for end in ends)
    return (first, last) if first <= last else None


def _tables(db: duckdb.DuckDBPyConnection, database: str, schema: str) -> dict[str, dict[str, str]]:
    """The tables of a schema, each with its columns and their types."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in db.execute(
        "select table_name, column_name, data_type from duckdb_columns() "
        f"where database_name = {database} and schema_name = ? and not internal order by column_index",
        [schema],
    ).fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def _one(db: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = db.execute(query).fetchone()
    assert row is not None  # each of these statements gives one
    return tuple(row)
