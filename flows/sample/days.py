"""The days of a sample: their bounds, and how many events fall on each day and hour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import accumulate, pairwise
from zoneinfo import ZoneInfo

FIRST_DAY = date(2026, 1, 1)
TIME_ZONE = ZoneInfo("Europe/Stockholm")
EVENTS_PER_BLOCK = 150_000
# Activity by day of the week from Monday, and by hour of the day.
WEEK = (1.0, 1.02, 1.0, 1.03, 0.94, 0.78, 0.9)
HOURS = (2, 1, 0.6, 0.5, 0.6, 1.5, 4, 7, 6.5, 5, 4.5, 5, 6, 5, 4.5, 4.5, 5, 5.5, 6, 7, 8, 8.5, 6.5, 4)


@dataclass(frozen=True)
class Day:
    number: int
    date: date
    start_ms: int
    end_ms: int
    events: int


def calendar_of(events: int, days: int) -> list[Day]:
    """The days with their bounds in UTC, and the events among them as the week and chance have it."""
    dates = [FIRST_DAY + timedelta(days=number) for number in range(days)]
    # Growth of a fifth a year and some weather: a slow wave that needs no random number.
    weights = [
        WEEK[day.weekday()] * (1 + 0.2 * number / 365) * (1 + 0.04 * math.sin(number * 2.399))
        for number, day in enumerate(dates)
    ]
    counts = shares_of(events, weights)
    midnights = [_midnight_ms(day) for day in [*dates, dates[-1] + timedelta(days=1)]]
    return [
        Day(number, day, midnights[number], midnights[number + 1], counts[number]) for number, day in enumerate(dates)
    ]


def shares_of(total: int, weights: list[float]) -> list[int]:
    """Whole numbers in proportion to the weights that add up to `total`."""
    before = [0, *accumulate(weights)]
    bounds = [round(total * part / before[-1]) for part in before]
    return [upper - lower for lower, upper in pairwise(bounds)]


def blocks_of(days: list[Day]) -> Iterator[list[Day]]:
    """Runs of days that are made together: enough events to be worth a statement, few enough for memory."""
    block: list[Day] = []
    for day in days:
        block.append(day)
        if sum(day.events for day in block) >= EVENTS_PER_BLOCK:
            yield block
            block = []
    if block:
        yield block


def hours_of(day: Day) -> list[tuple[int, float, int, int]]:
    """The day's hours, each with the share of activity before it and its quarter of the day.

    A day on which the clocks change has 23 or 25 of them.
    """
    starts = range(day.start_ms, day.end_ms, 3_600_000)
    hours = [datetime.fromtimestamp(start / 1000, TIME_ZONE).hour for start in starts]
    before = [0.0, *accumulate(HOURS[hour] for hour in hours)]
    return [
        (day.number, low / before[-1], start, hour // 6)
        for low, start, hour in zip(before, starts, hours, strict=False)
    ]


def _midnight_ms(day: date) -> int:
    """When a day begins in Stockholm, in milliseconds since 1970 in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=TIME_ZONE).timestamp()) * 1000
