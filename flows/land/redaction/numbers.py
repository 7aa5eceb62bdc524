"""Numbers that are written or spoken: every long one is replaced, unless it is known for a fact."""

import re
from collections import deque
from collections.abc import Iterator

from flows.land.redaction.checks import digits_of, is_luhn
from flows.land.redaction.common_words import COMMON, MAKES
from flows.land.redaction.folding import MASK, Span, mask, words
from flows.land.redaction.given_names import NAMES
from flows.land.redaction.number_words import DIGIT, TENS

# Groups of digits with at most four separators between them; possessive, so that a text is read once.
_RUN = re.compile(r"(?:(?<![\w])\+\s?|(?<!\d))\(?\d++(?:[\s.,/()_+|*~;\u2022\u00b7-]{1,4}+\d++)*+")
# Digits: a count or a size, the shortest number that reaches a person, one with its area.
_FEW, _LONG, _TELEPHONE = 3, 7, 9
_GROUP = re.compile(r"\d+")
_MIXED = re.compile(r"(?<![a-z0-9])(?:(?=[a-z]++\d)|(?=\d++[a-z]))[a-z0-9]++(?:-[a-z0-9]++)*+")
_SWITCH = re.compile(r"(?<=[a-z])-?(?=\d)|(?<=\d)-?(?=[a-z])")
_PIECES = re.compile(
    r"(?<![a-z0-9'])(?:[a-z]{1,3}|\d{1,4})(?![a-z0-9])(?:[\s-](?:[a-z]{1,3}|\d{1,4})(?![a-z0-9])){2,}+"
)
_PREFIX = re.compile(r"(?<![\w'-])([a-z]{1,5})[\s-]\Z")
_SHORT_WORDS = words("""
is am pm at of to in on it or my we me be by do go he if no so up us an as ok hi th st nd rd gb mb tb km cc hp mm cm
kg kw ps the and for kr rs i ya ye de le la en et i ar pa
""")
_LEAD = "(?:its|it's|it|is|sure|yes|yeah|ok|okay|and|the|my|oh|sorry|no|not|here|this|thanks|please|i|mean)"
_ALONE = re.compile(
    rf"(?:^|\n|/\s)(?:{_LEAD}[\s,]+)*((?!{_LEAD}\b)[a-z]{{2,4}})[\s-](\d{{2,12}})(?=\s*(?:$|\n|\s/|(?:and"
    rf"|is this)\b))"
)

_REFERENCE = re.compile(
    r"\b(?:(?P<ID>(?:confirmation|booking|claim|policy|reference|reservation|order|invoice|ticket|case|tracking"
    r"|membership|customer|ssn|passport)"
    r"(?:\sconfirmation)?)|(?P<ACCOUNT>account|ac|acc))\s(?:(?:number|no|num|nr|id|ssn|code|ref|is|the|actual)\b\s?"
    r"|[#:.]\s?){1,4}"
)
_PIECE = re.compile(r"[\s-]?([a-z0-9]+)")
_LAST_CODE = re.compile(r"(?<![a-z0-9])([a-z]{3,4})\s\d{3,12}(?=\s*(?:\Z|\n|\s/|and\b))")
_MOST_PIECES, _LONGEST_PIECE = 10, 5

_SPOKEN = re.compile(
    rf"\b(?:{DIGIT}|{TENS}|\d{{1,4}})(?:[\s,.-]{{1,3}}(?:(?:and|uh|um|then"
    rf"|dash)[\s,]{{1,2}})?(?:{DIGIT}|{TENS}|\d{{1,4}})\b){{2,}}+"
)
_DIGIT_WORD = re.compile(rf"\b(?:{DIGIT})\b")
_AMOUNT = re.compile(r"\b(?:hundred|hundra)")
_ANY_WORD = re.compile(r"\w+")
_COUNTED = re.compile(
    r"[\s-]{1,2}(?:thousand|million|percent|per cent|miles|pounds|dollars|euros|kronor|litre|years?|months?|days?"
    r"|hours?|tusen|miljon\w*|procent|mil|kr|ar|manader|spann)\b"
)

