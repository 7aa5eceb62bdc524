"""Answers of JSON, with every number as it is written there."""

import json
from collections.abc import Sequence
from typing import Any

from flows.errors import TidemarkError


class Number(str):
    """A number of JSON, in the digits that it has there."""

    __slots__ = ()


def parsed(body: bytes) -> Any:
    """What a body of JSON holds. Raises ``ValueError`` where it is none, or not clear; no value is said."""
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            parse_float=Number,
            parse_int=Number,
            parse_constant=_refuse,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a name twice")
    return made


def kind_of(value: Any) -> str:
    """The JSON type of a value; a number without a fraction or exponent is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "integer" if value.removeprefix("-").isdigit() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def text_of(value: Any) -> str | None:
    """A value as text: what is nested, as JSON."""
    return None if value is None else str(value) if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """A value as JSON, in which numbers keep their digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(name)}:{json_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class MisfitError(Exception):
    """What stands somewhere in an answer is not what is declared to: where, and of which type it is."""


def value_at(within: Any, path: Sequence[str]) -> tuple[bool, Any]:
    """Whether there is a value at a path, and which; below null is null. Raises :class:`MisfitError`."""
    for at, name in enumerate(path):
        if within is None:
            return True, None
        if not isinstance(within, dict):
            raise MisfitError(f"{'.'.join(path[:at]) or 'it'} is {kind_of(within)}, and not object")
        if name not in within:
            return False, None
        within = within[name]
    return True, within


def steps(path: str) -> tuple[str, ...]:
    """The names of a path; none where it is the whole."""
    return tuple(path.split(".")) if path else ()


def rows_of(body: Any, path: str, what: str) -> list[Any]:
    """The list of rows of an answer; null is one of none. Raises :class:`TidemarkError` where there is no list."""
    try:
        is_there, found = value_at(body, steps(path))
        if not is_there or not isinstance(found, list | None):
            raise MisfitError(f"there is {kind_of(found) if is_there else 'nothing'}")
    except MisfitError as error:
        has = f"; it has {', '.join(sorted(body)[:8])[:200]}" if isinstance(body, dict) else ""
        raise TidemarkError(f"{what}: no list of rows stands in the answer at {path!r}: {error}{has}") from error
    return found or []
