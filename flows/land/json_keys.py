"""Keys of JSON rows that the contract does not know, and keys that a row names twice.

Producers write the same keys in the same order, so a file has few *shapes* (hashes of a row's keys): of each new shape
one row is looked at, and of the odd shapes every row. The engine that read the rows reads them here too: another parser
would differ at the edges (depth, huge numbers).
"""

from collections import Counter
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec
from flows.land.readers import Unknown

# A key with those above it.
Key = tuple[str, ...]
# Shapes that are remembered: a producer that makes up keys makes up shapes without end.
MOST_SHAPES = 10_000
# The members of the object there in each row, its keys and values as lists: a row a member would repeat the row's text.
MEMBERS = """
with objects as (
    select
        line,
        case when json_type(raw, $1) = 'OBJECT' then cast(json_extract(raw, $1) as map(varchar, json)) end as members
    from odd
)
select line, unnest(map_keys(members)) as key, coalesce(cast(unnest(map_values(members)) as varchar), 'null') as value
from objects
"""
# Rows of one shape that are worth a statement of their own, and the most keys it may have.
MANY_ROWS, FEW_KEYS = 64, 32


@dataclass(frozen=True)
class _Shape:
    """What is odd about the rows of a shape: keys the contract does not know, and a key that is named twice."""

    strange: tuple[Key, ...] = ()
    twice: str | None = None


class Shapes:
    """The shapes of a dataset's rows seen so far."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._payloads = spec.payloads
        # By level, in the order in which a row's keys are asked for: the row itself, then each payload.
        self._known: dict[Key, set[str]] = {(): {*spec.payloads}, **{(p,): set() for p in spec.payloads}}
        for f in spec.fields:
            self._known[(f.payload,) if f.payload else ()].add(f.name)
        self._seen: dict[int, _Shape] = {}

    def read(
        self, connection: duckdb.DuckDBPyConnection, typed: pa.Table, documents: pa.ChunkedArray
    ) -> tuple[list[Unknown], dict[int, str]]:
        """Unknown keys with their values, and by position the fault of each row that names a key twice.

        ``typed`` has each row's ``_line`` and ``_shape``, which is 0 where it is no object, ``documents`` its JSON.
        """
        shapes = typed["_shape"].to_numpy()
        present = [shape for shape in pc.unique(typed["_shape"]).to_pylist() if shape != 0]
        if len(self._seen) > MOST_SHAPES:
            self._seen.clear()
        self._learn(connection, [shape for shape in present if shape not in self._seen], shapes, documents)
        irregular = [shape for shape in present if self._seen[shape] != _Shape()]
        if not irregular:
            return [], {}
        order = np.argsort(shapes, kind="stable")
        bounds = np.searchsorted(shapes[order], [np.array(irregular, np.uint64), np.array(irregular, np.uint64) + 1])
        doubled: dict[int, str] = {}
        rare: list[int] = []
        unknown: list[Unknown] = []
        for shape, first, last in zip(irregular, *bounds, strict=True):
            positions, found = order[first:last].tolist(), self._seen[shape]
            if found.twice is not None:
                doubled |= dict.fromkeys(positions, f"duplicate_key|{found.twice}")
            elif len(positions) < MANY_ROWS or len(found.strange) > FEW_KEYS:
                rare += positions
            else:
                rows = _rows(typed, documents, positions)
                unknown += _values(connection, rows, found.strange)
        if rare:
            unknown += self._values_of_rare(connection, _rows(typed, documents, rare))
        return unknown, doubled

    def _learn(
        self, connection: duckdb.DuckDBPyConnection, new: list[int], shapes: np.ndarray, documents: pa.ChunkedArray
    ) -> None:
        """Look at a row of each new shape."""
        if not new:
            return
        firsts = dict(zip(*np.unique(shapes, return_index=True), strict=True))
        examples = pa.table({"number": range(len(new)), "raw": documents.take([int(firsts[shape]) for shape in new])})
        levels = ["$", *(f"$.{p}" for p in self._payloads)]
        connection.register("examples", examples)
        try:
            found = connection.execute("select json_keys(raw, $1) from examples order by number", [levels]).fetchall()
        finally:
            connection.unregister("examples")
        for shape, (keys_of_levels,) in zip(new, found, strict=True):
            self._seen[shape] = self._judged(keys_of_levels)

    def _judged(self, keys_of_levels: list[list[str] | None]) -> _Shape:
        strange: list[Key] = []
        for (above, known), keys in zip(self._known.items(), keys_of_levels, strict=True):
            for key, count in Counter(keys or []).items():
                if count > 1:
                    # An unknown key's name is the producer's own and may say anything: it is not repeated.
                    return _Shape(twice=key if key in known else "")
                if key not in known:
                    strange.append((*above, key))
        return _Shape(tuple(strange))

    def _values_of_rare(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[Unknown]:
        """The unknown keys of rows that are alike in nothing: each row is taken apart once, whatever its keys."""
        connection.register("odd", rows)
        try:
            tables = {
                above: connection.execute(MEMBERS, [".".join(["$", *above])]).to_arrow_table() for above in self._known
            }
        finally:
            connection.unregister("odd")
        unknown: list[Unknown] = []
        for above, members in tables.items():
            known = pa.array([*self._known[above]], pa.string())
            strange = members.filter(pc.invert(pc.is_in(members["key"], known)))
            unknown += [
                Unknown(line, ".".join([*above, key]), value)
                for line, key, value in zip(*(column.to_pylist() for column in strange.columns), strict=True)
            ]
        return unknown


def _rows(typed: pa.Table, documents: pa.ChunkedArray, positions: list[int]) -> pa.Table:
    return pa.table({"line": typed["_line"].take(positions), "raw": documents.take(positions)})


def _values(connection: duckdb.DuckDBPyConnection, rows: pa.Table, keys: tuple[Key, ...]) -> list[Unknown]:
    """The values of these keys in rows of one shape."""
    pointers = ["".join("/" + part.replace("~", "~0").replace("/", "~1") for part in key) for key in keys]
    connection.register("odd", rows)
    try:
        found = connection.execute("select line, json_extract(raw, $1) from odd", [pointers]).fetchall()
    finally:
        connection.unregister("odd")
    return [
        Unknown(line, ".".join(key), value) for line, values in found for key, value in zip(keys, values, strict=True)
    ]
