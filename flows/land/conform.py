"""Conform chunks to the contract: one generated SQL for every format says what a row is, and what is wrong with it.

Rows that are clearly regular take the fast path (:mod:`flows.land.fast_path.columns`), which gives the same in less
time. The others pass through the statement of :mod:`flows.land.conform_sql`. Rows without a fault go on to be
pseudonymised.
"""

from dataclasses import dataclass, field, replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.clock import organisation_timezone
from flows.contract.spec import Column, DatasetSpec, Treatment
from flows.land.conform_sql import columnar_sql, json_columns, json_sql
from flows.land.derived import event_dates, held_in_lists, truncated
from flows.land.fast_path.columns import STRINGS, Columns, from_table, judge
from flows.land.fast_path.json_columns import Lines
from flows.land.fit import fit
from flows.land.json_keys import Shapes
from flows.land.linking import keyed, linking_columns, next_column
from flows.land.pseudonyms import Pseudonymiser, matches
from flows.land.readers import Chunk, Reject, Unknown
from flows.land.readers.values import json_texts
from flows.land.redaction.redact import redact_column
from flows.land.strict_json import fault_of, strictly_read, without_lone_surrogates

ARROW_TYPES = {
    # Parquet is written faster from dictionaries, and they are made for the checks anyway.
    "string": STRINGS,
    "string[]": pa.list_(pa.string()),
    # Sixteen plain bytes: engines that know no UUID column can still read them (ADR 0003).
    "uuid": pa.binary(16),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "double": pa.float64(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "boolean": pa.bool_(),
}
# Rows per batch, which the engine reads in parallel.
BATCH_ROWS = 8_192
# For fewer rows, optimizing the statement takes longer than it saves.
FEW_ROWS = 2_000
# Fewer lines are sooner done by the SQL alone.
LEAST_ROWS = 100


@dataclass(frozen=True)
class Conformed:
    """A chunk after conforming: rows that fit, rows that do not, keys set aside, and how many rows a feed left out."""

    rows: pa.Table
    rejects: list[Reject] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    ignored: int = 0


def landed_schema(spec: DatasetSpec) -> pa.Schema:
    """The schema of the dataset's landed Parquet."""
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in spec.columns()])


def conformed_schema(spec: DatasetSpec) -> pa.Schema:
    """The schema of conformed rows: as they land, and after that the free text, redacted."""
    return pa.schema([*landed_schema(spec), *(pa.field(field.name, pa.string()) for field in spec.texts)])


