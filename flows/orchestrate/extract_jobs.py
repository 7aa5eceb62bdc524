"""The jobs that run declared extracts, and what people should know of them."""

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.alerts.incidents import Problem
from flows.alerts.notify import note
from flows.clock import organisation_timezone
from flows.errors import TidemarkError
from flows.extract.declared import SUFFIX, DeclaredSource, load_declared
from flows.land.feeds import dataset_of
from flows.orchestrate.job import OPERATOR, Cron, Extract, Job
from flows.orchestrate.validate import validate
from flows.settings import Settings
from flows.text import counted, one_line

# The job that says what is wrong with declarations does so until they are right.
SAY_WHAT_IS_WRONG = "0 * * * *"


def extract_jobs(folder: Path, timezone: str) -> Iterator[Job]:
    """A job for each declared source with a schedule; where some declarations are wrong, one that says so."""
    jobs, faults = _jobs_and_faults(folder, timezone)
    yield from jobs
    if faults:
        names = ", ".join(path.name for path in faults)
        step = Extract(f"{__name__}:{say_what_is_wrong.__name__}")
        yield Job(
            "extracts_wrong",
            f"Says what is wrong with {names} in extracts/.",
            (step,),
            OPERATOR,
            Cron(SAY_WHAT_IS_WRONG, timezone),
            catch_up="latest",
        )


def say_what_is_wrong(settings: Settings) -> None:
    """Raise :class:`TidemarkError` with all that is wrong with declarations."""
    _, faults = _jobs_and_faults(settings.extracts, organisation_timezone())
    if faults:
        raise TidemarkError("; ".join(f"{path}: {fault}" for path, fault in faults.items()))


def _jobs_and_faults(folder: Path, timezone: str) -> tuple[list[Job], dict[Path, str]]:
    declared = load_declared(folder)
    jobs, faults = [], dict(declared.faults)
    for one in declared.sources:
        if one.source.schedule is None:
            continue
        when, step = Cron(one.source.schedule, timezone), Extract(one.name)
        job = Job(f"extract_{one.name}", _described(one), (step,), owner_of(one), when, catch_up="latest")
        try:
            validate([job])
        except TidemarkError as error:
            faults[folder / f"{one.name}{SUFFIX}"] = str(error)
        else:
            jobs.append(job)
    return jobs, faults


def owner_of(declared: DeclaredSource) -> str:
    """Whom an extract belongs to: as it says, or as the first of its datasets."""
    first = dataset_of(next(iter(declared.source.extracts)))
    return declared.source.owner or (first.owner if first else OPERATOR)


def run_extract(settings: Settings, what: str, progress: Callable[[str], None]) -> None:
    """Do an :class:`Extract` step. Raises as :func:`flows.extract.run.extract` does, or the function that it names."""
    module, _, function = what.partition(":")
    if function:
        getattr(importlib.import_module(module), function)(settings)
    else:
        _run_declared(settings, what, progress)


def _run_declared(settings: Settings, name: str, progress: Callable[[str], None]) -> None:
    """Run an extract, and report to its owner what it noticed."""
    from flows.extract.run import extract  # noqa: PLC0415 (who reads the schedule does without it)

    notes: list[str] = []
    try:
        extract(settings, name, progress, notes.append)
    except BaseException:
        if notes:  # else what was noticed before may still be so
            _report(settings, name, notes)
        raise
    _report(settings, name, notes)


def _report(settings: Settings, name: str, notes: list[str]) -> None:
    declared = load_declared(settings.extracts).one(name.partition(".")[0])
    now = datetime.now(UTC)
    found = [
        Problem(
            key=text,
            scope=f"extract:{name}",
            title=f"extract {name} noticed something",
            owner=owner_of(declared),
            since=now,
            detail=text,
            rows=None,
            reproduce=f"tidemark extract {name}",
            link=None,
            is_warning=True,
        )
        for text in map(one_line, notes)
    ]
    note(settings, f"extract:{name}", found, now)


def _described(declared: DeclaredSource) -> str:
    datasets = [*declared.source.extracts]
    return f"Extracts {counted(len(datasets), 'dataset')} of {declared.name}: {', '.join(datasets)}."
