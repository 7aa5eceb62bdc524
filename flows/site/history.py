"""How a table was in the versions that are kept, and how old its rows became: what a promise is measured by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from flows.publish.manifest import Manifest


@dataclass(frozen=True)
class Kept:
    """A table in a kept version: its rows, and when these were last good."""

    version: str
    published_at: datetime
    rows: int
    as_of: datetime


@dataclass(frozen=True)
class Age:
    """How old the rows of a table became at most, just before the next of ``publications`` versions since ``since``."""

    most: timedelta
    publications: int
    since: datetime

    @property
    def hours(self) -> float:
        """In hours."""
        return self.most / timedelta(hours=1)


def kept_versions(manifests: Sequence[Manifest], table: str) -> list[Kept]:
    """The versions that have a table, the newest first; ``manifests`` are those of kept versions in any order."""
    return [
        Kept(manifest.version, manifest.created_at, one.rows, one.as_of or manifest.created_at)
        for manifest in sorted(manifests, key=lambda manifest: manifest.created_at, reverse=True)
        for one in manifest.tables
        if one.name == table
    ]


def measured_age(kept: Sequence[Kept]) -> Age | None:
    """How old a table's rows became at most while versions followed each other; None of a single one."""
    if len(kept) < 2:
        return None
    most = max(newer.published_at - older.as_of for newer, older in pairwise(kept))
    return Age(most, len(kept), kept[-1].published_at)
