"""E-mail addresses: as they are written, as they are spoken, and as speech recognition and forms distort them."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON
from flows.land.redaction.folding import Span, mask, words
from flows.land.redaction.number_words import SWEDISH_WORDS

_LABEL = r"[\w-]++"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*+"
_AT = r"(?:\s{0,2}@\s{0,2}|\s{0,2}[\[({<]\s?(?:at|a|snabel-?a)\s?[\])}>]\s{0,2})"
_ENDS = "com|net|org|se|uk|co|io|eu|de|no|dk|fi|info"
# A full stop with a space beside it ends a sentence, unless what follows ends an address.
_DOT_AND_LABEL = (
    rf"(?:\.[\w-]++|\s?\.\s?(?:{_ENDS})\b|\s?[\[({{<]\s?(?:dot|punkt)\s?[\])}}>]\s?[\w-]++"
    rf"|,?\s(?:dot|punkt)\s[a-z-]{{2,24}}+|,?\s(?:point|period)\s(?:{_ENDS})\b)"
)
# Each starts where a word starts and never gives back what it took: linear in the length of the text.
_LOCAL = r"(?<![\w.+%'-])[\w.+%'-]++"
_WRITTEN = re.compile(rf"{_LOCAL}@{_LABEL}{_DOT_AND_LABEL}*+")
_SPACED = re.compile(rf"{_LOCAL}{_AT}{_LABEL}(?:{_DOT_AND_LABEL}++|\s(?:{_ENDS})\b)")
_HANDLE = re.compile(rf"@{_DOMAIN}")
_SPOKEN_AT = re.compile(
    rf",?\s(?:at|snabel[\s-]?a|@)\s{{1,2}}(?!\d+\.\d|(?:the|an?|this|that|my|your|our|his|her)\b)[\w-]++(?:\s(?:dash|hyphen|minus)\s[\w-]++)?{_DOT_AND_LABEL}{{1,4}}+"
)
_PROVIDERS = (
    "gmail|g mail|googlemail|yahoo|yohoo|ymail|hotmail|outlook|live|icloud|aol|msn|rediffmail|protonmail|telia"
    "|comcast|btinternet|mail"
)
_BARE_PROVIDER = re.compile(rf"\sat\s(?:{_PROVIDERS})\b(?:\s?com\b)?")
# "john 45 gmailcom": what a system left of an address that strips its punctuation.
_STRIPPED = re.compile(
    r"(?<![\w])(?:[a-z][\w]*+\s)?(?:\d++\s)*+[\w-]*?(?:mail|yahoo|yohoo|outlook|icloud|comcast|hotmai"
    r"|rediff)\s?(?:com|xom|cm|con|net|org|couk|coin|se)(?!\w)"
)
# The same with a provider that is not known or misspelt, where the turn is nothing else or says "mail" before it.
_STRIPPED_ALONE = re.compile(
    r"(?:(?:^|\n)(?:\d{6,12}\s)?|\bmail\s(?:(?:address|id|is|my"
    r"|its)\s)*)((?:[a-z]\w*+\s)?(?:\d++\s)*[a-z]\w{4,}(?:com|net|org|gov|edu|couk)"
    r"|[a-z]\w*+\s\d++\s(?:[a-z]\w*)?com)"
    r"(?!\w)"
)
_NO_ADDRESS = re.compile(r"(?:inter|ether|extra)net$|(?:tele|inter|sit|rom|dot)com$|^(?:cabi|mag|pla|garr|bon)net$")
_TAIL_WORDS = re.compile(r"[^\s,;:!?]+")
_JOINERS = frozenset(
    {"dot", "punkt", "point", "period", "underscore", "dash", "hyphen", "minus", "plus", "understreck"}
)
_NUMBER_WORDS = (
    words("zero oh one two three four five six seven eight nine ten double triple eleven twelve twenty thirty")
    | SWEDISH_WORDS
)
_ANCHORS = frozenset(
    {
        "is",
        "its",
        "it's",
        "email",
        "e-mail",
        "mail",
        "address",
        "adress",
        "to",
        "me",
        "on",
        "use",
        "id",
        "at",
        "with",
        "ar",
        "mejl",
        "till",
    }
)
_ENDINGS = ("com", "net", "org", "gov", "edu", "ouk")
_LOOK_BACK_CHARACTERS = 80
_LOOK_BACK_WORDS = 10


def find(lower: str) -> list[Span]:
    """The e-mail addresses of a text in lower case, and handles such as @name."""
    found: list[Span] = []
    if (
        "@" in lower
        or "at]" in lower
        or "at)" in lower
        or "at }" in lower
        or "at )" in lower
        or "at ]" in lower
        or "a)" in lower
        or "a]" in lower
    ):
        for pattern in (_WRITTEN, _SPACED, _HANDLE):
            found += [Span(match.start(), match.end(), "EMAIL") for match in pattern.finditer(lower)]
    hidden = mask(lower, found) if found else lower
    if " at " in hidden or " snabel" in hidden:
        for pattern in (_SPOKEN_AT, _BARE_PROVIDER):
            found += [
                Span(_start_of_spoken(hidden, match.start()), match.end(), "EMAIL")
                for match in pattern.finditer(hidden)
            ]
    if "com" in hidden or hidden.endswith(_ENDINGS) or "mail" in hidden:
        found += _find_stripped(hidden)
    return found


def _find_stripped(lower: str) -> Iterator[Span]:
    for match in _STRIPPED.finditer(lower):
        yield Span(_without_common_word(match), match.end(), "EMAIL")
    for match in _STRIPPED_ALONE.finditer(lower):
        last = match[1].split()
        if not _NO_ADDRESS.search(last[-1]) and COMMON.isdisjoint(last[:-1]):
            yield Span(*match.span(1), "EMAIL")


def _without_common_word(match: re.Match[str]) -> int:
    """Where a stripped address starts: not with a word such as "is"."""
    first = match[0].split(maxsplit=1)
    if len(first) == 2 and (first[0] in COMMON or first[0] in _ANCHORS):
        return match.end() - len(first[1])
    return match.start()


def _start_of_spoken(lower: str, at: int) -> int:
    """Where the spoken name before "at" begins: the word before it, and those that dots or digits join to it."""
    said = list(_TAIL_WORDS.finditer(lower, max(0, at - _LOOK_BACK_CHARACTERS), at))[-_LOOK_BACK_WORDS:]
    if not said:
        return at
    for place in range(len(said) - 1, -1, -1):
        if said[place][0] in _ANCHORS and place < len(said) - 1:
            return said[place + 1].start()
    start = len(said) - 1
    while start > 0:
        here, before = said[start][0], said[start - 1][0]
        if not (before in _JOINERS or here in _JOINERS or _is_piece(here) or _is_piece(before)):
            break
        if before in COMMON and before not in _NUMBER_WORDS:
            break
        start -= 1
    return said[start].start()


def _is_piece(word: str) -> bool:
    """Whether a word is one letter, a number, or a digit that was spoken."""
    return len(word) == 1 or word.isdigit() or word in _NUMBER_WORDS
