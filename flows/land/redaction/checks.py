"""Check digits: they tell which kind of number it is, and never let one pass."""

import re

_IBAN = re.compile(r"[A-Z]{2}\d\d[A-Z0-9]{11,30}", re.IGNORECASE)
_NOT_DIGITS = re.compile(r"\D+")


def digits_of(text: str) -> str:
    """The digits of a text, without what separates them."""
    return _NOT_DIGITS.sub("", text)


def is_luhn(number: str) -> bool:
    """Whether the last digit is right by ISO/IEC 7812-1, as in payment cards and Swedish personal numbers."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits_of(number)))):
        doubled = digit * (1 + place % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def is_card(number: str) -> bool:
    """Whether a number has the length and the check digit of a payment card."""
    return 13 <= len(digits_of(number)) <= 19 and is_luhn(number)


def is_iban(number: str) -> bool:
    """Whether an account number is right modulo 97 by ISO 13616."""
    compact = re.sub(r"[\s-]+", "", number)
    if not _IBAN.fullmatch(compact):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def is_personal_number(number: str) -> bool:
    """Whether a number can be a Swedish personal or coordination number: a date, and Luhn over its last ten"
    " digits."""
    digits = digits_of(number)[-10:]
    if len(digits) < 10:
        return False
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91) and is_luhn(digits)
