"""Parquet."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec
from flows.errors import MACHINE_ERRORS, FileRefusedError
from flows.land.inbox import compression_of
from flows.land.readers import limits
from flows.land.readers.chunks import Chunk, Part, Reject
from flows.land.readers.columns import check_columns
from flows.land.readers.compression import decompressed
from flows.land.readers.int96 import exact_times, int96_columns
from flows.land.readers.values import json_rows

NOT_IMPLEMENTED = "Not yet implemented"


def read_parquet(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    with plain_parquet(path) as plain:
        yield from _read_plain(plain, spec)


@contextmanager
def plain_parquet(path: Path) -> Iterator[Path]:
    """The file without the compression around it: Parquet is read from its end, which a stream does not reach."""
    if compression_of(path.name) is None:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as whole:
        for piece in decompressed(path):
            whole.write(piece)
        whole.flush()
        yield Path(whole.name)


def _read_plain(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    first = 1
    with refusing_damage():
        schema = pq.read_schema(path)
        check_columns(schema.names, spec)
        _check_members(schema, spec)
        # Words that repeat are stored once, and need not be repeated here.
        words = [f.name for f in spec.fields if not f.payload and f.type == "string" and f.name in schema.names]
        words = [name for name in words if pa.types.is_string(schema.field(name).type)]
        with pq.ParquetFile(path) as file:
            promised, old_times = file.metadata.num_rows, int96_columns(file)
        for batch in _exact_batches(path, words, old_times):
            yield partial(_chunk, batch, first)
            first += batch.num_rows
        if promised != first - 1:
            raise FileRefusedError(f"the footer promises {promised} rows, the pages hold {first - 1}")


def _check_members(schema: pa.Schema, spec: DatasetSpec) -> None:
    """Refuse a payload that names a field twice, as a table that names a column twice."""
    for payload in spec.payloads:
        kind = schema.field(payload).type if payload in schema.names else pa.null()
        names = [member.name for member in kind] if pa.types.is_struct(kind) else []
        if len(set(names)) < len(names):
            raise FileRefusedError(f"{payload} names a field more than once, so which value is meant is not clear")


def _exact_batches(path: Path, words: list[str], old_times: list[str]) -> Iterator[pa.RecordBatch]:
    if not old_times:
        yield from _batches(path, words)
        return
    seconds = _opened(path, coerce_int96_timestamp_unit="s").iter_batches(limits.CHUNK_RECORDS, columns=old_times)
    for batch, times in zip(_batches(path, words), seconds, strict=True):
        columns = batch.columns
        for name in old_times:
            at = batch.schema.get_field_index(name)
            exact = exact_times(batch.column(at), times.column(times.schema.get_field_index(name)))
            columns[at] = exact
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _batches(path: Path, words: list[str]) -> Iterator[pa.RecordBatch]:
    """The file's rows; text as dictionaries where these words are stored so.

    Arrow cannot make dictionaries of every encoding (of none that stores differences). Asking the footer for the
    encodings would not do: where it is damaged, or its columns are encrypted, the answer ends the process.
    """
    done = 0
    try:
        for batch in _opened(path, read_dictionary=words).iter_batches(limits.CHUNK_RECORDS):
            yield batch
            done += batch.num_rows
        return
    except (OSError, pa.ArrowException) as error:
        if not words or NOT_IMPLEMENTED not in str(error):
            raise
    for batch in _opened(path).iter_batches(limits.CHUNK_RECORDS):
        passed = min(done, batch.num_rows)
        done -= passed
        if passed < batch.num_rows:
            yield batch.slice(passed)


def _opened(path: Path, **options: object) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def _chunk(batch: pa.RecordBatch, first: int) -> Chunk:
    rows = pa.Table.from_batches([batch])
    lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
    rejects: list[Reject] = []
    try:
        rows.validate(full=True)
    except pa.ArrowException:
        # A row taken from a dictionary still has every word.
        batch = pa.RecordBatch.from_arrays([_own_words(c) for c in batch.columns], names=batch.schema.names)
        rows, bad = pa.Table.from_batches([batch]), _unreadable(batch)
        found = zip(bad, json_rows(rows.take(pa.array(bad, pa.int64()))), strict=True)
        rejects = [Reject(int(lines[i]), "invalid_utf8", None, raw) for i, raw in found]
        good = np.setdiff1d(np.arange(batch.num_rows), bad)
        rows, lines = rows.take(pa.array(good)), lines[good]
        with refusing_damage():
            rows.validate(full=True)

    def raw_rows(positions: list[int]) -> list[bytes]:
        return json_rows(rows.take(pa.array(positions, pa.int64())))

    return Chunk(rows.add_column(0, "_line", pa.array(lines)), raw_rows, rejects)


def _unreadable(batch: pa.RecordBatch) -> list[int]:
    """The rows that hold text which is no UTF-8, found by halves: Arrow does not say which they are."""
    found: list[int] = []
    open_ = [(0, batch.num_rows)]
    while open_:
        start, size = open_.pop()
        try:
            batch.slice(start, size).validate(full=True)
        except pa.ArrowException:
            if size == 1:
                found.append(start)
            else:
                open_ += [(start, size // 2), (start + size // 2, size - size // 2)]
    return sorted(found)


def _own_words(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


@contextmanager
def refusing_damage() -> Iterator[None]:
    """What Arrow says of a file that it cannot read, as a refusal that says which it is."""
    try:
        yield
    except FileRefusedError:
        raise
    except (pa.ArrowException, MemoryError, OSError, ValueError, EOFError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            raise
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "crypt" in text:
            why = f"the Parquet file is encrypted ({text}); deliver it without encryption"
        elif isinstance(error, pa.ArrowNotImplementedError) or NOT_IMPLEMENTED in text:
            why = f"the reader has not implemented what this file has ({text}); deliver it again, written otherwise"
        else:
            why = f"the Parquet file is damaged ({text}); deliver it again"
        raise FileRefusedError(why) from error
