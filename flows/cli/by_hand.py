"""What a command did by hand counts for jobs and incidents."""

from datetime import datetime

from flows.cli.render import out, safe
from flows.errors import TidemarkError
from flows.settings import Settings


def count_by_hand(settings: Settings, began: datetime, steps: list[str], has_built: bool = False) -> None:
    """Let what was done by hand count for jobs and incidents, and say so. It was done, whatever becomes of that."""
    if not (settings.jobs / "journal.sqlite").exists():
        return  # no job has ever run here
    from flows.orchestrate.by_hand import count  # noqa: PLC0415 (who works without the service needs no schedule)

    try:
        counted = count(settings, began, steps, has_built)
    except TidemarkError as error:
        out.print(f"         [yellow]not recorded for jobs and incidents[/] {safe(str(error))}")
        return
    for job, slot in counted.slots:
        out.print(f"         job {job} counts as done for {safe(slot)}")
    for incident in counted.recovered:
        out.print(f"[bold]resolved[/] {safe(incident.problem.title)} (owner: {safe(incident.problem.owner)})")
