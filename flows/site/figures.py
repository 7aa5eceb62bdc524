"""Figures as people read them, by the names of formats that dbt-charts has."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

# What stands for a figure that is not there: of a group too small to be shown, or of nobody.
NONE = "\N{EN DASH}"


def _integer(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _percent_delta(value: float) -> str:
    return f"{value:+.1%}".replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float) -> str:
    """The two largest units: ``1 h 23 min``."""
    for size, unit, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(round(seconds / smaller) * smaller, size)
            return f"{whole:.0f} {unit}" + (f" {rest // smaller:.0f} {below}" if rest >= smaller else "")
    return f"{seconds:.0f} s"


def _bytes(value: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


FORMATS: dict[str, Callable[[float], str]] = {
    "integer": _integer,
    "number": _integer,
    "number_full": lambda value: f"{value:,.2f}",
    "rating": lambda value: f"{value:.1f}",
    "percent": _percent,
    "percent_whole": lambda value: f"{value:.0%}",
    "percent_delta": _percent_delta,
    "delta": lambda value: f"{value:+,.0f}".replace("-", "\N{MINUS SIGN}"),
    "duration": _duration,
    "bytes": _bytes,
}


def figure(value: Any, format_name: str | None = None) -> str:
    """A value for people: in a format, where one is named, else as its type is read."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | Decimal):
        if format_name in FORMATS:
            return FORMATS[format_name](float(value))
        return f"{value:,}" if isinstance(value, int) else f"{float(value):,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d\N{NO-BREAK SPACE}%H:%M}"
    if isinstance(value, date):
        return f"{value.day}\N{NO-BREAK SPACE}{value:%b\N{NO-BREAK SPACE}%Y}"
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a value is read as a number, which tables align by its end."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
