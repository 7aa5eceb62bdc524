"""The publication that readers see now, as far as one level of them may: its tables, their meaning and freshness.

All of it is read from the DuckDB file of the level, which has no word of other tables: not all may read the manifest.
"""

import difflib
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import duckdb

from flows.errors import TidemarkError
from flows.publish.files import PARQUET
from flows.publish.manifest import CURRENT, OF_PERIODS, OPS
from flows.publish.marts import PUBLISHED_TABLES
from flows.publish.publish import STAMP
from flows.publish.views import DATABASES
from flows.rights import Visibility
from flows.settings import Settings
from flows.text import cut


@dataclass(frozen=True)
class Column:
    """A column of a published table."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Table:
    """A published table, as its readers see it. Moments are UTC."""

    name: str
    description: str
    columns: tuple[Column, ...]
    grain: str = ""
    owner: str | None = None
    visibility: str = ""
    first_day: date | None = None
    last_day: date | None = None
    as_of: datetime | None = None
    stale_since: datetime | None = None
    stale_because: str | None = None

    @property
    def is_of_periods(self) -> bool:
        """Whether a row is of a period, which may end, or begin, after the last day with data."""
        return any(column.name in OF_PERIODS for column in self.columns)


@dataclass(frozen=True)
class Publication:
    """One version for one level of readers; ``folder`` is its own, whatever is published later."""

    version: str
    level: Visibility
    folder: Path
    tables: tuple[Table, ...]

    @property
    def database(self) -> Path:
        """The DuckDB file with the level's tables."""
        return self.folder / DATABASES[self.level]

    @property
    def published_at(self) -> datetime:
        """When it was published, which its name says."""
        return datetime.strptime(self.version.partition("+")[0], STAMP).replace(tzinfo=UTC)

    @property
    def folders(self) -> list[Path]:
        """Where the files of the level's tables are: of no others."""
        return [self.folder / PARQUET / table.name for table in self.tables if table.name != PUBLISHED_TABLES]

    @cached_property
    def data_up_to(self) -> date | None:
        """The newest day that any table of its days has rows of."""
        days = [t.last_day for t in self.tables if t.last_day and not t.is_of_periods and not t.name.startswith(OPS)]
        return max(days, default=None)

    def up_to(self, names: list[str]) -> date | None:
        """The day that all these tables have data up to; that of the publication, where they are not of days."""
        found = []
        for table in (self.table(name) for name in names):
            if table.last_day:
                ahead = table.is_of_periods and self.data_up_to
                found.append(min(table.last_day, self.data_up_to) if ahead and self.data_up_to else table.last_day)
        return min(found, default=self.data_up_to)

    def table(self, name: str) -> Table:
        """The table of that name, upper and lower case alike. Raises :class:`TidemarkError` where there is none."""
        by_name = {table.name.lower(): table for table in self.tables}
        found = by_name.get(name.strip().strip('"').rpartition(".")[2].lower())
        if found is None:
            near = difflib.get_close_matches(name.lower(), by_name, n=3, cutoff=0.6)
            meant = f"; did you mean {' or '.join(near)}?" if near else ";"
            raise TidemarkError(
                f"there is no table {cut(name, 100)} here{meant} there are {', '.join(sorted(by_name))}"
            )
        return found


def current_publication(settings: Settings, level: Visibility) -> Publication:
    """What readers of that level see now. Raises :class:`TidemarkError` where there is none, or none for this user."""
    link = settings.published / CURRENT
    try:
        folder = link.resolve(strict=True)
    except OSError:
        raise TidemarkError(
            f"nothing is published in {settings.published.absolute()}: `tidemark run` publishes, and TIDEMARK_HOME "
            "says which home is meant"
        ) from None
    database = folder / DATABASES[level]
    if not database.exists():
        raise TidemarkError(
            f"{database} is not there: an earlier Tidemark published this version; `tidemark publish --force`"
        )
    if not os.access(database, os.R_OK):
        raise TidemarkError(
            f"you may not read what is {level}: you are in no group that may; ask whoever runs Tidemark, or ask about "
            "what everybody may see: --level public"
        )
    with duckdb.connect(str(database), read_only=True) as db:
        return Publication(folder.name, level, folder, _read_tables(db))


def _read_tables(db: duckdb.DuckDBPyConnection) -> tuple[Table, ...]:
    columns: dict[str, list[Column]] = {}
    for name, *column in db.execute(COLUMNS).fetchall():
        columns.setdefault(name, []).append(Column(*column))
    fresh = {name: values for name, *values in db.execute(FRESHNESS).fetchall()}
    return tuple(
        Table(name, text, tuple(columns.get(name, ())), *fresh.get(name, ()))
        for name, text in db.execute(TABLES).fetchall()
    )


TABLES = """
select view_name, coalesce(comment, '') from duckdb_views() where not internal
union all select table_name, coalesce(comment, '') from duckdb_tables() where not internal
order by all
"""
COLUMNS = """
select table_name, column_name, data_type, coalesce(comment, '') from duckdb_columns()
where not internal order by table_name, column_index
"""
FRESHNESS = f"""
select
    name, coalesce(description, ''), owner, visibility, first_day, last_day, as_of, stale_since, stale_because
from {PUBLISHED_TABLES}
"""
