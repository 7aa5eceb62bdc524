"""Figures as people read them."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from flows.site.figures import NONE, figure


@pytest.mark.parametrize(
    ("value", "name", "said"),
    [
        (None, "integer", NONE),
        (1234567, None, "1,234,567"),
        (1234.5, None, "1,234.5"),
        (Decimal("2.00"), None, "2"),
        (0.0, None, "0"),
        (1234.5, "integer", "1,234"),
        (0.4236, "percent", "42.4%"),
        (0.4236, "percent_whole", "42%"),
        (0.018, "percent_delta", "+1.8%"),
        (-0.018, "percent_delta", "\N{MINUS SIGN}1.8%"),
        (-3, "delta", "\N{MINUS SIGN}3"),
        (0, "duration", "0 s"),
        (59.4, "duration", "59 s"),
        (60, "duration", "1 min"),
        (119.6, "duration", "2 min"),
        (3600, "duration", "1 h"),
        (5025, "duration", "1 h 24 min"),
        (90000, "duration", "1 d 1 h"),
        (1_534_000, "bytes", "1.53 MB"),
        (True, "integer", "yes"),
        (date(2026, 3, 29), None, "29\N{NO-BREAK SPACE}Mar\N{NO-BREAK SPACE}2026"),
        (datetime(2026, 3, 29, 1, 5), None, "2026-03-29\N{NO-BREAK SPACE}01:05"),
        ("<b>", "percent", "<b>"),
        (12, "no such format", "12"),
    ],
)
def test_a_value_is_written_for_people(value: object, name: str | None, said: str) -> None:
    assert figure(value, name) == said
