"""Every byte of a home past landing, and what its files say uncompressed."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from flows.settings import Settings

# Where people may be: as delivered, as the sample knows them, and the keys themselves.
APART = ("lake/inbox", "sample", "secrets")


def stored(settings: Settings) -> list[Path]:
    """Every file past landing."""
    apart = [settings.home / name for name in APART]
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    return [path for path in files if not any(path.is_relative_to(folder) for folder in apart)]


def values(path: Path) -> Iterator[bytes]:
    """What a Parquet or DuckDB file says, uncompressed, as far as it can be read without a key."""
    if path.suffix == ".parquet":
        encrypted = {"quarantine": ["raw", "key", "value"], "text": ["transcript"]}.get(path.parts[-3], [])
        encrypted = encrypted or {"text": ["transcript"]}.get(path.parts[-4], [])
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name not in encrypted]
        yield repr(file.schema_arrow.metadata).encode()
        yield repr(file.read(names).to_pydict()).encode()
    elif path.suffix == ".duckdb" and "published" not in path.parts:
        with duckdb.connect(str(path), read_only=True) as database:
            tables = database.execute("select schema_name, table_name from duckdb_tables() where not internal")
            for schema, table in tables.fetchall():
                yield repr(database.execute(f'select * from "{schema}"."{table}"').fetchall()).encode()


def files_that_say(settings: Settings, secret: bytes) -> list[Path]:
    """The files past landing in which a secret stands, as bytes or in a value."""
    return [p for p in stored(settings) if secret in p.read_bytes() or any(secret in said for said in values(p))]
