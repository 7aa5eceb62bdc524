"""Rows of MySQL and MariaDB as Parquet, through DuckDB's own client: a page at a time, in one snapshot of the database.

Its tables are read, and not the result of a query: only these are in the transaction. So what a value is as text is
DuckDB's to write.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb

from flows.errors import TidemarkError
from flows.extract.columns import Found
from flows.extract.databases.clients import load_extension
from flows.extract.databases.declared import Database
from flows.extract.databases.patience import patient
from flows.extract.databases.tables import deliver_tables
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered
from flows.extract.errors import MayPassError
from flows.extract.position import Cursor, Kind
from flows.land.field_sql import identifier, literal
from flows.settings import Settings

WHOLE_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
CURSORS: Mapping[str, Kind] = {
    **{f"{name}{sign}": "number" for name in WHOLE_NUMBERS for sign in ("", " unsigned")},
    "date": "day",
    "datetime": "moment",
    "timestamp": "moment",
}
# Types that mean the same in MySQL, DuckDB and Parquet, to the last bit.
ALIKE = (*WHOLE_NUMBERS, "double", "date", "datetime", "timestamp", "year", "char", "varchar")
BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit")
# DuckDB has no exact number of more digits, and reads such a one as a double.
MOST_DIGITS = 38
PARAMETERS = (
    "ssl_mode",
    "ssl_ca",
    "ssl_capath",
    "ssl_cert",
    "ssl_cipher",
    "ssl_crl",
    "ssl_crlpath",
    "ssl_key",
    "socket",
)
GONE = (
    "Can't connect",
    "Lost connection",
    "gone away",
    "Connection was killed",
    "Server shutdown",
    "Too many connections",
    "Unknown MySQL server host",
)


class Snapshot:
    """One snapshot of a database: all that is read of it is as it was at one moment."""

    cursors = CURSORS

    def __init__(self, engine: duckdb.DuckDBPyConnection, longest_query: timedelta) -> None:
        self._engine, self._longest = engine, longest_query
        # Before a table is read, with which the snapshot begins: what is written between the two comes later.
        ((now,),) = self._asked("select utc_timestamp(6)")
        self.at = now.replace(tzinfo=UTC)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of DuckDB gives."""
        with patient(self._longest), _understood():
            return self._engine.execute(query).fetchall()

    def write(self, query: str, to: Path) -> int:
        """Write what a query gives into a Parquet file; the number of rows."""
        with patient(self._longest), _understood():
            done = self._engine.execute(f"copy ({query}) to {literal(str(to))} (format parquet, compression zstd)")
            return int(done.fetchall()[0][0])

    def columns(self, table: str) -> dict[str, Found]:
        """The columns of a table or view. Raises :class:`TidemarkError` where there is none of this name."""
        schema, _, name = (part.replace("\\", "\\\\") for part in table.partition("."))
        found = self._asked(
            "select column_name, column_type, is_nullable from information_schema.columns "
            f"where table_schema = {literal(schema)} and table_name = {literal(name)} order by ordinal_position"
        )
        if not found:
            raise TidemarkError(f"{table}: there is no such table, or this user may not see it; grant it `select`")
        return {column: Found(_as_text(type_), nullable == "YES") for column, type_, nullable in found}

    named = staticmethod(identifier)

    def table(self, name: str) -> str:
        """A table or view, ``database.name``."""
        return ".".join(map(identifier, ("source", *name.split(".", 1))))

    def literal(self, value: Cursor) -> str:
        """A value of the cursor. Moments are without a zone here, in UTC."""
        if isinstance(value, datetime):
            return f"timestamp {literal(value.astimezone(UTC).replace(tzinfo=None).isoformat(' '))}"
        return f"date {literal(value.isoformat())}" if isinstance(value, date) else str(value)

    def value(self, column: str, type_: str, becomes_text: bool) -> str:
        """A column's value, as it is to be written."""
        plain, digits = re.split(r"[ (]", type_, maxsplit=1)[0], re.match(r"decimal\((\d+)", type_)
        if digits and int(digits[1]) > MOST_DIGITS:
            raise TidemarkError(
                f"{column} is {type_}, and of more than {MOST_DIGITS} digits not all could be read; extract a view "
                "that has it as `cast(... as char)`"
            )
        if plain in BYTES:
            return f"base64({column})"
        return column if plain in ALIKE and not becomes_text else f"cast({column} as varchar)"

    def _asked(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of MySQL gives, beside the snapshot."""
        return self.rows(f"select * from mysql_query('source', {literal(query)})")


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver these in one snapshot; where one fails, those after it are of another, and all that failed is raised."""
    connection = declared.source.connection
    assert isinstance(connection, Database)
    given = _given(declared.name, connection)
    yield from deliver_tables(
        settings, declared, datasets, note, partial(connected, settings, given, connection.longest_query)
    )


@contextmanager
def connected(settings: Settings, given: Mapping[str, str], longest_query: timedelta) -> Iterator[Snapshot]:
    """A snapshot of a database. Raises :class:`MayPassError` where it does not answer."""
    with duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit}) as engine:
        load_extension(engine, "mysql", "MySQL")
        # What does not fit is not written elsewhere in clear.
        engine.execute("set temp_directory = ''; set TimeZone = 'UTC'; set preserve_insertion_order = true")
        # A tinyint(1) may be 2. A query's end is set here for MySQL; MariaDB knows no such hint.
        engine.execute(
            "set mysql_session_time_zone = '+00:00'; set mysql_tinyint1_as_boolean = false; "
            f"set mysql_query_timeout_max_ms = {longest_query.total_seconds() * 1000:.0f}; "
            f"set mysql_query_timeout_min_ms = {longest_query.total_seconds() * 1000:.0f}"
        )
        options = ", ".join(f"{name} {literal(value)}" for name, value in given.items())
        with patient(longest_query), _understood():
            engine.execute(f"create secret given (type mysql, {options})")
            engine.execute("attach '' as source (type mysql, secret given, read_only)")
            engine.execute("begin")
        yield Snapshot(engine, longest_query)


