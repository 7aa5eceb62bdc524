"""What stands beside a feed's rows: files of rows that say more of them, by the id of the row that they are of.

They lie in ``<source>/<folder>/<table>/`` of the inbox, or ``<source>/<folder>/<table>.<format>``, and land nowhere: a
feed's SQL finds them in ``beside``, a JSON object of each table's row. They may come before the rows that they are of,
or after them: then rows that lacked them wait in quarantine, and are tried again once they are here.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from flows.errors import FileRefusedError
from flows.land.feeds import Beside, Feed, feed_beside, texts_spec
from flows.land.field_sql import identifier, literal, quoted
from flows.land.inbox import Delivery, deliveries, file_format, is_settled
from flows.land.readers import columns_of, read_chunks, schema_of
from flows.settings import Settings

ROWS = pa.schema([("of", pa.string()), ("table", pa.string()), ("data", pa.string())])
# One row per id: {"table": {...}, ...} as JSON. Of two rows of a table for one id it is always the same that counts.
BY_ID = """
select "of", json_group_object("table", data::json) as tables
from (select "of", "table", min(data) as data from found group by all)
group by "of"
"""


class BesideRows:
    """The rows beside the feeds of an inbox, read when first needed, and once.

    ``unread`` says of files that cannot be read why, by their names in the inbox.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[tuple[str, str], pa.Table] = {}
        self.unread: dict[str, str] = {}
        # How many rows the others have.
        self.rows: dict[str, int] = {}

    def of(self, feed: Feed, source: str) -> pa.Table | None:
        """By the id of a row (``of``) what stands beside it (``tables``, JSON); None where the source has nothing."""
        if feed.beside is None:
            return None
        key = (feed.name, source)
        if key not in self._read:
            self._read[key] = self._all(feed, source)
        return self._read[key] if self._read[key].num_rows else None

    def _all(self, feed: Feed, source: str) -> pa.Table:
        found = []
        for delivery in deliveries(self._settings.inbox):
            is_one = delivery.source == source and feed_beside(delivery.name) == feed
            if not is_one or not is_settled(delivery.stat, time.time(), self._settings.settle_seconds):
                continue
            try:
                tables = list(rows_of(delivery, feed))
            except (FileRefusedError, OSError) as error:
                self.unread[delivery.name] = str(error)
            except Exception as error:  # whatever a file makes a library throw costs that file alone
                self.unread[delivery.name] = f"cannot be read ({type(error).__name__}); deliver it written another way"
            else:
                found += tables
                self.rows[delivery.name] = sum(table.num_rows for table in tables)
        with _engine() as engine:
            engine.register("found", pa.concat_tables(found) if found else ROWS.empty_table())
            return engine.execute(BY_ID).to_arrow_table()


def rows_of(delivery: Delivery, feed: Feed) -> Iterator[pa.Table]:
    """The rows of a file beside a feed. Raises :class:`FileRefusedError` where it cannot be read to its end."""
    assert feed.beside is not None
    table = table_of(delivery.name)
    names = names_in(delivery.path, feed.beside)
    of = next(name for name in names if name.lower() == feed.beside.of)
    has_any = False
    for chunk in read_chunks(delivery.path, texts_spec(feed.name, names)):
        if chunk.rejects:
            raise FileRefusedError(f"line {chunk.rejects[0].line} cannot be read: {chunk.rejects[0].reason}")
        with _engine() as engine:
            engine.register("chunk", chunk.table)
            if chunk.is_json:
                bad = engine.execute("select min(_line) from chunk where not json_valid(raw)").fetchone()
                if bad and bad[0] is not None:
                    raise FileRefusedError(f"line {bad[0]} is no JSON")
                either = (f"json_extract_string(raw, {literal(f'$.{identifier(n)}')})" for n in (of, of.upper()))
                id_, data = f"coalesce({', '.join(either)})", "raw"
            else:
                nulls = quoted(["", *feed.nulls])
                members = (
                    f"{identifier(name)} := case when {identifier(name)}::varchar not in ({nulls}) "
                    f"then {identifier(name)} end"
                    # Of names that differ in case alone the first counts, and what has none is no property.
                    for name in {name.lower(): name for name in reversed(chunk.table.column_names)}.values()
                    if name.strip() and name != "_line"
                )
                id_, data = f"{identifier(of)}::varchar", f"to_json(struct_pack({', '.join(members)}))::varchar"
            made = engine.execute(
                f'select lower({id_}) as "of", {literal(table)} as "table", {data} as data '
                f"from chunk where {id_} is not null"
            ).to_arrow_table()
        has_any |= made.num_rows > 0
        yield made.cast(ROWS)
    if not has_any:
        raise FileRefusedError(f"no row has {of}, which says of what it is")


def table_of(name: str) -> str:
    """The table that a file beside a feed is of, by its name in the inbox."""
    _, _, *folders, file = name.split("/")
    return folders[0] if folders else file.partition(".")[0]


def names_in(path: Path, beside: Beside) -> list[str]:
    """The columns of a file beside a feed, as it names them; of JSON that of the id alone. Raises
    :class:`FileRefusedError` where it has no such column."""
    kind = file_format(path.name)
    if kind == "parquet":
        names = list(schema_of(path).names)
    elif kind in ("csv", "tsv"):
        names = list(json.loads(columns_of(path, texts_spec("beside", [beside.of, beside.of.upper()])) or "[]"))
    elif kind == "pb":
        raise FileRefusedError("rows beside a feed's come as NDJSON, CSV, TSV or Parquet")
    else:
        return [beside.of]
    if beside.of not in map(str.lower, names):
        raise FileRefusedError(f"it has no column {beside.of}, which says of what its rows are")
    return names


def _engine() -> duckdb.DuckDBPyConnection:
    # Rows as they came never go to the disk in clear.
    engine = duckdb.connect(config={"threads": 1, "memory_limit": "1GB", "temp_directory": ""})
    engine.execute("set TimeZone = 'UTC'")
    return engine
