"""Read delivered files, whatever their format, as a stream of bounded chunks.

Each reader checks what it reads to the last byte: a truncated or corrupt file raises
:class:`~flows.errors.FileRefusedError`, a record that cannot be read becomes a :class:`Reject` with its bytes.
What the records mean is not decided here but in :mod:`flows.conform`, once for every format.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from flows.contract import DatasetSpec
from flows.errors import FileRefusedError
from flows.inbox import FORMATS, file_format
from flows.readers.chunks import Chunk, Part, RawRows, Reject, Unknown, decoded
from flows.readers.compression import decompressed
from flows.readers.csv import header_of, read_csv, records_in
from flows.readers.json_lines import read_json
from flows.readers.parquet import plain_parquet, read_parquet, refusing_damage
from flows.readers.protobuf import read_protobuf

__all__ = ["Chunk", "Part", "RawRows", "Reject", "Unknown", "columns_of", "decoded", "read_chunks", "read_parts"]


def read_chunks(path: Path, spec: DatasetSpec) -> Iterator[Chunk]:
    """The file's rows, chunk by chunk.

    Raises :class:`FileRefusedError` where the file as a whole cannot be trusted; whatever was yielded before
    must then be thrown away.
    """
    for part in read_parts(path, spec):
        yield part()


def read_parts(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    """The file's chunks, each still to be decoded by a call, in any thread. Both steps raise as `read_chunks` does."""
    if path.stat().st_size == 0:
        raise FileRefusedError("the file is empty (0 bytes); an extract without rows has at least a header")
    kind = file_format(path.name)
    if kind in ("ndjson", "json"):
        yield from read_json(decompressed(path))
    elif kind == "pb":
        yield from read_protobuf(decompressed(path), spec)
    elif kind == "csv":
        yield from read_csv(decompressed(path), spec)
    elif kind == "parquet":
        yield from read_parquet(path, spec)
    else:
        raise FileRefusedError(f"the name ends in none of the known formats ({', '.join(FORMATS)}) [.gz|.zst]")


def columns_of(path: Path, spec: DatasetSpec) -> str | None:
    """What a single row of the file does not say by itself: the names of a CSV's columns as a JSON list, the schema of
    a Parquet file as base64; None for other formats. Raises :class:`FileRefusedError` as :func:`read_chunks` does."""
    kind = file_format(path.name)
    if kind == "csv":
        return json.dumps(header_of(records_in(decompressed(path), spec.csv), spec))
    if kind == "parquet":
        with plain_parquet(path) as plain, refusing_damage():
            return base64.b64encode(pq.read_schema(plain).serialize().to_pybytes()).decode()
    return None
