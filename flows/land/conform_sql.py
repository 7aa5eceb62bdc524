"""The SQL that conforms a chunk to the contract: what a row is, and what is wrong with it, once for every format.

The statement has three steps, each a common table expression: *extracted* (every field as the file has it), *typed*
(every field cast to its contract type, NULL where it does not fit) and the last, which names the first fault of a row,
if any.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment
from flows.land.fast_path.columns import EARLIEST, LATEST, NO_ID

SQL_TYPES = {"string[]": "varchar[]", "string": "varchar"}
# A time of day, to the microsecond; further digits only where they are zeros.
SECONDS = r"\s*\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:T| +)\d{1,2}:\d{2}:\d{2}"
LOCAL_TIME = rf"{SECONDS}(?:\.\d{{1,6}})?"
# Offsets reach to 18 hours. Names of zones are not taken: they are ambiguous, and what the engine makes of one lasts
# for the rows after it.
OFFSET = r"[+-](?:(?:0\d|1[0-7])(?::?[0-5]\d)?|18(?::?00)?)"
OFFSET_PARTS = r"([+-]\d\d):?(\d\d)?\s*$"
TIME = rf"{SECONDS}(?:\.\d{{1,6}}0*)? ?(?:Z|UTC|{OFFSET})?\s*"
# The engine reads more as numbers: hexadecimal, digits with underscores.
WHOLE_NUMBER = r"\s*[+-]?(?:\d+\.?0*|\.0+)\s*"
# Few enough digits for a double to tell whether the number is whole.
SCIENTIFIC = r"\s*[+-]?(?:\d\.?){1,15}[eE][+-]?\d{1,2}\s*"
NUMBER = r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity))\s*"
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
        f.path: _Source(".".join(["row_", *map(_id, f.path.split("."))]), True, _json_path(f)) for f in spec.fields
    }
    present = {p: f"row_.{_id(p)} is not null" for p in spec.payloads}
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
    return _quoted(["$", *(f"$.{p}" for p in spec.payloads)])


def _is_doubtful(spec: DatasetSpec, sources: "dict[str, _Source]") -> str:
    """Whether a JSON row may hold what the standard forbids, or a whole number that was rounded when it was read."""
    lenient = [f"regexp_matches(raw, {_literal(pattern)})" for pattern in LENIENT_JSON]
    names = {f.name for f in spec.fields if f.type in ("bigint", "integer") and sources[f.path].json_path}
    rounded = [f"coalesce(regexp_matches({_id(f'x_{name}')}, '[.eE]'), false)" for name in sorted(names)]
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


NOWHERE = "null"


@dataclass(frozen=True)
class _Source:
    """Where a chunk holds a field: the expression, whether that is text, and the path in ``raw`` of what is JSON."""

    expression: str = NOWHERE
    is_text: bool = False
    json_path: str | None = None


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
        f"case when {_is_json(name, spec)} then {_literal(json.dumps(name) + ':')} || {_id(name)} end"
        for name in nested
    )
    held = [_id(name) for name in schema.names]
    select = ",\n        ".join(
        [
            "_line",
            "raw",
            "case when keys_ is null then 0 else hash(keys_) | 1 end as _shape",
            *(f"{_is_given(name)} and not ({_is_json(name, spec)}) as {_id(f'no_json_{name}')}" for name in nested),
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
    return f"starts_with(ltrim({_id(name)}, {BLANKS}), '{opening}') and json_valid({_id(name)})"


def _values(spec: DatasetSpec, sources: "dict[str, _Source]") -> list[str]:
    """Each field's value as the file has it; fields of one name, of which a row has one, as one column."""
    by_name: dict[str, list[FieldSpec]] = {}
    for f in spec.fields:
        by_name.setdefault(f.name, []).append(f)
    columns = []
    for name, fields in by_name.items():
        value = _first_of([sources[f.path] for f in fields])
        columns.append(f"{_without_nobody(fields[0], value)} as {_id(f'x_{name}')}")
    return columns


def _first_of(held: list[_Source]) -> _Source:
    """The first of these that a row has; as text where one of them is text."""
    found = [source for source in held if source.expression != NOWHERE]
    is_text = any(source.is_text for source in found)
    path = next((source.json_path for source in found if source.json_path), None)
    parts = [s.expression if s.is_text or not is_text else f"cast({s.expression} as varchar)" for s in found]
    if not parts:
        return _Source("cast(null as varchar)")
    return _Source(f"coalesce({', '.join(parts)})" if len(parts) > 1 else parts[0], is_text, path)


