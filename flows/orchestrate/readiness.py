"""For which days a dataset is present: read from the names of delivered files, and from when they were written.

A day is present when its rows came and nothing says that more of them were still to come. Files often name the day
they hold, and sources that deliver all day long put many files under one day. So the name alone would call a day
present at its first minute. What proves that it is over is a file written after its end.

- A file **names a day**: the day is present once a file of the dataset, this or a later one, was written after the
  day had ended.
- A file **names no day**: it makes the day before the one it was written on present, the last that had ended then.

Days are the organisation's. A file's time of writing is its modification time, but not after it landed: files that
waited while landing was down prove no more than when they came. A copy that carries too old a time opens a gate late,
never early. Where a path names several days, it names each of them.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

# A folder or a part of a name: 2026-11-21, dt=2026-11-21, 20261121 (also before a time: 20261121T0500), 2026/11/21.
_DAYS = re.compile(
    r"(?<![0-9A-Za-z])(?:(\d{4})-(\d{2})-(\d{2})|(\d{4})(\d{2})(\d{2})|(?<=/)(\d{4})/(\d{2})/(\d{2})(?=/))"
    r"(?![0-9A-SU-Za-su-z])"
)


def days_named(file: str) -> frozenset[date]:
    """The days that a file's path below the inbox names; what is no day of the calendar is none."""
    found = set()
    for groups in _DAYS.findall(f"/{file}"):
        year, month, day = (int(part) for part in groups if part)
        try:
            found.add(date(year, month, day))
        except ValueError:
            continue
    return frozenset(found)


class Presence:
    """For which days one dataset is present, by the files added so far. ``timezone`` is that of the days."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._named: set[date] = set()
        self._over: set[date] = set()
        self._last = date.min

    def add(self, files: Iterable[tuple[str, datetime]]) -> None:
        """Take in files that brought rows: the path of each below the inbox, and when it was written, aware."""
        for file, written_at in files:
            written_on = written_at.astimezone(self._zone).date()
            self._last = max(self._last, written_on)
            days = days_named(file)
            self._named |= days
            if not days:
                self._over.add(written_on - timedelta(days=1))

    def days(self) -> frozenset[date]:
        """The days that are present."""
        return frozenset(self._over | {day for day in self._named if day < self._last})
