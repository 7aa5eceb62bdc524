"""The MCP server: an assistant lists what is published, reads what it means, and asks by metrics or in SQL.

It serves the least that has figures: what is internal, or public alone. Every answer is of the publication that is
current when it is asked, and says which that is, up to which day its data goes, and the SQL that ran.
"""

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import anyio
import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from flows.ask.answer import Answer, ask_beside
from flows.ask.connection import Limits
from flows.ask.metrics import Metric, read_metrics, sql_of
from flows.ask.publication import Publication, Table, current_publication
from flows.ask.values import Value
from flows.errors import TidemarkError
from flows.publish.marts import PUBLISHED_TABLES
from flows.rights import Visibility
from flows.settings import Settings

# Who may see restricted tables asks by `tidemark query`: rows of single people are for no assistant.
LEVELS = (Visibility.PUBLIC, Visibility.INTERNAL)
# Rows of an answer where the question names no number, and at most.
ROWS, MOST_ROWS = 100, 1000
LIMITS = Limits(rows=ROWS, seconds=30.0, value=2_000, characters=60_000)
# Questions answered at once; others wait.
AT_ONCE = 2

INSTRUCTIONS = """\
Tables of a published, tested warehouse of product events, to be asked read-only in DuckDB's SQL. list_products says
which there are, describe what the columns of one mean, query_sql answers one SELECT. Figures that have a metric are
asked by query_metric, which cuts them right; list_metrics says which there are.
- A reader is a device, not a person. NULL in a figure is a group too small to be shown, never 0.
- Distinct devices, readers and enjoyers are never summed, neither over days nor over products, platforms or contents:
  choose the row that counts what is asked; 'all' stands for what is not cut. The description of a column says whether
  it may be summed.
- Days are of the organisation's time zone, moments are UTC.
- With a figure say which publication it is of and up to which day its data goes; each answer has both.
"""


class Cited(BaseModel):
    """The publication that an answer is of."""

    version: str
    published_at: str = Field(description="UTC")
    data_up_to: str | None = Field(description="The newest day with data, of the tables that were asked.")


class Product(BaseModel):
    """A published table."""

    name: str
    meaning: str = Field(description="What a row is.")
    owner: str | None = Field(description="Who is to be asked about it.")
    first_day: str | None
    last_day: str | None = Field(description="The newest day it has rows of; of periods, the last end.")
    as_of: str | None = Field(description="When its rows were last good, UTC.")
    stale_because: str | None = Field(description="What it waits for, where its rows are of an earlier version.")


class Products(BaseModel):
    """The published tables."""

    publication: Cited
    products: list[Product]


class ColumnMeaning(BaseModel):
    """A column of a table."""

    name: str
    type: str
    meaning: str


class Description(BaseModel):
    """What a table and its columns mean."""

    publication: Cited
    product: Product
    columns: list[ColumnMeaning]


class MetricMeaning(BaseModel):
    """A metric."""

    name: str
    meaning: str
    unit: str
    owner: str = Field(description="Who is to be asked about it.")
    dimensions: list[str] = Field(description="What it may be cut by, beside metric_time.")
    needs: list[str] = Field(description="What it has to be cut by.")
    grain: str | None = Field(
        description="The only grain of metric_time that it is asked by, where it is day, week or month."
    )


class Metrics(BaseModel):
    """The metrics."""

    publication: Cited
    metrics: list[MetricMeaning]


class Rows(BaseModel):
    """The answer to a question."""

    sql: str = Field(description="The SQL that ran.")
    publication: Cited
    columns: list[str]
    types: list[str]
    rows: list[list[Value]]
    rows_left_off: bool = Field(description="Whether there are more rows than these.")
    notes: list[str] = Field(description="What has to be known with the answer.")


Sql = Annotated[str, Field(description="One SELECT in DuckDB's SQL, on the published tables.")]
Limit = Annotated[int, Field(description=f"Rows of the answer, {MOST_ROWS:,} at most.", ge=1, le=MOST_ROWS)]
MetricNames = Annotated[list[str], Field(description="Metrics, as list_metrics names them.", min_length=1)]
By = Annotated[
    list[str], Field(description="What they are cut by: their dimensions, metric_time__day, __week, __month and so on.")
]
Where = Annotated[
    list[str],
    Field(description="What has to hold, all of it: product=news, product=news,sport or metric_time>=2026-01-31."),
]
Name = Annotated[str, Field(description="The table, as list_products names it.")]


