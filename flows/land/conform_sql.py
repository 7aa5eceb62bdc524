"""The SQL that conforms a chunk to the contract: what a row is, and what is wrong with it, once for every format.

The statement has three steps, each a common table expression: *extracted* (every field as the file has it), *typed*
(every field cast to its contract type, NULL where it does not fit) and the last, which names the first fault of a row,
if any.
"""

import json
from collections.abc import Sequence

import pyarrow as pa

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment
from flows.land.fast_path.columns import NO_ID
from flows.land.field_sql import (
    NOWHERE,
    Source,
    cast,
    faults_of,
    identifier,
    json_path_of,
    literal,
    not_json_object,
    quoted,
)

SQL_TYPES = {"string[]": "varchar[]", "string": "varchar"}
BLANKS = r"E' \t\r\n'"
# What the engine's JSON parser takes and RFC 8259 does not, as far as it can be seen from outside of strings. Each
# expression begins with the one byte that is looked for, which makes it five times as fast as one for all.
NOT_FINITE = r"-?(?:[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)\s*[,}\]]"
LENIENT_JSON = [rf",\s*(?:[}}\]]|{NOT_FINITE})", rf":\s*{NOT_FINITE}", rf"\[\s*{NOT_FINITE}"]


def json_sql(spec: DatasetSpec) -> str:
    """The statement that conforms a chunk of JSON lines.

    Scalars are taken out as text, so that the casts that follow are the same as for CSV. ``_shape`` is a hash of
    the row's keys and its payload's, 0 where the row is no JSON object. ``_is_doubtful`` says that another look is
    needed, by a parser that keeps to the standard and to all digits.
    """
    sources = {
        f.path: Source(".".join(["row_", *map(identifier, f.path.split("."))]), True, json_path_of(f))
        for f in spec.fields
    }
    present = {p: f"row_.{identifier(p)} is not null" for p in spec.payloads}
    columns = ",\n        ".join([*_values(spec, sources), *_payload_columns(present)])
    steps = f"""
with documents as (
    select _line, raw, try_cast(raw as json) as document from chunk
),
parsed as (
    select
        _line, raw, document is not null as is_json,
        case when {_is_object("document")} then json_keys(document, [{_levels(spec)}]) end as keys_,
        case when {_is_object("document")} then json_transform(document, '{_structure(spec)}') end as row_
    from documents
),
extracted as (
    select
        _line, raw, is_json, row_ is not null as is_object,
        case when row_ is not null then hash(keys_) | 1 else 0 end as _shape,
        {columns}
    from parsed
)"""
    first = [("not is_json", "malformed|"), ("not is_object", "not_an_object|")]
    return steps + _typed_and_judged(spec, first, sources, _is_doubtful(spec, sources))


def _structure(spec: DatasetSpec) -> str:
    """What is taken out of a JSON row: every scalar as text."""
    structure: dict[str, object] = {f.name: _json_type(f) for f in spec.fields if f.payload is None}
    for p in spec.payloads:
        structure[p] = {f.name: _json_type(f) for f in spec.fields if f.payload == p}
    return json.dumps(structure)


def _levels(spec: DatasetSpec) -> str:
    return quoted(["$", *(f"$.{p}" for p in spec.payloads)])


def _is_doubtful(spec: DatasetSpec, sources: "dict[str, Source]") -> str:
    """Whether a JSON row may hold what the standard forbids, or a whole number that was rounded when it was read."""
    lenient = [f"regexp_matches(raw, {literal(pattern)})" for pattern in LENIENT_JSON]
    names = {f.name for f in spec.fields if f.type in ("bigint", "integer") and sources[f.path].json_path}
    rounded = [f"coalesce(regexp_matches({identifier(f'x_{name}')}, '[.eE]'), false)" for name in sorted(names)]
    return " or ".join([*lenient, *rounded])


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


def json_columns(spec: DatasetSpec, schema: pa.Schema) -> list[str]:
    """The columns whose text is JSON: payloads and lists that a file of columns holds as text."""
    names = [*spec.payloads, *(f.name for f in spec.fields if f.type == "string[]" and f.payload is None)]
    return [name for name in names if name in schema.names and _holds_text(schema.field(name).type)]


