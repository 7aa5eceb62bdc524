"""Conform chunks to the contract: one generated SQL for every format says what a row is, and what is wrong with it.

Rows that are plainly in order take the short way of :mod:`flows.plain`, which gives the same in less time. The others
pass through three steps, each a common table expression of the generated statement: *extracted*
(every field as the file has it), *typed* (every field cast to its contract type, NULL where it does not fit) and
the last, which names the first fault of a row, if any. Rows without a fault go on to be pseudonymised.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract import Column, DatasetSpec, FieldSpec, Treatment
from flows.lines import Lines
from flows.plain import EARLIEST, LATEST, STRINGS, Columns, from_table, judge
from flows.pseudonymise import Pseudonymiser, matches
from flows.readers import Chunk, Reject, Unknown

SQL_TYPES = {"string[]": "varchar[]", "string": "varchar"}
ARROW_TYPES = {
    # Parquet is written faster from dictionaries, and they are made for the checks anyway.
    "string": STRINGS,
    "string[]": pa.list_(pa.string()),
    # Sixteen plain bytes: engines that know no UUID column can still read them.
    "uuid": pa.binary(16),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "double": pa.float64(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "boolean": pa.bool_(),
}
# The engine reads batches of so many rows in parallel.
BATCH_ROWS = 8_192
# For fewer rows, optimizing the statement takes longer than it saves.
FEW_ROWS = 2_000
# Fewer lines are sooner done by the SQL alone.
LEAST_ROWS = 100


@dataclass(frozen=True)
class Conformed:
    """A chunk after conforming: rows that fit, rows that do not, and keys set aside."""

    rows: pa.Table
    rejects: list[Reject] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)


def landed_schema(spec: DatasetSpec) -> pa.Schema:
    """The schema of the dataset's landed Parquet."""
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in spec.columns()])