def _without_nobody(f: FieldSpec, value: _Source) -> str:
    """The value, NULL where it is an id that is none."""
    if not f.is_id or not value.is_text:
        return value.expression
    return f"case when not regexp_full_match({value.expression}, {_literal(NO_ID)}) then {value.expression} end"


def _typed_and_judged(
    spec: DatasetSpec,
    first: list[tuple[str, str]],
    sources: "dict[str, _Source]",
    is_doubtful: str,
    schema: pa.Schema | None = None,
    nested: Sequence[str] = (),
) -> str:
    """The last two steps; ``nested`` are the columns of a file of columns that hold JSON, put together in ``raw``."""
    fields = list({f.name: f for f in reversed(spec.fields)}.values())
    fields.reverse()
    texts = {f.name for f in spec.fields if sources[f.path].is_text}
    casts = [f"{_cast(f, f.name in texts, sources[f.path])} as {_id(f.name)}" for f in fields]
    faults = list(first)
    if spec.payloads:
        faults += [("payloads_ = 0", "no_payload|payload"), ("payloads_ > 1", "several_payloads|payload")]
    faults += [(_id(f"no_json_{name}"), f"wrong_type|{name}") for name in nested if name not in spec.payloads]
    for f in spec.fields:
        if f.payload is None:
            faults += _faults(f, f.name in texts, sources[f.path])
    whens = "\n        ".join(f"when {condition} then '{name}'" for condition, name in faults)
    if spec.payloads:
        # One look at the payload, then only the conditions of its own fields.
        whens += "\n        else case event_type"
        for p in spec.payloads:
            members = [f for f in spec.fields if f.payload == p]
            own = [(condition, f"wrong_type|{p}") for condition in _no_payload(p, members, schema, nested)]
            own += [fault for f in members for fault in _faults(f, f.name in texts, sources[f.path])]
            inner = " ".join(f"when {condition} then '{name}'" for condition, name in own)
            whens += f"\n            when '{p}' then case {inner} end" if own else ""
        whens += "\n        end"
    wanted = {f.name for f in spec.fields if f.flag or f.treatment is not Treatment.DROP}
    kept = ", ".join(_id(f.name) for f in fields if f.name in wanted)
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
        return [_not_json_object(p, members)]
    if p in nested:
        return [_id(f"no_json_{p}")]
    if p not in schema.names or pa.types.is_struct(schema.field(p).type):
        return []
    return ["true"]  # a column of another type: were its value NULL, this would not be the row's payload


def _is_given(name: str) -> str:
    """Whether a column's text says anything; JSON's null does not."""
    return f"coalesce(trim({_id(name)}, {BLANKS}) not in ('', 'null'), false)"


def _faults(f: FieldSpec, is_text: bool, source: _Source) -> list[tuple[str, str]]:
    """What can be wrong with a field, in the order in which it is reported."""
    x, value = _id(f"x_{f.name}"), _id(f.name)
    path = _literal(source.json_path) if source.json_path else None
    found = []
    if f.required:
        blank = f" or {x} = ''" if is_text and f.type != "string[]" else ""
        found.append((f"{x} is null{blank}", "missing"))
    if f.type == "string":
        if path and f.treatment is not Treatment.DROP and _may_be_no_string(f):
            found.append((_not_json_string(f, path), "wrong_type"))
        elif not is_text:
            found.append((f"{x} is not null", "wrong_type"))
    elif f.type == "string[]" and path:
        # What is no list reads as NULL: only a NULL is looked at twice.
        found.append((f"{x} is null and json_type(raw, {path}) <> 'NULL'", "wrong_type"))
        if not f.accepted_values:
            kinds = f"json_type(raw, {_literal(f'{source.json_path}[*]')})"
            found.append((f"{x} is not null and not list_has_all(['VARCHAR'], {kinds})", "wrong_type"))
    else:
        blank = f" and {x} <> ''" if is_text and not path else ""
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
        return any(re.fullmatch(r"[-\d{\[].*|true|false", v) for v in f.accepted_values)
    return not f.pattern or any(re.fullmatch(f.pattern, v) for v in ("true", "0", "-1.5", "{}", "[]"))


def _not_json_string(f: FieldSpec, path: str) -> str:
    """Whether a value read as text was no JSON string; only what could be a number or nested is looked at twice."""
    x = _id(f"x_{f.name}")
    number = f"{x} < ';' and {x} >= '-' and try_cast({x} as double) is not null"
    doubtful = f"({number}) or {x} >= '{{' or ({x} >= '[' and {x} < '\\') or {x} in ('true', 'false')"
    return f"({doubtful}) and json_type(raw, {path}) <> 'VARCHAR'"