class Conformer:
    """Conforms chunks of one dataset, with one DuckDB connection and one secret.

    While the key is changed there is a ``later`` one, and a second pseudonym beside each. Once it was changed,
    ``are_ids_keyed``: the ids of clients' own would lead across as they were sent.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        pseudonymiser: Pseudonymiser,
        threads: int = 2,
        later: Pseudonymiser | None = None,
        are_ids_keyed: bool = False,
    ) -> None:
        self.spec = spec
        self._zone = organisation_timezone()
        self._pseudonymiser = pseudonymiser
        self._later = later
        self._are_ids_keyed = are_ids_keyed
        self._linking = linking_columns(spec)
        self._schema = conformed_schema(spec)
        if later:
            more = ((next_column(name), ARROW_TYPES[column.type]) for name, column in self._linking.items())
            self._schema = pa.schema([*self._schema, *(pa.field(*one) for one in more)])
        self._threads = threads
        self._shapes = Shapes(spec)
        self._opened: duckdb.DuckDBPyConnection | None = None

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            self._opened = duckdb.connect(
                config={
                    "threads": self._threads,
                    "arrow_lossless_conversion": True,
                    "memory_limit": "1GB",
                    # Rows as they came never go to the disk in clear.
                    "temp_directory": "",
                }
            )
            self._opened.execute("set TimeZone = 'UTC'")
        return self._opened

    def close(self) -> None:
        """Give back what the connection holds."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def conform(self, chunk: Chunk, batch_id: int) -> Conformed:
        """The chunk's rows split into those that fit and those that do not."""
        if not chunk.is_json:
            unknown = [*chunk.unknown, *_unknown_columns(self.spec, chunk.table)]
            chunk = _fitted(self.spec, replace(chunk, table=_known_columns(self.spec, chunk.table), unknown=unknown))
        try:
            columns = _in_columns(self.spec, chunk)
            typed = judge(self.spec, columns) if columns else {}
        except pa.ArrowException:  # whatever Arrow cannot do with these values is left to the SQL
            columns = None
        if columns is None:
            return self._by_sql(chunk, batch_id)
        rows = self._landed(typed, columns.kind, chunk.table["_line"], batch_id)
        if columns.regular.all():
            return Conformed(rows, chunk.rejects, chunk.unknown)
        others = self._by_sql(chunk.taken(np.flatnonzero(~columns.regular)), batch_id)
        return replace(others, rows=_merged(rows, np.flatnonzero(columns.regular), others.rows))

    def _by_sql(self, chunk: Chunk, batch_id: int) -> Conformed:
        """The chunk conformed as the contract defines it, row by row."""
        table = chunk.table
        for name in ["raw"] if chunk.is_json else json_columns(self.spec, table.schema):
            table = without_lone_surrogates(self.spec, table, name)
        table = pa.Table.from_batches(table.to_batches(max_chunksize=BATCH_ROWS), table.schema)
        sql = json_sql(self.spec) if chunk.is_json else columnar_sql(self.spec, table.schema)
        self._connection.execute(f"pragma {'dis' if table.num_rows < FEW_ROWS else 'en'}able_optimizer")
        self._connection.register("chunk", table)
        try:
            typed = self._connection.execute(sql).to_arrow_table()
        except duckdb.Error:
            self.close()  # an engine that failed within may answer nothing any more: the next file gets a new one
            raise
        self._connection.unregister("chunk")
        documents = table["raw"] if chunk.is_json else typed["_document"] if "_document" in typed.column_names else None
        unknown, faults = chunk.unknown, _faults(typed)
        if documents is not None:
            found, doubled = self._shapes.read(self._connection, typed, documents)
            unknown = [*unknown, *found]
            faults = doubled | faults | self._second_look(typed, chunk)
        rejects, keep = _rejected(typed, chunk, faults)
        rows = typed if keep is None else typed.filter(keep)
        if rejects and unknown:
            gone = {reject.line for reject in rejects}
            unknown = [u for u in unknown if u.line not in gone]
        columns = {name: rows[name].combine_chunks() for name in rows.column_names if name != "_line"}
        landed = self._landed(columns, None, rows["_line"], batch_id)
        return Conformed(landed, [*chunk.rejects, *rejects], unknown)

    def _second_look(self, typed: pa.Table, chunk: Chunk) -> dict[int, str]:
        """What a stricter parser finds in the rows that the statement found doubtful."""
        doubtful = np.flatnonzero(typed["_is_doubtful"].to_numpy()).tolist()
        if not doubtful:
            return {}
        if chunk.is_json:
            texts = [raw.decode() for raw in chunk.raw(doubtful)]
        else:
            texts = typed["_document"].take(doubtful).to_pylist()
        found = {}
        for position, text in zip(doubtful, texts, strict=True):
            fault = fault_of(self.spec, text)
            if fault == "malformed|" and not chunk.is_json:
                fault = f"wrong_type|{self._not_json(chunk.table, position)}"
            if fault is not None:
                found[position] = fault
        return found

    def _not_json(self, table: pa.Table, position: int) -> str:
        """Which of a row's columns of JSON is none."""
        for name in json_columns(self.spec, table.schema):
            try:
                strictly_read(table[name][position].as_py() or "null")
            except ValueError:
                return name
        return ""

    def _landed(
        self,
        values: dict[str, pa.Array],
        kind: np.ndarray | None,
        lines: pa.ChunkedArray,
        batch_id: int,
    ) -> pa.Table:
        """The landed columns, pseudonyms, flags, coarser values and days made, others left out; and the free text."""
        made = dict(values)
        if kind is not None:
            payloads = pa.DictionaryArray.from_arrays(pa.array(kind, pa.int32(), mask=kind < 0), self.spec.payloads)
            made["event_type"] = payloads
        for f in self.spec.fields:
            if f.flag:
                found = matches(values[f.name], f.flag.pattern) if f.name in values else None
                made[f.flag.column] = pa.repeat(pa.scalar(False), len(lines)) if found is None else found
            if f.name in values and f.column in self._linking:
                made |= self._pseudonyms(self._linking[f.column], f.treatment, values[f.name])
            if f.name in values and f.truncate:
                made[f.column] = truncated(values[f.name], f.truncate.to)
            if f.type == "string[]" and f.accepted_values:
                made |= held_in_lists(self.spec, f.name, values.get(f.name), len(lines))
        if self.spec.day_of:
            made["event_date"] = event_dates(made.get(self.spec.day_of), len(lines), self._zone)
        made["_batch_id"] = pa.repeat(pa.scalar(batch_id, pa.int64()), len(lines))
        made["_line"] = lines
        columns = [_as_landed(made.get(c.name), c, len(lines)) for c in self.spec.columns()]
        columns += [_redacted(values.get(field.name), len(lines)) for field in self.spec.texts]
        if self._later:
            for name, column in self._linking.items():
                columns.append(_as_landed(made.get(next_column(name)), column, len(lines)))
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _pseudonyms(
        self, column: Column, treatment: Treatment, values: pa.Array | pa.ChunkedArray
    ) -> dict[str, pa.Array]:
        """What stands in a column by which a person's rows are found, and beside it."""
        made = {}
        if treatment is Treatment.PSEUDONYMISE or self._are_ids_keyed:
            made[column.name] = keyed(self._pseudonymiser, column, values)
        if self._later:
            made[next_column(column.name)] = keyed(self._later, column, values)
        return made


