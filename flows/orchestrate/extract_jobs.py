"""The jobs that run declared extracts, and what people should know of them."""

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.alerts.incidents import Problem
from flows.alerts.notify import note
from flows.contract.spec import load_specs
from flows.extract.declared import DeclaredSource, load_declared
from flows.orchestrate.job import Cron, Extract, Job
from flows.settings import Settings
from flows.text import counted, one_line

# A declaration that is wrong is a job of its own, which says so until it is right.
SAY_WHAT_IS_WRONG = "0 * * * *"
OPERATOR = "data-platform"


def extract_jobs(folder: Path, timezone: str) -> Iterator[Job]:
    """A job for each declared source with a schedule. What is wrong with a declaration fails its own job alone."""
    declared = load_declared(folder)
    for one in declared.sources:
        if one.source.schedule:
            name = f"extract_{one.name}"
            yield _job(name, one.name, _described(one), owner_of(one), Cron(one.source.schedule, timezone))
    for number, path in enumerate(declared.faults, 1):
        # Its name may be what is wrong, and that of another.
        said = f"Says what is wrong with extracts/{path.name}."
        yield _job(f"extracts_wrong_{number}", path.stem, said, OPERATOR, Cron(SAY_WHAT_IS_WRONG, timezone))


def owner_of(declared: DeclaredSource) -> str:
    """Whom an extract belongs to: as it says, or as the first of its datasets."""
    return declared.source.owner or load_specs()[next(iter(declared.source.extracts))].owner


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

    done = extract(settings, name, progress)
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
        for text in map(one_line, done.notes)
    ]
    note(settings, f"extract:{name}", found, now)


def _described(declared: DeclaredSource) -> str:
    datasets = [*declared.source.extracts]
    return f"Extracts {counted(len(datasets), 'dataset')} of {declared.name}: {', '.join(datasets)}."


def _job(name: str, source: str, description: str, owner: str, when: Cron) -> Job:
    return Job(name, description, (Extract(source),), owner, when, catch_up="latest")
