"""Values for what the contract says and the sample has no recipe for, so that a new field, event or dataset is in
the sample at once.

A value follows from its field's type, accepted values, bounds and pattern, and from the row's own number, as
everything in the sample does. Where a field's name says what it holds (`content_id`), it names a thing that exists.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from flows.contract.spec import FieldSpec
from flows.errors import TidemarkError

# How many rows lack a field that they may lack.
ABSENT_SHARE = 0.1

# What fields of these names hold in the made-up world, wherever they occur: an SQL list of text.
KNOWN = {
    "product": "['news', 'sport', 'play', 'market']",
    "country": "['SE', 'NO', 'FI', 'DK']",
    "content_type": "['article', 'video']",
    "content_id": "(select list(content_id order by content_id) from contents where day < 0)",
    "advert_id": "(select list(advert_id order by advert_id) from adverts where day < 0)",
    "account_id": "(select list(distinct account_id order by account_id) from account_versions)",
    "user_id": "(select list(distinct user_id order by user_id) from account_versions)",
}

# Text of many shapes. A field with a pattern takes those that match it.
EXAMPLES = (
    "blue", "green", "red", "Blue", "Green", "BLUE", "RED", "SE", "NO", "SEK", "EUR", "sv", "en", "sv-SE", "en-GB",
    "blue-1", "blue_1", "a-1", "b-2", "1", "2", "12", "2026", "11122", "123456", "1.0.0", "2.1.3", "v1", "1080p",
    "10:30", "2026-01-15", "2026-01-15T10:30:00Z", "#0057b8", "reader@example.org", "example.org",
    "https://example.org/", "+46701740605", "192.0.2.1", "ab12cd34", "AB12CD34",
    "0123456789abcdef0123456789abcdef",
)  # fmt: skip


class NoSampleValueError(TidemarkError):
    """A required field whose pattern no example matches."""


class Values:
    """SQL expressions that give a field's values."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def of(self, field: FieldSpec, row: str, moment_ms: str, *, is_key: bool = False) -> str:
        """The field's value in the row of number `row`, in which things happen at `moment_ms`: typed, as SQL.

        A key's value is another one in each row.
        """
        purpose = f"made {field.path}"
        value = self._of_key(field, row) if is_key else None
        value = value or self._of_type(field, row, moment_ms, purpose)
        if field.required or is_key or field.type == "string[]":
            return value
        return f"if(rnd({row}, '{purpose} is absent') < {ABSENT_SHARE}, null, {value})"

    def _of_key(self, field: FieldSpec, row: str) -> str | None:
        """None where the type or the accepted values leave too few values to tell rows apart."""
        if field.accepted_values or field.pattern:
            return None
        if field.type == "string":
            return f"'{field.name.removesuffix('_id')}-' || ({row})"
        return f"({row})::{field.type}" if field.type in ("bigint", "integer") else None

    def _of_type(self, field: FieldSpec, row: str, moment_ms: str, purpose: str) -> str:
        low, high = _bounds(field)
        match field.type:
            case "timestamp":
                return f"make_timestamp_ms({moment_ms})"
            case "date":
                return f"make_timestamp_ms({moment_ms})::date::varchar"
            case "boolean":
                return f"rnd({row}, '{purpose}') < 0.5"
            case "double":
                return f"round({low} + rnd({row}, '{purpose}') * {high - low}, 3)"
            case "bigint" | "integer":
                return f"({int(low)} + pick({row}, '{purpose}', {int(high - low) + 1}))::{field.type}"
            case "uuid":
                # The row's own number in front: no two rows have the same.
                return (
                    f"printf('%08x-%04x-4000-8000-%012x', (({row})::ubigint >> 16) & 4294967295, "
                    f"({row})::ubigint & 65535, pick({row}, '{purpose}', 281474976710656))"
                )
            case "string[]":
                options = self._texts(field)
                return f"list_filter({options}, (one, place) -> rnd(({row})::ubigint + place, '{purpose}') < 0.5)"
            case _:
                return f"choose({row}, '{purpose}', {self._texts(field)})"

    def _texts(self, field: FieldSpec) -> str:
        """The text that a field may hold, as an SQL list."""
        if field.accepted_values:
            return _list(field.accepted_values)
        if not field.pattern:
            stem = field.name.removesuffix("_id")
            return KNOWN.get(field.name) or _list([f"{stem}-{number}" for number in range(1, 10)])
        matching = "list_filter({}, word -> regexp_full_match(word, $pattern))"
        known = KNOWN.get(field.name, "[]::varchar[]")
        found = self._connection.execute(
            f"select {matching.format(known)}, {matching.format('$examples')}",
            {"pattern": field.pattern, "examples": list(EXAMPLES)},
        ).fetchone()
        assert found is not None
        if found[0] or found[1]:
            return _list(found[0] or found[1])
        if field.required:
            raise NoSampleValueError(
                f"The sample knows no text for {field.path} that matches its pattern {field.pattern!r}. "
                "Add one to EXAMPLES in flows/sample/values.py."
            )
        return "[null::varchar]"


def as_json(field: FieldSpec, value: str) -> str:
    """A typed value as its text in JSON."""
    if field.type == "timestamp":
        value = f"iso(epoch_ms({value}))"
    return f"coalesce(to_json({value})::varchar, 'null')"


def _bounds(field: FieldSpec) -> tuple[float, float]:
    """The least and the greatest number of a field; a bound that the contract leaves open is 100 away."""
    if field.min is None and field.max is None:
        return 0, 1 if field.type == "double" else 100
    low = field.min if field.min is not None else (field.max or 0) - 100
    high = field.max if field.max is not None else low + 100
    return low, high


def _list(texts: Iterable[str]) -> str:
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{quoted}]"
