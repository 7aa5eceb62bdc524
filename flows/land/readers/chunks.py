"""What a reader gives: a bounded piece of a file, its rejects, and keys that the contract does not know."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from flows.land.readers import limits


@dataclass(frozen=True)
class Reject:
    """A row that does not fit: which, why, in which field, and its bytes as they came."""

    line: int
    reason: str
    field: str | None
    raw: bytes


@dataclass(frozen=True)
class Unknown:
    """A key the contract does not know, in one row, with its value as JSON."""

    line: int
    key: str
    value: str


class RawRows(Protocol):
    """The bytes of a chunk's rows, by position."""

    def __call__(self, positions: list[int]) -> list[bytes]: ...


@dataclass(frozen=True)
class Chunk:
    """A bounded piece of a file.

    ``table`` holds ``_line`` (bigint, from 1) and either ``raw`` (a JSON text a row) or a column a field, named by
    its path. ``raw`` gives rows' bytes back for quarantine. ``rejects`` are records that could not be read,
    ``unknown`` what a reader alone can see that the contract does not know. ``ignored`` rows a feed left out.
    """

    table: pa.Table
    raw: RawRows
    rejects: list[Reject] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    is_json: bool = False
    ignored: int = 0

    def split(self, parts: int) -> "list[Chunk]":
        """The same rows in at most this many chunks, none of them too small to be worth a thread's while."""
        size = max(-(-self.table.num_rows // parts), limits.SPLIT_ROWS)
        if size >= self.table.num_rows:
            return [self]
        return [self._slice(start, size) for start in range(0, self.table.num_rows, size)]

    def taken(self, rows: np.ndarray) -> "Chunk":
        """The rows at these positions alone; what the reader itself found stays as it is."""

        def raw(positions: list[int]) -> list[bytes]:
            return self.raw(rows[positions].tolist())

        return replace(self, table=self.table.take(pa.array(rows)), raw=raw)

    def _slice(self, start: int, size: int) -> "Chunk":
        def raw(positions: list[int]) -> list[bytes]:
            return self.raw([start + position for position in positions])

        table = self.table.slice(start, size)
        # What is said of a row stays with the row.
        lines = set(table["_line"].to_pylist()) if self.unknown else set()
        unknown = [u for u in self.unknown if u.line in lines]
        return replace(
            self,
            table=table,
            raw=raw,
            rejects=[] if start else self.rejects,
            unknown=unknown,
            ignored=0 if start else self.ignored,
        )


# A chunk that is read but not decoded yet.
Part = Callable[[], Chunk]


def decoded(chunk: Chunk) -> Part:
    """A chunk that has nothing left to be decoded, as a part."""
    return lambda: chunk
