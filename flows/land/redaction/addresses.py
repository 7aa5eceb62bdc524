"""Where a person lives: streets with numbers, what follows "my address is", postcodes."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON
from flows.land.redaction.folding import MASK, OLD_MASK, Span, words
from flows.land.redaction.number_words import DIGIT, ENGLISH, SWEDISH_NUMBER

_STRONG = (
    "street|strt|avenue|ave|road|lane|boulevard|blvd|crescent|colony|nagar|terrace|parkway|pkwy|highway|hwy"
    "|turnpike|gardens|cottage|cottages|grove|mews"
)
_WEAK = (
    "st|rd|ln|drive|dr|court|ct|way|close|place|pl|square|sq|circle|cir|trail|hill|row|walk|loop|cross|apartments"
    "|apts|farm|village|park|heights"
)
TRIGGERS = words(f"{_STRONG}|{_WEAK}".replace("|", " ")) | words(
    "address adress zip zipcode postcode postal postnummer addr adr flat apartment"
)
_ADJECTIVES = words(
    "new old north south east west n s e w main high great long park green black white red upper lower the of saint"
    " st first second third half city town bridge house apt apartment usa uk"
)
_NUMBERED = re.compile(
    rf"(?<![\w.])(?:(?:flat|apt|unit|no|number|house|plot"
    rf"|door)\.?\s)?\d{{1,5}}+\s?[a-z]?[\s,]{{1,2}}((?:[a-z0-9.'-]{{1,24}}[\s,]{{1,2}}){{0,5}}?)(?:{_STRONG}"
    rf"|{_WEAK})\b\.?"
)
_NAMED = re.compile(rf"(?<![\w-])([a-z']{{3,24}})\s(?:{_STRONG})\b(?:\s\d{{1,4}}[a-z]?\b)?")
_SWEDISH = re.compile(
    r"(?<![\w])(?:(?:norra|sodra|ostra|vastra|soder|norr|stora|lilla|gamla|nya|ovre|nedre)\s)?(?:[a-z]{2,30}(?:gatan|vagen|grand"
    r"|stigen|allen|torget|backen|plan|gata|vag|strand|slingan|brinken|kroken|s\storg)|[a-z]{0,30}(?:promenaden"
    rf"|esplanaden|kajen))\s(?:(?:nr|nummer|no)\b\.?\s)?(?:\d{{1,4}}(?:\s?[a-z])?|{SWEDISH_NUMBER})\b"
    r"(?:,?\s(?:lgh|lagenhet)\s\d{1,4})?(?:,?\s(?:se?-?\s?)?\d{3}\s?\d\d\b(?:\s[a-z-]{2,30})?)?"
)
_SWEDISH_POSTCODE = re.compile(r"(?<![\w.,-])(?:(?:SE?|se?)-?\s?)?\d{3}\s\d\d\s(?=[A-Z][a-z])(?:[A-Z][a-z-]+)")
_SPOKEN = re.compile(
    rf"(?<![\w.'-])(?:(?:{ENGLISH})[\s-]){{1,4}}+((?:[a-z'.-]{{2,24}}[\s,]{{1,2}}){{1,3}}?)(?:{_STRONG}|{_WEAK})\b"
)
_SPOKEN_POSTCODE = re.compile(
    rf"\b(?:zip|post ?code|postal code|zip ?code)\s(?:(?:is|of|it's|its|my|code)\s){{0,2}}"
    rf"((?:(?:[a-z]|\d|{DIGIT})[\s,-]{{1,2}}){{3,7}}(?:[a-z]|\d|{DIGIT}))\b"
)
_STATED = re.compile(
    r"(?<!mail )(?<!ip )(?<!web )(?<!mac )\b(?:addr|add?ress)(?:\s(?:to|of|for)\s(?:[a-z]+\s){0,2}?)?\s?(?:(?:(?:is"
    r"|was|should be|would be|to|as|at)\b|[:=-])\s?(?:at\s|to\s|now\s)?|(?=\d))(?:(?:no|number|flat|house|door|plot"
    r"|apt|unit)\.?\s)?"
)
_POSTCODE = re.compile(
    r"\b(?:zip ?code|zip|post ?code|postal(?: code)?|postnummer)\b(?:[\s:]+(?:is|code|number|no|of|ar|it's|its|my"
    r"|new|the|area|be|to)\b){0,3}[\s:]{1,2}"
    r"([a-z]{1,2}\d[a-z0-9]?\s?\d[a-z]{2}|\d{3}\s?\d{2,3}(?:-\d{4})?|[a-z]\d[a-z]\s?\d[a-z]\d)\b"
)
_WORD = re.compile(rf"[\s,]{{0,2}}([^\s,.;!?/{MASK}{OLD_MASK}]++)(\.(?!\w)|[;!?/\n])?")
_NO_STREET = words("""
wheel wheels inch inches mile miles kilometre kilometres kilometer kilometers km metre metres meter meters minute
minutes hour hours year years foot feet pound pounds dollars seat piece star lane speed door percent thousand million
""")
_SHORTEST_TENS = 7  # "eleven "; "four wheel drive" is no address
_AFTER_STREET = 6
_AFTER_ADDRESS = 14
_BREAKS = words(
    "and my i please it is can you the but for so thanks thank email phone ssn name number with if because we"
)


def find(lower: str) -> Iterator[Span]:
    """The addresses of a text in lower case."""
    for match in _NUMBERED.finditer(lower):
        between = match[1].replace(",", " ").split()
        if between and all(word not in COMMON or word in _ADJECTIVES for word in between):
            yield Span(match.start(), _rest(lower, match.end(), _AFTER_STREET), "ADDRESS")
    for match in _NAMED.finditer(lower):
        if match[1] not in COMMON:
            yield Span(match.start(), _rest(lower, match.end(), _AFTER_STREET), "ADDRESS")
    for match in _STATED.finditer(lower):
        end = _rest(lower, match.end(), _AFTER_ADDRESS)
        if end > match.end():
            yield Span(match.end(), end, "ADDRESS")
    for pattern in (_POSTCODE, _SPOKEN_POSTCODE):
        for match in pattern.finditer(lower):
            yield Span(*match.span(1), "ADDRESS")


def find_spoken(text: str, lower: str) -> Iterator[Span]:
    """Addresses whose number is a word, in a text that has such words."""
    for match in _SPOKEN.finditer(lower):
        between = match[1].replace(",", " ").split()
        is_one_digit = match.start(1) - match.start() < _SHORTEST_TENS and not text[match.start(1)].isupper()
        if (
            not is_one_digit
            and _NO_STREET.isdisjoint(between)
            and all(word not in COMMON or word in _ADJECTIVES for word in between)
        ):
            yield Span(match.start(), match.end(), "ADDRESS")


def find_swedish(text: str, lower: str) -> Iterator[Span]:
    """Streets and postcodes in the Swedish way, which need a digit, in a text as it is and in lower case."""
    for pattern, searched in ((_SWEDISH, lower), (_SWEDISH_POSTCODE, text)):
        for match in pattern.finditer(searched):
            yield Span(match.start(), match.end(), "ADDRESS")


def _rest(lower: str, start: int, most: int) -> int:
    """Where the address ends: at the end of a sentence, or before a word of another matter."""
    end = start
    for _ in range(most):
        match = _WORD.match(lower, end)
        if match is None or match[1] in _BREAKS or (match[1] in COMMON and match[1] not in _ADJECTIVES):
            break
        end = match.end(1)
        if match[2]:
            break
    return end