class Conformer:
    """Conforms chunks of one dataset, with one DuckDB connection and one secret."""

    def __init__(self, spec: DatasetSpec, pseudonymiser: Pseudonymiser, threads: int = 2) -> None:
        self.spec = spec
        self._pseudonymiser = pseudonymiser
        self._schema = landed_schema(spec)
        self._threads = threads
        self._shapes: dict[int, tuple[list[tuple[str, ...]], list[str]]] = {}
        self._opened: duckdb.DuckDBPyConnection | None = None

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            self._opened = duckdb.connect(
                config={
                    "threads": self._threads,
                    "arrow_lossless_conversion": True,
                    "memory_limit": "1GB",
                }
            )
            self._opened.execute("set TimeZone = 'UTC'")
        return self._opened

    def close(self) -> None:
        """Give back what the connection holds."""
        if self._opened is not None:
            self._opened.close()

    def conform(self, chunk: Chunk, batch_id: int) -> Conformed:
        """The chunk's rows split into those that fit and those that do not."""
        if not chunk.is_json:
            unknown = [*chunk.unknown, *_unknown_columns(self.spec, chunk.table)]
            chunk = replace(chunk, table=_known_columns(self.spec, chunk.table), unknown=unknown)
        try:
            columns = _in_columns(self.spec, chunk)
            typed = judge(self.spec, columns) if columns else {}
        except pa.ArrowException:  # whatever Arrow cannot do with these values is left to the SQL
            columns = None
        if columns is None:
            return self._by_sql(chunk, batch_id)
        rows = self._landed(typed, columns.kind, chunk.table["_line"], batch_id)
        if columns.plain.all():
            return Conformed(rows, chunk.rejects, chunk.unknown)
        others = self._by_sql(chunk.taken(np.flatnonzero(~columns.plain)), batch_id)
        return replace(others, rows=_merged(rows, np.flatnonzero(columns.plain), others.rows))

    def _by_sql(self, chunk: Chunk, batch_id: int) -> Conformed:
        """The chunk conformed as the contract defines it, row by row."""
        table = pa.Table.from_batches(chunk.table.to_batches(max_chunksize=BATCH_ROWS), chunk.table.schema)
        sql = json_sql(self.spec) if chunk.is_json else columnar_sql(self.spec, table.schema)
        self._connection.execute(f"pragma {'dis' if table.num_rows < FEW_ROWS else 'en'}able_optimizer")
        self._connection.register("chunk", table)
        try:
            typed = self._connection.execute(sql).to_arrow_table()
        finally:
            self._connection.unregister("chunk")
        unknown = chunk.unknown
        doubled: dict[int, str] = {}
        if chunk.is_json:
            unknown, doubled = self._read_shapes(typed, chunk)
        rejects, keep = _rejected(typed, chunk, doubled)
        rows = typed if keep is None else typed.filter(keep)
        if rejects and unknown:
            gone = {reject.line for reject in rejects}
            unknown = [u for u in unknown if u.line not in gone]
        columns = {name: rows[name].combine_chunks() for name in rows.column_names if name != "_line"}
        landed = self._landed(columns, None, rows["_line"], batch_id)
        return Conformed(landed, [*chunk.rejects, *rejects], unknown)

    def _read_shapes(self, typed: pa.Table, chunk: Chunk) -> tuple[list[Unknown], dict[int, str]]:
        """Unknown keys by row, and rows that name a key twice.

        Producers write the same keys in the same order, so a chunk has few shapes (hashes of its key lists): one
        row of each new shape is looked at, and of the odd shapes every row. The engine that read the rows reads
        them here too: another parser would differ at the edges (depth, huge numbers, trailing commas).
        """
        shapes = typed["_shape"].to_numpy()
        odd: dict[tuple[tuple[str, ...], ...], list[int]] = {}
        doubled: dict[int, str] = {}
        for shape in pc.unique(typed["_shape"]).to_pylist():
            if shape == 0:  # not an object: rejected for that
                continue
            if shape not in self._shapes:
                first = int(np.argmax(shapes == shape))
                self._shapes[shape] = self._odd_keys(chunk.raw([first])[0].decode())
            strange, twice = self._shapes[shape]
            if twice:
                doubled |= dict.fromkeys(np.flatnonzero(shapes == shape).tolist(), twice[0])
            elif strange:
                odd.setdefault(tuple(strange), []).extend(np.flatnonzero(shapes == shape).tolist())
        unknown: list[Unknown] = []
        for keys, positions in odd.items():
            unknown += self._set_aside(typed["_line"].take(positions), chunk.raw(positions), keys)
        return unknown, doubled

    def _odd_keys(self, raw: str) -> tuple[list[tuple[str, ...]], list[str]]:
        """The keys of a JSON row that the contract does not know, each with those above it, and keys named twice."""
        levels = ["$", *(f"$.{p}" for p in self.spec.payloads)]
        (found,) = self._connection.execute("select json_keys($1, $2)", [raw, levels]).fetchone() or ([],)
        strange: list[tuple[str, ...]] = []
        twice: list[str] = []
        for above, keys in zip([(), *((p,) for p in self.spec.payloads)], found, strict=True):
            known = {f.name for f in self.spec.fields if (f.payload,) == (above or (None,))}
            known |= set() if above else set(self.spec.payloads)
            strange += [(*above, key) for key in keys or [] if key not in known]
            # An unknown key's name is the producer's own and may say anything: it is not told further.
            twice += [key if key in known else "" for key, count in Counter(keys or []).items() if count > 1]
        return strange, twice

    def _set_aside(self, lines: pa.ChunkedArray, raws: list[bytes], keys: Sequence[tuple[str, ...]]) -> list[Unknown]:
        """The values of unknown keys in rows of one shape."""
        pointers = ["".join("/" + part.replace("~", "~0").replace("/", "~1") for part in key) for key in keys]
        self._connection.register(
            "odd", pa.table({"line": lines, "raw": pa.array(raws, pa.binary()).cast(pa.string())})
        )
        try:
            found = self._connection.execute("select line, json_extract(raw, $1) from odd", [pointers]).fetchall()
        finally:
            self._connection.unregister("odd")
        return [
            Unknown(line, ".".join(key), value)
            for line, values in found
            for key, value in zip(keys, values, strict=True)
        ]

    def _landed(
        self,
        values: dict[str, pa.Array],
        kind: np.ndarray | None,
        lines: pa.ChunkedArray,
        batch_id: int,
    ) -> pa.Table:
        """The landed columns: pseudonyms and flags made, what is not to land left out."""
        made = dict(values)
        if kind is not None:
            payloads = pa.DictionaryArray.from_arrays(pa.array(kind, pa.int32(), mask=kind < 0), self.spec.payloads)
            made["event_type"] = payloads
        for f in self.spec.fields:
            if f.flag:
                found = matches(values[f.name], f.flag.pattern) if f.name in values else None
                made[f.flag.column] = pa.repeat(pa.scalar(False), len(lines)) if found is None else found
            if f.name in values and f.treatment is Treatment.PSEUDONYMISE:
                made[f.column] = self._pseudonymiser.column(f.column, values[f.name])
        made["_batch_id"] = pa.repeat(pa.scalar(batch_id, pa.int64()), len(lines))
        made["_line"] = lines
        columns = [_as_landed(made.get(c.name), c, len(lines)) for c in self.spec.columns()]
        return pa.Table.from_arrays(columns, schema=self._schema)


