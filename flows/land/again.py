"""Rows of the quarantine as chunks of a file of the format in which they came, with the lines they had.

They are put back into a small file of that format and read by its reader: they are judged as if they were delivered
now.
"""

import ast
import base64
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec
from flows.errors import FileRefusedError
from flows.land.feeds import Feed
from flows.land.quarantine import COLUMNS
from flows.land.readers import Chunk, Reject, Unknown, limits, read_chunks
from flows.land.readers.csv import DELIMITERS, PIECE, is_one_row
from flows.land.readers.json_lines import chunk_of
from flows.land.readers.protobuf import decoder_of
from flows.land.readers.values import json_rows
from flows.rights import PRIVATE

PIECE_ROWS = 10_000


@dataclass(frozen=True)
class _File:
    """Rows of the quarantine as a file of the format they came in: its bytes, and the line at which each begins."""

    data: bytes
    starts: list[int]


def columns_noted(quarantine: pq.ParquetFile, kind: str) -> str | None:
    """What was noted of the columns in which the rows stood. Raises :class:`FileRefusedError` where it had to be."""
    noted = (quarantine.metadata.metadata or {}).get(COLUMNS)
    if noted is None and kind in (*DELIMITERS, "parquet"):
        raise FileRefusedError(
            "their quarantine file does not say which columns they stood in, as those of earlier versions do not; "
            "have the rows delivered again in a new file"
        )
    return noted.decode() if noted is not None else None


def spec_of_feed(feed: Feed, kind: str, columns: str | None) -> DatasetSpec:
    """What a reader has to know of rows of a feed that stood in these columns."""
    if kind == "parquet":
        return feed.spec_of(kind, _schema(columns).names)
    return feed.spec_of(kind, json.loads(columns) if columns else ())


def chunks_again(
    quarantine: pq.ParquetFile, kind: str, spec: DatasetSpec, columns: str | None, work: Path
) -> Iterator[Chunk]:
    """The rejects as chunks, with the lines they had. What cannot stand in a file again keeps its reason."""
    # Columns are always named here, also for datasets whose files have no header.
    named = spec.model_copy(update={"csv": spec.csv.model_copy(update={"headerless": False})})
    path = work / f"again.{kind}"
    decode = chunk_of if kind not in (*DELIMITERS, "pb", "parquet") else decoder_of(spec) if kind == "pb" else None
    for batch in quarantine.iter_batches(batch_size=PIECE_ROWS):
        rejects = [Reject(r["_line"], r["reason"], r["field"], r["raw"]) for r in batch.to_pylist()]
        if decode is not None:
            # These need no file around them to be read.
            for some in _bounded(rejects):
                yield decode([r.raw for r in some], np.array([r.line for r in some], np.int64))
            continue
        kept, tried = _parted(rejects, kind, named, columns)
        if kept:
            nothing = pa.table({"_line": pa.array([], pa.int64()), "raw": pa.array([], pa.string())})
            yield Chunk(nothing, lambda positions: [], kept, is_json=True)
        if not tried:
            continue
        file = _as_file([r.raw for r in tried], kind, spec, columns)
        path.unlink(missing_ok=True)
        path.touch(mode=PRIVATE.file)
        path.write_bytes(file.data)
        lines = np.array([r.line for r in tried], np.int64)
        for chunk in read_chunks(path, named):
            yield _with_lines(chunk, np.array(file.starts), lines)
    path.unlink(missing_ok=True)


def _bounded(rejects: list[Reject]) -> Iterator[list[Reject]]:
    """The rejects, in parts of not much more than CHUNK_BYTES."""
    ends = np.cumsum([len(r.raw) for r in rejects]) // limits.CHUNK_BYTES
    cuts = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(rejects)]
    return (rejects[start:end] for start, end in pairwise(cuts))


