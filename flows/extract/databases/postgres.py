"""Rows of PostgreSQL as Parquet, through DuckDB's own client: a page at a time, in one snapshot of the database.

The server writes what a value is where the two have no type in common, or not the same one: a number of any precision,
a NaN among them, an array of any shape. So nothing is rounded on the way; the contract says what becomes of it.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.extract.columns import Found, compare
from flows.extract.databases.declared import Database, Table
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered, Folder
from flows.extract.errors import MayPassError
from flows.extract.position import Cursor, Kind, position, snapshot_name, window_name
from flows.land.field_sql import identifier, literal
from flows.settings import Settings

# Types that mean the same in PostgreSQL, DuckDB and Parquet, to the last bit.
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


class Snapshot:
    """One snapshot of a database: all that is read of it is as it was at one moment."""

    def __init__(self, engine: duckdb.DuckDBPyConnection) -> None:
        self._engine = engine
        for name, value in SESSION.items():
            self.rows(f"select set_config({literal(name)}, {literal(value)}, true)")
        ((self.at,),) = self.rows("select now()")

    def rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        """What a query of PostgreSQL gives."""
        with _understood():
            return self._engine.execute(f"select * from {_query(query)}").fetchall()

    def write(self, query: str, to: Path) -> int:
        """Write what a query of PostgreSQL gives into a Parquet file; the number of rows."""
        with _understood():
            done = self._engine.execute(
                f"copy (from {_query(query)}) to {literal(str(to))} (format parquet, compression zstd)"
            )
            return int(done.fetchall()[0][0])

    def columns(self, table: str) -> dict[str, Found]:
        """The columns of a table or view. Raises :class:`TidemarkError` where there is none of this name."""
        schema, _, name = table.partition(".")
        quoted = literal(f"{identifier(schema)}.{identifier(name)}")
        found = {
            column: Found(kind, may_be_null) for column, kind, may_be_null in self.rows(COLUMNS.format(table=quoted))
        }
        if not found:
            raise TidemarkError(f"{table}: there is no such table, or this user may not see it; grant it `select`")
        return found


@contextmanager
def connected(settings: Settings, url: str) -> Iterator[Snapshot]:
    """A snapshot of the database at a URL. Raises :class:`MayPassError` where it does not answer."""
    with duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit}) as engine:
        load_client(engine)
        # What does not fit is not written elsewhere in clear.
        engine.execute("set temp_directory = ''; set TimeZone = 'UTC'; set preserve_insertion_order = true")
        with _understood():
            engine.execute(f"attach {literal(url)} as source (type postgres, read_only)")
            engine.execute("begin")
        yield Snapshot(engine)


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver these in one snapshot; where one fails, those after it are of another, and all that failed is raised."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "30")  # seconds
    url = _address_of(declared)
    left, specs, failed = [*datasets], load_specs(), []
    while left:
        with connected(settings, url) as database:
            while left:
                dataset = left.pop(0)
                name, table = f"{declared.name}.{dataset}", declared.source.extracts[dataset]
                assert isinstance(table, Table)
                folder = Folder(settings, declared.name, dataset, table)
                try:
                    yield from extract_table(database, folder, name, table, specs[dataset], note)
                except MayPassError:
                    raise
                except TidemarkError as error:  # the server answers nothing more in a transaction that failed
                    said = str(error)
                    failed.append(said if said.startswith(name) else f"{name}: {said}")
                    break
    if failed:
        raise TidemarkError("; ".join(failed))


def _address_of(declared: DeclaredSource) -> str:
    """The URL of a source. Raises :class:`TidemarkError` where its variable is not set."""
    connection = declared.source.connection
    assert isinstance(connection, Database)
    url = connection.value(declared.name, connection.url_from)
    if wrong := _wrong_address(url):
        raise TidemarkError(f"{declared.name}: {connection.url_from} {wrong}")
    return url


def _wrong_address(url: str) -> str | None:
    """Why a driver would take a part of a password for something else, and say it; nothing of it is said here."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return None if "=" in url else "is no address: write postgresql://USER:PASSWORD@HOST/DATABASE"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme.startswith("postgres") or rest.count("@") > 1 or ("@" in rest and "@" not in authority):
        return "is no address: in its password write / @ # ? : as %2F %40 %23 %3F %3A"
    return None


