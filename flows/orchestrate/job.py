"""What a job is: its steps, when it is due, what it needs first, and whose it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

# The flows that are no jobs of the schedule: the watcher starts the one, people the other.
LAND, BACKFILL = "land", "backfill"
# What a Maintain step may name, and what that does.
MAINTENANCE: Mapping[str, str] = {
    "test": "every data test on all rows",
    "compact": "one file of the many of each day",
    "audit": "the audit of every row from inbox to models",
    "expire": "the end of what the contract no longer lets be kept",
    "erase": "the requests to erase people that are open",
    "topics": "the topics of texts that came",
    "digest": "the daily digest of warnings",
}


# Who is asked about what belongs to no model and no dataset: the machinery itself.
OPERATOR = "data-platform"


@dataclass(frozen=True)
class Cron:
    """Due at the times of a cron expression of five fields, in a time zone (IANA name).

    Changes of the clock follow Debian's cron. A time that the change in spring skips runs at the first minute after
    the gap; a time that comes twice in autumn runs at the first. An expression whose minute or hour begins with ``*``
    follows elapsed time instead: hourly is every hour, 23 or 25 of them on those days.
    """

    cron: str
    timezone: str


@dataclass(frozen=True)
class Arrival:
    """Due when rows of any of these datasets landed."""

    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Success:
    """Due when all of these jobs have succeeded for the same slot."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Requires:
    """Waits until the dataset is present for the slot's local day minus ``days_before``."""

    dataset: str
    days_before: int = 1


@dataclass(frozen=True)
class Build:
    """Builds a dbt selection; None is what landings and earlier builds left open."""

    select: str | None = None


@dataclass(frozen=True)
class Publish:
    """Publishes what is new and passed."""


@dataclass(frozen=True)
class Maintain:
    """Does a task of :data:`MAINTENANCE`."""

    task: str


@dataclass(frozen=True)
class Extract:
    """Delivers files into the inbox: those of a declared source, or of one dataset of it as ``source.dataset``; or it
    calls ``package.module:function`` with the settings, which does."""

    what: str


Step = Build | Publish | Maintain | Extract


@dataclass(frozen=True)
class Job:
    """Steps that run one after the other, each time ``when`` says.

    ``deadline`` counts from the moment a slot was due; past it the slot is late. ``retries`` are the tries after the
    first, ``retry_delay`` apart; after them a slot is given up. ``catch_up`` says what is made up after downtime: each
    missed slot in order, or only the newest, for jobs whose result does not depend on the slot.
    """

    name: str
    description: str
    runs: tuple[Step, ...]
    owner: str
    when: Cron | Arrival | Success
    requires: tuple[Requires, ...] = ()
    deadline: timedelta | None = None
    retries: int = 2
    retry_delay: timedelta = timedelta(minutes=1)
    catch_up: Literal["each", "latest"] = "each"


def roots(job: Job, jobs: Mapping[str, Job]) -> frozenset[Cron | Arrival]:
    """What triggers a job in the end: its own ``when``, or that of the jobs it follows, through any chain.

    ``jobs`` holds the jobs it follows, without cycles; those it lacks are left out.
    """
    if not isinstance(job.when, Success):
        return frozenset({job.when})
    return frozenset().union(*(roots(jobs[name], jobs) for name in job.when.jobs if name in jobs))


def when_in_words(when: Cron | Arrival | Success) -> str:
    """When a job is due, as people read it."""
    if isinstance(when, Cron):
        return f"cron `{when.cron}`, {when.timezone}"
    if isinstance(when, Arrival):
        return f"arrival of {', '.join(when.datasets)}"
    return f"success of {', '.join(f'`{name}`' for name in when.jobs)}"