# What the last of these words before a number says about its kind.
_CONTEXT = re.compile(
    r"\b(?:(?P<PHONE>phone|phones?|telephone|mobile|mob|cell|tel|ph|whatsapp|ring|reach|text|contact|fax|telefon\w*"
    r"|mobil\w*|phno|landline)"
    r"|(?P<CARD>cards?|visa|mastercard|amex|debit|credit|kort\w*)"
    r"|(?P<PASSWORD>pins?|passwords?|passcodes?|pwd|cvv|cvc|cv2|otp|security|code|losenord\w*|pinkod\w*)"
    r"|(?P<ACCOUNT>accounts?|acct|acc|ac|iban|sort code|sort|routing|bankgiro|plusgiro|konto\w*|clearing\w*)"
    r"|(?P<ADDRESS>zip code|post code|postal code|zip|zipcode|postcode|postal|postnummer|pincode|address)"
    r"|(?P<ID>ssn|social|personnummer|passport|licence|license|order|booking|confirmation|claims?|polic(?:y|ies)"
    r"|reference|ref|reservation|invoice|ticket"
    r"|tracking|vin|chassis|membership|customer|case|id))\b"
)
_CONTEXT_CHARACTERS = 48
_NOUN = re.compile(
    r"(?:\b(?:number|no|num|nr|id|ssn|code|pin|cvv|cvc|ref|reference|digits|otp)\b(?:\s(?:is|was|:|should|be|read"
    r"|are|of|the|my|its|and|on|for|it)){0,4}|#)[\s:.=-]{0,3}\(?$"
)


def find(lower: str) -> Iterator[Span]:
    """The numbers of a text in lower case in which facts are masked."""
    if any(map(str.isdigit, lower)):
        for match in _RUN.finditer(lower):
            yield from _judge(lower, match)
        yield from _codes(lower)
    for match in _SPOKEN.finditer(lower):
        if _is_spoken_number(lower, match):
            yield Span(match.start(), match.end(), kind_before(lower, match.start()) or _kind_by_length(match[0]))


def find_rests(lower: str, hidden: str) -> Iterator[Span]:
    """Long numbers of which a part was found, in a text and the same text with that masked: no digit may be left."""
    for run in _RUN.finditer(lower):
        seen = hidden[run.start() : run.end()]
        if MASK in seen and _GROUP.search(seen) and len(digits_of(run[0])) >= _LONG:
            yield Span(run.start(), run.end(), "NUMBER")


def without_parts_of_numbers(lower: str, facts: list[Span]) -> list[Span]:
    """The facts that are no part of a longer number: "666 miles" is none after "+46 70 - 666 - 666 - "."""
    kept: list[Span] = []
    waiting = deque(sorted(facts))
    for run in _RUN.finditer(lower):
        start, end = run.span()
        while waiting and waiting[0].end <= start:
            kept.append(waiting.popleft())
        inside = []
        while waiting and waiting[0].start < end:
            inside.append(waiting.popleft())
        shifted = [Span(max(fact.start - start, 0), min(fact.end, end) - start, fact.kind) for fact in inside]
        all_digits, rest = len(digits_of(run[0])), len(digits_of(mask(run[0], shifted)))
        if rest < _FEW or (rest < _LONG and all_digits < _TELEPHONE):
            kept += inside
    return [*kept, *waiting]


def kind_before(lower: str, start: int) -> str | None:
    """The kind that the nearest telling word before a place says."""
    kind = None
    for match in _CONTEXT.finditer(lower, max(0, start - _CONTEXT_CHARACTERS), start):
        kind = match.lastgroup
    return kind


def _judge(lower: str, match: re.Match[str]) -> Iterator[Span]:
    """A run of groups of digits: the whole of it where it is long, else each group that is."""
    start, end = match.span()
    digits = digits_of(match[0])
    groups = _GROUP.findall(match[0])
    kind = kind_before(lower, start)
    if _is_long(digits, groups) or (len(digits) >= 3 and _NOUN.search(lower, max(0, start - 24), start)):
        found = kind or _kind_of(match[0], digits)
        yield Span(_with_prefix(lower, start, len(digits)), end, found)