def extract_table(
    database: Snapshot, folder: Folder, name: str, table: Table, spec: DatasetSpec, note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver what is new of a table, a file at a time. ``spec`` is the dataset that its rows become."""
    found = database.columns(table.table)
    for column in compare(name, table.table, table.columns, table.ignored, found):
        kind = found[column].type
        note(f"{name}: {table.table} has a column {column} ({kind}) that extracts/ does not name; add it there")
    select = f"select {', '.join(_values(table, found, spec))} from {_of(table)}"
    if table.cursor is None:
        query = f"{select} order by {_order(table, spec)}"
        if done := folder.deliver(snapshot_name(database.at), lambda to: database.write(query, to)):
            yield done
        return
    kind = _kind(name, table, found[table.cursor].type)
    pages = _Pages(database, table, kind)
    reached = position(folder.names(), kind)
    if reached is not None and not pages.has_rows(f"{pages.cursor} >= {_sql(reached)}"):
        note(
            f"{name}: no row of {table.table} has a {table.cursor} as late as {reached}, up to which it was extracted; "
            "where the table was emptied or restored, its rows up to there are not seen"
        )
    for after, up_to, rows in pages.since(_before(reached, table.overlap)):
        query = f"{select} where {rows} order by {_order(table, spec)}"
        if done := folder.deliver(window_name(after, up_to), partial(database.write, query)):
            yield done
    if found[table.cursor].may_be_null and pages.has_rows(f"{pages.cursor} is null"):
        raise TidemarkError(
            f"{name}: rows of {table.table} have no {table.cursor}, and so are in no page; the others were delivered; "
            "have it filled, or extract the table without a cursor"
        )
    if pages.has_rows(f"not ({pages.has_come})"):
        note(f"{name}: rows of {table.table} have a {table.cursor} that is not over; they are delivered once it is")


class _Pages:
    """The rows of a table in pages by its cursor, to the moment of the snapshot, or the day before it: what is dated
    later may yet be passed by what comes before it."""

    def __init__(self, database: Snapshot, table: Table, kind: Kind) -> None:
        self.cursor = identifier(table.cursor or "")
        self.has_come = {
            "number": "true",
            "moment": f"{self.cursor} <= {_sql(database.at)}",
            # Of today there will be more, with the same value.
            "day": f"{self.cursor} < {_sql(database.at.date())}",
        }[kind]
        self._database = database
        self._from = _of(table)
        self._rows = table.page_rows

    def since(self, after: Cursor | None) -> Iterator[tuple[Cursor | None, Cursor, str]]:
        """Each page after a value: that value, the one up to which it goes, and the condition of its rows."""
        while True:
            rows = self.has_come if after is None else f"{self.cursor} > {_sql(after)} and {self.has_come}"
            page = f"select {self.cursor} from {self._from} where {rows} order by {self.cursor} limit {self._rows}"
            ((up_to,),) = self._database.rows(f"select max({self.cursor}) from ({page}) as page")
            if up_to is None:
                return
            # Moments without a zone are UTC, as everywhere here.
            is_bare = isinstance(up_to, datetime) and up_to.tzinfo is None
            up_to = up_to.replace(tzinfo=UTC) if is_bare else up_to
            yield after, up_to, f"{rows} and {self.cursor} <= {_sql(up_to)}"
            after = up_to

    def has_rows(self, condition: str) -> bool:
        """Whether there are rows that meet a condition."""
        return bool(self._database.rows(f"select 1 from {self._from} where {condition} limit 1"))


def _kind(name: str, table: Table, type_: str) -> Kind:
    plain = type_.partition("(")[0] + (type_.rpartition(")")[2] if "(" in type_ else "")
    if plain not in CURSORS:
        raise TidemarkError(f"{name}: cursor {table.cursor} is {type_}; one of {', '.join(CURSORS)} is needed")
    kind = CURSORS[plain]
    wants_number = kind == "number"
    if isinstance(table.overlap, int) != wants_number and table.overlap not in (0, timedelta(), None):
        wanted = "a whole number" if wants_number else "a length of time, such as 15 min"
        raise TidemarkError(f"{name}: overlap: the cursor {table.cursor} is {type_}; write {wanted}")
    return kind


def _before(reached: Cursor | None, overlap: timedelta | int | None) -> Cursor | None:
    if reached is None or not overlap:
        return reached
    return reached - overlap  # type: ignore[operator]


def _sql(value: Cursor) -> str:
    """A value of the cursor in PostgreSQL's SQL. A timestamp without a zone is compared as one of UTC."""
    if isinstance(value, datetime):
        return f"{literal(value.astimezone(UTC).isoformat())}::timestamptz"
    return f"{literal(value.isoformat())}::date" if isinstance(value, date) else str(value)


def _values(table: Table, found: Mapping[str, Found], spec: DatasetSpec) -> Iterator[str]:
    texts = {field.name for field in spec.fields if field.payload is None and field.type == "string"}
    for column, said in table.columns.items():
        yield f"{_value(identifier(column), found[column].type, said.to in texts)} as {identifier(said.to)}"


def _value(x: str, type_: str, becomes_text: bool) -> str:
    """A column's value, as PostgreSQL is to write it."""
    if type_.endswith("[]"):
        return f"to_json({x})::text"
    if type_ == "bytea":
        return f"translate(encode({x}, 'base64'), E'\\n', '')"
    is_alike = type_ in ALIKE or type_.startswith(ALIKE_BEGIN)
    return x if is_alike and not becomes_text else f"{x}::text"


def _order(table: Table, spec: DatasetSpec) -> str:
    """What rows are in the order of: the same ones make the same file, which lands once."""
    names = {said.to: name for name, said in table.columns.items()}
    columns = [*([table.cursor] if table.cursor else []), *(names[key] for key in spec.key)]
    return ", ".join(map(identifier, dict.fromkeys(columns)))


def _of(table: Table) -> str:
    schema, _, name = table.table.partition(".")
    return f"{identifier(schema)}.{identifier(name)}"


def _query(query: str) -> str:
    return f"postgres_query('source', {literal(query)})"


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        said = " ".join(str(error).split())
        is_gone = any(
            words in said for words in ("Unable to connect", "closed the connection", "terminating connection")
        )
        is_final = "authentication failed" in said or "does not exist" in said
        raise (MayPassError if is_gone and not is_final else TidemarkError)(said) from error


def load_client(engine: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's client of PostgreSQL: from the package that has it, or as DuckDB finds it."""
    try:
        import duckdb_extension_postgres_scanner as packaged  # noqa: PLC0415 (only who extracts has it)

        (found,) = Path(packaged.__file__ or "").parent.rglob("*.duckdb_extension")
        engine.execute(f"load {literal(str(found))}")
    except ImportError:
        try:
            engine.execute("install postgres; load postgres")
        except duckdb.Error as error:
            raise TidemarkError(
                "DuckDB's client of PostgreSQL is not here, and cannot be fetched; `pip install tidemark[sources]`"
            ) from error
