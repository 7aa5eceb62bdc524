"""Rows of PostgreSQL as Parquet: a page at a time, in one snapshot of the database.

The server writes what a value is where the two have no type in common, or not the same one: a number of any precision,
a NaN among them, an array of any shape. So nothing is rounded on the way; the contract says what becomes of it.

DuckDB's own client reads, and where that cannot be loaded, ADBC's.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import duckdb

from flows.errors import TidemarkError
from flows.extract.columns import Found
from flows.extract.databases.clients import load_extension, with_defaults
from flows.extract.databases.declared import Database
from flows.extract.databases.patience import patient
from flows.extract.databases.tables import deliver_tables
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered
from flows.extract.errors import MayPassError
from flows.extract.position import Cursor, Kind
from flows.land.field_sql import identifier, literal
from flows.settings import Settings

# "adbc" has ADBC read, wherever DuckDB's client would.
CLIENT = "TIDEMARK_POSTGRES_CLIENT"
# Types that mean the same in PostgreSQL, DuckDB, ADBC and Parquet, to the last bit.
ALIKE = ("boolean", "smallint", "integer", "bigint", "double precision", "text", "date", "bpchar")
ALIKE_BEGIN = ("character", "timestamp")
CURSORS: Mapping[str, Kind] = {
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "date": "day",
    "timestamp with time zone": "moment",
    "timestamp without time zone": "moment",
}
COLUMNS = """
select attname, format_type(atttypid, atttypmod), not attnotnull from pg_attribute
where attrelid = to_regclass({table}) and attnum > 0 and not attisdropped order by attnum
"""
SESSION = {
    # How text of dates, times and bytes is written. Without the zone, moments would be written in the server's.
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    # Rows that a policy hides from this user are an error, as for pg_dump.
    "row_security": "off",
    "lock_timeout": "10min",
}
# A server or a network that is gone is noticed within two minutes.
ALIVE = {
    "connect_timeout": "30",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "120000",
}


class Client(Protocol):
    """What reads a server, in a transaction of its own."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of PostgreSQL gives."""

    def write(self, query: str, to: Path) -> int:
        """Write what a query of PostgreSQL gives into a Parquet file; the number of rows."""