def _in_columns(spec: DatasetSpec, chunk: Chunk) -> Columns | None:
    """The chunk's values by field name, for the short way; None where it cannot be taken."""
    if not chunk.is_json:
        return from_table(spec, chunk.table)
    if chunk.table.num_rows < LEAST_ROWS:
        return None
    raw = chunk.table["raw"]
    raw = raw.chunk(0) if raw.num_chunks == 1 else raw.combine_chunks()
    _, offsets, text = raw.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(raw) + 1, raw.offset * 4)
    return Lines(spec, np.frombuffer(text, np.uint8), bounds).columns()


def _merged(rows: pa.Table, plain: np.ndarray, others: pa.Table) -> pa.Table:
    """The plain ones of these rows, and the others, in order of line."""
    places = np.searchsorted(rows["_line"].to_numpy()[plain], others["_line"].to_numpy())
    order = np.insert(plain, places, np.arange(rows.num_rows, rows.num_rows + others.num_rows))
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


def _rejected(typed: pa.Table, chunk: Chunk, doubled: dict[int, str]) -> tuple[list[Reject], pa.Array | None]:
    faults = typed["_fault"]
    if faults.null_count == len(faults) and not doubled:
        return [], None
    named = {i: f for i, f in enumerate(faults.to_pylist()) if f is not None}
    named |= {i: f"duplicate_key|{key}" for i, key in doubled.items() if i not in named}
    positions = sorted(named)
    lines = typed["_line"].take(positions).to_pylist()
    rejects = []
    for position, line, raw in zip(positions, lines, chunk.raw(positions), strict=True):
        reason, _, where = named[position].partition("|")
        rejects.append(Reject(line, reason, where or None, raw))
    keep = np.ones(typed.num_rows, bool)
    keep[positions] = False
    return rejects, pa.array(keep)


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
        for line, value in zip(
            table["_line"].filter(present).to_pylist(), column.filter(present).to_pylist(), strict=True
        ):
            unknown.append(Unknown(line, name, json.dumps(value, default=str)))
    return unknown


# --- the generated SQL -----------------------------------------------------------------------------------------------