def _given(source: str, connection: Database) -> dict[str, str]:
    """What an address says. Raises :class:`TidemarkError` where it is none; nothing of it is said then."""
    url = connection.value(source, connection.url_from)
    wrong = TidemarkError(
        f"{source}: {connection.url_from} is no address: write mysql://USER:PASSWORD@HOST/DATABASE, and in the "
        "password / @ # ? : as %2F %40 %23 %3F %3A"
    )
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise wrong from None
    is_split = parts.netloc.count("@") > 1 or "@" in f"{parts.path}{parts.query}" or parts.fragment
    is_bare = ":" in (parts.password or "")  # where the password begins would be in doubt, and so what is secret
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or is_split or is_bare:
        raise wrong
    more = dict(parse_qsl(parts.query))
    if unknown := sorted({*more} - {*PARAMETERS}):
        known = ", ".join(PARAMETERS)
        raise TidemarkError(
            f"{source}: {connection.url_from} has {len(unknown)} unknown parameters; it may have {known}"
        )
    found = {
        "host": parts.hostname,
        "port": str(port),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")),
    }
    return {name: value for name, value in (found | more).items() if value}


def _as_text(value: object) -> str:
    """What MySQL says of itself, which may come as bytes; widths of whole numbers, which only some servers show, are
    left out."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return re.sub(rf"^({'|'.join(WHOLE_NUMBERS)}|year)\(\d+\)", r"\1", text)


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        said = " ".join(str(error).split())
        if any(words in said for words in GONE):
            raise MayPassError(said) from error
        if "execution time exceeded" in said or "max_statement_time" in said:
            said = "a query took longer than `longest_query` lets it; give the cursor an index, or say more"
        if found := re.search(r"SELECT command denied to user \S+ for table (\S+)", said):
            said = f"this user may not read {found[1]}; grant it `select`"
        said = said.partition(" LINE 1:")[0]
        raise TidemarkError(said) from error
