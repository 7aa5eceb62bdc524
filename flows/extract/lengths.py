"""Lengths of time as people declare them: ``15 min``, ``1 d``; and how far before the last one an extract begins."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def _overlap(given: Any) -> Any:
    found = re.fullmatch(r"(\d+)\s*(s|min|h|d)", given) if isinstance(given, str) else None
    if found:
        return timedelta(**{UNITS[found[2]]: int(found[1])})
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise ValueError(
        "write a length of time such as '15 min' (s, min, h, d), or a whole number for a cursor of numbers"
    )


Overlap = Annotated[timedelta | int, BeforeValidator(_overlap)]


def _length(given: Any) -> timedelta:
    made = _overlap(given)
    if isinstance(made, timedelta) and made:
        return made
    raise ValueError("write a length of time such as '1 d' (s, min, h, d)")


Length = Annotated[timedelta, BeforeValidator(_length)]