def json_sql(spec: DatasetSpec) -> str:
    """The statement that conforms a chunk of JSON lines.

    Scalars are taken out as text, so that the casts that follow are the same as for CSV. ``_shape`` is a hash of
    the row's keys and its payload's, 0 where the row is no JSON object.
    """
    structure: dict[str, object] = {f.name: _json_type(f) for f in spec.fields if f.payload is None}
    for p in spec.payloads:
        structure[p] = {f.name: _json_type(f) for f in spec.fields if f.payload == p}
    levels = _quoted(["$", *(f"$.{p}" for p in spec.payloads)])
    sources: dict[str, list[str]] = {}
    for f in spec.fields:
        sources.setdefault(f.name, []).append(".".join(["row_", *map(_id, f.path.split("."))]))
    columns = [f"{_coalesce(found)} as {_id(f'x_{name}')}" for name, found in sources.items()]
    present = {p: f"row_.{_id(p)} is not null" for p in spec.payloads}
    select = ",\n        ".join([*columns, *_payload_columns(present)])
    steps = f"""
with documents as (
    select _line, raw, try_cast(raw as json) as document from chunk
),
parsed as (
    select
        _line, raw, document is not null as is_json,
        case when {_is_object("document")} then json_keys(document, [{levels}]) end as keys_,
        case when {_is_object("document")} then json_transform(document, '{json.dumps(structure)}') end as row_
    from documents
),
extracted as (
    select
        _line, raw, is_json, row_ is not null as is_object,
        case when row_ is not null then hash(keys_) | 1 else 0 end as _shape,
        {select}
    from parsed
)"""
    first = [("not is_json", "malformed|"), ("not is_object", "not_an_object|")]
    return steps + _typed_and_judged(spec, first, texts={f.name for f in spec.fields}, is_json=True)


def _is_object(document: str) -> str:
    return (
        f"case when starts_with({document}, '{{') then true else starts_with(ltrim({document}, E' \\t\\r'), '{{') end"
    )


def _payload_columns(present: dict[str, str]) -> list[str]:
    """How many payloads a row carries, and which; nothing for a dataset without."""
    if not present:
        return []
    kind = " ".join(f"when {condition} then '{p}'" for p, condition in present.items())
    count = " + ".join(f"cast({condition} as integer)" for condition in present.values())
    return [f"case {kind} end as event_type", f"{count} as payloads_"]


def columnar_sql(spec: DatasetSpec, schema: pa.Schema) -> str:
    """The statement that conforms a chunk whose columns are the contract's fields, nested or named by path."""
    sources = {f.path: _held(f, schema)[0] for f in spec.fields}
    by_name: dict[str, list[str]] = {}
    for f in spec.fields:
        by_name.setdefault(f.name, []).append(sources[f.path])
    columns = [f"{_coalesce(exprs)} as {_id(f'x_{name}')}" for name, exprs in by_name.items()]
    present = {
        p: _is_present(p, [sources[f.path] for f in spec.fields if f.payload == p], schema) for p in spec.payloads
    }
    select = ",\n        ".join(["_line", "0 :: ubigint as _shape", *columns, *_payload_columns(present)])
    steps = f"\nwith extracted as (\n    select\n        {select}\n    from chunk\n)"
    texts = {f.name for f in spec.fields if _is_text(f, schema)}
    return steps + _typed_and_judged(spec, [], texts, is_json=False)


def _typed_and_judged(spec: DatasetSpec, first: list[tuple[str, str]], texts: set[str], is_json: bool) -> str:
    """The last two steps; ``texts`` are the fields that the file holds as text, whatever their type."""
    fields = list({f.name: f for f in reversed(spec.fields)}.values())
    fields.reverse()
    casts = [f"{_cast(f, f.name in texts, is_json)} as {_id(f.name)}" for f in fields]
    faults = list(first)
    if spec.payloads:
        faults += [("payloads_ = 0", "no_payload|payload"), ("payloads_ > 1", "several_payloads|payload")]
    for f in spec.fields:
        if f.payload is None:
            faults += _faults(f, f.name in texts, is_json)
    whens = "\n        ".join(f"when {condition} then '{name}'" for condition, name in faults)
    if spec.payloads:
        # One look at the payload, then only the conditions of its own fields.
        whens += "\n        else case event_type"
        for p in spec.payloads:
            members = [f for f in spec.fields if f.payload == p]
            own = [(_not_json_object(p, members), f"wrong_type|{p}")] if is_json else []
            own += [fault for f in members for fault in _faults(f, f.name in texts, is_json)]
            inner = " ".join(f"when {condition} then '{name}'" for condition, name in own)
            whens += f"\n            when '{p}' then case {inner} end" if own else ""
        whens += "\n        end"
    wanted = {f.name for f in spec.fields if f.flag or f.treatment is not Treatment.DROP}
    kept = ", ".join(_id(f.name) for f in fields if f.name in wanted)
    event_type = ", event_type" if spec.payloads else ""
    extracted = ", ".join(["*", *casts])
    return f""",
typed as (
    select {extracted} from extracted
)
select
    _line, _shape,
    case
        {whens}
    end as _fault{event_type},
    {kept}
from typed
"""


