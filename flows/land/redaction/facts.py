"""Numbers that say something about a thing and nothing about a person: prices, years, distances, models, times."""

import re

from flows.land.redaction.common_words import MAKES
from flows.land.redaction.folding import Span

_UNITS = (
    "km|kms|kilometres?|kilometers?|mil|miles?|mi|mph|kmh|metres?|meters?|mm|cm|ft|feet|inch(?:es)?|litres?|liters?"
    "|cc|ccm|hp|bhp|ps|kw"
    "|kwh|nm|rpm|kg|kgs|kilos?|tonnes?|tons?|lbs|gb|mb|tb|mbps|gbps|pounds?|quid|dollars?|bucks?|euros?|cents?"
    "|pence|usd|gbp|eur|sek|nok|dkk|inr"
    "|kr|kronor|kronos|rs|rupees?|spann|percent|per cent|procent|years?|yrs?|months?|weeks?|days?|hours?|hrs?"
    "|minutes?|mins?|seconds?|secs?"
    "|nights?|people|persons?|passengers?|seats?|doors?|owners?|keys?|items?|pieces?|times|am|pm|a\\.m|p\\.m|st|nd"
    "|rd|th|million|thousand|hundred"
    "|grand|bedrooms?|rooms?|square|sqm|gears?|cylinders?|valves?|volts?|watts?|amps?|amp|degrees?|or so"
)
_MONEY_WORDS = (
    "cost|costs|price|priced|prices|pay|paid|paying|offer|offered|offering|budget|amount|deposit|worth|value|valued"
    "|charge|charges|"
    "charged|fee|fees|salary|income|mileage|odometer|clock|done|driven|bid|rent|loan|owe|total|spend|spent|sell for"
    "|least|roughly|approximately"
    "|approx|nearly|almost|around|about|under|over|below|than|up to|down to|asking|finance|spending|covered|run"
    "|refund|balance of|between|serviced at"
)
_LINKS = (
    r"(?:\s(?:is|are|of|was|were|it|me|you|at|for|about|around|a|my|the|only|just|approximately|to|amount|him|her"
    r"|us|on|has|with|another)){0,3}"
)
_THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3}){1,3}(?:\.\d{1,2})?"
_AMOUNT = rf"(?:{_THOUSANDS}|\d{{1,3}}(?:\s\d{{3}}){{1,2}}|\d{{1,7}}(?:[.,]\d{{1,2}})?)"
_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
# Digits that go on before or after belong to a longer number, which is no fact.
_STARTS = r"(?<!\d)(?<!\d[\s.,/+-])(?<![+])"
_ENDS = r"(?!\d|[\s.,/-]{1,2}\d{3})"
_FACTS = re.compile(
    r"(?=[\d£$€])(?:"
    + "|".join([
        rf"{_STARTS}[£$€]\s?{_AMOUNT}{_ENDS}",
        rf"{_STARTS}{_AMOUNT}\s?-?(?:[£$€%](?!\s?\d)|(?:{_UNITS})\b)",
        rf"{_STARTS}\d{{2,6}}(?=\s?(?:and|or|to|-)\s?{_AMOUNT}\s?(?:[£$€%]|(?:{_UNITS})\b))",
        rf"{_STARTS}\d{{3}}/\d{{2}}(?:\s?z?r\s?\d\d)?(?!\d|[\s.,/-]{{1,2}}\d{{3}})",
        rf"{_STARTS}\d{{1,4}}(?:\.\d{{1,2}})?[kmlgvd]\b",
        rf"(?<!\d)(?<!\d[,.-]){_THOUSANDS}(?!\d|[.,/-]\d|\s\d{{3,6}}(?![\d,]))",
        rf"{_STARTS}\d{{1,4}}\.\d{{1,3}}(?!\d|[\s.,-]\d)",
        rf"{_STARTS}(?:(?:19|20)\d\d-\d\d-\d\d|{_DAY}[/.-]{_MONTH}[/.-](?:20)?\d\d"
        rf"|{_MONTH}[/.-]{_DAY}[/.-](?:20)?\d\d)"
        r"(?!\d|[\s.,/-]\d)",
    ])
    + ")"
)  # fmt: skip
_CURRENCY_FIRST = re.compile(rf"\b(?:usd|gbp|eur|sek|rs|inr|kr)\.?\s?{_AMOUNT}{_ENDS}")
_MODEL = re.compile(
    rf"\b(?:{'|'.join(sorted(MAKES))})\s(?:(?!ssn|card|phone|account|number|no\b|pin|code"
    rf"|id\b)[a-z-]{{1,12}}\s)?[a-z]{{0,3}}\s?\d{{1,4}}[a-z]?"
    r"(?:\s(?:19|20)\d\d)?(?![\d]|[\s-]\d{3})"
)
_YEAR = re.compile(
    r"(?=[12])(?<![\d+a-z])(?:(?<!\d[\s.,/+-])|(?<=[a-z]\d\s)|(?<=[a-z]\d\d\s))(?:19[2-9]"
    r"|20[0-4])\d(?:\s?[/-]\s?(?:(?:19|20)?\d\d))?(?!\d|[\s./,-]\d|[a-z])"
)
_AFTER_MONEY = re.compile(
    rf"\b(?:(?:{_MONEY_WORDS}){_LINKS}|transfer|transferring)\s([1-9]\d{{1,5}}(?:[.,]\d{{2}})?|\d{{1,3}}\s\d{{3}})(?!\d"
    rf"|[\s.,/-]{{1,2}}\d)"
)
_PLATE = re.compile(
    r"\b(?:reg|registration|plate|plates|number plate|licence plate|license plate)(?:\s(?:number|no|is"
    r"|of))*[\s:]{1,3}([a-z0-9]{2,4}[\s-]?[a-z0-9]{2,4}\b)"
)
_SECRET = re.compile(
    r"\b(?:pin|pins|password|passcode|pass ?code|code|cvv|cvc|digits?|four|ssn|social|security|ac|acc|account|card"
    r"|phone|mobile|id|ending"
    r"|pwd|policy|claim|booking|confirmation|reference|ref|order number|number|no|num)\b[^.?!]{0,20}$"
)
_SECRET_REACH = 32


def find(lower: str, said: frozenset[str]) -> list[Span]:
    """The facts of a text in lower case that has digits and these words."""
    patterns = [_FACTS, _CURRENCY_FIRST] if MAKES.isdisjoint(said) else [_FACTS, _CURRENCY_FIRST, _MODEL]
    found = [Span(match.start(), match.end(), "") for pattern in patterns for match in pattern.finditer(lower)]
    found += [Span(*match.span(1), "") for match in _PLATE.finditer(lower)]
    for pattern in (_YEAR, _AFTER_MONEY):
        for match in pattern.finditer(lower):
            start, end = match.span(pattern.groups)
            if not _SECRET.search(lower, max(0, start - _SECRET_REACH), start):
                found.append(Span(start, end, ""))
    return found
