"""The SQL that conforms a chunk to the contract: what a row is, and what is wrong with it, once for every format.

The statement has three steps, each a common table expression: *extracted* (every field as the file has it), *typed*
(every field cast to its contract type, NULL where it does not fit) and the last, which names the first fault of a row,
if any.
"""

import json
import re
from collections.abc import Iterable

import pyarrow as pa

from flows.contract import DatasetSpec, FieldSpec, Treatment
from flows.plain import EARLIEST, LATEST

SQL_TYPES = {"string[]": "varchar[]", "string": "varchar"}


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
