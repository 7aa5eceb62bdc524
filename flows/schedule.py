"""The jobs as data: what each runs, when it is due, what it needs first, and whose it is.

This is the list a team edits. It is checked when it is imported, so a slip stops the start and not the night.
``python -m flows.schedule`` writes it as a table to ``docs/jobs.md``; ``--check`` fails where that is out of date.
What is due at a moment is decided in :mod:`flows.decide`.
"""

import importlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import click
import yaml
from cronsim import CronSim, CronSimError

from flows.contract import PROJECT, load_specs
from flows.errors import TidemarkError

DOCUMENT = Path("docs/jobs.md")
# The flows that are no jobs of the schedule: the watcher starts the one, people the other.
LAND, BACKFILL = "land", "backfill"
# What a Maintain step may name, and what that does.
MAINTENANCE: Mapping[str, str] = {
    "test": "every data test on all rows",
    "audit": "the audit of every row from inbox to models",
    "digest": "the daily digest of warnings",
}


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
    """Waits until the dataset is present for the slot's local day minus so many days."""

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
    """Calls ``package.module:function`` with the settings; it delivers files into the inbox."""

    function: str


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


@cache
def organisation_timezone(project: Path = PROJECT) -> str:
    """The time zone of the organisation's days: the variable ``timezone`` of ``dbt_project.yml``.

    Raises :class:`TidemarkError` where it is not written there.
    """
    read = yaml.safe_load((project / "dbt_project.yml").read_text())
    name = (read.get("vars") or {}).get("timezone")
    if not isinstance(name, str):
        raise TidemarkError(
            f"{project / 'dbt_project.yml'}: no variable timezone; write one, such as Europe/Stockholm, under vars"
        )
    return name


def local_day(moment: datetime) -> date:
    """The organisation's day at a moment."""
    return moment.astimezone(ZoneInfo(organisation_timezone())).date()


def roots(job: Job, jobs: Mapping[str, Job]) -> frozenset[Cron | Arrival]:
    """What a job hangs on at the end: its own ``when``, or that of the jobs it follows, through any chain.

    ``jobs`` holds the jobs it follows, without cycles; those it lacks are left out.
    """
    if not isinstance(job.when, Success):
        return frozenset({job.when})
    return frozenset().union(*(roots(jobs[name], jobs) for name in job.when.jobs if name in jobs))


def validate(jobs: Sequence[Job]) -> None:
    """Check the jobs against each other and the project.

    Raises :class:`TidemarkError` that names, for the first thing wrong, the job, the field, and what is known.
    """
    for name, count in Counter(job.name for job in jobs).items():
        if count > 1:
            raise TidemarkError(f"job {name}: {count} jobs have this name; give each its own")
    names = {job.name for job in jobs}
    for job in jobs:
        for found in (*_wrong_itself(job), *_wrong_when(job, names), *_wrong_steps(job)):
            raise TidemarkError(f"job {job.name}: {found}")
    for found in _wrong_chains(jobs):
        raise TidemarkError(found)


