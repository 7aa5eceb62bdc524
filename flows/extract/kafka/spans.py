"""Which offsets of a topic are in files, by the names of these, and which are missing.

A file is named ``<partition>_<first offset>_<offset after the last>_<id of the topic>.<format>``. Its messages are all
that the partition had in between; what the name does not say is how many, for compaction and transactions leave
offsets without one. The first file of a partition begins at 0, whatever of it the broker still had: so what is
missing is what no name covers, and it can be seen from names alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

NAME = re.compile(r"(\d{6,})_(\d{20})_(\d{20})(?:_([0-9a-f]{8}))?\.(?:ndjson|pb|json)")


@dataclass(frozen=True, order=True)
class Span:
    """Offsets from ``first`` on, up to ``end``, which is not among them."""

    first: int
    end: int

    def __str__(self) -> str:
        return f"{self.first}-{self.end - 1}"


@dataclass(frozen=True)
class Covered:
    """What files have: their spans by partition, and the ids of the topics that they are of."""

    spans: Mapping[int, tuple[Span, ...]]
    topics: frozenset[str]


def file_name(partition: int, span: Span, topic: str | None, suffix: str) -> str:
    """The name of a file with the messages of a span. Names are in the order of partitions and offsets."""
    of = f"_{topic}" if topic else ""
    return f"{partition:06d}_{span.first:020d}_{span.end:020d}{of}.{suffix}"


def covered(names: Iterable[str]) -> Covered:
    """What files of these names have; other names do not count."""
    spans: dict[int, list[Span]] = {}
    topics = set()
    for name in {PurePosixPath(name).name for name in names}:  # one that landed may be in the inbox, too
        if found := NAME.fullmatch(name):
            partition, first, end, topic = found.groups()
            spans.setdefault(int(partition), []).append(Span(int(first), int(end)))
            topics |= {topic} - {None}
    return Covered({partition: tuple(sorted(some)) for partition, some in spans.items()}, frozenset(topics))


def missing(spans: Iterable[Span]) -> list[Span | int]:
    """What these leave out: each gap between them, and last the offset from which on nothing is covered."""
    gaps: list[Span | int] = []
    reached = 0
    for span in sorted(spans):
        if span.first > reached:
            gaps.append(Span(reached, span.first))
        reached = max(reached, span.end)
    return [*gaps, reached]


def overlaps(spans: Iterable[Span]) -> list[Span]:
    """What is in more than one of these."""
    found = []
    reached = 0
    for span in sorted(spans):
        if span.first < reached:
            found.append(Span(span.first, min(reached, span.end)))
        reached = max(reached, span.end)
    return found
