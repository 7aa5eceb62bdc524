"""The command that runs an extract."""

import time
from datetime import UTC, datetime

import click

from flows.cli.by_hand import count_by_hand
from flows.cli.render import out, print_line, safe
from flows.extract.run import extract
from flows.settings import Settings
from flows.text import counted


@click.command("extract")
@click.argument("name")
@click.option(
    "--accept-deletes", is_flag=True, help="Take all that is gone from the source as deleted, however much it is."
)
@click.option("--from-the-beginning", is_flag=True, help="Deliver all rows again, beside what was delivered before.")
@click.pass_obj
def extract_command(settings: Settings, name: str, accept_deletes: bool, from_the_beginning: bool) -> None:
    """Extract a source into the inbox.

    NAME is a source declared in `extracts/`, or one dataset of it as in `crm.accounts`. It goes on where the last run
    ended. A column that is new in the source is said; one that is gone or has another type stops the dataset.
    """
    began, started = datetime.now(UTC), time.monotonic()
    options = {"accept_deletes": accept_deletes, "from_the_beginning": from_the_beginning}
    asked = [option for option, is_asked in options.items() if is_asked]
    done = extract(settings, name, print_line, _print_note, asked)
    what = counted(len(done.files), "file") if done.files else "nothing new"
    if done.rows:
        what = f"{counted(done.rows, 'row')} in {what}"
    out.print(f"[bold]extracted[/] {safe(name)}: {what} in {time.monotonic() - started:.1f} s")
    count_by_hand(settings, began, [f"extract {name}"])


def _print_note(text: str) -> None:
    out.print(f"[yellow]note[/]      {safe(text)}")
