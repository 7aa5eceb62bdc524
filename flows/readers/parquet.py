"""Parquet."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract import DatasetSpec
from flows.errors import FileRefusedError
from flows.inbox import compression_of
from flows.readers import limits
from flows.readers.chunks import Chunk, Part
from flows.readers.columns import check_columns
from flows.readers.compression import decompressed


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
        # Words that repeat are stored once, and need not be repeated here.
        words = [f.name for f in spec.fields if not f.payload and f.type == "string" and f.name in schema.names]
        words = [name for name in words if pa.types.is_string(schema.field(name).type)]
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=words) as file:
            for batch in file.iter_batches(batch_size=limits.CHUNK_RECORDS):
                yield partial(_chunk, batch, first)
                first += batch.num_rows
            if file.metadata.num_rows != first - 1:
                raise FileRefusedError(f"the footer promises {file.metadata.num_rows} rows, the pages hold {first - 1}")


def _chunk(batch: pa.RecordBatch, first: int) -> Chunk:
    rows = pa.Table.from_batches([batch])
    with refusing_damage():
        rows.validate(full=True)

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [json.dumps(row, default=str).encode() for row in rows.take(positions).to_pylist()]

    lines = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
    return Chunk(rows.add_column(0, "_line", lines), raw_rows)


@contextmanager
def refusing_damage() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise FileRefusedError(f"the Parquet file is damaged ({error}); deliver it again") from error
