"""Where rows of a person may be: from the contract and from dbt's manifest, never from a list that somebody keeps.

In the lake that is every dataset with a pseudonym. In the warehouse it is every model or seed that is stored and has a
column of the privacy class ``pseudonym``, and in the publication that readers see, those of them that are published.
Views hold nothing. What has pseudonyms and none of those that an id leads to (:class:`~flows.privacy.identity.Kind`)
cannot be searched: it has no ``keys``, and is named as such rather than passed over.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from flows.build.project import STORED, Project, privacy_of
from flows.build.warehouse import lock_file, open_warehouse, warehouse_at_rest
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.land.field_sql import identifier, literal
from flows.land.pseudonyms import Kind
from flows.locks import holder_of
from flows.privacy.identity import Person
from flows.privacy.landed import MEMORY
from flows.privacy.rows import Share, share_of_row
from flows.publish.manifest import current_version
from flows.publish.views import MARTS
from flows.settings import Settings

PSEUDONYM = "pseudonym"
SEARCHED = frozenset(kind.column for kind in Kind)
# A seed is a table.
KINDS_STORED = (*STORED, "seed")


@dataclass(frozen=True)
class Holding:
    """A table in which rows of people may be. ``keys`` are its columns of pseudonyms to search by, ``columns`` all of
    them with description, type and privacy class; ``made_from`` names the datasets it is worked out from."""

    name: str
    schema: str
    keys: tuple[str, ...]
    description: str = ""
    owner: str = ""
    columns: tuple[tuple[str, str, str, str], ...] = ()
    made_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """The rows of a person in a table, by how they belong to them."""

    own: int = 0
    by_device: int = 0
    withheld: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is none at all."""
        return not (self.own or self.by_device or self.withheld)


def pseudonyms_of(spec: DatasetSpec) -> tuple[str, ...]:
    """The columns of pseudonyms of a dataset; none where no row of it can be anybody's."""
    return tuple(column.name for column in spec.columns() if column.privacy == PSEUDONYM)


def searched(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these columns that an id leads to."""
    return tuple(name for name in names if name in SEARCHED)


def modelled(project: Project) -> list[Holding]:
    """The stored models and seeds with pseudonyms, by name."""
    nodes: Any = project.manifest.nodes.values()
    stored = [
        node
        for node in nodes
        if str(node.resource_type) in ("model", "seed") and node.config.materialized in KINDS_STORED
    ]
    return sorted(
        (_holding(project, node) for node in stored if any(privacy_of(c) == PSEUDONYM for c in node.columns.values())),
        key=lambda holding: holding.name,
    )


def _holding(project: Project, node: Any) -> Holding:
    keys = [name for name, column in node.columns.items() if privacy_of(column) == PSEUDONYM]
    model = project.models.get(node.name)
    upstream = {node.name, *(model.upstream if model else ())}
    return Holding(
        name=node.name,
        schema=node.schema,
        keys=searched(keys),
        description=node.description,
        owner=project.owners.get(node.name, ""),
        columns=tuple(
            (name, column.description, str(column.data_type or ""), privacy_of(column))
            for name, column in node.columns.items()
        ),
        made_from=tuple(sorted(name.removeprefix("raw_") for name in upstream if name.startswith("raw_"))),
    )


def count(
    database: duckdb.DuckDBPyConnection, keys: tuple[str, ...], table: str, person: Person, shared: bool
) -> Count:
    """The rows of a person in a table of a database, which is searched by these of its columns."""
    share = share_of_row(keys, person, shared)
    rows = database.execute(
        f"select share, count(*) from (select {share} as share from {table}) where share is not null group by share"
    ).fetchall()
    by_share = {Share(number): many for number, many in rows}
    return Count(*(by_share.get(one, 0) for one in Share))


def tables_in(database: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """The tables and views of a database, with their schemas."""
    return set(
        database.execute(
            "select schema_name, table_name from duckdb_tables() union all "
            "select schema_name, view_name from duckdb_views() where not internal"
        ).fetchall()
    )


def count_warehouse(
    settings: Settings, holdings: list[Holding], person: Person, shared: bool
) -> tuple[dict[str, Count], str | None]:
    """The rows of a person in each table of the warehouse, by its name; and why they could not be counted, if not.

    A build that is at work is not waited for: what it makes is worked out from the lake, which can be read meanwhile.
    """
    if not settings.warehouse.exists():
        return {}, "there is no warehouse: nothing is built"
    try:
        with warehouse_at_rest(settings), open_warehouse(settings, read_only=True) as warehouse:
            there = tables_in(warehouse)
            known = {each.name: each for each in holdings if (each.schema, each.name) in there}
            known |= _of_no_model(warehouse, {(each.schema, each.name) for each in holdings})
            return {
                name: count(warehouse, each.keys, f"{identifier(each.schema)}.{identifier(each.name)}", person, shared)
                for name, each in known.items()
            }, None
    except BlockingIOError:
        return {}, f"in use by {holder_of(lock_file(settings)) or 'a build or a publication at work'}"
    except TidemarkError as error:  # somebody has it open, or it is damaged: it can be built again from the lake
        return {}, str(error)


def _of_no_model(warehouse: duckdb.DuckDBPyConnection, known: set[tuple[str, str]]) -> dict[str, Holding]:
    """The tables to search that the project does not know: of a model that it no longer has, or made by hand."""
    rows = warehouse.execute(
        "select columns.schema_name, columns.table_name, list(column_name order by column_name) "
        "from duckdb_columns() as columns join duckdb_tables() as tables using (table_oid, schema_oid, database_oid) "
        "where column_name in (select unnest(?)) group by all order by all",
        [sorted(SEARCHED)],
    ).fetchall()
    return {
        f"{schema}.{name}": Holding(name, schema, tuple(keys))
        for schema, name, keys in rows
        if (schema, name) not in known
    }


@contextmanager
def opened_publication(settings: Settings) -> Iterator[tuple[str, duckdb.DuckDBPyConnection] | None]:
    """The version that readers see, opened to be read; None where nothing is published."""
    version = current_version(settings)
    if version is None:
        yield None
        return
    path = settings.published / version / MARTS
    try:
        marts = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise TidemarkError(
            f"the publication {path} cannot be opened ({error}); publish again, or go back with `tidemark rollback`"
        ) from error
    with marts:
        marts.execute(f"set TimeZone = 'UTC'; set memory_limit = {literal(MEMORY)}")
        yield version, marts
