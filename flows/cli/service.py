"""``tidemark serve`` and ``tidemark stop``: what runs automatically."""

import click

from flows.cli.render import out
from flows.cli.site import print_address
from flows.settings import Settings


@click.command("serve")
@click.option("--foreground", is_flag=True, help="Stay in the foreground, for systemd and containers.")
@click.pass_obj
def serve_command(settings: Settings, foreground: bool) -> None:
    """Start server, worker, watcher and site.

    It prints the address of Prefect's pages.
    """
    from flows.orchestrate.service.supervisor import serve  # noqa: PLC0415 (no other command needs it)

    out.print(f"[bold]serving[/]  {serve(settings, foreground)}")
    print_address(settings)
    out.print(f"         deliver to {settings.inbox.absolute()}; logs are in {settings.logs.absolute()}")
    out.print("         `tidemark status` shows how it goes, `tidemark stop` stops it")


@click.command("stop")
@click.pass_obj
def stop_command(settings: Settings) -> None:
    """Stop what `tidemark serve` started.

    What was at work is healed by the next run.
    """
    from flows.orchestrate.service.supervisor import stop  # noqa: PLC0415

    stop(settings)
    out.print("[bold]stopped[/]  readers still see the last publication")
