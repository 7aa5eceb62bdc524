"""What the events come to in aggregates of people's ways: funnels, cohorts, and paths from content to content. Written
plainly, as tests/properties/oracle_people.py has the other aggregates of people."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from itertools import groupby, pairwise
from typing import Any, NamedTuple
from uuid import UUID

from tests.properties import oracle_people
from tests.properties.oracle import Event, for_analytics, local_day, parts_of_days, seed
from tests.properties.oracle_people import Rules


def is_enough_left(count: int, rules: Rules) -> bool:
    """Whether those left of a group, once a part of it is shown, are enough; they always are where one is."""
    return rules.smallest_group == 1 or count >= rules.smallest_group


def parts_shown(events: list[Event], rules: Rules) -> list[tuple[date, str, UUID, list[Event]]]:
    """What each session did in each of its days, of the groups that are shown."""
    parts = parts_of_days(events)
    groups: dict[Any, set[UUID]] = defaultdict(set)
    for group, device, _, _ in parts:
        groups[group].add(device)
    return [
        (group[0], group[1], device, part)
        for group, device, _, part in parts
        if len(groups[group]) >= rules.smallest_group
    ]


# --- funnels ---------------------------------------------------------------------------------------------------------


class FunnelStep(NamedTuple):
    event_date: date
    funnel: str
    product: str
    step_number: int
    step_name: str
    devices_count: int | None
    previous_devices_count: int | None
    reached_rate: float | None
    is_suppressed: bool


def fct_funnels(events: list[Event], rules: Rules) -> list[FunnelStep]:
    """One row per day of the first step, funnel, product and step, of those with enough devices at the first."""
    shown = {(day, product, device) for day, product, device, _ in parts_shown(events, rules)}
    counted = [e for e in for_analytics(events) if not e["is_bot"]]
    counted = [e for e in counted if (local_day(e["occurred_at"]), e["product"], e["device_key"]) in shown]
    by_device: dict[tuple[str, UUID], list[Event]] = defaultdict(list)
    for e in sorted(counted, key=lambda e: (e["occurred_at"], e["event_id"])):
        by_device[e["product"], e["device_key"]].append(e)
    rows = []
    for (funnel, for_product), found in groupby(seed("funnels"), lambda step: (step["funnel"], step["product"])):
        steps = sorted(found, key=lambda step: int(step["step_number"]))
        reached: Counter[tuple[date, str, int]] = Counter()
        for (product, _), done in by_device.items():
            if for_product in ("all", product):
                for day, last in _last_steps(done, steps).items():
                    reached.update((day, product, number) for number in range(last))
        for day, product in {(day, product) for day, product, _ in reached}:
            counts = [reached[day, product, number] for number in range(len(steps))]
            for number, (count, before) in enumerate(_counts_shown(counts, rules)):
                rate = None if count is None or before is None else count / before
                rows.append(
                    FunnelStep(
                        day, funnel, product, number + 1, steps[number]["step_name"], count, before, rate, count is None
                    )
                )
    return rows


def _last_steps(events: list[Event], steps: list[dict[str, str]]) -> dict[date, int]:
    """How far a device got, by the day on which it began; its events are in order."""
    followed = {"content": "content_id", "advert": "advert_id"}.get(steps[0]["follows"])
    things = {e[followed] for e in events} - {None} if followed else {None}
    last: dict[date, int] = defaultdict(int)
    for thing in things:
        of_thing = [e for e in events if followed is None or e[followed] == thing]
        begun: set[date] = set()
        for place, first in enumerate(of_thing):
            day = local_day(first["occurred_at"])
            if day in begun or not _is_step(first, steps[0]):
                continue
            begun.add(day)
            ends_at = first["occurred_at"] + timedelta(hours=int(steps[0]["window_hours"]))
            number = 1
            for e in of_thing[place + 1 :]:
                is_within = e["occurred_at"] <= ends_at and (local_day(e["occurred_at"]) - day).days <= 1
                if number < len(steps) and is_within and _is_step(e, steps[number]):
                    number += 1
            last[day] = max(last[day], number)
    return last


def _is_step(event: Event, step: Mapping[str, str]) -> bool:
    if event["event_type"] != step["event_type"]:
        return False
    if any(step[name] and step[name] != event[name] for name in ("content_type", "reaction", "channel")):
        return False
    return not step["min_depth"] or (event["depth"] is not None and event["depth"] >= float(step["min_depth"]))


def _counts_shown(counts: list[int], rules: Rules) -> list[tuple[int | None, int | None]]:
    """Of each step its count and that of the step before it, where they are shown."""
    if counts[0] < rules.smallest_group:
        return []
    last = counts[0]
    found: list[int | None] = [last]
    for count in counts[1:]:
        is_shown = count >= rules.smallest_group and is_enough_left(last - count, rules)
        last = count if is_shown else last
        found.append(count if is_shown else None)
    return [*zip(found, [None, *found], strict=False)]


# --- cohorts ---------------------------------------------------------------------------------------------------------


class Retention(NamedTuple):
    cohort_week_start_date: date
    product: str
    week_number: int
    week_start_date: date
    cohort_devices_count: int
    devices_count: int | None
    retention_rate: float | None
    is_suppressed: bool


def agg_retention_weekly(events: list[Event], rules: Rules) -> list[Retention]:
    """One row per cohort that is shown, product and week since in which anybody was there."""
    weeks: dict[str, dict[date, set[UUID]]] = defaultdict(lambda: defaultdict(set))
    for day, product, device, _ in parts_shown(events, rules):
        for name in (product, "all"):
            weeks[name][day - timedelta(day.weekday())].add(device)
    rows = []
    for product, active in weeks.items():
        cells = _cells_shown(active, rules)
        for cohort in {week for first, week in cells if first == week}:
            size = cells[cohort, cohort]
            for week in sorted(week for week in active if week >= cohort):
                count = cells.get((cohort, week))
                rate = None if count is None else count / size
                number = (week - cohort).days // 7
                rows.append(Retention(cohort, product, number, week, size, count, rate, is_suppressed=count is None))
    return rows


def _cells_shown(active: Mapping[date, set[UUID]], rules: Rules) -> dict[tuple[date, date], int]:
    """How many devices of each cohort were there in each week, where that is shown. Those of the first week are no
    cohort: how many come back of them is among what is left out of a week, which must not be few, nor tell, where it is
    all theirs, that few do not."""
    firsts: dict[UUID, date] = {}
    for week in sorted(active):
        for device in active[week]:
            firsts.setdefault(device, week)
    sizes = Counter(firsts.values())
    found: dict[tuple[date, date], int] = {}
    for later_cohorts, (week, devices) in enumerate(sorted(active.items())):
        counts = Counter(firsts[device] for device in devices)
        shown = {
            cohort: count
            for cohort, count in counts.items()
            if cohort != min(active)
            and count >= rules.smallest_group
            and (cohort == week or is_enough_left(sizes[cohort] - count, rules))
        }
        left_out = len(devices) - sum(shown.values())
        is_told = len(shown) == later_cohorts and not is_enough_left(sizes[min(active)] - left_out, rules)
        if shown and (is_told or not is_enough_left(left_out, rules)):
            del shown[min(shown, key=lambda cohort: (shown[cohort], cohort))]
        found |= {(cohort, week): count for cohort, count in shown.items()}
    return found


# --- paths -----------------------------------------------------------------------------------------------------------


class Path(NamedTuple):
    event_date: date
    product: str
    previous_content_id: str
    next_content_id: str
    transitions_count: int
    devices_count: int


START, END = "(start)", "(end)"
# From one content to another.
Way = tuple[str, str]


def agg_content_paths(events: list[Event], rules: Rules) -> list[Path]:
    """One row per day, product, previous and next content, with what is cut between two of them at start and end."""
    sessions: dict[tuple[date, str], list[tuple[UUID, list[str]]]] = defaultdict(list)
    for day, product, device, part in parts_shown(events, rules):
        views = (e["content_id"] for e in part if e["event_type"] == "content_view")
        if contents := [content for content, _ in groupby(views)]:
            sessions[day, product].append((device, contents))
    rows = []
    for key, done in sessions.items():
        gone: dict[Way, Counter[UUID]] = defaultdict(Counter)
        for device, contents in done:
            for way in pairwise([START, *contents, END]):
                gone[way][device] += 1
        for way, counts in _cut(gone, rules).items():
            if len(counts) >= rules.smallest_group:
                rows.append(Path(*key, *way, counts.total(), len(counts)))
    return rows


def _cut(gone: Mapping[Way, Counter[UUID]], rules: Rules) -> Mapping[Way, Counter[UUID]]:
    """How often each device went each way, cut where few did; nothing where too little would be cut."""
    small = {way for way in gone if not {START, END} & {*way} and len(gone[way]) < rules.smallest_group}
    ways = {way: len(devices) for way, devices in gone.items() if not {START, END} & {*way} and way not in small}
    cut = {*small}

    def cut_too(few: Iterable[UUID], others: Iterable[Way]) -> bool:
        """Where these are few, the least travelled of the other ways is cut as well; False where there is none."""
        if is_enough_left(len({*few}), rules):
            return True
        least = min(others, key=lambda way: (ways[way], way), default=None)
        cut.update([least] if least else [])
        return least is not None

    for content in {content for way in gone for content in way} - {START, END}:
        ends = [d for way in gone if way[0] == content and (way in small or way[1] == END) for d in gone[way]]
        cut_too(ends, [way for way in ways if way[0] == content])
        starts = [d for way in gone if way[1] == content and (way in small or way[0] == START) for d in gone[way]]
        cut_too(starts, [way for way in ways if way[1] == content])
    if not cut_too([device for way in small for device in gone[way]], ways):
        return {}
    found: dict[Way, Counter[UUID]] = defaultdict(Counter)
    for way, counts in gone.items():
        for part in [(way[0], END), (START, way[1])] if way in cut else [way]:
            found[part] += counts
    return found


# --- all of them -----------------------------------------------------------------------------------------------------

# Each mart that events make, the columns of it that are known here, and its rows.
MARTS: dict[str, tuple[type[Any], Callable[[list[Event], Rules], list[Any]]]] = {
    **oracle_people.MARTS,
    "fct_funnels": (FunnelStep, fct_funnels),
    "agg_retention_weekly": (Retention, agg_retention_weekly),
    "agg_content_paths": (Path, agg_content_paths),
}