class Snapshot:
    """One snapshot of a database: all that is read of it is as it was at one moment."""

    cursors = CURSORS

    def __init__(self, client: Client, longest_query: timedelta) -> None:
        self._client, self._longest = client, longest_query
        session = SESSION | {"statement_timeout": f"{longest_query.total_seconds():.0f}s"}
        for name, value in session.items():
            self.rows(f"select set_config({literal(name)}, {literal(value)}, true)")
        ((self.at,),) = self.rows("select now()")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of PostgreSQL gives."""
        with patient(self._longest), understood(self._longest):
            return self._client.rows(query)

    def write(self, query: str, to: Path) -> int:
        """Write what a query of PostgreSQL gives into a Parquet file; the number of rows."""
        with patient(self._longest), understood(self._longest):
            return self._client.write(query, to)

    def columns(self, table: str) -> dict[str, Found]:
        """The columns of a table or view. Raises :class:`TidemarkError` where there is none of this name, or where this
        user may not read it."""
        schema, _, name = table.partition(".")
        quoted = literal(f"{identifier(schema)}.{identifier(name)}")
        found = {
            column: Found(kind, may_be_null) for column, kind, may_be_null in self.rows(COLUMNS.format(table=quoted))
        }
        if not found:
            raise TidemarkError(f"{table}: there is no such table, or this user may not see it; grant it `select`")
        return found

    named = staticmethod(identifier)

    def table(self, name: str) -> str:
        """A table or view, ``schema.name``."""
        return ".".join(map(identifier, name.split(".", 1)))

    def literal(self, value: Cursor) -> str:
        """A value of the cursor. A moment without a zone is compared as one of UTC."""
        if isinstance(value, datetime):
            return f"{literal(value.astimezone(UTC).isoformat())}::timestamptz"
        return f"{literal(value.isoformat())}::date" if isinstance(value, date) else str(value)

    def value(self, column: str, type_: str, becomes_text: bool) -> str:
        """A column's value, as PostgreSQL is to write it."""
        if type_.endswith("[]"):
            return f"to_json({column})::text"
        if type_ == "bytea":
            return f"translate(encode({column}, 'base64'), E'\\n', '')"
        is_alike = type_ in ALIKE or type_.startswith(ALIKE_BEGIN)
        return column if is_alike and not becomes_text else f"{column}::text"


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver these in one snapshot; where one fails, those after it are of another, and all that failed is raised."""
    connection = declared.source.connection
    assert isinstance(connection, Database)
    open_snapshot = partial(connected, settings, _address_of(declared), connection.longest_query)
    yield from deliver_tables(settings, declared, datasets, note, open_snapshot)


@contextmanager
def connected(settings: Settings, url: str, longest_query: timedelta) -> Iterator[Snapshot]:
    """A snapshot of the database at a URL. Raises :class:`MayPassError` where it does not answer."""
    with duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit}) as engine:
        # What does not fit is not written elsewhere in clear.
        engine.execute("set temp_directory = ''; set TimeZone = 'UTC'; set preserve_insertion_order = true")
        with _client(engine, url, longest_query) as client:
            yield Snapshot(client, longest_query)


@contextmanager
def _client(engine: duckdb.DuckDBPyConnection, url: str, longest_query: timedelta) -> Iterator[Client]:
    missing: TidemarkError | None = None
    try:
        if os.environ.get(CLIENT) == "adbc":
            raise TidemarkError(f"{CLIENT} says adbc")
        load_client(engine)
    except TidemarkError as error:
        missing = error
    if missing is None:
        with patient(longest_query), understood(longest_query):
            engine.execute(f"attach {literal(url)} as source (type postgres, read_only)")
            engine.execute("begin")
        yield DuckDBClient(engine)
        return
    try:
        from flows.extract.databases.adbc import AdbcClient, attached  # noqa: PLC0415 (only who extracts has it)
    except ImportError:
        raise missing from None
    with patient(longest_query), understood(longest_query):
        connection = attached(url)
    with connection:
        yield AdbcClient(engine, connection)


class DuckDBClient:
    """DuckDB's own client, which a database is attached to as ``source``."""

    def __init__(self, engine: duckdb.DuckDBPyConnection) -> None:
        self._engine = engine

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of PostgreSQL gives."""
        return self._engine.execute(f"select * from {_query(query)}").fetchall()

    def write(self, query: str, to: Path) -> int:
        """Write what a query of PostgreSQL gives into a Parquet file; the number of rows."""
        done = self._engine.execute(
            f"copy (from {_query(query)}) to {literal(str(to))} (format parquet, compression zstd)"
        )
        return int(done.fetchall()[0][0])


def _query(query: str) -> str:
    return f"postgres_query('source', {literal(query)})"


@contextmanager
def understood(longest_query: timedelta) -> Iterator[None]:
    """Raise what a client raises as what it means, without the SQL that it repeats."""
    try:
        yield
    except (TidemarkError, OSError):
        raise
    except Exception as error:  # each client has its own
        said = " ".join(str(error).split())
        is_gone = any(words in said for words in GONE)
        is_final = "authentication failed" in said or "does not exist" in said
        if is_gone and not is_final:
            raise MayPassError(said) from error
        said = said.rpartition("ERROR: ")[2].partition(" LINE 1:")[0].strip()
        if "statement timeout" in said:
            hours = f"longest_query: {longest_query}"
            said = f"a query took longer than `{hours}` lets it; give the cursor an index, lower page_rows, or say more"
        if found := re.search(
            r"permission denied for (?:table|view|relation|schema|\w+ view|foreign table) (\S+)", said
        ):
            said = f"this user may not read {found[1]}; grant it `select` (and `usage` of the schema)"
        raise TidemarkError(said) from error


GONE = (
    "Unable to connect",
    "closed the connection",
    "terminating connection",
    "could not connect",
    "onnection refused",
    "onnection timed out",
    "connection to server",
    "no connection to the server",
    "could not receive data",
    "SSL connection has been closed",
    "the database system is",
)


def _address_of(declared: DeclaredSource) -> str:
    """The URL of a source. Raises :class:`TidemarkError` where its variable is not set."""
    connection = declared.source.connection
    assert isinstance(connection, Database)
    url = connection.value(declared.name, connection.url_from)
    if wrong := _wrong_address(url):
        raise TidemarkError(f"{declared.name}: {connection.url_from} {wrong}")
    return with_defaults(url, ALIVE)


def _wrong_address(url: str) -> str | None:
    """Why a driver would take a part of a password for something else, and say it; nothing of it is said here."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return None if "=" in url else "is no address: write postgresql://USER:PASSWORD@HOST/DATABASE"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme.startswith("postgres") or rest.count("@") > 1 or ("@" in rest and "@" not in authority):
        return "is no address: in its password write / @ # ? : as %2F %40 %23 %3F %3A"
    return None


def load_client(engine: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's client of PostgreSQL. Raises :class:`TidemarkError` where it is not here."""
    load_extension(engine, "postgres", "PostgreSQL")
