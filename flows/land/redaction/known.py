"""Identifiers that the caller knows: found wherever they stand as words, in any case, accents, separators."""

import re
from collections.abc import Iterable, Iterator

from flows.land.redaction.checks import digits_of
from flows.land.redaction.folding import Span, fold

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<!\d)\d++(?:[\s.,/()_-]{1,4}+\d++)*+")
_SHORTEST = 2
_NATIONAL_DIGITS = 7
_COUNTRY_DIGITS = 3


class Known:
    """Names, addresses, numbers of the parties, ready to be looked for; made once for many texts.

    An identifier is a row of words, and found as the same row with anything but letters and digits between them, so
    "anna.berg@example.org" is found in "Anna Berg, example org" too. Each costs a few entries of a table, and a text
    costs the same however many there are.
    """

    def __init__(self, identifiers: Iterable[str] = ()) -> None:
        self._rows: dict[tuple[str, ...], str] = {}
        self._longest: dict[str, int] = {}
        self._numbers: dict[str, str] = {}
        for identifier in identifiers:
            self._add(identifier)

    def _add(self, identifier: str) -> None:
        lower = fold(identifier).lower
        row = tuple(_WORD.findall(lower))
        if sum(map(len, row)) < _SHORTEST:
            return
        digits = digits_of(lower)
        is_number = "@" not in lower and len(digits) >= _NATIONAL_DIGITS and not any(map(str.isalpha, lower))
        kind = "EMAIL" if "@" in lower else "PHONE" if is_number else "NAME" if "".join(row).isalpha() else "ID"
        self._rows[row] = kind
        self._longest[row[0]] = max(len(row), self._longest.get(row[0], 0))
        if is_number:
            for skipped in range(_COUNTRY_DIGITS + 1):
                if len(digits) - skipped >= _NATIONAL_DIGITS:
                    self._numbers[digits[skipped:]] = kind

    def __bool__(self) -> bool:
        return bool(self._rows)

    def find(self, lower: str) -> Iterator[Span]:
        """Where identifiers stand in a folded text in lower case."""
        if self._longest.keys().isdisjoint(_WORD.findall(lower)):
            yield from self._find_numbers(lower)
            return
        matches = list(_WORD.finditer(lower))
        row = [match[0] for match in matches]
        place = 0
        while place < len(row):
            taken = self._taken(row, place)
            if taken:
                kind = self._rows[tuple(row[place : place + taken])]
                yield Span(matches[place].start(), matches[place + taken - 1].end(), kind)
            place += max(taken, 1)
        yield from self._find_numbers(lower)

    def _taken(self, row: list[str], place: int) -> int:
        """How many words from a place on are the longest identifier; 0 where there is none."""
        for count in range(min(self._longest.get(row[place], 0), len(row) - place), 0, -1):
            if tuple(row[place : place + count]) in self._rows:
                return count
        return 0

    def _find_numbers(self, lower: str) -> Iterator[Span]:
        """Known numbers in other groups of digits than those they are known in."""
        if not self._numbers:
            return
        for match in _NUMBER.finditer(lower):
            digits = digits_of(match[0])
            for skipped in range(_COUNTRY_DIGITS + 2):
                if digits[skipped:] in self._numbers:
                    yield Span(match.start(), match.end(), self._numbers[digits[skipped:]])
                    break


NOBODY = Known()
