"""Someone who keeps every publication, knows how it is made, and works out what must be so of what is not shown.

Nothing is left to their skill: they know every world there may be, and what would have been published of each. What is
so in all worlds of which the same would have been published they know; what is not so in all, nobody can.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple, TypeVar

from tests.properties.publications import Group, Publication, Visit, World

Cell = TypeVar("Cell", bound=Hashable)
Pattern = TypeVar("Pattern")


class Interval(NamedTuple):
    """What a count is at least and at most, as far as an attacker can tell."""

    least: int
    most: int

    @property
    def width(self) -> int:
        """How many values lie within."""
        return self.most - self.least + 1


def what_can_be_told(published: Sequence[Hashable], counts: Sequence[Mapping[Cell, int]]) -> list[dict[Cell, Interval]]:
    """Of each world, the interval of every count: over all worlds of which the same is published."""
    alike: dict[Hashable, dict[Cell, Interval]] = defaultdict(dict)
    for seen, of_world in zip(published, counts, strict=True):
        known = alike[seen]
        for cell, count in of_world.items():
            before = known.get(cell, Interval(count, count))
            known[cell] = Interval(min(before.least, count), max(before.most, count))
    return [alike[seen] for seen in published]


def numbered(publications: Iterable[Publication]) -> list[int]:
    """A number for each publication, the same for equal ones."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(frozenset(publication.items()), len(numbers)) for publication in publications]


def worlds_of(patterns: Sequence[Pattern], devices: int) -> Iterator[tuple[Pattern, ...]]:
    """Every way in which so many devices, none unlike another, may behave by one of the patterns each."""
    return combinations_with_replacement(patterns, devices)


def devices_by_role(world: World, groups: Iterable[Group], roles: Iterable[int]) -> dict[tuple[Group, int], int]:
    """How many devices each group has that were in a role, or in one that goes further; who did not consent to being
    counted is in none."""
    met: dict[tuple[Group, int], set[int]] = {(group, role): set() for group in groups for role in roles}
    for group, role in met:
        met[group, role] = {
            visit.device for visit in world if visit.group == group and visit.role >= role and visit.has_consent
        }
    return {cell: len(devices) for cell, devices in met.items()}


def visits_of(world: Iterable[Iterable[Visit]]) -> list[Visit]:
    """The visits of a world that is given as what each of its devices does."""
    return [visit._replace(device=number) for number, done in enumerate(world) for visit in done]
