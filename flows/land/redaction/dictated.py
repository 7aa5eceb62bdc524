"""Numbers that are said in parts, with "yes", "hmm" and the other's repetition between: over several turns."""

import re
from collections.abc import Iterator

from flows.land.redaction.folding import MASK, Span, words
from flows.land.redaction.number_words import DIGIT, TENS
from flows.land.redaction.numbers import kind_before

FILLERS = words("""
ja japp jo yes yeah yep yup mm mhm hm hmm huh uh um er eh ah ok okej okay right wait sorry and then och sen sedan sa
vanta aha sure next no nej perfect great
""")
_FILLER = (
    r"(?:ja|japp|jo|yes|yeah|yep|yup|m+-?hm+|m+|hm+|uh[\s-]?huh|uh|huh|um|er|eh|ah|ok|okej|okay|right|wait|hang on"
    r"|sorry|and|then|och|sen|sedan|sa|vanta|aha|sure|next|got it|go on|no|nej|perfect|great)"
)
_PART = rf"(?:\d{{1,6}}(?!\d)|(?:{DIGIT}|{TENS})\b)"
_GAP = r"[\s.,?!-]{1,3}"
_DICTATED = re.compile(rf"(?<![\w.,])\+?{_PART}(?:{_GAP}(?:{_FILLER}\b{_GAP}){{0,5}}+{_PART})++")
_PARTS = re.compile(rf"\+?{_PART}(?:[\s,.-]{{1,3}}{_PART})*+")
_ONE = re.compile(rf"\d+|\b(?:{DIGIT})\b|[a-z]+")
_DIGITS = frozenset(DIGIT.split("|"))
_FEWEST_DIGITS = 8


def find(lower: str) -> Iterator[Span]:
    """The parts of the numbers that fillers interrupt, in a text in lower case in which facts are masked."""
    for match in _DICTATED.finditer(lower):
        parts = list(_PARTS.finditer(lower, *match.span()))
        if len(parts) > 1 and sum(_digits(part[0]) for part in parts) >= _FEWEST_DIGITS:
            kind = kind_before(lower, match.start()) or "PHONE"
            for part in parts:
                yield Span(part.start(), part.end(), kind)


def without_agreement(lower: str) -> str:
    """The text without "mm" at the start of a line, which is no unit of the number in the line before."""
    return lower.replace("\nmm", "\n" + MASK * 2)


def _digits(part: str) -> int:
    """How many digits a part has, where tens count for two."""
    return sum(len(one) if one[0].isdigit() else 1 if one in _DIGITS else 2 for one in _ONE.findall(part))