def _with_lines(chunk: Chunk, starts: np.ndarray, lines: np.ndarray) -> Chunk:
    """The chunk with the lines that the rows had as delivered."""

    def line_of(line: int) -> int:
        return int(lines[np.searchsorted(starts, line)])

    at = chunk.table.schema.get_field_index("_line")
    original = lines[np.searchsorted(starts, chunk.table["_line"].to_numpy())]
    return replace(
        chunk,
        table=chunk.table.set_column(at, "_line", pa.array(original, pa.int64())),
        rejects=[replace(r, line=line_of(r.line)) for r in chunk.rejects],
        unknown=[Unknown(line_of(u.line), u.key, u.value) for u in chunk.unknown],
    )


def _parted(
    rejects: list[Reject], kind: str, spec: DatasetSpec, columns: str | None
) -> tuple[list[Reject], list[Reject]]:
    """The rejects that cannot be tried again, and those that can."""
    if kind in DELIMITERS:
        width = len(json.loads(columns or "[]"))
        can = [not r.reason.startswith(PIECE) and is_one_row(r.raw, spec, DELIMITERS[kind], width) for r in rejects]
    else:
        schema = _schema(columns)
        if _restored([r.raw for r in rejects], schema) is not None:
            return [], rejects
        can = [_restored([r.raw], schema) is not None for r in rejects]
    return [r for r, c in zip(rejects, can, strict=True) if not c], [r for r, c in zip(rejects, can, strict=True) if c]


def _as_file(raws: list[bytes], kind: str, spec: DatasetSpec, columns: str | None) -> _File:
    """Rows as a file of their format, one after the other."""
    if kind == "parquet":
        out = io.BytesIO()
        pq.write_table(_restored(raws, _schema(columns)), out)
        return _File(out.getvalue(), list(range(1, len(raws) + 1)))
    header = _csv_header(columns, spec.csv.encoding, DELIMITERS[kind])
    first = header.count(b"\n") + 1
    starts = list(accumulate((raw.count(b"\n") + 1 for raw in raws), initial=first))[:-1]
    return _File(header + b"".join(raw + b"\n" for raw in raws), starts)


def _csv_header(columns: str | None, encoding: str, delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", delimiter=delimiter).writerow(json.loads(columns or "[]"))
    try:
        return text.getvalue().encode(encoding, "surrogateescape")
    except UnicodeEncodeError as error:
        raise FileRefusedError(
            f"their columns' names cannot be written in {encoding}, the contract's encoding"
        ) from error


def _schema(columns: str | None) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(columns or "")))


def _restored(raws: list[bytes], schema: pa.Schema) -> pa.Table | None:
    """Rows of a Parquet file from their JSON, in the types they had; None where that does not give them exactly."""
    try:
        rows = [_native(json.loads(raw), pa.struct(schema)) for raw in raws]
        table = pa.Table.from_pylist(rows, schema)
        again = json_rows(table)
    except Exception:  # whatever type a library has no way back to
        return None
    return table if again == raws else None


def _native(value: Any, kind: pa.DataType) -> Any:
    """A value of a row's JSON as what Arrow gave for it: times, decimals, bytes and UUIDs were written as text."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _native(value[f.name], f.type) for f in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_native(v, kind.value_type) for v in value]
    if pa.types.is_dictionary(kind):
        return _native(value, kind.value_type)
    for is_kind, read in _FROM_TEXT:
        if is_kind(kind):
            return read(value)
    return value


_FROM_TEXT: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any]], ...] = (
    (pa.types.is_timestamp, datetime.fromisoformat),
    (pa.types.is_date, date.fromisoformat),
    (pa.types.is_time, time.fromisoformat),
    (pa.types.is_decimal, Decimal),
    (pa.types.is_binary, ast.literal_eval),
    (pa.types.is_large_binary, ast.literal_eval),
    (pa.types.is_fixed_size_binary, ast.literal_eval),
    (lambda kind: isinstance(kind, pa.UuidType), UUID),
)
