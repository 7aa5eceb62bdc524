"""The cursor of a list's rows: what it is in a row, how far it has come, and what is sent for it."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from flows.errors import TidemarkError
from flows.extract.position import DIGITS, Cursor, position

MOST = 10 ** (DIGITS - 1) - 1
DAY_CHARACTERS = len("2026-01-15")


def cursor_of(text: str | None, is_number: bool) -> Cursor:
    """The value in a row. Raises ``ValueError`` where it is none; moments without an offset are of UTC."""
    if text is None:
        raise ValueError("has no value")
    try:
        if is_number:
            number = int(text)
            if abs(number) > MOST:
                raise ValueError
            return number
        if len(text) == DAY_CHARACTERS:
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        wanted = f"number of up to {DIGITS - 1} digits" if is_number else "moment or day of ISO 8601"
        raise ValueError(f"is no {wanted}") from None


def reached_by(names: Iterable[str], is_number: bool) -> Cursor | None:
    """Up to which value files of these names hold all rows."""
    names = list(names)
    if is_number:
        return position(names, "number")
    moment = position(names, "moment")
    return position(names, "day") if moment is None else moment


def before(reached: Cursor | None, overlap: timedelta | int | None) -> Cursor | None:
    """From where on rows are asked for; None where that is before all time."""
    if reached is None or not overlap:
        return reached
    earlier: Any = None
    with suppress(OverflowError):
        earlier = reached - overlap  # type: ignore[operator]
    return earlier  # type: ignore[no-any-return]


def sent(value: Cursor | None) -> str | None:
    """A value as a parameter."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


class Progress:
    """How far the cursor has come in rows that are read, which are in the order that is declared."""

    def __init__(
        self,
        name: str,
        cursor: str,
        is_number: bool,
        order: Literal["ascending", "descending"] | None,
        reached: Cursor | None,
    ) -> None:
        self._type = None if reached is None else type(reached)
        self._name, self._cursor, self._is_number, self._order = name, cursor, is_number, order
        self._last: Any = None
        self.greatest: Any = None

    def begin_page(self) -> None:
        """Rows that follow need not continue those before: they were read by place, and some of them twice."""
        self._last = None

    def take(self, text: str | None) -> Cursor:
        """The value in the next row. Raises :class:`TidemarkError` where it is none, or out of order."""
        try:
            value: Any = cursor_of(text, self._is_number)
        except ValueError as error:
            raise TidemarkError(
                f"{self._name}: a row's {self._cursor} {error}; no file with it was delivered; have it put right, or "
                "extract the list without a cursor"
            ) from error
        self._type = self._type or type(value)
        if type(value) is not self._type:
            raise TidemarkError(
                f"{self._name}: of some rows {self._cursor} is a moment, and of others a day; have the API give one"
            )
        if self._last is not None and self._order and value != self._last:
            is_ascending = value > self._last
            if is_ascending != (self._order == "ascending"):
                raise TidemarkError(
                    f"{self._name}: rows are not in {self._order} order of {self._cursor}, so what was delivered "
                    "may not be all; correct `order`, or leave it out: then all rows come again"
                )
        self._last = value
        self.greatest = value if self.greatest is None else max(value, self.greatest)
        return value  # type: ignore[no-any-return]


def latest_end(now: datetime, of: Cursor) -> Cursor:
    """The value up to which rows may count as delivered: those of later ones may have been read before they changed."""
    if isinstance(of, datetime):
        return now.replace(microsecond=0) - timedelta(seconds=1)
    return now.date() - timedelta(days=1) if isinstance(of, date) else of
