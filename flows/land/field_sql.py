"""The SQL of one field: its value in the contract's type, and what can be wrong with it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from flows.contract.spec import FieldSpec, Treatment
from flows.land.fast_path.columns import EARLIEST, LATEST

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
NOWHERE = "null"


@dataclass(frozen=True)
class Source:
    """Where a chunk holds a field: the expression, whether that is text, and the path in ``raw`` of what is JSON."""

    expression: str = NOWHERE
    is_text: bool = False
    json_path: str | None = None


def faults_of(f: FieldSpec, is_text: bool, source: Source) -> list[tuple[str, str]]:
    """What can be wrong with a field, in the order in which it is reported."""
    x, value = identifier(f"x_{f.name}"), identifier(f.name)
    path = literal(source.json_path) if source.json_path else None
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
            kinds = f"json_type(raw, {literal(f'{source.json_path}[*]')})"
            found.append((f"{x} is not null and not list_has_all(['VARCHAR'], {kinds})", "wrong_type"))
    else:
        blank = f" and {x} <> ''" if is_text and not path else ""
        found.append((f"{x} is not null{blank} and {value} is null", "wrong_type"))
    if f.accepted_values:
        accepted = quoted(f.accepted_values)
        if f.type == "string[]":
            # list_has_all overlooks NULLs in the list.
            found.append(
                (f"not list_has_all([{accepted}], {value}) or list_count({value}) < len({value})", "not_accepted")
            )
        else:
            found.append((f"{value} not in ({accepted})", "not_accepted"))
    if f.pattern:
        found.append((f"not regexp_full_match({value}, {literal(f.pattern)})", "pattern_mismatch"))
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
    x = identifier(f"x_{f.name}")
    number = f"{x} < ';' and {x} >= '-' and try_cast({x} as double) is not null"
    doubtful = f"({number}) or {x} >= '{{' or ({x} >= '[' and {x} < '\\') or {x} in ('true', 'false')"
    return f"({doubtful}) and json_type(raw, {path}) <> 'VARCHAR'"


def not_json_object(payload: str, members: list[FieldSpec]) -> str:
    """Whether a payload is something else, which reads as one without any value: only these are looked at twice."""
    empty = [f"{identifier(f'x_{f.name}')} is null" for f in members]
    return " and ".join([*empty, f"json_type(raw, {literal(f'$.{identifier(payload)}')}) <> 'OBJECT'"])


def json_path_of(f: FieldSpec) -> str:
    return "$." + ".".join(f'"{part}"' for part in f.path.split("."))


def cast(f: FieldSpec, is_text: bool, source: Source) -> str:
    """A field's value in its contract type, NULL where it does not fit exactly."""
    x = identifier(f"x_{f.name}")
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
        local = f"try_cast(regexp_extract({x}, {literal(LOCAL_TIME)}) as timestamp)"
        hours, minutes = (f"regexp_extract({x}, {literal(OFFSET_PARTS)}, {group})" for group in (1, 2))
        sign = f"left({hours}, 1)"
        offset = f"cast({hours} as integer) * 60 + cast({sign} || coalesce(nullif({minutes}, ''), '0') as integer)"
        instant = f"case when {hours} = '' then {local} else {local} - to_minutes({offset}) end"
        return f"case when regexp_full_match({x}, {literal(TIME)}) then {instant} end"
    if kind == "date":
        # A cast would overlook what follows the date, and this alone would read "infinity" as a day.
        return f"case when {x} < ':' then cast(try_strptime(trim({x}), ['%Y-%m-%d', '%Y/%m/%d']) as date) end"
    if kind in ("bigint", "integer"):
        # A cast rounds 12.6 to 13, and 126e-1 too.
        whole = f"try_cast({x} as {kind})"
        is_whole = f"regexp_full_match({x}, {literal(WHOLE_NUMBER)})"
        is_still_whole = f"regexp_full_match({x}, {literal(SCIENTIFIC)}) and try_cast({x} as double) = {whole}"
        return f"case when {is_whole} or {is_still_whole} then {whole} end"
    if kind == "double":
        return f"case when regexp_full_match({x}, {literal(NUMBER)}) then try_cast({x} as double) end"
    return f"try_cast({x} as {kind})"


def quoted(values: Iterable[str]) -> str:
    return ", ".join(literal(v) for v in values)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
