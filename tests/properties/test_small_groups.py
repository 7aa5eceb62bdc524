"""Nobody can tell how few a small group is: not from the totals that hold it, nor from longer periods, windows that
overlap, or two versions kept side by side. The attacker is in tests/properties/attackers.py."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, product
from typing import Any

import pytest

from tests.properties.attackers import (
    Interval,
    devices_by_role,
    numbered,
    visits_of,
    what_can_be_told,
    worlds_of,
)  # fmt: skip
from tests.properties.oracle_people import Rules
from tests.properties.publications import ACTIVE, ENJOYER, READER, Group, Publication, Publisher, Visit, World

EVERYBODY = Rules(smallest_group=1, largest_share=1)
# What a device may do: nothing, or one or more of these at once.
Choices = Sequence[tuple[Visit, ...]]


@pytest.fixture(scope="module", name="publisher_of")
def publisher_of_fixture(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[Rules, Publisher] = {}

    def publisher_of(rules: Rules) -> Publisher:
        if rules not in made:
            made[rules] = Publisher(tmp_path_factory.mktemp("home"), rules)
        return made[rules]

    return publisher_of


def some_of(visits: Sequence[Visit]) -> Choices:
    return [*chain.from_iterable(combinations(visits, number) for number in range(len(visits) + 1))]


def visits_to(days: Iterable[int], products: Iterable[str], platforms: Iterable[str]) -> list[Visit]:
    return [Visit(Group(*slot), device=0) for slot in product(days, products, platforms)]


# What a device may do in a small world. Of a day, a device may be anywhere at once; over days it has one platform, and
# is on one product. 29 January, 2 and 5 February: two months and two weeks, and two windows of 7 days.
ON_A_DAY = some_of(visits_to([0], ["news", "sport"], ["tv", "web"]))
OVER_DAYS = sorted(
    {*some_of(visits_to([0, 4, 7], ["news"], ["tv"])), *some_of(visits_to([0, 4, 7], ["news"], ["web"]))}
)
IN_ROLES = [
    tuple(Visit(Group(0, "news", platform), 0, role, "c") for platform, role in doing if role is not None)
    for doing in product(
        *([(platform, role) for role in (None, ACTIVE, READER, ENJOYER)] for platform in ("tv", "web"))
    )
]
LONG = pytest.mark.long
# What devices may do, how many of them there are, and how many make a group that is shown. Of four devices there are
# five times as many worlds as of three.
SMALL_WORLDS = {
    "products and platforms of a day": (ON_A_DAY, 3, 2),
    "days, weeks, months and windows": (OVER_DAYS, 3, 2),
    "readers and enjoyers": (IN_ROLES, 3, 2),
    "four on products and platforms of a day": (ON_A_DAY, 4, 3),
    "four in days, weeks, months and windows": (OVER_DAYS, 4, 2),
    "four readers and enjoyers": (IN_ROLES, 4, 2),
}


def groups_of(choices: Choices) -> list[Group]:
    return sorted({visit.group for visits in choices for visit in visits})


def narrowest(intervals: Iterable[dict[Any, Interval]], counts: Iterable[dict[Any, int]], smallest_group: int) -> int:
    """How many values the small group may have of which most is known; a group of nobody is none."""
    return min(
        known[cell].width
        for known, of_world in zip(intervals, counts, strict=True)
        for cell, count in of_world.items()
        if 0 < count < smallest_group
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=LONG if devices > 3 else ()) for name, (_, devices, _) in SMALL_WORLDS.items()]
)
def test_no_total_gives_a_small_group(publisher_of: Any, name: str) -> None:
    choices, devices, smallest_group = SMALL_WORLDS[name]
    worlds = [visits_of(world) for world in worlds_of(choices, devices)]
    counts = [devices_by_role(world, groups_of(choices), [ACTIVE, READER, ENJOYER]) for world in worlds]
    # What a content has in all is shown, however few: of readers, that is for the contents' own test.
    published = [of_the_audience(seen) for seen in publisher_of(Rules(smallest_group, 0.5)).publish(worlds)]
    assert len({*numbered(published)}) > 10
    assert narrowest(what_can_be_told(numbered(published), counts), counts, smallest_group) >= smallest_group

    # The attacker is one: where small figures alone are withheld, the totals give them away.
    naive = [without_small_figures(seen, smallest_group) for seen in publisher_of(EVERYBODY).publish(worlds)]
    assert narrowest(what_can_be_told(numbered(naive), counts), counts, smallest_group) == 1


def of_the_audience(published: Publication) -> Publication:
    return {name: rows for name, rows in published.items() if name.startswith("agg_audience")}


def without_small_figures(published: Publication, smallest_group: int) -> Publication:
    """What is published where figures of fewer devices are withheld and nothing else."""
    rows = frozenset(
        (*key, *(count if count is not None and count >= smallest_group else None for count in counts))
        for *key, devices, readers, enjoyers, _ in published["agg_audience_periods"]
        for counts in [(devices, readers, enjoyers)]
    )
    return {"agg_audience_periods": rows}


# --- versions --------------------------------------------------------------------------------------------------------

# Before late events, and after.
Versions = tuple[list[Visit], list[Visit]]


def versions_of(choices: Choices, devices: int) -> Iterator[Versions]:
    """Every world of so many devices, and all that it may have been before the last of its events came."""
    later = [(before, after) for after in choices for before in choices if {*before} <= {*after}]
    for world in worlds_of(later, devices):
        yield visits_of(before for before, _ in world), visits_of(after for _, after in world)


# Three devices in two versions are 90,000 pairs of worlds.
@pytest.mark.parametrize("devices", [2, pytest.param(3, marks=LONG)])
@pytest.mark.parametrize("choices", [ON_A_DAY, OVER_DAYS], ids=["of a day", "over days"])
def test_two_versions_do_not_give_a_small_group(publisher_of: Any, choices: Choices, devices: int) -> None:
    smallest_group = 2
    versions = list(versions_of(choices, devices))
    assert narrowest(*told_of_versions(publisher_of(Rules(smallest_group, 0.5)), versions, choices), 2) >= 2

    # Who knows how many came late knows more: no rule of what is shown can help that.
    one_came = [(before, after) for before, after in versions if len(after) == len(before) + 1]
    assert narrowest(*told_of_versions(publisher_of(Rules(smallest_group, 0.5)), one_came, choices), 2) == 1


def told_of_versions(
    publisher: Publisher, versions: Sequence[Versions], choices: Choices
) -> tuple[list[dict[Any, Interval]], list[dict[Any, int]]]:
    """What can be told of each group in either version, and what is so."""
    groups = groups_of(choices)
    unlike = list(dict.fromkeys(tuple(sorted(world)) for both in versions for world in both))
    seen = dict(zip(unlike, numbered(publisher.publish(unlike)), strict=True))
    counted = {world: devices_by_role(world, groups, [ACTIVE]) for world in unlike}
    published, counts = [], []
    for both in versions:
        before, after = (tuple(sorted(world)) for world in both)
        published.append((seen[before], seen[after]))
        counts.append(
            {("before", *cell): count for cell, count in counted[before].items()}
            | {("after", *cell): count for cell, count in counted[after].items()}
        )
    return what_can_be_told(published, counts), counts


# --- groups of ten ---------------------------------------------------------------------------------------------------

PRODUCTS, PLATFORMS = ("news", "play", "sport"), ("ios", "tv", "web")
DAYS = (0, 1, 3, 4, 7, 27, 28)
SIZES = (0, 1, 4, 9, 10, 11, 15, 40)


def world_at_random(chance: random.Random) -> list[Visit]:
    """Some dozens of devices of each platform, which come back on other days and products, and some that did not
    consent to being counted."""
    world = []
    for day, name, platform in product(DAYS, PRODUCTS, PLATFORMS):
        devices = chance.sample(range(50), chance.choice(SIZES))
        world += visits_at_random(chance, Group(day, name, platform), devices)
        world += visits_at_random(chance, Group(day, name, platform), range(60, 60 + chance.choice(SIZES)), False)
    return world


def visits_at_random(
    chance: random.Random, group: Group, devices: Iterable[int], has_consent: bool = True
) -> list[Visit]:
    first = 1000 * PLATFORMS.index(group.platform)  # a device has one platform
    return [
        Visit(
            group, first + device, chance.choice([ACTIVE, READER, READER, ENJOYER]), chance.choice("abb"),
            chance.choice([1, 2, 5] if chance.random() < 0.95 else [90, 500]), chance.random() < 0.3, has_consent,
        )
        for device in devices
        for _ in range(chance.choice([1, 2]))
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=LONG), pytest.param(2, marks=LONG)])
def test_what_is_published_does_not_depend_on_how_few_a_small_group_is(publisher_of: Any, seed: int) -> None:
    """Whatever a group below ten is replaced with below ten, new devices or those of other groups: nothing changes. So
    in no version and from no two of them can more be told of it than that, however many there are beside it who did not
    consent to being counted."""
    rules = Rules(smallest_group=10, largest_share=0.5)
    chance = random.Random(seed)
    world = world_at_random(chance)
    sizes = devices_by_role(world, [Group(*slot) for slot in product(DAYS, PRODUCTS, PLATFORMS)], [ACTIVE])
    small = [group for (group, _), count in sizes.items() if count < rules.smallest_group]
    assert len(small) >= 10
    others: list[World] = []
    for group in chance.sample(small, 10):
        rest = [visit for visit in world if visit.group != group or not visit.has_consent]
        for count in range(rules.smallest_group):
            others.append(rest + visits_at_random(chance, group, chance.sample(range(60), count)))
    as_it_is, *as_it_might_be = publisher_of(rules).publish([world, *others])
    assert all(as_it_is.values())
    assert all(seen == as_it_is for seen in as_it_might_be)


def test_what_is_withheld_of_a_product_is_not_one_device_s(publisher_of: Any) -> None:
    """The contents add up to what a product's platforms have. Less what is shown of these, no device has more than half
    of what is left, unless nothing of the product is shown."""
    rules = Rules(smallest_group=10, largest_share=0.5)
    worlds = [world_at_random(random.Random(seed)) for seed in range(30)]
    withheld = [
        share
        for world, published in zip(worlds, publisher_of(rules).publish(worlds), strict=True)
        for day, name in product(DAYS, PRODUCTS)
        if (share := largest_share_withheld(world, published, day, name))
    ]
    assert len(withheld) > 10
    assert max(withheld) <= rules.largest_share


def largest_share_withheld(world: World, published: Publication, day: int, name: str) -> float | None:
    """The largest share of a device in the views withheld of a day and product; None where none are, or all."""
    views = {row[2]: row[5] for row in published["agg_audience_daily"] if row[:2] == (day, name) and row[3]}
    total = sum(row[4] for row in published["agg_content_daily"] if row[:2] == (day, name))
    left = total - sum(count or 0 for count in views.values())
    of_device: Counter[int] = Counter()
    for visit in world:
        if visit.has_consent and visit.group[:2] == (day, name) and views.get(visit.group.platform, 0) is None:
            of_device[visit.device] += visit.views
    assert left == of_device.total()
    return max(of_device.values()) / left if left and left < total else None


# --- contents --------------------------------------------------------------------------------------------------------

KINDS = ("logged_in", "logged_out")
CONTENTS = [f"c-{number}" for number in range(30)]
CUTS = ([(platform, "all") for platform in ("android", *PLATFORMS)], [("all", kind) for kind in KINDS])


def contents_at_random(chance: random.Random) -> list[Visit]:
    """Groups that are large enough to be shown, of which a few or many met each of some contents."""
    world = []
    logged_in = {device for device in range(400) if chance.random() < 0.2}
    for day, (number, (platform, _)) in product((0, 1), enumerate(CUTS[0])):
        group, devices = Group(day, "news", platform), range(100 * number, 100 * number + 30)
        world += [Visit(group, device, ACTIVE, "of everybody", 1, device in logged_in) for device in devices]
        for content in CONTENTS:
            some = chance.sample(devices, chance.choice((0, 0, 1, 2, 5, 6, 12, 20)))
            world += [
                Visit(group, device, chance.choice([ACTIVE, READER, ENJOYER]), content, 1, device in logged_in)
                for device in some
            ]
    return world


def parts_of(world: World) -> dict[tuple[str, int], Counter[tuple[str, str]]]:
    """By content and role, how many devices each platform and kind of account has in a month."""
    met = {
        (visit.content, role, part, visit.device)
        for visit in world
        for role in range(visit.role + 1)
        for part in ((visit.group.platform, "all"), ("all", KINDS[not visit.is_logged_in]))
    }
    parts: dict[tuple[str, int], Counter[tuple[str, str]]] = defaultdict(Counter)
    for content, role, part, _ in met:
        parts[f"news/{content}", role][part] += 1
    return parts


@pytest.mark.parametrize("seed", range(3))
def test_the_total_of_a_content_does_not_give_the_few_of_a_part(publisher_of: Any, seed: int) -> None:
    """A content's total is known, however few it is, and it is the sum of its parts. So a part that is not shown may be
    all that is left of the total, or nothing if another is not shown either."""
    rules = Rules(smallest_group=10, largest_share=0.5)
    world = contents_at_random(random.Random(seed))
    (published,) = publisher_of(rules).publish([world])
    shown: dict[tuple[str, int], dict[tuple[str, str], int]] = defaultdict(dict)
    for _, content, period, platform, kind, *counts, _ in published["agg_content_periods"]:
        for role, count in enumerate(counts):
            if period == "month" and count is not None:
                shown[content, role][platform, kind] = count
    naive = []
    for key, parts in parts_of(world).items():
        total = shown[key]["all", "all"]
        for cut in CUTS:
            assert total == sum(parts[part] for part in cut)
            small = [part for part in cut if 0 < parts[part] < rules.smallest_group]
            assert not [part for part in small if part in shown[key]]
            assert all(shown[key].get(part, parts[part]) == parts[part] for part in cut)
            wanted = min(rules.smallest_group, total + 1)
            hidden = [part for part in cut if part not in shown[key]]
            if small:
                assert width_of_a_part(total, parts, cut, hidden) >= wanted
                naive.append(width_of_a_part(total, parts, cut, small) >= wanted)
    assert naive.count(False) > 10


def width_of_a_part(
    total: int, parts: Counter[tuple[str, str]], cut: Sequence[tuple[str, str]], hidden: Sequence[tuple[str, str]]
) -> int:
    """How many values a part may have that is not shown, if those that are not are these."""
    left = total - sum(parts[part] for part in cut if part not in hidden)
    return left + 1 if len(hidden) > 1 else 1
