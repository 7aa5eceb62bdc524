"""The pages of tables: what each published table is, as the publication and the project say it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from flows.catalogue.marts import first_sentence
from flows.catalogue.record import Documented, ProjectRecord, Source
from flows.publish.manifest import Manifest, PublishedTable
from flows.site.boards import Board
from flows.site.history import Age, Kept, kept_versions, measured_age
from flows.site.metrics import MetricOfTable, metrics_by_table
from flows.site.questions import Question


@dataclass(frozen=True)
class ProductColumn:
    """A column of a table: its name, type and meaning."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Product:
    """A published table as people look it up.

    ``paragraphs`` is its description, ``boards`` those that show it, ``example`` a query that runs on it, ``questions``
    what else can be asked, ``metrics`` those that are made of it. ``documented`` is what the project says of it, None
    where that could not be read; ``ways`` lead from each column back to what was landed. ``kept`` are the versions that
    have it, the newest first.
    """

    table: PublishedTable
    paragraphs: tuple[str, ...]
    columns: tuple[ProductColumn, ...]
    boards: tuple[Board, ...]
    example: str
    questions: tuple[Question, ...] = ()
    documented: Documented | None = None
    ways: Mapping[str, list[list[Source]]] = field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    metrics: tuple[MetricOfTable, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.table.name

    @property
    def meaning(self) -> str:
        """What a row of it is, in a sentence."""
        return first_sentence(self.paragraphs[0]) if self.paragraphs else ""

    @property
    def age(self) -> Age | None:
        """How old its rows became at most; None where there is one version of it."""
        return measured_age(self.kept)

    @property
    def is_late(self) -> bool:
        """Whether its rows became older than is promised."""
        promised = self.documented and self.documented.fresh_within_hours
        return bool(promised and self.age and self.age.hours > promised)

    @property
    def words(self) -> str:
        """All that a search looks through."""
        columns = (f"{column.name} {column.description}" for column in self.columns)
        metrics = (f"{metric.name} {metric.meaning}" for metric in self.metrics)
        return " ".join([self.name, *self.paragraphs, *columns, *metrics]).lower()


def read_products(
    database: duckdb.DuckDBPyConnection,
    manifests: Sequence[Manifest],
    boards: Mapping[str, Sequence[Board]],
    questions: Mapping[str, tuple[Question, ...]],
    record: ProjectRecord | None,
) -> list[Product]:
    """The tables of a publication, in order of name.

    ``database`` has all of them; ``manifests`` are those of the versions that are kept, the publication's last.
    ``boards`` and ``questions`` are those of each table, ``record`` what the project says.
    """
    manifest = manifests[-1]
    described = dict(database.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
    metrics = metrics_by_table(database)
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
            questions.get(table.name, ()),
            record.tables.get(table.name) if record else None,
            {one.name: record.way_back(table.name, one.name) for one in columns.get(table.name, ()) if record},
            tuple(kept_versions(manifests, table.name)),
            metrics.get(table.name, ()),
        )
        for table in sorted(manifest.tables, key=lambda table: table.name)
    ]


def _example(table: PublishedTable, columns: Sequence[ProductColumn]) -> str:
    """A query to begin with: the newest rows, or just some."""
    names = ", ".join(column.name for column in columns[:6])
    newest = f" order by {table.day_column} desc" if table.day_column else ""
    return f"select {names} from {table.name}{newest} limit 20"
