"""Arrow values as JSON, also those that Python has no type for.

What Python cannot hold (a time after the year 9999, nanoseconds, a time zone nobody knows, text that is no UTF-8) is
given as text. That is for people and for the quarantine: reading it back gives another value, and a retry notices.
"""

import json
from typing import Any

import pyarrow as pa


def json_rows(table: pa.Table) -> list[bytes]:
    """Each row as a JSON object. Never raises, whatever the values are."""
    try:
        return [json.dumps(row, default=str).encode() for row in table.to_pylist()]
    except Exception:  # any library may stand behind a value: each is then looked at alone
        columns = [json_texts(column) for column in table.columns]
    names = [json.dumps(name) for name in table.column_names]
    rows = zip(*columns, strict=True)
    made = [", ".join(f"{n}: {'null' if v is None else v}" for n, v in zip(names, row, strict=True)) for row in rows]
    return [f"{{{row}}}".encode() for row in made]


def json_texts(values: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Each value as JSON, None where there is none. Never raises, whatever the values are."""
    try:
        return [None if value is None else json.dumps(value, default=str) for value in values.to_pylist()]
    except Exception:  # see above
        return [_json_of(value) if value.is_valid else None for value in values]


def _json_of(value: pa.Scalar) -> str:
    try:
        return json.dumps(value.as_py(), default=str)
    except Exception:
        return json.dumps(_plain(value), default=str)


def _plain(value: pa.Scalar) -> Any:
    """A value as Python has it; in nested ones only that becomes text which Python has no type for."""
    if not value.is_valid:
        return None
    try:
        found = value.as_py()
        json.dumps(found, default=str)
    except Exception:
        return _taken_apart(value)
    return found


def _taken_apart(value: pa.Scalar) -> Any:
    kind = value.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(value.value)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain(value.value if pa.types.is_dictionary(kind) else value.as_buffer())
    if pa.types.is_struct(kind):
        pairs = [(kind.field(i).name, _plain(_member(value, i))) for i in range(kind.num_fields)]
        return dict(pairs) if len({name for name, _ in pairs}) == len(pairs) else pairs
    if pa.types.is_nested(kind):  # lists of every kind, and maps, which are lists of pairs
        return [_plain(item) for item in value.values]
    return _text(value)


def _member(value: pa.StructScalar, number: int) -> pa.Scalar:
    return value[number]


def _text(value: pa.Scalar) -> str:
    kind = value.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return str(value.as_buffer().to_pybytes(), "utf-8", "backslashreplace")
    if pa.types.is_timestamp(kind) and kind.tz:
        # The instant in UTC: its zone may be one that nobody knows.
        value = pa.array([value]).view(pa.timestamp(kind.unit))[0]
    try:
        text = value.cast(pa.string()).as_py()
    except Exception:
        text = repr(getattr(value, "value", kind))
    return str(text)