def _faults(f: FieldSpec, is_text: bool, is_json: bool) -> list[tuple[str, str]]:
    """What can be wrong with a field, in the order in which it is told."""
    x, value = _id(f"x_{f.name}"), _id(f.name)
    found = []
    if f.required:
        blank = f" or {x} = ''" if is_text and f.type != "string[]" else ""
        found.append((f"{x} is null{blank}", "missing"))
    if f.type == "string":
        if is_json and f.treatment is not Treatment.DROP and _may_be_no_string(f):
            found.append((_not_json_string(f), "wrong_type"))
        elif not is_text:
            found.append((f"{x} is not null", "wrong_type"))
    elif f.type == "string[]" and is_json:
        # What is no list reads as NULL: only a NULL is looked at twice.
        found.append((f"{x} is null and json_type(raw, {_literal(_json_path(f))}) <> 'NULL'", "wrong_type"))
        if not f.accepted_values:
            kinds = f"json_type(raw, {_literal(_json_path(f) + '[*]')})"
            found.append((f"{x} is not null and not list_has_all(['VARCHAR'], {kinds})", "wrong_type"))
    else:
        blank = f" and {x} <> ''" if is_text and not is_json else ""
        found.append((f"{x} is not null{blank} and {value} is null", "wrong_type"))
    if f.accepted_values:
        accepted = _quoted(f.accepted_values)
        if f.type == "string[]":
            # list_has_all overlooks NULLs in the list.
            found.append(
                (f"not list_has_all([{accepted}], {value}) or list_count({value}) < len({value})", "not_accepted")
            )
        else:
            found.append((f"{value} not in ({accepted})", "not_accepted"))
    if f.pattern:
        found.append((f"not regexp_full_match({value}, {_literal(f.pattern)})", "pattern_mismatch"))
    if f.type in ("timestamp", "date"):
        found.append((f"{value} < {f.type} '{EARLIEST}' or {value} >= {f.type} '{LATEST}'", "out_of_range"))
    if f.type == "double":
        found.append((f"not isfinite({value})", "out_of_range"))
    if f.min is not None:
        found.append((f"{value} < {f.min!r}", "out_of_range"))
    if f.max is not None:
        found.append((f"{value} > {f.max!r}", "out_of_range"))
    return [(condition, f"{reason}|{f.path}") for condition, reason in found]


def _may_be_no_string(f: FieldSpec) -> bool:
    """Whether the text of a JSON value that is no string could pass the field's other conditions."""
    if f.accepted_values:
        return any(re.fullmatch(r"[-\d{\[].*|(?i:true|false|nan|inf|infinity)", v) for v in f.accepted_values)
    return not f.pattern or any(
        re.fullmatch(f.pattern, v) for v in ("true", "NaN", "nan", "inf", "0", "-1.5", "{}", "[]")
    )