def _in_columns(spec: DatasetSpec, chunk: Chunk) -> Columns | None:
    """The chunk's values by field name, for the fast path; None where it cannot be taken."""
    if not chunk.is_json:
        return from_table(spec, chunk.table)
    if chunk.table.num_rows < LEAST_ROWS:
        return None
    raw = chunk.table["raw"]
    raw = raw.chunk(0) if raw.num_chunks == 1 else raw.combine_chunks()
    _, offsets, text = raw.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(raw) + 1, raw.offset * 4)
    return Lines(spec, np.frombuffer(text, np.uint8), bounds).columns()


def _merged(rows: pa.Table, regular: np.ndarray, others: pa.Table) -> pa.Table:
    """The regular ones of these rows, and the others, in order of line."""
    places = np.searchsorted(rows["_line"].to_numpy()[regular], others["_line"].to_numpy())
    order = np.insert(regular, places, np.arange(rows.num_rows, rows.num_rows + others.num_rows))
    return pa.concat_tables([rows, others]).unify_dictionaries().combine_chunks().take(pa.array(order))


def _as_landed(values: pa.Array | pa.ChunkedArray | None, column: Column, size: int) -> pa.Array | pa.ChunkedArray:
    wanted = ARROW_TYPES[column.type]
    if values is None:
        return pa.nulls(size, wanted)
    if isinstance(values.type, pa.UuidType):
        return values.storage
    if values.type == wanted:
        return values
    return values.dictionary_encode() if wanted == STRINGS else values.cast(wanted)


def _redacted(texts: pa.Array | pa.ChunkedArray | None, size: int) -> pa.Array:
    return pa.nulls(size, pa.string()) if texts is None else redact_column(texts)[0]


def _faults(typed: pa.Table) -> dict[int, str]:
    """The faults that the statement found, by position."""
    faults = typed["_fault"]
    if faults.null_count == len(faults):
        return {}
    return {i: fault for i, fault in enumerate(faults.to_pylist()) if fault is not None}


def _rejected(typed: pa.Table, chunk: Chunk, faults: dict[int, str]) -> tuple[list[Reject], pa.Array | None]:
    if not faults:
        return [], None
    positions = sorted(faults)
    lines = typed["_line"].take(positions).to_pylist()
    rejects = []
    for position, line, raw in zip(positions, lines, chunk.raw(positions), strict=True):
        reason, _, where = faults[position].partition("|")
        rejects.append(Reject(line, reason, where or None, raw))
    keep = np.ones(typed.num_rows, bool)
    keep[positions] = False
    return rejects, pa.array(keep)


def _fitted(spec: DatasetSpec, chunk: Chunk) -> Chunk:
    """The chunk in the contract's types; rows with a value that is not exactly of its field's type are rejected."""
    fitted = fit(spec, chunk.table)
    chunk = replace(chunk, table=fitted.table)
    if not fitted.misfits:
        return chunk
    rows = sorted(fitted.misfits)
    lines = chunk.table["_line"].take(pa.array(rows)).to_pylist()
    found = zip(rows, lines, chunk.raw(rows), strict=True)
    rejects = [Reject(line, "wrong_type", fitted.misfits[row], raw) for row, line, raw in found]
    gone = set(lines)
    left = chunk.taken(np.setdiff1d(np.arange(chunk.table.num_rows), rows))
    unknown = [u for u in chunk.unknown if u.line not in gone]
    return replace(left, rejects=[*chunk.rejects, *rejects], unknown=unknown)


def _known_columns(spec: DatasetSpec, table: pa.Table) -> pa.Table:
    """The columns the contract knows; others could only be mistaken for them, as names of other case are."""
    known = {f.path for f in spec.fields} | set(spec.payloads) | {"_line"}
    if known.issuperset(table.column_names):
        return table
    return table.select([name for name in table.column_names if name in known])


def _unknown_columns(spec: DatasetSpec, table: pa.Table) -> list[Unknown]:
    known = {f.path for f in spec.fields} | set(spec.payloads) | {"_line"}
    columns = list(zip(table.column_names, table.columns, strict=True))
    for name, column in list(columns):
        if name in spec.payloads and pa.types.is_struct(column.type):
            columns += [(f"{name}.{f.name}", pc.struct_field(column, f.name)) for f in column.type]
    unknown: list[Unknown] = []
    for name, column in columns:
        if name in known:
            continue
        present = pc.is_valid(column)
        lines, texts = table["_line"].filter(present).to_pylist(), json_texts(column.filter(present))
        unknown += [Unknown(line, name, text or "null") for line, text in zip(lines, texts, strict=True)]
    return unknown
