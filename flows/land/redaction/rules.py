"""Formats that are told by their shape, most certain first."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flows.land.redaction.checks import is_card, is_iban, is_personal_number
from flows.land.redaction.folding import MASK, OLD_MASK, Span
from flows.land.redaction.number_words import SWEDISH_ORDINAL, SWEDISH_YEAR


class Rule(NamedTuple):
    """What a shape means.

    ``hint`` is a text and ``digits`` a number of digits without which the pattern cannot match. ``check`` and
    ``context`` are for shapes that are too weak alone: one of them must agree; ``context`` is looked for in the
    characters before the match.
    """

    name: str
    kind: str
    pattern: re.Pattern[str]
    hint: str | None = None
    digits: int = 0
    check: Callable[[str], bool] | None = None
    context: re.Pattern[str] | None = None


CONTEXT_CHARACTERS = 40
_BIRTH = re.compile(r"\b(?:born|birth|birthday|birthdate|d\.?o\.?b|dob|fodd|fodelse\w*)\b")
BIRTH_WORDS = frozenset({"born", "birth", "birthday", "birthdate", "dob", "fodd", "fodelsedatum", "fodelsedag"})
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:(?:19|20)?\d\d)"
_MONTH_NAME = (
    r"(?:jan(?:uary|uari)?|feb(?:ruary|ruari)?|mar(?:ch|s)?|apr(?:il)?|may|maj|june?|juni|july?|juli|aug(?:ust|usti)?"
    r"|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ORDINAL = rf"{_DAY}\s?(?:st|nd|rd|th|:e)?"
_SPOKEN_ORDINAL = (
    r"(?:(?:twenty|thirty)[\s-])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
    rf"|\w{{3,7}}teenth|twentieth|thirtieth|{SWEDISH_ORDINAL})"
)
_SPOKEN_YEAR = rf"(?:{SWEDISH_YEAR}|(?:nineteen|twenty|two thousand)(?:[\s-](?:and[\s-])?[a-z]{{2,9}}){{1,2}})"
_DAY_OF_MONTH = (
    rf"(?:(?:(?:the|den)\s)?(?:{_ORDINAL}|{_SPOKEN_ORDINAL})\s(?:of\s)?{_MONTH_NAME}"
    rf"|{_MONTH_NAME}\s(?:the\s)?(?:{_ORDINAL}|{_SPOKEN_ORDINAL}))"
)
_DATE = (
    rf"(?:(?:19|20)\d\d[-/. ]{_MONTH}[-/. ]{_DAY}|{_DAY}[-/. ]{_MONTH}[-/. ]{_YEAR}|{_MONTH}[-/. ]{_DAY}[-/. ]{_YEAR}"
    rf"|{_DAY_OF_MONTH}(?:,?\s(?:{_YEAR}|{_SPOKEN_YEAR}))?|(?:19|20)\d{{6}}|\d{{6,8}}|(?:19|20)\d\d|{SWEDISH_YEAR})"
)

RULES = (
    Rule("url", "URL", re.compile(rf"(?<![a-z])(?:https?|ftp)://[^\s<>{MASK}{OLD_MASK}\"]++"), "/"),
    Rule("url without scheme", "URL", re.compile(rf"(?<![\w.@-])www\.[^\s<>{MASK}{OLD_MASK}\"]++"), "w"),
    Rule(
        "url with a user's part", "URL",
        re.compile(r"(?<![\w.@-])[a-z0-9-]++(?:\.[a-z0-9-]++)*?\.(?:com|net|org|se|io|co|uk|me|dev"
        rf"|app)/[^\s<>{MASK}{OLD_MASK}\"]++"),
        "/",
    ),
    Rule(
        "ip v4", "IP_ADDRESS",
        re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\d|\.\d)"), ".", 4,
    ),
    Rule("ip v6", "IP_ADDRESS", re.compile(r"(?<![\w:])(?=[0-9a-f]*:[0-9a-f:]*:)[0-9a-f:]{6,39}+(?![\w:])"), ":"),
    Rule(
        "iban", "ACCOUNT",
        re.compile(
            r"(?<![a-z0-9])[a-z]{2}[\s-]?\d\d(?:[\s-]{0,2}[a-z0-9]{4}(?![a-z0-9]{5})){2,7}"
            r"(?:[\s-]{0,2}\d[a-z0-9]{0,2})?(?![a-z0-9])"
        ),
        None, 8, is_iban, re.compile(r"\biban\b"),
    ),
    Rule(
        "compact iban", "ACCOUNT",
        re.compile(r"(?<![a-z0-9])[a-z]{2}\d\d[a-z0-9]{11,30}(?![a-z0-9])"), None, 8, is_iban,
    ),
    Rule("date of birth", "DATE_OF_BIRTH", re.compile(rf"(?<![\w]){_DATE}(?![\w])"), None, 0, None, _BIRTH),
    Rule(
        "personal number", "ID", re.compile(r"(?<![\d-])(?:19|20)?\d{6}\s?[-+ ]\s?\d{4}(?![\d-])"), None, 10,
        is_personal_number, re.compile(r"person(?:al\s|\s)?(?:nummer|number|id)|\bssn\b|pnr"),
    ),
    Rule("social security number", "ID", re.compile(r"(?<![\d-])\d{3}[- .]{1,3}\d\d[- .]{1,3}\d{4}(?![\d-])"), None, 9),
    Rule(
        "card", "CARD",
        re.compile(r"(?<!\d)(?<!\d[\s.,/_-])\d(?:[\s.,/_-]{0,3}\d){12,18}(?![\s.,/_-]{0,3}\d)"), None, 13, is_card,
    ),
    Rule(
        "national insurance number", "ID",
        re.compile(r"(?<![a-z0-9])[a-z]{2}(?:\s?\d\d){3}\s?[a-d](?![a-z0-9])"), None, 6,
    ),
    Rule(
        "british postcode", "ADDRESS",
        re.compile(r"(?<![a-z0-9])[a-z]{1,2}\d[a-z0-9]?\s\d[bad-hjlnp-uw-z]{2}(?![a-z0-9])"), None, 2,
    ),
    Rule(
        "number of a spreadsheet", "ACCOUNT",
        re.compile(r"(?<![\w.])\d{1,3}(?:[.,]\d{1,14})?\s?e\s?[+ ]?\s?1\d(?![\w.])"), "e", 3,
    ),
)  # fmt: skip


def find(lower: str, digits: int) -> Iterator[Span]:
    """What is told by its shape in a text in lower case with this number of digits."""
    for rule in RULES:
        if digits < rule.digits or (rule.hint is not None and rule.hint not in lower):
            continue
        for match in rule.pattern.finditer(lower):
            end = _agreed_end(rule, lower, match)
            if end is not None:
                yield Span(match.start(), end, rule.kind)


def _agreed_end(rule: Rule, lower: str, match: re.Match[str]) -> int | None:
    """Where a match ends that its check or context confirms; groups that follow a number may be no part of it."""
    if rule.check is None and rule.context is None:
        return match.end()
    end = match.end()
    while rule.check is not None and end > match.start():
        if rule.check(lower[match.start() : end]):
            return end
        end = max(lower.rfind(" ", match.start(), end), match.start())
    if rule.context is None:
        return None
    before = max(0, match.start() - CONTEXT_CHARACTERS)
    return match.end() if rule.context.search(lower, before, match.start()) else None
