"""Nobody can tell from funnels, cohorts and paths how few a small group is: not from the total it is part of, not from
those who did not go on, nor from what comes to a content and goes on from it. The attacker is in attackers.py."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import combinations, pairwise, permutations
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.properties.attackers import Interval, what_can_be_told, worlds_of
from tests.properties.oracle_journeys import END, START
from tests.properties.oracle_people import Rules
from tests.properties.publications import compiled

MARTS = ("fct_funnels", "agg_retention_weekly", "agg_content_paths")
DAY = date(2026, 1, 5)  # a Monday


@pytest.fixture(scope="module", name="marts_of")
def marts_of_fixture(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[int, dict[str, str]] = {}

    def marts_of(smallest_group: int) -> dict[str, str]:
        if smallest_group not in made:
            made[smallest_group] = compiled(tmp_path_factory.mktemp("home"), Rules(smallest_group, 0.5), MARTS)
        return made[smallest_group]

    return marts_of


def rows_by_world(query: str, tables: Mapping[str, pa.Table], worlds: int) -> list[Any]:
    """What a mart makes of tables in which each world is a product of its own, called by its number."""
    found: list[set[tuple[Any, ...]]] = [set() for _ in range(worlds)]
    with duckdb.connect(config={"threads": 2}) as db:
        for name, rows in tables.items():
            db.register(name, rows)
        for product, *row in db.execute(f"select product, made.* exclude (product) from ({query}) as made").fetchall():
            found[int(product)].add(tuple(row))
    return [frozenset(rows) for rows in found]


def narrowest(
    published: Sequence[Any],
    counts: Sequence[dict[Any, int]],
    smallest_group: int,
    is_open: Iterable[bool] | None = None,
) -> int:
    """How many values the small group may have of which most is known, in the worlds that are open."""
    told: list[dict[Any, Interval]] = what_can_be_told(published, counts)
    return min(
        known[cell].width
        for known, of_world, counted in zip(told, counts, is_open or [True] * len(counts), strict=True)
        for cell, count in of_world.items()
        if counted and 0 < count < smallest_group
    )


# --- funnels ---------------------------------------------------------------------------------------------------------

STEPS = 4
SEED = pa.table(
    {
        "funnel": ["f"] * STEPS, "product": ["all"] * STEPS,
        "step_number": range(1, STEPS + 1), "step_name": [f"step {n}" for n in range(1, STEPS + 1)],
    }
)  # fmt: skip


def funnels_published(query: str, worlds: Sequence[Sequence[int]]) -> list[Any]:
    """What is published of worlds in which each device reached a step, 0 being none."""
    followed = [
        {"event_date": DAY, "funnel": "f", "product": str(world), "device_key": device, "last_step_number": last}
        for world, done in enumerate(worlds)
        for device, last in enumerate(done)
        if last
    ]
    tables = {"int_journeys__funnels_followed": pa.Table.from_pylist(followed), "funnels": SEED}
    return rows_by_world(query, tables, len(worlds))


def funnel_counts(done: Iterable[int]) -> dict[Any, int]:
    """How many reached each step, and how many of those who reached one did not reach each later one."""
    last = Counter(done)
    reached = [sum(last[number] for number in range(step, STEPS + 1)) for step in range(1, STEPS + 1)]
    left = {("left", a, b): reached[a] - reached[b] for a, b in combinations(range(STEPS), 2)}
    return dict(enumerate(reached)) | left


@pytest.mark.parametrize(("devices", "smallest_group"), [(8, 2), (12, 3)])
def test_no_step_gives_those_who_left(marts_of: Any, devices: int, smallest_group: int) -> None:
    worlds = [*worlds_of(range(STEPS + 1), devices)]
    published = funnels_published(marts_of(smallest_group)["fct_funnels"], worlds)
    assert len({*published}) > 10
    counts = [funnel_counts(done) for done in worlds]
    assert narrowest(published, counts, smallest_group) >= smallest_group

    # The attacker is one: where small counts alone are left out, differences tell of those who left.
    naive = [
        frozenset((step, n) for step, n in of.items() if isinstance(step, int) and n >= smallest_group) for of in counts
    ]
    assert narrowest(naive, counts, smallest_group) == 1


# --- cohorts ---------------------------------------------------------------------------------------------------------

# In which weeks a device is there.
Weeks = tuple[int, ...]


def weeks_of(count: int) -> list[Weeks]:
    return [weeks for number in range(1, count + 1) for weeks in combinations(range(count), number)]


def shown_in_weeks(world: Sequence[Weeks], smallest_group: int) -> dict[int, set[int]]:
    """The devices of each week that are a group which is shown."""
    weeks: dict[int, set[int]] = defaultdict(set)
    for device, there in enumerate(world):
        for week in there:
            weeks[week].add(device)
    return {week: devices for week, devices in weeks.items() if len(devices) >= smallest_group}


def cohort_counts(weeks: Mapping[int, set[int]]) -> dict[tuple[int, int], int]:
    """How many devices of each cohort are there in each week."""
    firsts = {device: min(week for week in weeks if device in weeks[week]) for of in weeks.values() for device in of}
    return Counter((firsts[device], week) for week, devices in weeks.items() for device in devices)


def cohorts_published(query: str, worlds: Sequence[Mapping[int, set[int]]]) -> list[Any]:
    """What is published of worlds, and with it how many were active in each week."""
    counted = [
        {
            "week_end_date": DAY + timedelta(7 * week + 6), "product": str(world),
            "first_week_end_date": DAY + timedelta(7 * first + 6), "devices_count": count,
        }
        for world, weeks in enumerate(worlds)
        for (first, week), count in cohort_counts(weeks).items()
    ]  # fmt: skip
    rows = rows_by_world(query, {"int_journeys__cohorts_counted": pa.Table.from_pylist(counted)}, len(worlds))
    totals = [frozenset((week, len(devices)) for week, devices in weeks.items()) for weeks in worlds]
    return [*zip(rows, totals, strict=True)]


def cohort_groups(weeks: Mapping[int, set[int]], count: int) -> dict[Any, int]:
    """How many of each cohort are there in each week, and how many are not."""
    counts = cohort_counts(weeks)
    cells = {(first, week): counts.get((first, week), 0) for week in range(count) for first in range(week + 1)}
    away = {("away", first, week): counts.get((first, first), 0) - n for (first, week), n in cells.items()}
    return cells | away


@pytest.mark.parametrize(("devices", "smallest_group"), [(8, 2), (10, 3)])
def test_no_week_gives_a_small_cohort_nor_those_who_are_away(marts_of: Any, devices: int, smallest_group: int) -> None:
    number = 3
    drawn = [shown_in_weeks(world, smallest_group) for world in worlds_of([(), *weeks_of(number)], devices)]
    # What is published depends on these counts alone.
    alike = {
        (*sorted(cohort_counts(weeks).items()), *sorted((week, len(of)) for week, of in weeks.items())): weeks
        for weeks in drawn
    }
    worlds = [*alike.values()]
    published = cohorts_published(marts_of(smallest_group)["agg_retention_weekly"], worlds)
    assert len({*published}) > 10
    counts = [cohort_groups(weeks, number) for weeks in worlds]
    # An attacker does not know how many devices there are. Here they would, where the weeks have more than there are.
    is_open = [sum(len(of) for of in weeks.values()) <= devices for weeks in worlds]
    assert narrowest(published, counts, smallest_group, is_open) >= smallest_group

    # The attacker is one: where small cohorts alone are left out, the weeks give them.
    naive = [
        (frozenset((cell, n) for cell, n in cohort_counts(weeks).items() if n >= smallest_group), of[1])
        for weeks, of in zip(worlds, published, strict=True)
    ]
    assert narrowest(naive, counts, smallest_group, is_open) == 1


# --- paths -----------------------------------------------------------------------------------------------------------

# What a device views, session by session.
Sessions = tuple[str, ...]


def paths_published(query: str, worlds: Sequence[Sequence[Sessions]], smallest_group: int) -> list[Any]:
    """What is published of worlds."""
    views, parts, groups = [], [], []
    for world, done in enumerate(worlds):
        group = {"event_date": DAY, "product": str(world)}
        sessions = [(device, number, path) for device, of in enumerate(done) for number, path in enumerate(of)]
        groups.append(group | {"platform": "web", "is_shown": len({d for d, _, _ in sessions}) >= smallest_group})
        for device, number, path in sessions:
            begins = datetime.combine(DAY, time(hour=number))
            of_session = group | {"device_key": device, "session_id": None}
            parts.append(
                of_session
                | {"fragment_key": f"{world}/{device}/{number}", "platform": "web", "is_bot": False}
                | {"content_views_count": len(path), "started_at": begins, "ended_at": begins + timedelta(minutes=9)}
            )
            views += [
                of_session
                | {"event_id": place, "event_type": "content_view", "occurred_at": begins + timedelta(minutes=place)}
                | {"content_id": content, "has_analytics_consent": True, "is_future": False}
                for place, content in enumerate(path)
            ]
    tables = {
        "int_events__events_deduplicated": pa.Table.from_pylist(views),
        "int_audience__session_fragments_split": pa.Table.from_pylist(parts),
        "int_audience__groups_counted": pa.Table.from_pylist(groups),
    }
    of_text = {name: table.cast(_with_text(table.schema)) for name, table in tables.items()}
    return rows_by_world(query, of_text, len(worlds))


def _with_text(schema: pa.Schema) -> pa.Schema:
    """The schema with text where nothing says a type."""
    return pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema])


def path_groups(done: Sequence[Sessions], contents: str) -> dict[Any, int]:
    """How many devices went each way, started with each content, and ended with it."""
    met: dict[Any, set[int]] = {way: set() for way in permutations(contents, 2)}
    met |= {way: set() for content in contents for way in ((START, content), (content, END))}
    for device, sessions in enumerate(done):
        for path in sessions:
            for way in pairwise([START, *path, END]):
                met[way].add(device)
    return {way: len(devices) for way, devices in met.items()}


IN_SESSIONS: list[Sessions] = [
    (), ("a",), ("b",), ("ab",), ("ba",), ("aba",), ("bab",), ("a", "b"), ("ab", "a"), ("ab", "b"), ("ba", "a"),
    ("ba", "b"),
]  # fmt: skip


def test_no_content_gives_those_who_went_a_rare_way(marts_of: Any) -> None:
    contents, smallest_group = "ab", 2
    worlds = [*worlds_of(IN_SESSIONS, 5)]
    published = paths_published(marts_of(smallest_group)["agg_content_paths"], worlds, smallest_group)
    assert len({*published}) > 10
    counts = [path_groups(done, contents) for done in worlds]
    assert narrowest(published, counts, smallest_group) >= smallest_group

    # The attacker is one: where rare ways alone are left out, those who come and do not go on give them.
    naive = [frozenset((way, n) for way, n in of.items() if n >= smallest_group) for of in counts]
    assert narrowest(naive, counts, smallest_group) == 1
