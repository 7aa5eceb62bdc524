"""Identifiers that the caller gives are found as words, in any case, and as fast for many as for few."""

import pytest

from flows.land.redaction.known import Known
from flows.land.redaction.redact import redact

KNOWN = Known(["Will May", "Blåbär", "will.may@example.org", "+46 70 123 45 67", "X-77", "Grön & Son", "a"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I met WILL MAY there", "I met <NAME> there"),
        ("will may's car", "<NAME>'s car"),
        ("will  may", "<NAME>"),
        ("the blabar pie was good today", "the <NAME> pie was good today"),
        ("bla\u030ab\u200bär", "<NAME>"),
        ("x77 is not x-77", "x77 is not <ID>"),
        ("write will may example org", "write <EMAIL>"),
        ("price 0701234567 pounds", "price <PHONE> pounds"),
        ("gron son", "<NAME>"),
    ],
)
def test_found(text: str, expected: str) -> None:
    assert redact(text, KNOWN).text == expected


@pytest.mark.parametrize("text", ["goodwill mayor", "will you? it may", "a car", "blabars"])
def test_only_whole_words(text: str) -> None:
    assert redact(text, KNOWN).text == text


@pytest.mark.parametrize("number", ["0701234567", "+46701234567", "0046 701-23 45 67", "70 1234567"])
def test_telephone_in_other_groups(number: str) -> None:
    text = f"it costs {number} kr"
    assert [text[span.start : span.end] for span in KNOWN.find(text)] == [number.lstrip("+")]


def test_placeholders_are_not_identifiers() -> None:
    known = Known(["Name", "Email"])
    assert redact("<NAME> and <EMAIL>", known).text == "<NAME> and <EMAIL>"
    assert redact("the name", known).text == "the <NAME>"


def test_one_among_a_hundred_thousand_is_found_as_one_alone_is() -> None:
    many = Known(f"{_word(number)} {_word(number % 977)}" for number in range(100_000))
    few = Known([f"{_word(1)} {_word(1)}"])
    text = f"the car has a new belt and the seller is {_word(1)} {_word(1)} of the garage. " * 2000
    assert redact(text, many).counts == redact(text, few).counts == {"NAME": 2000}


def _word(number: int) -> str:
    """A word of letters that is different for each number."""
    return "zq" + "".join(chr(ord("g") + int(digit)) for digit in str(number))
