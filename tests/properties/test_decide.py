"""Whatever the schedule, the downtimes and how often one asks: each slot begins once and in order, and none is lost.

The slots a cron should have are worked out here in another way, minute by minute, from the rules of Debian's cron.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume
from hypothesis import strategies as st

from flows.orchestrate.due import Decision, cron_slots, slot_of_instant
from flows.orchestrate.job import Cron, Job, Requires, Success
from tests.support.examples import Examples
from tests.support.schedules import World, a_job, utc

EXAMPLES = Examples(few=6, many=30)
MINUTE = timedelta(minutes=1)
# Around both changes of the clock in Europe, both in America, and a plain week.
BEGINNINGS = ["2026-03-27 00:00", "2026-10-23 00:00", "2026-03-06 00:00", "2026-10-30 00:00", "2026-06-01 00:00"]
ZONES = ["Europe/Stockholm", "America/New_York", "UTC", "Asia/Kolkata"]


@dataclass(frozen=True)
class Times:
    """A cron by its parts; None is a star."""

    minutes: frozenset[int] | None
    hours: frozenset[int] | None
    weekdays: frozenset[int] | None
    zone: str

    @property
    def cron(self) -> Cron:
        fields = (self.minutes, self.hours, None, None, self.weekdays)
        return Cron(" ".join("*" if f is None else ",".join(map(str, sorted(f))) for f in fields), self.zone)

    def matches(self, local: datetime) -> bool:
        return (
            (self.minutes is None or local.minute in self.minutes)
            and (self.hours is None or local.hour in self.hours)
            and (self.weekdays is None or local.isoweekday() % 7 in self.weekdays)
        )

    def expected(self, begins: datetime, ends: datetime) -> list[datetime]:
        """The slots after ``begins`` up to ``ends``, by looking at every minute."""
        zone, found = ZoneInfo(self.zone), set()
        if self.minutes is None or self.hours is None:
            minutes = (begins + n * MINUTE for n in range((ends - begins) // MINUTE + 1))
            found = {minute for minute in minutes if self.matches(minute.astimezone(zone))}
        else:
            first = begins.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
            for n in range((ends - begins) // MINUTE + 2 * 24 * 60):
                if self.matches(wall := first + n * MINUTE):
                    while (moment := wall.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(
                        tzinfo=None
                    ) != wall:
                        wall += MINUTE  # the clock never shows it: the first minute after the gap
                    found.add(moment)
        return sorted(slot for slot in found if begins < slot <= ends)


def crons() -> st.SearchStrategy[Times]:
    minutes = st.frozensets(st.sampled_from([0, 1, 15, 30, 59]), min_size=1, max_size=2)
    hours = st.frozensets(st.integers(0, 5) | st.sampled_from([12, 23]), min_size=1, max_size=3)
    weekdays = st.none() | st.frozensets(st.integers(0, 6), min_size=1, max_size=3)
    return st.builds(Times, minutes, st.none() | hours, weekdays, st.sampled_from(ZONES))


# From what is asked again and again to less than once a day.
STEPS = st.lists(st.integers(25, 2000), min_size=1, max_size=4)
DOWNTIMES = st.lists(st.tuples(st.integers(0, 5 * 24 * 60), st.integers(0, 3 * 24 * 60)), max_size=3)


def live(world: World, ends: datetime, steps: list[int], downtimes: list[tuple[int, int]]) -> None:
    """Ask every ``every`` minutes, but never while the machine is down, and once at the end."""
    begins = world.now
    for minute in asked(int((ends - begins) / MINUTE), steps):
        if not any(start <= minute < start + length for start, length in downtimes):
            world.now = begins + minute * MINUTE
            world.run()
    world.now = ends
    world.run()


def asked(minutes: int, steps: list[int]) -> Iterator[int]:
    minute = 0
    for step in cycle(steps):
        minute += step
        if minute >= minutes:
            return
        yield minute


@EXAMPLES.of(crons(), st.sampled_from(BEGINNINGS), st.integers(0, 24 * 60))
def test_the_slots_of_a_cron_are_those_of_its_rules(times: Times, beginning: str, minutes: int) -> None:
    begins = utc(beginning) + minutes * MINUTE
    ends = begins + timedelta(days=5)
    assert cron_slots(times.cron, begins + MINUTE, ends) == times.expected(begins, ends)


@EXAMPLES.of(st.lists(crons(), min_size=1, max_size=3), st.sampled_from(BEGINNINGS), STEPS, STEPS, DOWNTIMES)
def test_however_often_one_asks_each_slot_begins_once_and_in_order(
    times: list[Times], beginning: str, steps: list[int], others: list[int], downtimes: list[tuple[int, int]]
) -> None:
    begins, jobs = utc(beginning), [a_job(f"job_{n}", each.cron) for n, each in enumerate(times)]
    followers = [a_job(f"after_{n}", Success((f"job_{n}",))) for n in range(len(times))]
    ends = begins + timedelta(days=3)  # the clock changes on the third
    worlds = [World([*followers, *jobs], begins + timedelta(seconds=1)) for _ in range(2)]
    live(worlds[0], ends, steps, downtimes)
    live(worlds[1], ends, others, [])
    for n, each in enumerate(times):
        expected = [slot_of_instant(slot) for slot in each.expected(begins, ends)]
        for world in worlds:
            assert world.slots(f"job_{n}") == expected
            assert world.slots(f"after_{n}") == expected
            assert all(slot < later for slot, later in pairwise(world.slots(f"job_{n}")))


@EXAMPLES.of(crons(), st.sampled_from(BEGINNINGS), STEPS, DOWNTIMES)
def test_of_latest_nothing_begins_twice_and_the_newest_always_does(
    times: Times, beginning: str, steps: list[int], downtimes: list[tuple[int, int]]
) -> None:
    begins = utc(beginning)
    ends = begins + timedelta(days=5)
    expected = [slot_of_instant(slot) for slot in times.expected(begins, ends)]
    assume(expected)
    world = World([a_job("job", times.cron, catch_up="latest")], begins + timedelta(seconds=1))
    live(world, ends, steps, downtimes)
    slots = world.slots("job")
    assert slots[-1] == expected[-1]
    assert set(slots) <= set(expected)
    assert all(slot < later for slot, later in pairwise(slots))


@EXAMPLES.of(
    crons(),
    st.sampled_from(BEGINNINGS),
    STEPS,
    st.lists(st.none() | st.integers(0, 3 * 24 * 60), min_size=8, max_size=8),
    st.frozensets(st.integers(0, 20)),
)
def test_data_late_or_never_and_failures_lose_no_slot_whose_data_came(
    times: Times, beginning: str, steps: list[int], delays: list[int | None], failing: frozenset[int]
) -> None:
    """Each day's data comes this many minutes after the day, or never."""
    begins, zone = utc(beginning), ZoneInfo(times.zone)
    ends = begins + timedelta(days=5)
    job: Job = a_job("job", times.cron, requires=(Requires("events"),))
    world = World([job], begins + timedelta(seconds=1))
    world.zone = times.zone
    expected = times.expected(begins, ends)
    fails = {slot_of_instant(slot) for n, slot in enumerate(expected) if n in failing}

    def outcome(decision: Decision) -> bool:
        assert world.present is not None
        assert decision.day - timedelta(days=1) in world.present["events"]
        return decision.slot not in fails

    world.outcome = outcome
    first = begins.astimezone(zone).date() - timedelta(days=1)
    comes = {
        first + timedelta(days=n): begins + timedelta(days=n, minutes=delay)
        for n, delay in enumerate(delays)
        if delay is not None
    }
    for minute in [*asked(int((ends - begins) / MINUTE), steps), int((ends - begins) / MINUTE)]:
        world.now = begins + minute * MINUTE
        assert world.present is not None
        world.present["events"] = {day for day, moment in comes.items() if moment <= world.now}
        world.run()
    came = {day for day, moment in comes.items() if moment <= ends}
    whole = [slot for slot in expected if slot.astimezone(zone).date() - timedelta(days=1) in came]
    assert sorted(world.slots("job")) == [slot_of_instant(slot) for slot in whole]
    assert {d.slot for d in world.decisions()} == {slot_of_instant(slot) for slot in set(expected) - set(whole)}
    assert all(d.state == "waits" for d in world.decisions())