def columnar_sql(spec: DatasetSpec, schema: pa.Schema) -> str:
    """The statement that conforms a chunk whose columns are the contract's fields, nested or named by path.

    Columns that hold JSON as text are put together to one document a row, ``raw``, and read as JSON lines are.
    """
    nested = json_columns(spec, schema)
    sources = {f.path: _source(f, schema, nested) for f in spec.fields}
    present = {p: _is_present(p, spec, schema, sources) for p in spec.payloads}
    columns = [*_values(spec, sources), *_payload_columns(present)]
    if not nested:
        select = ",\n        ".join(["_line", "0 :: ubigint as _shape", *columns])
        steps = f"\nwith extracted as (\n    select\n        {select}\n    from chunk\n)"
        return steps + _typed_and_judged(spec, [], sources, "false", schema)
    members = ", ".join(
        f"case when {_is_json(name, spec)} then {literal(json.dumps(name) + ':')} || {identifier(name)} end"
        for name in nested
    )
    held = [identifier(name) for name in schema.names]
    select = ",\n        ".join(
        [
            "_line",
            "raw",
            "case when keys_ is null then 0 else hash(keys_) | 1 end as _shape",
            *(
                f"{_is_given(name)} and not ({_is_json(name, spec)}) as {identifier(f'no_json_{name}')}"
                for name in nested
            ),
            *columns,
        ]
    )
    steps = f"""
with documents as (
    select {", ".join(held)}, '{{' || concat_ws(',', {members}) || '}}' as raw from chunk
),
parsed as (
    select
        *,
        case when raw <> '{{}}' then json_keys(raw, [{_levels(spec)}]) end as keys_,
        case when raw <> '{{}}' then json_transform(raw, '{_structure(spec)}') end as row_
    from documents
),
extracted as (
    select
        {select}
    from parsed
)"""
    return steps + _typed_and_judged(spec, [], sources, _is_doubtful(spec, sources), schema, nested)


def _is_json(name: str, spec: DatasetSpec) -> str:
    """Whether a column's text is the JSON that it is to be: an object for a payload, else a list."""
    opening = "{" if name in spec.payloads else "["
    return f"starts_with(ltrim({identifier(name)}, {BLANKS}), '{opening}') and json_valid({identifier(name)})"


def _values(spec: DatasetSpec, sources: "dict[str, Source]") -> list[str]:
    """Each field's value as the file has it; fields of one name, of which a row has one, as one column."""
    by_name: dict[str, list[FieldSpec]] = {}
    for f in spec.fields:
        by_name.setdefault(f.name, []).append(f)
    columns = []
    for name, fields in by_name.items():
        value = _first_of([sources[f.path] for f in fields])
        columns.append(f"{_without_nobody(fields[0], value)} as {identifier(f'x_{name}')}")
    return columns


def _first_of(held: list[Source]) -> Source:
    """The first of these that a row has; as text where one of them is text."""
    found = [source for source in held if source.expression != NOWHERE]
    is_text = any(source.is_text for source in found)
    path = next((source.json_path for source in found if source.json_path), None)
    parts = [s.expression if s.is_text or not is_text else f"cast({s.expression} as varchar)" for s in found]
    if not parts:
        return Source("cast(null as varchar)")
    return Source(f"coalesce({', '.join(parts)})" if len(parts) > 1 else parts[0], is_text, path)


def _without_nobody(f: FieldSpec, value: Source) -> str:
    """The value, NULL where it is an id that is none."""
    if not f.is_id or not value.is_text:
        return value.expression
    return f"case when not regexp_full_match({value.expression}, {literal(NO_ID)}) then {value.expression} end"