def _not_json_object(payload: str, members: list[FieldSpec]) -> str:
    """Whether a payload is something else, which reads as one without any value: only these are looked at twice."""
    empty = [f"{_id(f'x_{f.name}')} is null" for f in members]
    return " and ".join([*empty, f"json_type(raw, {_literal(f'$.{_id(payload)}')}) <> 'OBJECT'"])


def _json_path(f: FieldSpec) -> str:
    return "$." + ".".join(f'"{part}"' for part in f.path.split("."))


def _json_type(f: FieldSpec) -> object:
    return ["VARCHAR"] if f.type == "string[]" else "VARCHAR"


def _cast(f: FieldSpec, is_text: bool, source: _Source) -> str:
    """A field's value in its contract type, NULL where it does not fit exactly."""
    x = _id(f"x_{f.name}")
    if f.type == "string":
        return f"cast({x} as varchar)" if is_text else "cast(null as varchar)"
    if f.type == "string[]":
        return x if source.json_path else f"try_cast({x} as varchar[])"
    if is_text:
        return _cast_text(f.type, x)
    if f.type in ("bigint", "integer"):
        # A cast would round 12.6 to 13.
        whole = f"try_cast({x} as {f.type})"
        return f"case when try({whole} = {x}) then {whole} end"
    return f"try_cast({x} as {f.type})"


def _cast_text(kind: str, x: str) -> str:
    """Text read as a type: only forms that say one thing, and only where nothing is rounded or cut off."""
    if kind == "timestamp":
        # The offset is taken off by hand: a cast that knows of offsets knows of names of zones too.
        local = f"try_cast(regexp_extract({x}, {_literal(LOCAL_TIME)}) as timestamp)"
        hours, minutes = (f"regexp_extract({x}, {_literal(OFFSET_PARTS)}, {group})" for group in (1, 2))
        sign = f"left({hours}, 1)"
        offset = f"cast({hours} as integer) * 60 + cast({sign} || coalesce(nullif({minutes}, ''), '0') as integer)"
        instant = f"case when {hours} = '' then {local} else {local} - to_minutes({offset}) end"
        return f"case when regexp_full_match({x}, {_literal(TIME)}) then {instant} end"
    if kind == "date":
        # A cast would overlook what follows the date, and this alone would read "infinity" as a day.
        return f"case when {x} < ':' then cast(try_strptime(trim({x}), ['%Y-%m-%d', '%Y/%m/%d']) as date) end"
    if kind in ("bigint", "integer"):
        # A cast rounds 12.6 to 13, and 126e-1 too.
        whole = f"try_cast({x} as {kind})"
        is_whole = f"regexp_full_match({x}, {_literal(WHOLE_NUMBER)})"
        is_still_whole = f"regexp_full_match({x}, {_literal(SCIENTIFIC)}) and try_cast({x} as double) = {whole}"
        return f"case when {is_whole} or {is_still_whole} then {whole} end"
    if kind == "double":
        return f"case when regexp_full_match({x}, {_literal(NUMBER)}) then try_cast({x} as double) end"
    return f"try_cast({x} as {kind})"


def _source(f: FieldSpec, schema: pa.Schema, nested: Sequence[str]) -> _Source:
    """Where a file of columns holds the field: in its own, in its payload's struct, or in a column of JSON."""
    held = []
    if f.path in schema.names and f.path not in nested:
        held.append(_Source(_id(f.path), _holds_text(schema.field(f.path).type)))
    if f.path in nested or f.payload in nested:
        held.append(_Source(".".join(["row_", *map(_id, f.path.split("."))]), True, _json_path(f)))
    elif f.payload in schema.names:
        struct = schema.field(f.payload).type
        if pa.types.is_struct(struct) and struct.get_field_index(f.name) >= 0:
            held.append(_Source(f"{_id(f.payload or '')}.{_id(f.name)}", _holds_text(struct.field(f.name).type)))
    return _first_of(held) if held else _Source()


def _holds_text(held: pa.DataType) -> bool:
    if pa.types.is_dictionary(held):
        held = held.value_type
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held))


def _is_present(payload: str, spec: DatasetSpec, schema: pa.Schema, sources: dict[str, _Source]) -> str:
    by_path = [_id(f.path) for f in spec.fields if f.payload == payload and f.path in schema.names]
    found = [f"{column} is not null" for column in by_path]
    if payload in schema.names:
        is_text = _holds_text(schema.field(payload).type)
        found.append(_is_given(payload) if is_text else f"{_id(payload)} is not null")
    return f"({' or '.join(found)})" if found else "false"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(_literal(v) for v in values)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _id(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
