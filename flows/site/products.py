"""The catalogue's data: what each published table is, as the publication says it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from flows.publish.catalogue import first_sentence
from flows.publish.manifest import Manifest, PublishedTable
from flows.site.boards import Board


@dataclass(frozen=True)
class ProductColumn:
    """A column of a table: its name, type and meaning."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Product:
    """A published table as people look it up.

    ``paragraphs`` is its description, ``boards`` those that show it, ``example`` a query that runs on it.
    """

    table: PublishedTable
    paragraphs: tuple[str, ...]
    columns: tuple[ProductColumn, ...]
    boards: tuple[Board, ...]
    example: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.table.name

    @property
    def meaning(self) -> str:
        """What a row of it is, in a sentence."""
        return first_sentence(self.paragraphs[0]) if self.paragraphs else ""

    @property
    def words(self) -> str:
        """All that a search looks through."""
        columns = " ".join(f"{column.name} {column.description}" for column in self.columns)
        return " ".join([self.name, *self.paragraphs, columns]).lower()


def read_products(
    database: duckdb.DuckDBPyConnection, manifest: Manifest, boards: Mapping[str, Sequence[Board]]
) -> list[Product]:
    """The tables of a publication, in order of name. ``database`` has all of them; ``boards`` who shows which."""
    described = dict(database.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
    columns: dict[str, list[ProductColumn]] = {}
    for table, name, kind, comment in database.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns() where not internal "
        "order by table_name, column_index"
    ).fetchall():
        columns.setdefault(table, []).append(ProductColumn(name, kind.lower(), comment or ""))
    return [
        Product(
            table,
            tuple(" ".join(part.split()) for part in re.split(r"\n+", described.get(table.name) or "") if part.strip()),
            tuple(columns.get(table.name, ())),
            tuple(boards.get(table.name, ())),
            _example(table, columns.get(table.name, [])),
        )
        for table in sorted(manifest.tables, key=lambda table: table.name)
    ]


def _example(table: PublishedTable, columns: Sequence[ProductColumn]) -> str:
    """A query to begin with: the newest rows, or just some."""
    names = ", ".join(column.name for column in columns[:6])
    newest = f" order by {table.day_column} desc" if table.day_column else ""
    return f"select {names} from {table.name}{newest} limit 20"
