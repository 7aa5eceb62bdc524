"""The organisation's day of an instant is the day that the time zone's own rules give, however many are asked for."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.land.days import EPOCH, local_days

ZONES = (
    "Europe/Stockholm",
    "America/St_Johns",  # three and a half hours behind, and for years its clocks changed a minute after midnight
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "Asia/Kathmandu",
    "Africa/Monrovia",  # before 1972 its midnight was on no quarter of an hour
    "Pacific/Apia",  # had no 30 December 2011
    "UTC",
)
SECOND, DAY = 1_000_000, 86_400_000_000  # microseconds
FIRST, LAST = (round((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1)) for year in (1900, 2100))
AWAY = st.integers(FIRST, LAST - 1)


def micros(text: str) -> int:
    """An instant as microseconds since 1970."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def found(instants: list[int], zone: str) -> list[date]:
    days = local_days(np.array(instants, np.int64), zone)
    assert days.dtype == np.int32
    return [date(1970, 1, 1) + timedelta(days=int(day)) for day in days]


def expected(instants: list[int], zone: str) -> list[date]:
    return [(EPOCH + timedelta(microseconds=i)).astimezone(ZoneInfo(zone)).date() for i in instants]


@st.composite
def close_together(draw: st.DrawFn) -> list[int]:
    """Instants within some days of each other, many of them near a whole hour."""
    start = draw(AWAY) // DAY * DAY
    hours = st.builds(lambda hour, off: start + hour * 3_600 * SECOND + off, st.integers(0, 72), st.integers(-3, 3))
    inside = st.integers(0, 3 * DAY).map(lambda off: start + off)
    return [min(max(i, FIRST), LAST - 1) for i in draw(st.lists(hours | inside, min_size=1, max_size=40))]


@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None, max_examples=150, derandomize=True)
@given(instants=st.lists(AWAY, max_size=40) | close_together())
def test_days_are_those_of_the_time_zones_own_rules(zone: str, instants: list[int]) -> None:
    assert found(instants, zone) == expected(instants, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [1900, 1919, 1945, 1971, 1987, 2011, 2026, 2099])
def test_every_midnight_of_a_year_is_exact(zone: str, year: int) -> None:
    """The first microsecond of each day, and the last one before it: of a year, far apart, and of some days at once."""
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(366)]
    local = [datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)) for d in days]
    midnights = [i for i in ((m - EPOCH) // timedelta(microseconds=1) for m in local) if FIRST < i < LAST]
    instants = [i + off for i in midnights for off in (-1, 0, 1, 44 * 60 * SECOND, 45 * 60 * SECOND)]
    assert found(instants, zone) == expected(instants, zone)
    for start in range(0, len(instants), 50):
        some = instants[start : start + 50]
        assert found(some, zone) == expected(some, zone)


@pytest.mark.parametrize(
    ("before", "after", "day"),
    [
        # At 01:00 UTC clocks go forward or back, and the midnights around it are 23 and 25 hours apart.
        ("2026-03-28T22:59:59.999999+00:00", "2026-03-28T23:00:00+00:00", date(2026, 3, 29)),
        ("2026-03-29T21:59:59.999999+00:00", "2026-03-29T22:00:00+00:00", date(2026, 3, 30)),
        ("2026-10-24T21:59:59.999999+00:00", "2026-10-24T22:00:00+00:00", date(2026, 10, 25)),
        ("2026-10-25T22:59:59.999999+00:00", "2026-10-25T23:00:00+00:00", date(2026, 10, 26)),
    ],
)
def test_midnights_about_the_changes_of_clocks_in_stockholm(before: str, after: str, day: date) -> None:
    assert found([micros(before), micros(after)], "Europe/Stockholm") == [day - timedelta(days=1), day]


def test_the_hour_that_comes_twice_or_never_is_of_the_day_it_is_in() -> None:
    forward = [micros(f"2026-03-29T{time}+00:00") for time in ("00:59:59.999999", "01:00:00")]
    back = [micros(f"2026-10-25T{time}+00:00") for time in ("00:00:00", "00:59:59.999999", "01:00:00", "01:59:59")]
    assert found(forward + back, "Europe/Stockholm") == [date(2026, 3, 29)] * 2 + [date(2026, 10, 25)] * 4


def test_a_midnight_within_a_quarter_of_an_hour_and_a_day_that_never_was() -> None:
    # Monrovia was 44 minutes and 30 seconds behind.
    instants = [micros("1971-06-01T00:44:29.999999+00:00"), micros("1971-06-01T00:44:30+00:00")]
    assert found(instants, "Africa/Monrovia") == [date(1971, 5, 31), date(1971, 6, 1)]
    instants = [micros("2011-12-30T09:59:59.999999+00:00"), micros("2011-12-30T10:00:00+00:00")]
    assert found(instants, "Pacific/Apia") == [date(2011, 12, 29), date(2011, 12, 31)]


def test_of_no_instants_there_are_no_days() -> None:
    assert found([], "Europe/Stockholm") == []
