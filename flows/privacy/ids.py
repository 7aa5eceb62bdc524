"""Ids in clear, looked for in text: each where it stands for itself, not as a part of a longer word.

However many ids there are: those that are one word are looked up among the words of the text, so a thousand people cost
no more than one.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

WORD = re.compile(r"[\w-]+")
# What stands between punctuation; a source may put punctuation into its ids, too.
TOKEN = re.compile(r"""[^\s"',;|{}\[\]()<>=]+""")
DELIMITERS = (",", ";", "\t", "|")
# Digits of a number that is looked for as a word.
LEAST_DIGITS = 6
# Arrow's engine for expressions gives up on larger ones.
AT_ONCE = 200


def is_a_word(id_: str) -> bool:
    """Whether an id can be looked for as a word: a short number stands for anything."""
    return not id_.isdigit() or len(id_) >= LEAST_DIGITS


class Ids:
    """Ids, each as its source names it."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = frozenset(ids)
        # As text, as JSON has it, which may spell other letters than English ones by their numbers, and as CSV.
        forms = {
            form
            for one in self._ids
            for form in (one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], one.replace('"', '""'))
        }
        self._words = frozenset(form for form in forms if WORD.fullmatch(form))
        self._others = [re.compile(pattern) for pattern in _patterns(forms - self._words)]
        self.patterns = [*_patterns(forms)]

    def are_in(self, text: str) -> bool:
        """Whether any of them stands in a text, or is a value of a row of CSV or JSON."""
        if not self._words.isdisjoint(WORD.findall(text)) or any(each.search(text) for each in self._others):
            return True
        return bool(self._others) and not self._ids.isdisjoint(values_in(text))


def _patterns(forms: Iterable[str]) -> Iterator[str]:
    """Expressions that find these, as Arrow's engine has them, too, which knows no look-behind."""
    listed = sorted(forms)
    for at in range(0, len(listed), AT_ONCE):
        some = listed[at : at + AT_ONCE]
        yield rf"(?:^|[^\w-])(?:{'|'.join(map(re.escape, some))})(?:$|[^\w-])"


def values_in(text: str) -> set[str]:
    """All that may be a value in the text of a row, whatever format it came in."""
    tokens = {*TOKEN.findall(text)}
    tokens |= {part for token in tokens for part in (token.strip(".:"), token.rpartition(":")[2])}
    return tokens | {*_of_json(text)} | {*_of_csv(text)}


def _of_json(text: str) -> Iterator[str]:
    return (value for _, value in members_of(text))


def members_of(text: str) -> Iterator[tuple[str, str]]:
    """The members of what is JSON, at any depth, that are text or a whole number: the name of each, '' where it has
    none, and its value; nothing of other text."""
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(text))]
    except (ValueError, RecursionError):
        return
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, each) for each in value]
        elif isinstance(value, str | int):
            yield name, str(value)


def _of_csv(text: str) -> Iterator[str]:
    for delimiter in DELIMITERS:
        try:
            yield from (cell.strip() for row in csv.reader(text.splitlines(), delimiter=delimiter) for cell in row)
        except csv.Error:
            continue
