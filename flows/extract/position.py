"""How far an extract is: in the names of the files that it delivered.

A file of rows by a cursor is named ``<after>_<up to>.parquet``, one of all rows by the moment of its snapshot. What
was renamed into the inbox counts, whether it has landed or not, and what was refused does not; so what is remembered is
never ahead of what is there, and what is lost before it landed is delivered again.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, Literal, cast

SUFFIX = ".parquet"
BEGINNING = "beginning"
MOMENT = "%Y%m%dT%H%M%S.%fZ"
DAY = "%Y%m%d"
# A sign and the digits of a number of 64 bits, so that names of ids are in their order.
DIGITS = 20

Cursor = int | datetime | date
Kind = Literal["number", "moment", "day"]


def window_name(after: Cursor | None, up_to: Cursor) -> str:
    """The name of a file with the rows after one value of the cursor, up to another."""
    return f"{BEGINNING if after is None else cursor_text(after)}_{cursor_text(up_to)}{SUFFIX}"


def snapshot_name(at: datetime) -> str:
    """The name of a file with all rows there were at a moment."""
    return f"{cursor_text(at)}{SUFFIX}"


def position(names: Iterable[str], kind: Kind) -> Cursor | None:
    """The value of the cursor up to which files of these names hold all rows; None where none begins at the beginning.

    Where a file in between is missing, what comes after it does not count: it is delivered again.
    """
    spans = [span for name in names if (span := _span(name, kind))]
    reached: Any = max((up_to for after, up_to in spans if after is None), default=None)
    if reached is None:
        return None
    later: list[tuple[Any, Any]] = [(after, up_to) for after, up_to in spans if after is not None]
    for after, up_to in sorted(later):
        if after <= reached:
            reached = max(reached, up_to)
    return cast("Cursor", reached)


def _span(name: str, kind: Kind) -> tuple[Cursor | None, Cursor] | None:
    """After which value, and up to which one a file has rows; None where it is another's, or of another cursor."""
    after, _, up_to = PurePosixPath(name).name.removesuffix(SUFFIX).partition("_")
    try:
        return None if after == BEGINNING else _read(after, kind), _read(up_to, kind)
    except ValueError:
        return None


def cursor_text(value: Cursor) -> str:
    """A value as it stands in names."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
        return f"{value.year:04}{value.strftime(MOMENT.removeprefix('%Y'))}"
    if isinstance(value, date):
        return f"{value.year:04}{value.strftime(DAY.removeprefix('%Y'))}"
    return f"{value:+0{DIGITS}d}"


def _read(text: str, kind: Kind) -> Cursor:
    if kind == "moment":
        return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    if kind == "day":
        return datetime.strptime(text, DAY).replace(tzinfo=UTC).date()
    if len(text) != DIGITS:
        raise ValueError(text)
    return int(text)
