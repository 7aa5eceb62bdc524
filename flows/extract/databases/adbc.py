"""PostgreSQL by ADBC: for where DuckDB's own client cannot be loaded. The SQL is the same, and so are the values."""

from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]
import duckdb

from flows.land.field_sql import literal


def attached(url: str) -> "adbc.Connection":
    """A connection in a transaction that reads one snapshot."""
    connection = adbc.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
    except BaseException:
        connection.close()
        raise
    return connection


class AdbcClient:
    """Reads through a connection, and has ``engine`` write what comes."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, connection: "adbc.Connection") -> None:
        self._engine, self._connection = engine, connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of PostgreSQL gives."""
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]

    def write(self, query: str, to: Path) -> int:
        """Write what a query of PostgreSQL gives into a Parquet file; the number of rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            with cursor.fetch_record_batch() as batches:
                self._engine.register("batches", batches)
                try:
                    done = self._engine.execute(
                        f"copy (from batches) to {literal(str(to))} (format parquet, compression zstd)"
                    )
                    return int(done.fetchall()[0][0])
                finally:
                    self._engine.unregister("batches")
