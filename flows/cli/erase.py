"""The command that erases people."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from flows.cli.by_hand import count_by_hand
from flows.cli.privacy import given_ids, of_one_person
from flows.cli.render import out, print_line, safe
from flows.clock import minute
from flows.errors import TidemarkError
from flows.land.pseudonyms import Kind
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.requests import Queue, Request
from flows.settings import Settings
from flows.text import counted

WARNING = (
    "All that is held of them goes from every store and every version published, and cannot be brought back. Erase?"
)


@click.command("erase")
@of_one_person
@click.option(
    "--file",
    "listed",
    metavar="LIST",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV file of people, a line each: account,ID or user,ID or device,ID, or several of these in a row.",
)
@click.option(
    "--shared-devices",
    is_flag=True,
    help="Take for theirs what happened on devices that others used too, while nobody was logged in.",
)
@click.option("--list", "only_list", is_flag=True, help="List the requests and how far each is; nothing is erased.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.pass_obj
def erase_command(
    settings: Settings,
    accounts: tuple[str, ...],
    users: tuple[str, ...],
    devices: tuple[str, ...],
    listed: Path | None,
    shared_devices: bool,
    only_list: bool,
    yes: bool,
) -> None:
    """Erase people from every store, with a receipt.

    Takes the ids of one person as `tidemark export-person` does, or with --file those of many, who are erased together:
    that costs little more than one. Without ids it goes on with the requests that are open, as a job does by night.

    What is theirs goes from the inbox, the landed zone, quarantine, the text store, the warehouse and what is
    published; versions published before are removed. Rows of them that are delivered again do not land. Everybody
    else's figures change only by their part. Check first that whoever asks is that person.
    """
    began = datetime.now(UTC)
    queue = Queue(settings)
    if only_list:
        _print_queue(queue.all())
        return
    given = given_ids(accounts, users, devices)
    people = [*([given] if given else []), *(_people_in(listed) if listed else [])]
    received: list[str] = []
    if people:
        if not settings.landed.exists():
            raise TidemarkError(f"nothing has landed in {settings.lake}; run `tidemark land`, or set TIDEMARK_HOME")
        if not yes:
            click.confirm(f"{counted(len(people), 'person', 'people')} to erase. {WARNING}", abort=True)
        received.append(queue.receive(people, shared_devices).id)
    done = erase(settings, progress=print_line)
    # Another process may have been quicker.
    known = {request.id for request in done}
    done += [request for request in queue.all() if request.id in received and request.id not in known]
    for request in done:
        _print_receipt(queue, request)
    if not done:
        out.print("[bold]erase[/]    no request is open")
    count_by_hand(settings, began, ["erase"])


def _people_in(path: Path) -> list[tuple[Given, ...]]:
    """The people of a list, a line each. Raises :class:`TidemarkError` that names the line which is none."""
    people = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            pairs = list(zip(cells[::2], cells[1::2], strict=False))
            if len(cells) % 2 or any(kind not in [*Kind] or not id_ for kind, id_ in pairs):
                raise TidemarkError(
                    f"line {number} of {path} is none of `account,ID`, `user,ID` and `device,ID`, nor several of them "
                    "in a row; nobody was erased"
                )
            people.append(tuple(Given(Kind(kind), id_) for kind, id_ in pairs))
    if not people:
        raise TidemarkError(f"{path} names nobody")
    return people


def _print_queue(requests: list[Request]) -> None:
    for request in requests:
        people = counted(request.people, "person", "people")
        since = minute(request.reached[request.state])
        print_line(f"erase    {request.id}  {people}  received {minute(request.received_at)}  {request.state} {since}")
    if not requests:
        out.print("[bold]erase[/]    there are no requests")


def _print_receipt(queue: Queue, request: Request) -> None:
    found = request.found
    out.print(f"[bold]erased[/]   {counted(request.people, 'person', 'people')} · {_pseudonyms(found['pseudonyms'])}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", min_width=7)
    for heading in ("table", "in"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "now", "kept"):
        table.add_column(heading, justify="right")
    empty = kept = 0
    for store, tables in found["before"].items():
        for name, before in tables.items():
            after = found["after"].get(store, {}).get(name, {})
            cells = (_theirs(before), _theirs(after), after.get("withheld", 0))
            kept += cells[2]
            if any(cells):
                table.add_row("", name, f"[dim]{store}[/]", *(f"{number:,}" for number in cells))
            else:
                empty += 1
    if table.row_count:
        out.print(table)
    else:
        out.print("         nothing was held of them: look at how the ids are spelt")
    if kept:
        out.print("         kept: rows that say as much of somebody else, or happened on a device that others used too")
    if of_devices := found.get("consents_kept_of_devices"):
        print_line(f"         kept: what {counted(of_devices, 'record')} of consent said of devices that others use")
    out.print(f"         {counted(empty, 'other table')} had no row of theirs")
    stores = [file["store"] for file in found.get("files", [])]
    files = " · ".join(f"{stores.count(store):,} of {store}" for store in ("inbox", "landed", "quarantine", "text"))
    out.print(f"         files rewritten or removed: {files}")
    out.print(f"         earlier versions removed: {len(found.get('versions_removed', [])):,}")
    for one in found.get("not_searched", []):
        out.print(f"         [yellow]not searched[/] {safe(one['file'])}: {safe(one['why'])}")
    out.print(f"[bold]receipt[/]  {safe(str(queue.path(request)))}")


def _theirs(count: dict[str, Any]) -> int:
    return int(count.get("own", 0)) + int(count.get("by_device", 0))


def _pseudonyms(found: dict[str, int]) -> str:
    parts = [counted(found[kind], str(kind)) for kind in Kind]
    shared = f" ({found['shared_devices']:,} shared with others)" if found["shared_devices"] else ""
    return " · ".join(parts) + shared
