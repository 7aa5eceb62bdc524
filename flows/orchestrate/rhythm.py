"""When a source is silent against its own rhythm: learned from its deliveries, without a word of configuration.

Counted are the hours in which a source delivered anything. It is silent when it has brought nothing since some hour,
and in the same hours of the week it used to bring something in at least :data:`MISSED` hours: in **each** of the weeks
before that are known, up to :data:`WEEKS`, and at least :data:`LEAST_WEEKS` of them. So nights, weekends and a source
that comes once a week need no setting, and a quiet week leaves more room for the next four.

A silence longer than a week is compared with earlier times of as many weeks. The hour at hand is not over, and does not
count. Hours are those of UTC.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

# Hours in which something used to come and did not, until a source is silent: three days of a daily source.
MISSED = 3
WEEKS = 4
LEAST_WEEKS = 2
HOURS_OF_A_WEEK = 7 * 24
# Deliveries further back say nothing of today's rhythm.
KEPT_HOURS = 400 * 24


@dataclass(frozen=True)
class Silence:
    """A source and dataset that brings nothing: since when, in UTC to the hour, and in how many of the hours since then
    it used to bring something, in each of the times before."""

    source: str
    dataset: str
    last_at: datetime
    usual_hours: int
    times: int


class Rhythms:
    """The hours in which each source and dataset delivered, as far as they were added."""

    def __init__(self) -> None:
        self._hours: dict[tuple[str, str], list[int]] = {}

    def add(self, deliveries: Iterable[tuple[str, str, datetime]]) -> None:
        """Take in deliveries: source, dataset, and when, aware."""
        for source, dataset, moment in deliveries:
            hours, hour = self._hours.setdefault((source, dataset), []), _hour(moment)
            at = bisect_left(hours, hour)
            if at == len(hours) or hours[at] != hour:
                insort(hours, hour)
                del hours[: bisect_left(hours, hours[-1] - KEPT_HOURS)]

    def silent(self, now: datetime) -> Iterator[Silence]:
        """Who is silent now, by source and dataset."""
        for (source, dataset), hours in sorted(self._hours.items()):
            usual, times = usual_hours(hours, _hour(now))
            if usual >= MISSED:
                yield Silence(source, dataset, datetime.fromtimestamp(hours[-1] * 3600, UTC), usual, times)


def usual_hours(hours: list[int], now: int) -> tuple[int, int]:
    """In how many of the hours since the last delivery something used to come, at least, and in how many times before
    that was so; (0, 0) where too few are known. ``hours`` are in order, each once."""
    first, last = hours[0], hours[-1]
    weeks = -(-(now - last) // HOURS_OF_A_WEEK)
    counts = []
    for time in range(1, WEEKS + 1):
        back = time * max(weeks, 1) * HOURS_OF_A_WEEK
        begins, ends = last + 1 - back, now - back
        if begins <= first:
            break
        counts.append(bisect_left(hours, ends) - bisect_left(hours, begins))
    return (min(counts), len(counts)) if len(counts) >= LEAST_WEEKS else (0, 0)


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)
