"""An e-mail address, telephone number, card or account number never survives, whatever words are around it."""

from hypothesis import given
from hypothesis import strategies as st

from flows.land.redaction.redact import redact

# No digit above 5 stands here, and none below 6 in what is planted: a digit above 5 that is left was planted.
AROUND = (
    "the car is a I and price pounds 2015 4,500 miles, my name number for to of card mail at dot . / - sure? Volvo V40 "
    "account password is not <NAME> £300 52,000 km yes no \n hello"
)
WORDS = st.lists(st.sampled_from(AROUND.split(" ")), max_size=8).map(" ".join)
DIGITS = st.text("6789", min_size=20, max_size=20)
SEPARATOR = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2011", " - "])


def with_check_digit(digits: str) -> str:
    """The digits with the check digit of a payment card."""
    total = sum(int(d) * 2 - 9 * (int(d) > 4) if place % 2 == 0 else int(d) for place, d in enumerate(digits[::-1]))
    return digits + str(-total % 10)


def is_left(text: str) -> bool:
    """Whether a digit of what was planted is in a text."""
    return not set("6789").isdisjoint(text)


@given(
    WORDS,
    st.from_regex(r"[a-z][a-z0-9]{2,9}(\.[a-z0-9]{1,8})?", fullmatch=True),
    st.sampled_from(["org", "co.uk", "se"]),
    WORDS,
)
def test_email(before: str, local: str, end: str, after: str) -> None:
    text = redact(f"{before} {local}@qz-example.{end} {after}").text
    assert "@" not in text
    assert "qz-example" not in text


@given(WORDS, st.sampled_from(["+46 70", "07", "+44 7", "(0)70"]), DIGITS, SEPARATOR, WORDS)
def test_phone(before: str, prefix: str, digits: str, separator: str, after: str) -> None:
    number = prefix + separator + separator.join([digits[:3], digits[3:6], digits[6:9]])
    assert not is_left(redact(f"{before} {number} {after}").text)


@given(WORDS, DIGITS, SEPARATOR, WORDS)
def test_card(before: str, digits: str, separator: str, after: str) -> None:
    number = with_check_digit("4" + digits[:14])
    card = separator.join(number[place : place + 4] for place in range(0, 16, 4))
    assert not is_left(redact(f"{before} {card} {after}").text)


@given(WORDS, DIGITS, st.booleans(), WORDS)
def test_iban(before: str, digits: str, spaced: bool, after: str) -> None:
    check = 98 - int(digits + "281400") % 97
    iban = f"SE{check:02}{digits}"
    written = " ".join(iban[place : place + 4] for place in range(0, 24, 4)) if spaced else iban
    text = redact(f"{before} {written} {after}").text
    assert not is_left(text)
    assert "SE" not in text


@given(st.text(max_size=60), WORDS)
def test_any_text_twice_is_as_once(text: str, more: str) -> None:
    once = redact(f"{text} {more}").text
    assert redact(once).text == once
