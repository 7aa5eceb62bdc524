"""Whether jobs can run as they are written: a slip stops the start and not the night."""

import importlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flows.contract.owners import owners
from flows.contract.spec import PROJECT, load_specs
from flows.errors import TidemarkError
from flows.extract.declared import load_declared
from flows.orchestrate.job import (
    BACKFILL,
    LAND,
    MAINTENANCE,
    Arrival,
    Build,
    Cron,
    Extract,
    Job,
    Maintain,
    Success,
    roots,
    when_in_words,
)
from flows.settings import Settings


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
            yield from _wrong_function(step.what) if ":" in step.what else _wrong_extract(step.what)
        elif isinstance(step, Build) and step.select is not None:
            yield from wrong_selection(step.select)


def _wrong_extract(what: str) -> Iterable[str]:
    source, _, dataset = what.partition(".")
    declared = load_declared(Settings().extracts)
    if any(path.stem == source for path in declared.faults):
        return  # the job itself says what is wrong with it, and no other stops for that
    names = {one.name: one.source.extracts for one in declared.sources}
    if source not in names:
        there = _there_are(names) if names else "none is"
        yield f"runs: {what!r} is neither package.module:function nor a source in extracts/ ({there})"
    elif dataset and dataset not in names[source]:
        yield f"runs: extracts/{source}.yml has no {dataset} ({_there_are(names[source])})"


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
        yield "runs: the selection is empty; leave it out to build what is pending"
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
                named = " and ".join(sorted(when_in_words(root) for root in found))
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
def _models() -> frozenset[str]:
    models = (path.stem for path in (PROJECT / "models").rglob("*.sql"))
    return frozenset(models) | {path.stem for path in (PROJECT / "seeds").rglob("*.csv")}
