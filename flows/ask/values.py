"""Values of an answer as JSON has them, and as text."""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flows.text import cut

# What a value of an answer is once it is shown: numbers and truth as they are, all else as text; None is NULL.
Value = str | int | float | bool | None


def shown(value: Any, room: int) -> Value:
    """A value of DuckDB as JSON has it; of a text, at most ``room`` characters and how many more there are."""
    plain = _plain(value)
    if isinstance(plain, list | dict):
        plain = json.dumps(plain, ensure_ascii=False)
    return cut(plain, room) if isinstance(plain, str) else plain


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value)


def _number(value: Decimal) -> int | float | str:
    """A decimal as a number where that is exact, else as text."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)
