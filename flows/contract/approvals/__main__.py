"""The command behind the last part of ``make contract-check``."""

import datetime

import click
import yaml

from flows.contract.approvals.base import NotComparableError, find_base, read_base, read_specs
from flows.contract.approvals.compare import Weakening, weakenings
from flows.contract.approvals.entries import FILE, Entry, read_entries
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.text import counted

# Where a day begins first: what is later than the date there is yet to come everywhere.
EASTERNMOST = datetime.timezone(datetime.timedelta(hours=14))


@click.command()
@click.option("--against", metavar="REV", help="Compare with this commit; it must have a contract that can be read.")
def main(against: str | None) -> None:
    """Compare the contract with the last release's, or with where this branch left main.

    Ends with 1 where it protects less and no entry of contracts/approvals.yml approves that.
    """
    file = PROJECT / FILE
    try:
        entries = read_entries(file.read_bytes() if file.exists() else b"", datetime.datetime.now(EASTERNMOST).date())
        now = read_specs(PROJECT)
        try:
            revision = find_base(PROJECT) if against is None else against
            base = read_base(PROJECT, revision)
        except NotComparableError as error:
            if against is not None:
                raise
            click.echo(f"The contract was compared with no earlier one: {error}.")
            return
    except TidemarkError as error:
        raise click.ClickException(str(error)) from error
    found = weakenings(base.specs, now)
    # An entry approves a change once: what an earlier release had approved may have been taken back since.
    since = [entry for entry in entries if entry.identity not in base.approved]
    approved = {entry.approval.change for entry in since}
    for line in unused(since, found):
        click.echo(line, err=True)
    missing = [weakening for weakening in found if weakening.change not in approved]
    if missing:
        raise click.ClickException(refusal(missing, revision, datetime.date.today()))
    said = f"weaker in {counted(len(found), 'change')}, approved" if found else "protects as much"
    click.echo(f"The contract, compared with {revision}: {said}.")


def unused(entries: list[Entry], found: list[Weakening]) -> list[str]:
    """The entries that approve nothing, a line each.

    No failure: which release is the last depends on the clone, and the change may be taken back before the next.
    """
    changes = {weakening.change for weakening in found}
    return [
        f"{FILE}:{entry.line}: approves nothing: {entry.approval.change}"
        for entry in entries
        if entry.approval.change not in changes
    ]


def refusal(missing: list[Weakening], revision: str, today: datetime.date) -> str:
    """What is to be approved, and the entries to fill in."""
    changes = "".join(f"  {each.change} (before: {each.before}; now: {each.after})\n" for each in missing)
    entries = "".join(
        f"- change: {_quoted(each.change)}\n  approved_by:\n  reason:\n  date: {today}\n" for each in missing
    )
    return (
        f"the contract protects less than at {revision}, and nobody approved that:\n{changes}"
        f"Take it back; or have it approved, and say who did and why in {FILE}:\n{entries}".rstrip()
    )


def _quoted(text: str) -> str:
    """As YAML, on one line."""
    written: str = yaml.safe_dump(text, default_style="'", width=10**6, allow_unicode=True)
    return written.strip()


if __name__ == "__main__":
    main()
