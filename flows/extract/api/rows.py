"""Rows of answers, held against what is declared of them."""

from collections.abc import Sequence
from typing import Any

from flows.errors import TidemarkError
from flows.extract.api.answers import MisfitError, kind_of, steps, text_of, value_at
from flows.extract.api.declared import Endpoint
from flows.text import cut

# The texts of a row's columns, in the order in which they are declared.
Row = tuple[str | None, ...]

NAMED_AT_MOST, NAME_CHARACTERS = 20, 60
REMEDY = "correct the declaration once you know what the change means, and the contract with it"


class Shape:
    """What the rows of one run have: of each column a value of its type, or none."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self._name = name
        self._columns = [(column, steps(column), frozenset(endpoint.types(column))) for column in endpoint.columns]
        self._known = {path[0] for _, path, _ in self._columns} | {*endpoint.ignored}
        self._missing = {column for column, _, types in self._columns if "null" not in types}
        self._others: dict[str, str] = {}

    def rows(self, page: int, rows: Sequence[Any]) -> list[Row]:
        """The texts of a page's rows. Raises :class:`TidemarkError` with the place of a value of another type."""
        made = []
        for number, row in enumerate(rows, 1):
            try:
                made.append(self._texts(row))
            except MisfitError as error:
                raise TidemarkError(
                    f"{self._name}: in row {number} of page {page} {error}; no file with it was delivered; {REMEDY}"
                ) from error
        return made

    def _texts(self, row: Any) -> Row:
        if not isinstance(row, dict):
            raise MisfitError(f"there is {kind_of(row)}, and not object")
        for name in row.keys() - self._known - self._others.keys():
            self._others[name] = kind_of(row[name])
        texts = []
        for column, path, types in self._columns:
            is_there, value = value_at(row, path)
            if is_there:
                self._missing.discard(column)
            kind = kind_of(value)
            if value is not None and kind not in types and not (kind == "integer" and "number" in types):
                raise MisfitError(f"{column} is {kind}, and not {' or '.join(sorted(types))}")
            texts.append(text_of(value))
        return tuple(texts)

    def check_all_there(self) -> None:
        """Raise :class:`TidemarkError` where a column was in no row so far."""
        if self._missing:
            raise TidemarkError(
                f"{self._name}: {', '.join(sorted(self._missing))} is gone: no row has it; no file was "
                f"delivered; {REMEDY}. Of what the API leaves out where it is null, the type is such as `string | null`"
            )

    def others(self) -> str | None:
        """What rows have that is not declared, for people."""
        if not self._others:
            return None
        named = [f"{cut(name, NAME_CHARACTERS)} ({kind})" for name, kind in sorted(self._others.items())]
        more = f" and {len(named) - NAMED_AT_MOST:,} more" if len(named) > NAMED_AT_MOST else ""
        return (
            f"{self._name}: its rows have {', '.join(named[:NAMED_AT_MOST])}{more}, which extracts/ does not name; "
            "add it there, to columns or to ignored"
        )