def _is_long(digits: str, groups: list[str]) -> bool:
    """Whether digits are too many for a count, a size or a day."""
    if len(digits) >= _LONG or max(map(len, groups)) >= 4:
        return True
    longest, count = max(map(len, groups)), len(groups)
    if longest == 1:
        return count >= 4
    return len(digits) >= 5 and (longest >= 3 or count >= 3)


def _kind_of(written: str, digits: str) -> str:
    if written.startswith(("+", "00")):
        return "PHONE"
    return _kind_by_length(digits, len(digits))


def _kind_by_length(written: str, length: int | None = None) -> str:
    """The likeliest kind of a number without context."""
    count = len(written.split()) if length is None else length
    if count >= 16 or (count >= 13 and is_luhn(written)):
        return "CARD"
    return "PHONE" if 9 <= count <= 12 else "NUMBER"


def _with_prefix(lower: str, start: int, length: int) -> int:
    """Letters before a long number belong to it, as in "pvx 752197308"."""
    if length < 5:
        return start
    match = _PREFIX.search(lower, max(0, start - 7), start)
    if match is None or match[1] in COMMON or match[1] in _SHORT_WORDS or match[1] in MAKES:
        return start
    return match.start(1)


def _codes(lower: str) -> Iterator[Span]:
    """Codes of letters and digits: booking, claim, order and policy numbers."""
    for match in _MIXED.finditer(lower):
        length, digits = len(match[0]), len(digits_of(match[0]))
        if digits >= 4 or (digits >= 3 and length >= 6) or len(_SWITCH.findall(match[0])) >= 3:
            yield Span(match.start(), match.end(), kind_before(lower, match.start()) or "ID")
    for match in _PIECES.finditer(lower):
        yield from _codes_of_pieces(lower, match)
    for match in _ALONE.finditer(lower):
        if match[1] not in COMMON and match[1] not in MAKES and match[1] not in _SHORT_WORDS:
            yield Span(match.start(1), match.end(2), "ID")
    for match in _REFERENCE.finditer(lower):
        span = _reference_at(lower, match.end(), match.lastgroup or "ID")
        if span is not None:
            yield span
    for match in _LAST_CODE.finditer(lower):
        if match[1] not in COMMON and match[1] not in MAKES and match[1] not in _SHORT_WORDS and match[1] not in NAMES:
            yield Span(match.start(), match.end(), "ID")


def _codes_of_pieces(lower: str, match: re.Match[str]) -> Iterator[Span]:
    """Codes that are read out in pieces, as "g 75 f 34", between short words that are no part of them."""
    code: list[re.Match[str]] = []
    for piece in [*_PIECE.finditer(lower, *match.span()), None]:
        if piece is not None and piece[1] not in _SHORT_WORDS and (len(piece[1]) == 1 or piece[1] not in COMMON):
            code.append(piece)
            continue
        if len(code) >= 3 and len(_SWITCH.findall("".join(part[1] for part in code))) >= 2:
            start = code[0].start(1)
            yield Span(start, code[-1].end(), kind_before(lower, start) or "ID")
        code = []


def _reference_at(lower: str, start: int, kind: str) -> Span | None:
    """The letters and digits that follow words such as "claim number is"."""
    first, end, has_digit, count = start, start, False, 0
    for piece in _PIECE.finditer(lower, start, start + 60):
        word = piece[1]
        if piece.start() != end or count == _MOST_PIECES or (len(word) > _LONGEST_PIECE and word.isalpha()):
            break
        if word in _SHORT_WORDS or (len(word) > 1 and word in COMMON):
            break
        first = piece.start(1) if count == 0 else first
        end, count = piece.end(), count + 1
        has_digit = has_digit or not word.isalpha()
    return Span(first, end, kind) if has_digit else None


def _is_spoken_number(lower: str, match: re.Match[str]) -> bool:
    """Whether number words make up a number to be noted down and not an amount."""
    said = _ANY_WORD.findall(match[0])
    if not any(map(str.isalpha, said)) or _COUNTED.match(lower, match.end()):
        return False
    singles = len(_DIGIT_WORD.findall(match[0])) + sum(map(str.isdigit, said))
    if len(said) == 3:
        return (singles == 3 or not _AMOUNT.search(match[0])) and _NOUN.search(
            lower, max(0, match.start() - 24), match.start()
        ) is not None
    return singles >= 3 or len(said) >= 5
