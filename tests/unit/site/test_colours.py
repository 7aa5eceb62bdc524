"""Colours of charts in light and dark."""

import pytest

from flows.site.colours import CATEGORIES, colours_of, in_dark, style_sheet, with_variables

LIGHT_PAGE, DARK_PAGE = "ffffff", "171b20"


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", CATEGORIES)
def test_a_category_is_seen_on_both_pages(colour: str) -> None:
    """3 : 1 is what WCAG asks of the parts of a chart."""
    colour = colour.removeprefix("#")
    assert contrast(colour, LIGHT_PAGE) >= 3
    assert contrast(in_dark(colour), DARK_PAGE) >= 3


@pytest.mark.parametrize("ink", ["222222", "313233", "626366"])
def test_text_is_read_on_both_pages(ink: str) -> None:
    assert contrast(ink, LIGHT_PAGE) >= 4.5
    assert contrast(in_dark(ink), DARK_PAGE) >= 4.5


def test_categories_stay_apart_in_the_dark() -> None:
    assert len({in_dark(colour.removeprefix("#")) for colour in CATEGORIES}) == len(CATEGORIES)


def test_each_colour_of_a_chart_becomes_a_variable_with_two_values() -> None:
    svg = '<path stroke="#2F5FA8"/><text fill="#222222">#1 of 3</text>'
    assert with_variables(svg) == '<path stroke="var(--x2f5fa8)"/><text fill="var(--x222222)">#1 of 3</text>'
    assert colours_of(svg) == {"2f5fa8", "222222"}
    sheet = style_sheet({"2f5fa8"})
    assert "--x2f5fa8:#2f5fa8;" in sheet and f"--x2f5fa8:#{in_dark('2f5fa8')};" in sheet


def test_a_chart_stands_on_its_card() -> None:
    sheet = style_sheet({"ffffff"})
    assert "--xffffff:var(--card);" in sheet and sheet.count("--xffffff") == 1
