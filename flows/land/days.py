"""The organisation's day of each of many instants, worked out once for each quarter of an hour of the data."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

# Clocks are set forward and back, and midnight comes, at a quarter of an hour in UTC nearly everywhere and always.
SLOT_MICROSECONDS = 15 * 60 * 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What `slot_day` gives of a slot in which a day begins.
TWO_DAYS = np.iinfo(np.int32).min


def local_days(instants: np.ndarray, zone: str) -> np.ndarray:
    """The day in a time zone of each instant.

    ``instants`` are microseconds since 1970 UTC (int64), ``zone`` is an IANA name. Gives days since 1970 (int32), as
    Arrow's date32 holds them.
    """
    if not len(instants):
        return np.empty(0, np.int32)
    slots = instants // SLOT_MICROSECONDS
    first, last = int(slots.min()), int(slots.max())
    if last - first < 4 * len(slots) + 1_000:
        # A look-up is cheaper than sorting, where the instants lie close together.
        there = np.zeros(last - first + 1, bool)
        there[slots - first] = True
        of_slot = np.zeros(last - first + 1, np.int32)
        found = np.flatnonzero(there)
        of_slot[found] = [slot_day(int(slot) + first, zone) for slot in found]
        days = of_slot[slots - first]
    else:
        unique, position = np.unique(slots, return_inverse=True)
        days = np.array([slot_day(int(slot), zone) for slot in unique], np.int32)[position]
    for row in np.flatnonzero(days == TWO_DAYS):
        days[row] = day_of(int(instants[row]), zone)
    return np.asarray(days, np.int32)


@lru_cache(maxsize=1 << 17)
def slot_day(slot: int, zone: str) -> int:
    """The day of every instant of a quarter of an hour, or ``TWO_DAYS`` where a day begins in it."""
    first = day_of(slot * SLOT_MICROSECONDS, zone)
    last = day_of((slot + 1) * SLOT_MICROSECONDS - 1, zone)
    return first if first == last else TWO_DAYS


def day_of(instant: int, zone: str) -> int:
    """The day of one instant, both as in :func:`local_days`."""
    local = (EPOCH + timedelta(microseconds=instant)).astimezone(ZoneInfo(zone))
    return (local.date() - date(1970, 1, 1)).days
