"""What a kind of database does for the tables that are extracted from it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from flows.extract.columns import Found
from flows.extract.position import Cursor, Kind


class Snapshot(Protocol):
    """A database as it was at one moment, ``at``; and how its SQL is written."""

    at: datetime
    # The types that a cursor may be of.
    cursors: Mapping[str, Kind]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""

    def write(self, query: str, to: Path) -> int:
        """Write what a query gives into a Parquet file; the number of rows."""

    def columns(self, table: str) -> dict[str, Found]:
        """The columns of a table or view. Raises :class:`TidemarkError` where there is none of this name."""

    def named(self, column: str) -> str:
        """A name of a column."""

    def table(self, name: str) -> str:
        """A table or view, ``schema.name``."""

    def literal(self, value: Cursor) -> str:
        """A value of the cursor. A moment without a zone is compared as one of UTC."""

    def value(self, column: str, type_: str, becomes_text: bool) -> str:
        """A column's value, as the database is to write it."""
