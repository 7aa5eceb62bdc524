"""The command that shows what did not fit, as it came."""

import sys
from contextlib import closing
from itertools import islice

import click

from flows.cli.render import out, print_error, safe
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.quarantine import read_rejects, read_unknown
from flows.land.receipts import Receipts
from flows.settings import Settings
from flows.text import counted, cut

SHOWN_CHARACTERS = 2_000


@click.command("quarantine")
@click.option("--dataset", help="Of this dataset alone.", metavar="NAME")
@click.option("--batch", "batch_id", help="Of this batch alone.", metavar="N", type=click.IntRange(1))
@click.option("--unknown-keys", is_flag=True, help="Show the values of keys that the contract does not know instead.")
@click.option("--limit", default=20, show_default=True, help="How many at most.", metavar="N", type=click.IntRange(1))
@click.pass_obj
def quarantine_command(
    settings: Settings, dataset: str | None, batch_id: int | None, unknown_keys: bool, limit: int
) -> None:
    """Show the rows in quarantine as they came.

    Each has its file, line and reason. What it says may be personal data: on the disk it is encrypted, and this shows
    it to whoever has the master key. Of rows that were retried it shows those that still do not fit.
    """
    if dataset and dataset not in (known := sorted(load_specs())):
        raise TidemarkError(f"the contract has no dataset {dataset} (there are {', '.join(known)})")
    with closing(Receipts(settings, read_only=True)) as receipts:
        standing = [receipt for receipt, _ in receipts.last_with_rejects(dataset)]
        found = receipts.with_unknown_keys(dataset) if unknown_keys else standing
    found = [receipt for receipt in found if batch_id in (None, receipt.batch_id)]
    is_whole = True
    for row in islice((read_unknown if unknown_keys else read_rejects)(settings, found), limit):
        if row.text is None:
            print_error(f"{row.file}: {row.fault}")
            is_whole = False
            continue
        out.print(f"{safe(f'{row.file}, line {row.line}')}  [yellow]{safe(row.fault)}[/]")
        out.print(f"    {safe(cut(row.text, SHOWN_CHARACTERS))}")
    total = sum(receipt.unknown_keys if unknown_keys else receipt.rows_rejected for receipt in found)
    what = "value" if unknown_keys else "row"
    if not total:
        out.print(f"no {what} is in quarantine" if not unknown_keys else "no key is unknown to the contract")
    elif total > limit:
        out.print(f"{limit:,} of {counted(total, what)}; `--limit` shows more")
    if not is_whole:
        sys.exit(1)
