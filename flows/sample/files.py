"""Write the sample lake's files: whole or not at all, and the same bytes on every run."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import duckdb
import ptars
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from isal import igzip

from flows.contract.spec import descriptors

# How DuckDB writes a file whose name ends so.
OPTIONS = {".csv": "format csv, header", ".parquet": "format parquet, compression zstd", ".ndjson": "format json"}

EVENT = "tidemark.events.v1.Event"

# Field 99, which the contract does not know, holding the text "blue".
UNKNOWN_FIELD = b"\x9a\x06\x04blue"
# Field 1 announces 16,383 bytes of which four follow, so a reader that trusts the length runs off the end.
UNREADABLE_RECORD = b"\x0a\xff\x7ftorn"


def publish(path: Path, content: bytes | pa.Buffer) -> None:
    """Write `content` to `path`, compressed as its name says, and rename it into place when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with temporary.open("wb") as file:
        if path.suffix == ".gz":
            # No name and no time in the header: the same rows are the same bytes tomorrow.
            file.write(igzip.compress(content, compresslevel=1, mtime=0))
        elif path.suffix == ".zst":
            file.write(zstandard.ZstdCompressor(level=1).compress(content))
        else:
            file.write(content)
    temporary.replace(path)


def publish_copy(original: Path, path: Path) -> None:
    """Deliver the bytes of `original` once more under the name `path`."""
    shutil.copyfile(original, temporary_name(path))
    temporary_name(path).replace(path)


def publish_query(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Write a query's rows to `path` as its name says; returns how many. Of none there is no file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    copied = connection.execute(f"copy ({query}) to {quoted(temporary)} ({OPTIONS[path.suffix]})").fetchall()
    rows = int(copied[0][0])
    if rows or path.suffix != ".ndjson":
        temporary.replace(path)
    else:
        temporary.unlink()
    return rows


def temporary_name(path: Path) -> Path:
    """The hidden name beside `path` under which it is written."""
    return path.with_name(f".{path.name}")


def quoted(path: Path) -> str:
    """A path as an SQL string."""
    return "'" + str(path).replace("'", "''") + "'"


def values_buffer(values: pa.Array) -> pa.Buffer:
    """The bytes of all values of a string or binary array, one after the other, without copying them."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    _, offsets, data = values.buffers()
    bounds = memoryview(offsets).cast("i")
    first, last = bounds[values.offset], bounds[values.offset + len(values)]
    return data.slice(first, last - first)


def length_delimited(records: pa.Array) -> pa.Buffer:
    """Protobuf records, each behind its length as a varint, as the bytes of one file."""
    lengths = pc.binary_length(records)
    prefixes = _varints(pc.max(lengths).as_py() or 0).take(lengths)
    return values_buffer(pc.binary_join_element_wise(prefixes, records, b""))


def _varints(most: int) -> pa.Array:
    """The varints of 0, 1, ... `most`."""
    return pa.array([_varint(number) for number in range(most + 1)], pa.binary())


def _varint(number: int) -> bytes:
    parts = io.BytesIO()
    while number > 0x7F:
        parts.write(bytes([number & 0x7F | 0x80]))
        number >>= 7
    parts.write(bytes([number]))
    return parts.getvalue()


class EventEncoder:
    """Turns Arrow batches with the event's fields into length-delimited Protobuf."""

    def __init__(self) -> None:
        descriptor = descriptors().FindMessageTypeByName(EVENT)
        # DuckDB's timestamps: microseconds without a zone, which are UTC here.
        config = ptars.PtarsConfig(timestamp_unit="us", timestamp_tz=None)
        self._pool = ptars.HandlerPool([descriptor.file], config=config)
        self._handler = self._pool.get_for_message(descriptor)
        self._fields = [field.name for field in self._handler.schema()]

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """The file's bytes; `is_unknown` and `is_unreadable` say which records get which kind of dirt."""
        records = self._handler.record_batch_to_array(batch.select(self._fields))
        extra = pc.if_else(batch.column("is_unknown"), UNKNOWN_FIELD, b"")
        records = pc.binary_join_element_wise(records, extra, b"")
        records = pc.if_else(batch.column("is_unreadable"), UNREADABLE_RECORD, records)
        return length_delimited(records)
