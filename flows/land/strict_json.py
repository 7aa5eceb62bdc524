"""A second look at JSON rows, by a parser that keeps to the standard and to all digits.

The engine's parser takes a trailing comma, NaN and Infinity, which RFC 8259 forbids, and rounds numbers with a fraction
or an exponent to doubles. Python's own does not, when it is asked. It is slower: only doubtful rows are given to it.
"""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment

# Whole numbers up to here are exact as doubles.
EXACT = 2**53
HALF_A_PAIR = r"\\u[dD][89a-fA-F]"
ESCAPE = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
REPLACEMENT = r"\ufffd"


def fault_of(spec: DatasetSpec, document: str) -> str | None:
    """What is wrong with a row that the engine could read: its reason and field, None where nothing is."""
    try:
        row = strictly_read(document)
    except ValueError:
        return "malformed|"
    for f in spec.fields:
        value = _value(row, f)
        if f.type in ("bigint", "integer") and isinstance(value, Decimal) and not _is_whole(value):
            return f"wrong_type|{f.path}"
    return None


def strictly_read(document: str) -> Any:
    """JSON as RFC 8259 has it, numbers with a fraction or an exponent as decimals. Raises ``ValueError``."""
    try:
        return json.loads(document, parse_float=Decimal, parse_int=str, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply to be looked at") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _is_whole(number: Decimal) -> bool:
    """Whether the number is whole, and small enough for the double that was read of it to be the same."""
    return abs(number) < EXACT and number == number.to_integral_value()


def _value(row: Any, f: FieldSpec) -> Any:
    body = _body(row, f)
    return body.get(f.name) if isinstance(body, dict) else None


def _body(row: Any, f: FieldSpec) -> Any:
    """The object that holds a field."""
    return row.get(f.payload) if f.payload and isinstance(row, dict) else row


def without_lone_surrogates(spec: DatasetSpec, table: pa.Table, name: str) -> pa.Table:
    """The rows, halves of surrogate pairs replaced where only fields that do not land have any.

    No UTF-8 can hold one, so the engine takes no JSON that has one. But what is dropped costs nobody an event. ``name``
    is the column of JSON: ``raw`` for whole rows, else the payload or field that it holds.
    """
    texts = table[name].cast(pa.string())
    replaced: dict[int, str] = {}
    for position in pc.indices_nonzero(pc.match_substring_regex(texts, HALF_A_PAIR)).to_pylist():
        text = texts[position].as_py()
        whole = ESCAPE.sub(lambda found: REPLACEMENT if found[2] else found[0], text)
        row = text if name == "raw" else f"{{{json.dumps(name)}:{text}}}"
        if whole != text and _lands_without_surrogates(spec, row):
            replaced[position] = whole
    if not replaced:
        return table
    cleaned = pa.array([replaced.get(position, text) for position, text in enumerate(texts.to_pylist())], pa.string())
    return table.set_column(table.schema.get_field_index(name), name, cleaned)


def _lands_without_surrogates(spec: DatasetSpec, text: str) -> bool:
    """Whether the row has no half of a surrogate pair once what the contract drops is gone."""
    try:
        row = json.loads(text)
        for f in spec.fields:
            body = _body(row, f)
            if f.treatment is Treatment.DROP and isinstance(body, dict):
                body.pop(f.name, None)
        json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # an encoding error is a ValueError too
        return False
    return True