def _not_json_string(f: FieldSpec) -> str:
    """Whether a value read as text was no JSON string; only what could be a number or nested is looked at twice."""
    x = _id(f"x_{f.name}")
    number = f"{x} < ';' and {x} >= '-' and try_cast({x} as double) is not null"
    # NaN and Infinity, in any case: no JSON, but the engine reads them as numbers.
    word = f"{x} in ('true', 'false') or ascii({x}) in (73, 78, 105, 110) and try_cast({x} as double) is not null"
    doubtful = f"({number}) or {x} >= '{{' or ({x} >= '[' and {x} < '\\') or {word}"
    return f"({doubtful}) and json_type(raw, {_literal(_json_path(f))}) <> 'VARCHAR'"


def _not_json_object(payload: str, members: list[FieldSpec]) -> str:
    """Whether a payload is something else, which reads as one without any value: only these are looked at twice."""
    empty = [f"{_id(f'x_{f.name}')} is null" for f in members]
    return " and ".join([*empty, f"json_type(raw, {_literal(f'$.{_id(payload)}')}) <> 'OBJECT'"])


def _json_path(f: FieldSpec) -> str:
    return "$." + ".".join(f'"{part}"' for part in f.path.split("."))


def _json_type(f: FieldSpec) -> object:
    return ["VARCHAR"] if f.type == "string[]" else "VARCHAR"


def _cast(f: FieldSpec, is_text: bool, is_json: bool) -> str:
    """A field's value in its contract type, NULL where it does not fit exactly."""
    x = _id(f"x_{f.name}")
    if f.type == "string":
        return f"cast({x} as varchar)" if is_text else "cast(null as varchar)"
    if f.type == "string[]":
        if is_json:
            return x
        if is_text:
            return f"case when starts_with({x}, '[') then try(json_transform({x}, '[\"VARCHAR\"]')) end"
        return f"try_cast({x} as varchar[])"
    if f.type == "timestamp" and is_text:
        # Shorter ones name no time of day; a time without an offset is UTC. A cast to timestamp would drop an offset.
        offset = f"make_timestamp(epoch_us(try_cast({x} as timestamptz)))"
        instant = f"case when ends_with({x}, 'Z') then try_cast({x} as timestamp) else {offset} end"
        return f"case when length({x}) >= 19 then {instant} end"
    if f.type == "date" and is_text:
        # A cast would overlook what follows the date, and this alone would read "infinity" as a day.
        return f"case when {x} < ':' then cast(try_strptime(trim({x}), ['%Y-%m-%d', '%Y/%m/%d']) as date) end"
    if f.type in ("bigint", "integer"):
        # A cast would round 12.6 to 13, and 126e-1 too.
        whole = f"try_cast({x} as {f.type})"
        exact = f"try_cast({x} as double) = {whole}" if is_text else f"try({whole} = {x})"
        return f"case when {exact} then {whole} end"
    return f"try_cast({x} as {f.type})"


def _held(f: FieldSpec, schema: pa.Schema) -> tuple[str, pa.DataType | None]:
    """Where a chunk's columns hold the field, and as what; NULL where they do not."""
    if f.path in schema.names:
        return _id(f.path), schema.field(f.path).type
    if f.payload in schema.names:
        struct = schema.field(f.payload).type
        if pa.types.is_struct(struct) and struct.get_field_index(f.name) >= 0:
            return f"{_id(f.payload or '')}.{_id(f.name)}", struct.field(f.name).type
    return "null", None


def _is_text(f: FieldSpec, schema: pa.Schema) -> bool:
    held = _held(f, schema)[1]
    if held is not None and pa.types.is_dictionary(held):
        held = held.value_type
    return held is not None and (
        pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held)
    )


def _is_present(payload: str, sources: list[str], schema: pa.Schema) -> str:
    if payload in schema.names:
        return f"{_id(payload)} is not null"
    found = [f"{source} is not null" for source in sources if source != "null"]
    return f"({' or '.join(found)})" if found else "false"


def _coalesce(expressions: list[str]) -> str:
    found = [e for e in expressions if e != "null"]
    return f"coalesce({', '.join(found)})" if len(found) > 1 else (found or ["cast(null as varchar)"])[0]


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(_literal(v) for v in values)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _id(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