class Tools:
    """What the server offers, of the publication that is current when it is asked."""

    def __init__(self, settings: Settings, level: Visibility) -> None:
        self.settings = settings
        self.level = level
        self.at_once = anyio.CapacityLimiter(AT_ONCE)
        # MetricFlow numbers the parts of its SQL for the whole process.
        self.compiling = anyio.CapacityLimiter(1)

    async def list_products(self) -> Products:
        """List the published tables: what a row of each is, who owns it, and up to which day it has data."""
        publication = self._current()
        tables = [table for table in publication.tables if table.name != PUBLISHED_TABLES]
        return Products(publication=_cited(publication), products=[_product(table) for table in tables])

    async def describe(self, table: Name) -> Description:
        """Say what a published table and each of its columns mean. Read it before you ask about the table."""
        publication = self._current()
        try:
            found = publication.table(table)
        except TidemarkError as error:
            raise ToolError(str(error)) from error
        columns = [ColumnMeaning(name=c.name, type=c.type, meaning=c.description) for c in found.columns]
        return Description(publication=_cited(publication, found), product=_product(found), columns=columns)

    async def query_sql(self, sql: Sql, limit: Limit = ROWS) -> Rows:
        """Answer one SELECT on the published tables, in DuckDB's SQL. Nothing else is answered."""
        publication = self._current()
        with _said(publication):
            return await self._answer(publication, sql, limit)

    async def list_metrics(self) -> Metrics:
        """List the metrics: figures that are defined once, what each means, and what it may be cut by."""
        publication = self._current()
        with _said(publication):
            metrics = [_metric(metric) for metric in read_metrics(publication).values()]
        return Metrics(publication=_cited(publication), metrics=metrics)

    async def query_metric(self, metrics: MetricNames, by: By = [], where: Where = [], limit: Limit = ROWS) -> Rows:  # noqa: B006 (they are read)
        """Answer by metrics: their figures, cut as asked. Without a time, distinct devices are of the newest period."""
        publication = self._current()
        with _said(publication):
            sql = await anyio.to_thread.run_sync(sql_of, publication, metrics, by, where, limiter=self.compiling)
            return await self._answer(publication, sql, limit)

    async def _answer(self, publication: Publication, sql: str, limit: int) -> Rows:
        async with self.at_once:
            return _rows(await ask_beside(publication, sql, Limits(**{**vars(LIMITS), "rows": limit})))

    def _current(self) -> Publication:
        try:
            return current_publication(self.settings, self.level)
        except TidemarkError as error:
            raise ToolError(str(error)) from error


def make_server(settings: Settings, level: Visibility) -> MCPServer:
    """The server on a home, for readers of a level."""
    tools = Tools(settings, level)
    server = MCPServer(
        "tidemark",
        title="Tidemark",
        instructions=INSTRUCTIONS,
        version=importlib.metadata.version("tidemark"),
        log_level="WARNING",
    )
    reads = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    for tool in (tools.list_products, tools.describe, tools.query_sql, tools.list_metrics, tools.query_metric):
        server.add_tool(tool, annotations=reads)
    return server


@contextmanager
def _said(publication: Publication) -> Iterator[None]:
    """Give an assistant the error, and which publication it is of."""
    try:
        yield
    except TidemarkError as error:
        raise ToolError(f"{error}\n(asked of publication {publication.version})") from error


def _metric(metric: Metric) -> MetricMeaning:
    return MetricMeaning(
        name=metric.name,
        meaning=metric.meaning,
        unit=metric.unit,
        owner=metric.owner,
        dimensions=sorted(metric.dimensions),
        needs=list(metric.needs),
        grain=metric.grain,
    )


def _cited(publication: Publication, *tables: Table) -> Cited:
    up_to = publication.up_to([table.name for table in tables])
    return Cited(
        version=publication.version,
        published_at=f"{publication.published_at:%Y-%m-%d %H:%M}",
        data_up_to=up_to and up_to.isoformat(),
    )


def _product(table: Table) -> Product:
    return Product(
        name=table.name,
        meaning=table.description,
        owner=table.owner,
        first_day=table.first_day and table.first_day.isoformat(),
        last_day=table.last_day and table.last_day.isoformat(),
        as_of=table.as_of and f"{table.as_of:%Y-%m-%d %H:%M}",
        stale_because=table.stale_because,
    )


def _rows(answer: Answer) -> Rows:
    return Rows(
        sql=answer.sql,
        publication=_cited(answer.publication, *answer.tables),
        columns=[name for name, _ in answer.columns],
        types=[kind for _, kind in answer.columns],
        rows=answer.rows,
        rows_left_off=answer.is_more,
        notes=answer.notes,
    )
