"""The commands for what people are owed: what is held of them, and that it ends."""

import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from flows.cli.by_hand import count_by_hand
from flows.cli.render import out, print_build, print_line, safe
from flows.errors import TidemarkError
from flows.land.pseudonyms import Kind
from flows.privacy.identity import Given, Person
from flows.privacy.renew import Renewed, renew
from flows.privacy.retention import Ended, expire
from flows.privacy.takeout import Takeout, export_person
from flows.settings import Settings
from flows.text import counted

# Stands for an id that is read from standard input.
FROM_INPUT = "-"


def of_one_person(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name a person."""
    for option in (
        click.option("--device", "devices", multiple=True, metavar="ID", help="A device, as its client names itself."),
        click.option(
            "--user", "users", multiple=True, metavar="ID", help="The person, as clients name whoever is logged in."
        ),
        click.option("--account", "accounts", multiple=True, metavar="ID", help="The account, as its source names it."),
    ):
        command = option(command)
    return command


def given_ids(accounts: tuple[str, ...], users: tuple[str, ...], devices: tuple[str, ...]) -> tuple[Given, ...]:
    """The ids given on the command line, which is then forgotten: locks, logs and dbt's artifacts would repeat it."""
    of_kind = {Kind.ACCOUNT: accounts, Kind.USER: users, Kind.DEVICE: devices}
    ids = [(kind, id_) for kind, given in of_kind.items() for id_ in given]
    if Path(sys.argv[0]).name in ("tidemark", "__main__.py"):
        del sys.argv[2:]
    if [id_ for _, id_ in ids].count(FROM_INPUT) > 1:
        raise click.UsageError("one id at the most can be read from standard input")
    return tuple(Given(kind, _id(id_)) for kind, id_ in ids)


@click.command("export-person")
@of_one_person
@click.option(
    "--to", "target", required=True, metavar="PATH", type=click.Path(path_type=Path), help="The folder to write."
)
@click.option(
    "--shared-devices",
    is_flag=True,
    help="Add what happened on devices that others used too, while nobody was logged in.",
)
@click.pass_obj
def export_person_command(
    settings: Settings,
    accounts: tuple[str, ...],
    users: tuple[str, ...],
    devices: tuple[str, ...],
    target: Path,
    shared_devices: bool,
) -> None:
    """Write what is held of a person, with what each field means.

    Takes one id or several of the same person, each option as often as needed. An account leads to its user, and a user
    to their other accounts and to the devices on which they were logged in. `-` reads an id from standard input: what
    is given on the command line can be seen in the list of processes and stays in the shell's history.

    The folder of --to must be new or empty, and is for its owner alone. Where nothing is held, nothing is written, and
    the exit code is 0: that is an answer too. Check first that whoever asks is that person.
    """
    given = given_ids(accounts, users, devices)
    if not given:
        raise click.UsageError("give an id: --account, --user or --device")
    _print_takeout(export_person(settings, given, target, shared_devices))


def _id(given: str) -> str:
    """The id itself: the first line of standard input where that is asked for."""
    id_ = sys.stdin.readline().rstrip("\r\n") if given == FROM_INPUT else given
    if not id_:
        raise TidemarkError("the id is empty, which stands for nobody; give the id of a person")
    return id_


def _print_takeout(done: Takeout) -> None:
    out.print(f"[bold]person[/]   {_described(done.person)}")
    if done.path:
        out.print(_tables(done))
        _print_elsewhere(done)
    for one in done.unsearched:
        out.print(f"         [yellow]not searched[/] {safe(f'{one.file}: {one.why}')}")
    if done.path is None:
        out.print("[bold]nothing[/]  is held of this person, and nothing was written; look at how the id is spelt")
        _print_uncounted(done)
        return
    files = len([*done.path.iterdir()])
    out.print(f"[bold]written[/]  {safe(str(done.path))}  {counted(files, 'file')}, for their owner alone")


def _tables(done: Takeout) -> Table:
    """The rows that were written, by table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", min_width=7)
    table.add_column("table", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for heading in ("rows", "by device", "withheld"):
        table.add_column(heading, justify="right")
    for store, counts in (("lake", done.landed), ("published", done.published)):
        for name, count in counts.items():
            numbers = (f"{number:,}" for number in (count.own, count.by_device, count.withheld))
            table.add_row("", name, f"[dim]{store}[/]", *numbers)
    return table


def _print_elsewhere(done: Takeout) -> None:
    """Where else something of the person is."""
    if done.version is None:
        out.print("         nothing is published yet")
    if done.warehouse:
        rows = sum(count.own + count.by_device + count.withheld for count in done.warehouse.values())
        tables = sum(not count.is_empty for count in done.warehouse.values())
        of = f"{tables:,} of {counted(len(done.warehouse), 'table')}"
        out.print(f"         the warehouse has {counted(rows, 'row')} in {of}, worked out from these; not written")
    _print_uncounted(done)
    for store, lines in done.mentions.items():
        verb = "names" if lines == 1 else "name"
        out.print(f"         {counted(lines, 'line')} of the {store} {verb} the id in clear: mentions.csv says which")
    out.print(f"         no key of a person, so nobody's: {', '.join(done.not_linked)}")


def _print_uncounted(done: Takeout) -> None:
    if done.warehouse_note:
        out.print(f"         the warehouse was not looked through: {safe(done.warehouse_note)}")


def _described(person: Person) -> str:
    parts = [counted(person.count(kind), str(kind)) for kind in Kind]
    shared = f" ({len(person.shared - person.aliases):,} shared with others)" if person.shared else ""
    return " · ".join(parts) + shared


@click.command("expire")
@click.pass_obj
def expire_command(settings: Settings) -> None:
    """End what the contract no longer lets be kept.

    Of a day whose retention is over the key of its text and of its rejected rows is destroyed, files of the inbox that
    were dealt with are removed, and so are landed rows. Figures of these days go with them: what is built and published
    is made again, and versions published before are removed. A job by night does the same.
    """
    began = datetime.now(UTC)
    done = expire(settings, progress=_print_ended)
    numbers = Counter({"landed": sum(ended.count for ended in done if ended.store == "landed")})
    numbers += Counter(ended.store for ended in done if ended.store != "landed")
    kinds = (
        ("landed", "landed row", ""),
        ("text", "day", " of text"),
        ("quarantine", "day", " of rejected rows"),
        ("inbox", "file", " of the inbox"),
    )
    said = [f"{counted(numbers[store], noun)}{of}" for store, noun, of in kinds if numbers[store]]
    out.print(f"[bold]ended[/]    {' · '.join(said) or 'nothing: nothing is older than the contract lets it be'}")
    print_renewed(renew(settings, print_line))
    count_by_hand(settings, began, ["expire"])


def print_renewed(done: Renewed | None) -> None:
    """What readers see after rows were removed."""
    if done is None:
        return
    if done.build:
        print_build(done.build)
    gone = f" · {counted(len(done.gone), 'earlier version')} removed" if done.gone else ""
    out.print(f"[bold]renewed[/]  readers see {done.version}{gone}")


def _print_ended(ended: Ended) -> None:
    print_line(f"expire   {ended.store} of {ended.dataset}, {ended.day}")
