"""Text as the rules see it: digits, dashes, spaces and letters in their plain forms, each at its place."""

import re
import unicodedata
from typing import NamedTuple

# Stand for what no rule may touch: private-use characters, so no part of any word or number.
MASK = chr(0xE000)  # what was found in this text
OLD_MASK = chr(0xE001)  # a placeholder that was in the text before

KINDS = (
    "ACCOUNT", "ADDRESS", "CARD", "DATE_OF_BIRTH", "EMAIL", "ID", "IP_ADDRESS", "NAME", "NUMBER", "PASSWORD", "PHONE",
    "URL",
)  # fmt: skip
PLACEHOLDER = re.compile(f"<(?:{'|'.join(KINDS)})>")

# Letters that Unicode does not decompose.
_LETTERS: dict[int, str] = str.maketrans({
    "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    "\N{IDEOGRAPHIC FULL STOP}": ".", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{MINUS SIGN}": "-",
})  # fmt: skip


class Span(NamedTuple):
    """A part of a text that names or reaches a person."""

    start: int
    end: int
    kind: str


class Folded(NamedTuple):
    """``positions`` says where each character was, or is None where all are where they were."""

    text: str
    lower: str
    positions: list[int] | None

    def original(self, span: Span) -> Span:
        """A span of the folded text as a span of the text that was folded."""
        if self.positions is None:
            return span
        return Span(self.positions[span.start], self.positions[span.end - 1] + 1, span.kind)


class _Table(dict[int, int | None]):
    """A table for :meth:`str.translate` that is filled as characters are met."""

    def __missing__(self, code: int) -> int | None:
        folded = self[code] = code if code < 128 else _fold(chr(code))
        return folded


def _fold(character: str) -> int | None:
    """The plain form of one character; None where it is invisible or only marks the one before it."""
    if ord(character) in _LETTERS:
        return ord(_LETTERS[ord(character)])
    category = unicodedata.category(character)
    if category in {"Cf", "Mn", "Me"}:
        return None
    if category == "Pd":
        return ord("-")
    if category in {"Zs", "Zl", "Zp"}:
        return ord(" ")
    if category == "Nd":
        return ord(str(unicodedata.decimal(character)))
    plain = unicodedata.normalize("NFKD", character)
    return ord(character if any(map(_is_letter_or_digit, plain[1:])) else plain[0])


def _is_letter_or_digit(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


_TABLE = _Table()


def fold(text: str) -> Folded:
    """The text without invisible characters and accents, with earlier placeholders masked."""
    plain, positions = text, None
    if not text.isascii():
        plain = text.translate(_TABLE)
        if len(plain) != len(text):
            positions = [place for place, character in enumerate(text) if _TABLE[ord(character)] is not None]
    if "<" in plain:
        plain = PLACEHOLDER.sub(lambda match: OLD_MASK * len(match[0]), plain)
    lower = plain.lower()
    if len(lower) != len(plain):  # a capital letter with a small form of two characters
        lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in plain)
    return Folded(plain, lower, positions)


def mask(text: str, spans: list[Span]) -> str:
    """The text with spans hidden from the rules that follow; every other character keeps its place."""
    parts, done = [], 0
    for start, end, _ in sorted(spans):
        if end > done:
            parts += [text[done:start], MASK * (end - max(start, done))]
            done = end
    return "".join([*parts, text[done:]])


def words(text: str) -> frozenset[str]:
    """The distinct words of some lines, for lists of words."""
    return frozenset(text.split())
