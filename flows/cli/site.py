"""``tidemark site``: the pages of what is published, and where they are."""

from typing import TYPE_CHECKING

import click

from flows.cli.render import out, safe
from flows.errors import TidemarkError
from flows.settings import Settings
from flows.text import counted

if TYPE_CHECKING:  # templates are loaded by who makes pages alone: no other command waits for that
    from flows.site.site import Site


@click.command("site")
@click.option("--force", is_flag=True, help="Make it again, as after boards were changed.")
@click.pass_obj
def site_command(settings: Settings, force: bool) -> None:
    """Make the site of the current publication.

    That is boards and the pages of its tables, as files below `published/site`. It is made after each publication by
    itself. Exit code 1 where a board or chart of it failed.
    """
    from flows.site.site import refresh_site  # noqa: PLC0415

    site = refresh_site(settings, force)
    if site is None:
        raise TidemarkError("nothing was published yet; `tidemark run` publishes")
    print_site(settings, site)
    if site.record.problems:
        raise SystemExit(1)


def show_site(settings: Settings) -> None:
    """Make the site after a publication, and say where it is. What fails of it fails nothing else."""
    if not settings.site:
        return
    from flows.site.site import refresh_site  # noqa: PLC0415

    try:
        site = refresh_site(settings)
    except TidemarkError as error:
        out.print(f"[bold yellow]site[/]     {safe(str(error))}")
        return
    if site:
        print_site(settings, site)


def print_site(settings: Settings, site: "Site") -> None:
    """Where the site is, and what of it failed."""
    index = (settings.published / "site" / "index.html").absolute()
    out.print(f"[bold]site[/]     {counted(site.record.pages, 'page')}: file://{safe(str(index))}")
    out.print(f"         `tidemark serve` shows it at {address(settings)}")
    for problem in site.record.problems:
        out.print(f"         [yellow]failed[/] {safe(problem)}")


def print_address(settings: Settings) -> None:
    """Where the site is served."""
    if settings.site:
        out.print(f"[bold]site[/]     {address(settings)}")


def address(settings: Settings) -> str:
    """The address of the site while it is served."""
    host = f"[{settings.server_host}]" if ":" in settings.server_host else settings.server_host
    return f"http://{host}:{settings.site_port}"