def _typed_and_judged(
    spec: DatasetSpec,
    first: list[tuple[str, str]],
    sources: "dict[str, Source]",
    is_doubtful: str,
    schema: pa.Schema | None = None,
    nested: Sequence[str] = (),
) -> str:
    """The last two steps; ``nested`` are the columns of a file of columns that hold JSON, put together in ``raw``."""
    fields = list({f.name: f for f in reversed(spec.fields)}.values())
    fields.reverse()
    texts = {f.name for f in spec.fields if sources[f.path].is_text}
    casts = [f"{cast(f, f.name in texts, sources[f.path])} as {identifier(f.name)}" for f in fields]
    faults = list(first)
    if spec.payloads:
        faults += [("payloads_ = 0", "no_payload|payload"), ("payloads_ > 1", "several_payloads|payload")]
    faults += [(identifier(f"no_json_{name}"), f"wrong_type|{name}") for name in nested if name not in spec.payloads]
    for f in spec.fields:
        if f.payload is None:
            faults += faults_of(f, f.name in texts, sources[f.path])
    if spec.require_one_of:
        missing = [f"coalesce(cast({identifier(name)} as varchar), '') = ''" for name in spec.require_one_of]
        faults.append((" and ".join(missing), f"missing|{' or '.join(spec.require_one_of)}"))
    whens = "\n        ".join(f"when {condition} then '{name}'" for condition, name in faults)
    if spec.payloads:
        # One look at the payload, then only the conditions of its own fields.
        whens += "\n        else case event_type"
        for p in spec.payloads:
            members = [f for f in spec.fields if f.payload == p]
            own = [(condition, f"wrong_type|{p}") for condition in _no_payload(p, members, schema, nested)]
            own += [fault for f in members for fault in faults_of(f, f.name in texts, sources[f.path])]
            inner = " ".join(f"when {condition} then '{name}'" for condition, name in own)
            whens += f"\n            when '{p}' then case {inner} end" if own else ""
        whens += "\n        end"
    wanted = {f.name for f in spec.fields if f.flag or f.treatment is not Treatment.DROP}
    kept = ", ".join(identifier(f.name) for f in fields if f.name in wanted)
    event_type = ", event_type" if spec.payloads else ""
    document = ", raw as _document" if nested else ""
    extracted = ", ".join(["*", *casts])
    return f""",
typed as (
    select {extracted} from extracted
)
select
    _line, _shape, {is_doubtful} as _is_doubtful{document},
    case
        {whens}
    end as _fault{event_type},
    {kept}
from typed
"""


def _no_payload(p: str, members: list[FieldSpec], schema: pa.Schema | None, nested: Sequence[str]) -> list[str]:
    """When what stands in a payload's place is none."""
    if schema is None:
        return [not_json_object(p, members)]
    if p in nested:
        return [identifier(f"no_json_{p}")]
    if p not in schema.names or pa.types.is_struct(schema.field(p).type):
        return []
    return ["true"]  # a column of another type: were its value NULL, this would not be the row's payload


def _is_given(name: str) -> str:
    """Whether a column's text says anything; JSON's null does not."""
    return f"coalesce(trim({identifier(name)}, {BLANKS}) not in ('', 'null'), false)"


def _json_type(f: FieldSpec) -> object:
    return ["VARCHAR"] if f.type == "string[]" else "VARCHAR"


def _source(f: FieldSpec, schema: pa.Schema, nested: Sequence[str]) -> Source:
    """Where a file of columns holds the field: in its own, in its payload's struct, or in a column of JSON."""
    held = []
    if f.path in schema.names and f.path not in nested:
        held.append(Source(identifier(f.path), _holds_text(schema.field(f.path).type)))
    if f.path in nested or f.payload in nested:
        held.append(Source(".".join(["row_", *map(identifier, f.path.split("."))]), True, json_path_of(f)))
    elif f.payload in schema.names:
        struct = schema.field(f.payload).type
        if pa.types.is_struct(struct) and struct.get_field_index(f.name) >= 0:
            held.append(
                Source(f"{identifier(f.payload or '')}.{identifier(f.name)}", _holds_text(struct.field(f.name).type))
            )
    return _first_of(held) if held else Source()


def _holds_text(held: pa.DataType) -> bool:
    if pa.types.is_dictionary(held):
        held = held.value_type
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held))


def _is_present(payload: str, spec: DatasetSpec, schema: pa.Schema, sources: dict[str, Source]) -> str:
    by_path = [identifier(f.path) for f in spec.fields if f.payload == payload and f.path in schema.names]
    found = [f"{column} is not null" for column in by_path]
    if payload in schema.names:
        is_text = _holds_text(schema.field(payload).type)
        found.append(_is_given(payload) if is_text else f"{identifier(payload)} is not null")
    return f"({' or '.join(found)})" if found else "false"
