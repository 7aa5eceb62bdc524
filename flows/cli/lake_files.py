"""The commands on how the files of the lake stand: in how many, and by which days."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from flows.build.warehouse import once_free, open_warehouse, warehouse_held
from flows.cli.by_hand import count_by_hand
from flows.cli.render import out, print_error, print_line, print_sent
from flows.land.compact import Compacted, compact
from flows.land.receipt import Receipt
from flows.land.repartition import Repartitioned, repartition
from flows.land.restore import restore_landed
from flows.land.send import send_landed
from flows.settings import Settings
from flows.text import counted


@click.command("compact")
@click.pass_obj
def compact_command(settings: Settings) -> None:
    """Make one file of the many that a day's rows landed in.

    Rows, audit and marts stay as they are; a build reads fewer files. The files that were replaced go once no build can
    read them any more: when the next one begins. A build does the same for days of many files, and so does a job by
    night. Exit code 1 where a day cannot be compacted; it is left as it was.
    """
    began = datetime.now(UTC)
    done = compact(settings, progress=_print_compacted)
    for fault in done.faults:
        print_error(fault)
    files = sum(day.files for day in done.days)
    what = f"{counted(len(done.days), 'day')}, which stood in {files:,} files"
    out.print(f"[bold]compacted[/] {what if done.days else 'nothing: no day has more than one file'}")
    if done.faults:
        sys.exit(1)
    count_by_hand(settings, began, ["compact"])
    send_or_say_why(settings)


def _print_compacted(day: Compacted) -> None:
    size = f"{day.bytes / 1e6:,.1f} MB"
    print_line(f"compact  {day.dataset} of {day.day}  {day.files} files are one, {counted(day.rows, 'row')}, {size}")


@click.command("repartition")
@click.pass_obj
def repartition_command(settings: Settings) -> None:
    """Lay the landed files out by other days.

    Needed once after the contract or the time zone came to ask for other days than the lake is laid out by. It writes
    all that landed once more, beside what there is, and then puts it in its place: that needs as much room again. It
    may be stopped and begun again at any time. The next build makes every model from the start.
    """

    @once_free
    def lay_out(settings: Settings) -> Repartitioned | None:
        return repartition(settings, progress=_print_laid_out, nobody_reads=lambda: _nobody_reads(settings))

    done = lay_out(settings)
    if done is None:
        out.print("[bold]laid out[/] the lake is laid out as the contract and the time zone ask; nothing to do")
        send_or_say_why(settings)
        return
    batches, files = f"{done.batches:,} batches", counted(done.files, "file")
    by = f"by the days of {done.layout.timezone}" if done.layout.day_of else "not by day"
    out.print(f"[bold]laid out[/] {batches} with {counted(done.rows, 'row')} in {files}, {by}")
    out.print("         next: tidemark run")
    send_or_say_why(settings)


def _print_laid_out(receipt: Receipt) -> None:
    if receipt.files:
        rows, files = counted(receipt.rows_landed, "row"), counted(len(receipt.files), "file")
        print_line(f"lay out  {receipt.file}  {rows}, {files}")


@click.command("restore")
@click.pass_obj
def restore_command(settings: Settings) -> None:
    """Bring the landed zone back from the object store.

    Into a home in which nothing has landed, from TIDEMARK_LANDED_URL; it is there whole or not at all, and this home
    then sends there. It may be stopped and begun again at any time. Secrets, keys, quarantine, text and who was erased
    come from the backup: put them in place before anything lands.
    """
    done = restore_landed(settings, print_line)
    what = f"{done.batches:,} batches with {counted(done.rows, 'row')} in {counted(done.files, 'file')}"
    out.print(f"[bold]restored[/] {what}, {done.bytes / 1e6:,.1f} MB")
    if done.with_rejects or done.with_text:
        out.print(
            f"         {done.with_rejects:,} batches left rows in quarantine, {done.with_text:,} in the text store:"
        )
        out.print(
            "         what these say is in the backup of lake/quarantine, lake/text and lake/keys, and nowhere else"
        )
    out.print("         next: tidemark run")


def send_or_say_why(settings: Settings) -> None:
    """Send what landed, where an object store is set; exit with 1 where it could not be."""
    why = send_landed(settings, print_line)
    print_sent(settings, why)
    if why:
        sys.exit(1)


@contextmanager
def _nobody_reads(settings: Settings) -> Iterator[None]:
    """Hold the warehouse, so that no build is at work and nobody has its views of the lake open."""
    with warehouse_held(settings, "repartitioning"):
        if not settings.warehouse.exists():
            yield
            return
        with open_warehouse(settings):
            yield
