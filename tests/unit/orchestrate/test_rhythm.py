"""A source is silent when it misses what it used to bring at the same time of the week, and not before."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import pytest

from flows.orchestrate.rhythm import MISSED, Rhythms, Silence
from tests.support.schedules import utc

MONDAY = utc("2026-03-02 00:00")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def days(weekdays: Iterable[int], hours: Iterable[int], weeks: int = 8) -> Iterator[datetime]:
    """Deliveries at these hours of these days of the week (0 is Monday), for this many weeks from a Monday on."""
    for day in range(weeks * 7):
        if day % 7 in weekdays:
            yield from (MONDAY + day * DAY + hour * HOUR for hour in hours)


EVERY_DAY, WEEKDAYS, OFFICE = range(7), range(5), range(8, 18)
RHYTHMS = {
    "every hour": list(days(EVERY_DAY, range(24))),
    "office hours": list(days(WEEKDAYS, OFFICE)),
    "once a day": list(days(EVERY_DAY, [6])),
    "once a weekday": list(days(WEEKDAYS, [6])),
    "once a week": list(days([0], [6], weeks=20)),
}


def silence(deliveries: Iterable[datetime], now: datetime) -> Silence | None:
    rhythms = Rhythms()
    rhythms.add(("web", "events", moment) for moment in deliveries)
    return next(rhythms.silent(now), None)


def heard_until(deliveries: list[datetime], last: datetime) -> timedelta:
    """How long after its last delivery a source that stops is called silent."""
    known = [moment for moment in deliveries if moment <= last]
    now = last
    while silence(known, now) is None:
        now += HOUR
        assert now - last < 60 * DAY, "never"
    return now - last


@pytest.mark.parametrize("name", RHYTHMS)
def test_a_source_that_keeps_its_rhythm_is_never_silent(name: str) -> None:
    deliveries = RHYTHMS[name]
    rhythms = Rhythms()
    due = iter([*deliveries, deliveries[-1] + 365 * DAY])
    comes, now = next(due), MONDAY
    while now <= deliveries[-1]:
        while comes <= now:
            rhythms.add([("web", "events", comes)])
            comes = next(due)
        assert list(rhythms.silent(now)) == [], now
        now += HOUR


@pytest.mark.parametrize(
    ("name", "last", "after"),
    [
        ("every hour", "2026-04-15 10:00", MISSED * HOUR + HOUR),
        ("office hours", "2026-04-15 10:00", MISSED * HOUR + HOUR),
        ("office hours", "2026-04-15 17:00", 18 * HOUR),  # the night, and three hours of the next morning
        ("office hours", "2026-04-17 17:00", 2 * DAY + 18 * HOUR),  # and the weekend
        ("once a day", "2026-04-15 06:00", 3 * DAY + HOUR),
        ("once a weekday", "2026-04-15 06:00", 5 * DAY + HOUR),
        ("once a week", "2026-07-06 06:00", 21 * DAY + HOUR),
    ],
)
def test_one_that_stops_is_silent_once_it_missed_three_hours_in_which_it_used_to_come(
    name: str, last: str, after: timedelta
) -> None:
    assert heard_until(RHYTHMS[name], utc(last)) == after


def test_a_silence_says_since_when_and_against_what() -> None:
    known = [moment for moment in RHYTHMS["once a day"] if moment <= utc("2026-04-15 06:00")]
    found = silence([moment + timedelta(minutes=17) for moment in known], utc("2026-04-18 07:05"))
    assert found == Silence("web", "events", utc("2026-04-15 06:00"), usual_hours=3, times=4)


def test_one_that_comes_again_is_silent_no_more() -> None:
    known = [moment for moment in RHYTHMS["every hour"] if moment <= utc("2026-04-15 10:00")]
    assert silence(known, utc("2026-04-15 20:00")) is not None
    assert silence([*known, utc("2026-04-15 19:30")], utc("2026-04-15 20:00")) is None


def test_a_rhythm_is_known_after_two_weeks_and_a_load_at_once_is_none() -> None:
    assert silence(list(days(EVERY_DAY, range(24), weeks=2)), MONDAY + 14 * DAY + 6 * HOUR) is None
    assert silence(list(days(EVERY_DAY, range(24), weeks=3)), MONDAY + 21 * DAY + 6 * HOUR) is not None
    assert silence([MONDAY], MONDAY + 100 * DAY) is None


def test_a_week_in_which_it_was_quiet_is_no_reason_to_call_in_the_next() -> None:
    wednesday = MONDAY + 44 * DAY
    quiet = [m for m in RHYTHMS["every hour"] if not wednesday - 7 * DAY <= m < wednesday - 6 * DAY]
    known = [moment for moment in quiet if moment < wednesday]
    assert silence(known, wednesday + 12 * HOUR) is None
    assert silence(known, wednesday + 24 * HOUR + (MISSED + 1) * HOUR) is not None


def test_many_files_of_an_hour_count_once_and_in_any_order() -> None:
    burst = [m + timedelta(seconds=n) for m in RHYTHMS["once a day"][:40] for n in (30, 3, 0, 20)]
    assert silence(burst, burst[-1] + 2 * DAY + 2 * HOUR) is None


def test_sources_and_datasets_are_apart() -> None:
    rhythms = Rhythms()
    known = [moment for moment in RHYTHMS["every hour"] if moment <= utc("2026-04-15 10:00")]
    rhythms.add(("web", "events", moment) for moment in RHYTHMS["every hour"])
    rhythms.add(("web", "calls", moment) for moment in known)
    rhythms.add(("app", "events", moment) for moment in known)
    found = rhythms.silent(utc("2026-04-15 20:00"))
    assert [(s.source, s.dataset) for s in found] == [("app", "events"), ("web", "calls")]