def _wrong_itself(job: Job) -> Iterable[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", job.name):
        yield "name: write it in snake_case: small letters, digits and _, a letter first"
    if job.name in (LAND, BACKFILL):
        yield f"name: {job.name} is a flow of its own; choose another"
    if job.owner not in owners():
        yield f"owner: no owner {job.owner} in models/_groups.yml or the contract ({_there_are(owners())})"
    if job.deadline is not None and job.deadline <= timedelta():
        yield f"deadline: {job.deadline} after it was due is no time; give one that is longer than zero"
    if job.retries < 0:
        yield f"retries: {job.retries} is below zero; 0 is no second try"
    if job.retry_delay < timedelta():
        yield f"retry_delay: {job.retry_delay} is below zero"
    for required in job.requires:
        yield from _unknown_datasets("requires", (required.dataset,))
        if required.days_before < 0:
            yield f"requires: {required.days_before} days before is a day to come; 0 is the slot's own day"


def _wrong_when(job: Job, names: set[str]) -> Iterable[str]:
    when = job.when
    if isinstance(when, Cron):
        yield from _wrong_cron(when)
    elif isinstance(when, Arrival):
        if not when.datasets:
            yield f"when: an arrival of no dataset never comes; name some ({_there_are(load_specs())})"
        yield from _unknown_datasets("when", when.datasets)
    else:
        if not when.jobs:
            yield "when: success of no job; name some"
        for name in when.jobs:
            if name not in names:
                yield f"when: no job {name} ({_there_are(names)})"


def _wrong_cron(when: Cron) -> Iterable[str]:
    try:
        zone = ZoneInfo(when.timezone)
    except (KeyError, ValueError, OSError):
        yield f"when: no time zone {when.timezone!r}; write an IANA name such as Europe/Stockholm"
        return
    if len(when.cron.split()) != 5:
        yield f"when: {when.cron!r} is not minute, hour, day of month, month and day of week, as in '30 3 * * *'"
        return
    try:
        comes = next(CronSim(when.cron, datetime.now(UTC).astimezone(zone)), None)
    except CronSimError as error:
        yield f"when: {when.cron!r} is no cron expression: {str(error)[:1].lower()}{str(error)[1:]}"
        return
    if comes is None:
        yield f"when: {when.cron!r} never comes; its day is in none of its months"


def _wrong_steps(job: Job) -> Iterable[str]:
    if not job.runs:
        yield "runs: nothing; name at least one step"
    for step in job.runs:
        if isinstance(step, Maintain) and step.task not in MAINTENANCE:
            yield f"runs: no maintenance task {step.task} ({_there_are(MAINTENANCE)})"
        elif isinstance(step, Extract):
            yield from _wrong_function(step.function)
        elif isinstance(step, Build) and step.select is not None:
            yield from wrong_selection(step.select)


def _wrong_function(function: str) -> Iterable[str]:
    module, _, name = function.partition(":")
    if not module or not name:
        yield f"runs: {function!r} is not package.module:function"
        return
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may fail in any way while it is imported
        yield f"runs: {function} cannot be imported ({type(error).__name__}: {error})"
        return
    if not callable(found):
        yield f"runs: {function} is not a function"


def wrong_selection(select: str) -> Iterable[str]:
    """What is wrong with a dbt selection, as far as it can be seen without dbt: names of no model, seed or dataset.

    Other methods (``tag:``, ``path:``) are left to dbt itself; a test asks it.
    """
    terms = [term for term in re.split(r"[\s,]+", select) if term]
    if not terms:
        yield "runs: the selection is empty; leave it out to build what is open"
    known = _models()
    for term in terms:
        name = re.sub(r"^@|^\d*\+|\+\d*$", "", re.sub(r"\+\d*$", "", term))
        method, colon, value = name.partition(":")
        if not colon:
            if not any(fnmatchcase(model, name) for model in known):
                yield f"runs: no model or seed {name} in the project ({_there_are(known)})"
        elif method == "source" and value.startswith("landed."):
            yield from _unknown_datasets("runs", (value.removeprefix("landed."),))


def _wrong_chains(jobs: Sequence[Job]) -> Iterable[str]:
    by_name = {job.name: job for job in jobs}
    for job in jobs:
        circle = _circle(job, by_name, ())
        if circle:
            yield f"job {job.name}: when: follows itself ({' after '.join(circle)}); none of them could ever begin"
            return
    for job in jobs:
        if isinstance(job.when, Success) and len(job.when.jobs) > 1:
            found = roots(job, by_name)
            if len(found) > 1 or not all(isinstance(root, Cron) for root in found):
                named = " and ".join(sorted(_when(root) for root in found))
                yield (
                    f"job {job.name}: when: follows {', '.join(job.when.jobs)}, which go back to {named}; slots of "
                    "several jobs can be matched only where all go back to one and the same cron"
                )


def _circle(job: Job, jobs: Mapping[str, Job], path: tuple[str, ...]) -> tuple[str, ...]:
    """The way by which a job follows itself, empty where it does not."""
    if job.name in path:
        return (*path[path.index(job.name) :], job.name)
    if isinstance(job.when, Success):
        for name in job.when.jobs:
            if circle := _circle(jobs[name], jobs, (*path, job.name)):
                return circle
    return ()


def _unknown_datasets(field: str, datasets: Iterable[str]) -> Iterable[str]:
    for dataset in datasets:
        if dataset not in load_specs():
            yield f"{field}: no dataset {dataset} in the contract ({_there_are(load_specs())})"


def _there_are(known: Iterable[str]) -> str:
    return f"there are {', '.join(sorted(known))}"


@cache
def owners() -> frozenset[str]:
    """Whom models, by their groups, and datasets, by the contract, belong to."""
    groups = yaml.safe_load((PROJECT / "models" / "_groups.yml").read_text())["groups"]
    return frozenset({group["owner"]["name"] for group in groups} | {spec.owner for spec in load_specs().values()})


@cache
def _models() -> frozenset[str]:
    models = (path.stem for path in (PROJECT / "models").rglob("*.sql"))
    return frozenset(models) | {path.stem for path in (PROJECT / "seeds").rglob("*.csv")}


def describe(jobs: Sequence[Job]) -> str:
    """The jobs as a Markdown document for people."""
    heads = ("job", "what", "when", "runs", "waits for", "deadline", "tries again", "after downtime", "owner")
    rows = [
        (
            f"`{job.name}`",
            job.description,
            _when(job.when),
            ", then ".join(_step(step) for step in job.runs),
            ", ".join(_requires(required) for required in job.requires) or "nothing",
            f"{_length(job.deadline)} after it was due" if job.deadline else "none",
            f"{job.retries} times, {_length(job.retry_delay)} apart" if job.retries else "never",
            _catch_up(job),
            job.owner,
        )
        for job in jobs
    ]
    lines = [heads, ("---",) * len(heads), *rows]
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return (
        "<!-- Generated from flows/schedule.py by `make contract`; do not edit. -->\n\n# Jobs\n\n"
        "What runs by itself, in the order of `JOBS` in [flows/schedule.py](../flows/schedule.py). "
        f"Days are those of {organisation_timezone()}.\n\n{table}\n"
    )


def _when(when: Cron | Arrival | Success) -> str:
    if isinstance(when, Cron):
        return f"cron `{when.cron}`, {when.timezone}"
    if isinstance(when, Arrival):
        return f"arrival of {', '.join(when.datasets)}"
    return f"success of {', '.join(f'`{name}`' for name in when.jobs)}"


def _step(step: Step) -> str:
    if isinstance(step, Build):
        return "build what is open" if step.select is None else f"build `{step.select}`"
    if isinstance(step, Maintain):
        return MAINTENANCE[step.task]
    if isinstance(step, Extract):
        return f"extract `{step.function}`"
    return "publish"


def _requires(required: Requires) -> str:
    days = {0: "the same day", 1: "the day before"}
    return f"{required.dataset} of {days.get(required.days_before, f'{required.days_before} days before')}"


def _catch_up(job: Job) -> str:
    if isinstance(job.when, Arrival):
        return "all that landed, in one run"
    return {"each": "each missed slot, in order", "latest": "the newest missed slot"}[job.catch_up]


def _length(length: timedelta) -> str:
    """As people write it: 90 s, 5 min, 2 h."""
    seconds = length.total_seconds()
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


# Sources that will deliver no more, as "web/events": their silence is told to nobody.
RETIRED_SOURCES: frozenset[str] = frozenset()

_ZONE = organisation_timezone()

JOBS: tuple[Job, ...] = (
    Job(
        name="refine",
        description="Builds and publishes what landed.",
        runs=(Build(), Publish()),
        owner="data-platform",
        when=Arrival(tuple(load_specs())),
        deadline=timedelta(hours=1),
    ),
    Job(
        name="nightly_test",
        description="Finds what changed without a build, such as a damaged file.",
        runs=(Maintain("test"),),
        owner="data-platform",
        when=Cron("30 3 * * *", _ZONE),
        catch_up="latest",
    ),
    Job(
        name="nightly_audit",
        description="Proves that no row was lost on the way.",
        runs=(Maintain("audit"),),
        owner="data-platform",
        when=Success(("nightly_test",)),
        catch_up="latest",
    ),
    Job(
        name="daily_figures",
        description="Has the figures of the day before published; its deadline says when they are missing.",
        runs=(Build(), Publish()),
        owner="data-platform",
        when=Cron("0 6 * * *", _ZONE),
        requires=(Requires("events"),),
        deadline=timedelta(hours=2),
    ),
    Job(
        name="warning_digest",
        description="Sends each owner the warnings that stand.",
        runs=(Maintain("digest"),),
        owner="data-platform",
        when=Cron("0 8 * * *", _ZONE),
        catch_up="latest",
    ),
)
validate(JOBS)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where docs/jobs.md is out of date.")
def main(check: bool) -> None:
    """Write the jobs as a table to docs/jobs.md."""
    target = PROJECT / DOCUMENT
    if not check:
        target.write_text(describe(JOBS))
    elif not target.exists() or target.read_text() != describe(JOBS):
        raise click.ClickException(f"{DOCUMENT} is not what flows/schedule.py says; run `make contract` and commit")
    click.echo(f"{DOCUMENT} lists {len(JOBS)} jobs.")


if __name__ == "__main__":
    main()
