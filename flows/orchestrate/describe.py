"""The jobs as a table for people, ``docs/jobs.md``.

``python -m flows.orchestrate.describe`` writes it; ``--check`` fails where it is out of date.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from flows.clock import organisation_timezone
from flows.contract.spec import PROJECT
from flows.orchestrate.job import MAINTENANCE, Arrival, Build, Extract, Job, Maintain, Requires, Step, when_in_words
from flows.schedule import JOBS

DOCUMENT = Path("docs/jobs.md")


def describe(jobs: Sequence[Job]) -> str:
    """The jobs as a Markdown document for people."""
    heads = ("job", "what", "when", "runs", "waits for", "deadline", "tries again", "after downtime", "owner")
    rows = [
        (
            f"`{job.name}`",
            job.description,
            when_in_words(job.when),
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
        "What runs automatically, in the order of `JOBS` in [flows/schedule.py](../flows/schedule.py). "
        f"Days are those of {organisation_timezone()}.\n\n{table}\n"
    )


def _step(step: Step) -> str:
    if isinstance(step, Build):
        return "build what is pending" if step.select is None else f"build `{step.select}`"
    if isinstance(step, Maintain):
        return MAINTENANCE[step.task]
    if isinstance(step, Extract):
        return f"extract `{step.what}`"
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
