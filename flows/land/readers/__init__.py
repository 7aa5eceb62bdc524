"""Read delivered files, whatever their format, as a stream of bounded chunks.

Each reader checks what it reads to the last byte: a truncated or corrupt file raises
:class:`~flows.errors.FileRefusedError`, a record that cannot be read becomes a :class:`Reject` with its bytes.
What the records mean is not decided here but in :mod:`flows.land.conform`, once for every format.
"""

import base64
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec
from flows.errors import FileRefusedError
from flows.land.inbox import FORMATS, file_format
from flows.land.readers import signatures
from flows.land.readers.chunks import Chunk, Part, RawRows, Reject, Unknown, decoded
from flows.land.readers.compression import decompressed
from flows.land.readers.csv import DELIMITERS, header_of, read_csv, records_in
from flows.land.readers.json_lines import read_json
from flows.land.readers.parquet import plain_parquet, read_parquet, refusing_damage
from flows.land.readers.protobuf import read_protobuf

__all__ = [
    "Chunk",
    "Part",
    "RawRows",
    "Reject",
    "Unknown",
    "columns_of",
    "decoded",
    "read_chunks",
    "read_parts",
    "schema_of",
]

EMPTY = "the file is empty ({}); an extract without rows has at least a header or is an empty array"
# What says nothing in a text: blanks, line ends and the bytes of a byte order mark.
NOTHING = b" \t\r\n\xef\xbb\xbf"


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
        raise FileRefusedError(EMPTY.format("0 bytes"))
    kind = file_format(path.name)
    if kind in ("ndjson", "jsonl", "json"):
        yield from read_json(_content(path, is_text=True), is_document=kind == "json")
    elif kind == "pb":
        yield from read_protobuf(_content(path, is_text=False), spec)
    elif kind in DELIMITERS:
        yield from read_csv(_content(path, is_text=True), spec, DELIMITERS[kind])
    elif kind == "parquet":
        yield from read_parquet(path, spec)
    else:
        raise FileRefusedError(f"the name ends in none of the known formats ({', '.join(FORMATS)}) [.gz|.zst]")


def bare(schema: pa.Schema) -> pa.Schema:
    """A schema without what its producer noted beside it, which may be anything."""
    return pa.schema([field.remove_metadata() for field in schema])


def columns_of(path: Path, spec: DatasetSpec) -> str | None:
    """What a single row of the file does not say by itself: the names of a CSV's columns as a JSON list, the schema of
    a Parquet file as base64; None for other formats. Raises :class:`FileRefusedError` as :func:`read_chunks` does."""
    kind = file_format(path.name)
    if kind in DELIMITERS:
        records = records_in(decompressed(path), spec.csv, DELIMITERS[kind])
        return json.dumps(header_of(records, spec, DELIMITERS[kind]))
    if kind == "parquet":
        return base64.b64encode(schema_of(path).serialize().to_pybytes()).decode()
    return None


def schema_of(path: Path) -> pa.Schema:
    """The schema of a Parquet file, without what its producer noted beside it."""
    with plain_parquet(path) as plain, refusing_damage():
        return bare(pq.read_schema(plain))


def _content(path: Path, is_text: bool) -> Iterator[bytes]:
    """The file's bytes, which are neither nothing nor obviously something else."""
    pieces = decompressed(path)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= signatures.HEAD_BYTES:
            break
    if what := signatures.kind_of(head):
        promised = file_format(path.name)
        raise FileRefusedError(
            f"the name promises {promised}, and the content is {what}; deliver it under its own ending"
        )
    if is_text and (wide := signatures.wide_encoding(head)):
        raise FileRefusedError(f"the text is {wide}; deliver it as UTF-8")
    says_something = False
    for piece in chain([head], pieces):
        says_something = says_something or bool(
            piece.strip(NOTHING) if is_text and not piece.isspace() else not is_text and piece
        )
        yield piece
    if not says_something:
        raise FileRefusedError(
            EMPTY.format("nothing but blanks and line ends from line 1 on" if head else "0 bytes after decompression")
        )
