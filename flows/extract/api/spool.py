"""Rows on their way into a file whose name is known once the last one is there."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from flows.extract.api.rows import Row

# What is held before it is written; the same rows are always written in the same groups.
GROUP_ROWS, GROUP_CHARACTERS = 20_000, 32 << 20


class Spool:
    """A Parquet file of texts that grows."""

    def __init__(self, path: Path, fields: Sequence[str]) -> None:
        self._path = path
        self._schema = pa.schema([(name, pa.string()) for name in fields])
        self._writer: pq.ParquetWriter | None = None
        self._begin()

    def _begin(self) -> None:
        self._held: list[Row] = []
        self._characters = 0
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer:
            self._writer.close()
        self._path.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        """Take a row."""
        self._held.append(row)
        self._characters += sum(len(text) for text in row if text)
        self.rows += 1
        if len(self._held) >= GROUP_ROWS or self._characters >= GROUP_CHARACTERS:
            self._write()

    def move(self, to: Path) -> int:
        """Finish the file, put it there, and begin another; the number of rows."""
        rows = self.rows
        if rows:
            self._write()
            assert self._writer
            self._writer.close()
            self._path.replace(to)
        self._writer = None
        self._begin()
        return rows

    def _write(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        columns = [pa.array(map(_whole, column), pa.string()) for column in zip(*self._held, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._held, self._characters = [], 0


def _whole(text: str | None) -> str | None:
    """The text; half of a character of two halves, which JSON can hold and UTF-8 cannot, is replaced."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
