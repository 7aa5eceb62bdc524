"""The commands that ask what is published: a query, DuckDB's own shell, and a server for assistants."""

import os
import shutil
import sys
from pathlib import Path

import click

from flows.ask.answer import ask
from flows.ask.connection import Limits
from flows.ask.publication import current_publication
from flows.ask.statement import UnknownTableError
from flows.cli.answers import FORMATS, described, print_answer
from flows.cli.render import out, safe
from flows.errors import TidemarkError
from flows.rights import Visibility
from flows.settings import Settings

ROWS = 100


def _level(*levels: Visibility) -> click.Choice[str]:
    return click.Choice([level.value for level in levels])


@click.command("query")
@click.argument("sql", required=False)
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Read the SELECT from a file.")  # fmt: skip
@click.option("--format", "form", type=click.Choice([*FORMATS]), default="table", metavar="FORMAT",
              help="How rows are printed: table, unless given, csv, json or markdown.")  # fmt: skip
@click.option("--limit", default=ROWS, show_default=True, type=click.IntRange(1, 10_000_000), metavar="N",
              help="Rows printed at most.")  # fmt: skip
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1, 3600), metavar="N",
              help="Seconds that it may take.")  # fmt: skip
@click.option("--level", type=_level(*Visibility), default=Visibility.INTERNAL.value, metavar="LEVEL",
              help="Whose tables: internal, unless given, public or restricted.")  # fmt: skip
@click.pass_obj
def query_command(
    settings: Settings, sql: str | None, path: Path | None, form: str, limit: int, seconds: int, level: str
) -> None:
    """Answer a SELECT on the published tables.

    SQL is one SELECT, as in `tidemark query "select * from published_tables"`, or `-` to read it from the standard
    input. Below the rows stands which publication answered, and up to which day it has data; where rows are printed
    to be read by a program, that goes to the error output. It can only read: nothing else than a SELECT is answered.
    """
    if (sql is None) == (path is None):
        raise click.UsageError("give one SELECT: as an argument in quotes, by --file FILE, or - for the standard input")
    text = path.read_text(encoding="utf-8") if path else sys.stdin.read() if sql == "-" else str(sql)
    publication = current_publication(settings, Visibility(level))
    try:
        answer = ask(publication, text, Limits(rows=limit, seconds=seconds, threads=settings.threads))
    except UnknownTableError as error:
        raise TidemarkError(f"{error}{'' if publication.level is Visibility.RESTRICTED else ELSEWHERE}") from error
    print_answer(answer, form)


ELSEWHERE = "; tables of single people, devices and calls are asked by --level restricted, by those who may see them"


@click.command("shell")
@click.option("--level", type=_level(*Visibility), default=Visibility.INTERNAL.value, metavar="LEVEL",
              help="Whose tables: internal, unless given, public or restricted.")  # fmt: skip
@click.pass_obj
def shell_command(settings: Settings, level: str) -> None:
    """Open DuckDB's shell on the published tables.

    It is opened read-only, on the publication that is current now, and stays on it. `.tables` lists the tables,
    `.quit` leaves it.
    """
    publication = current_publication(settings, Visibility(level))
    beside = Path(sys.executable).with_name("duckdb")
    program = str(beside) if beside.exists() else shutil.which("duckdb")
    if program is None:
        raise TidemarkError(
            "the shell is DuckDB's own, which is not installed: `make install`, or `pip install duckdb-cli==1.5.5`; "
            "`tidemark query` answers without it"
        )
    out.print(f"[dim]{safe(described(publication))}[/]")
    sys.stdout.flush()
    os.execv(program, [program, "-readonly", "-cmd", PROMPT, str(publication.database)])


PROMPT = ".prompt 'published> '"


@click.command("mcp")
@click.option("--level", type=_level(Visibility.PUBLIC, Visibility.INTERNAL), default=Visibility.INTERNAL.value,
              metavar="LEVEL", help="Whose tables: internal, unless given, or public.")  # fmt: skip
@click.pass_obj
def mcp_command(settings: Settings, level: str) -> None:
    """Let an assistant ask: serve the published tables by MCP.

    A client starts it and talks to it over the standard input and output. It offers to list the tables, to describe
    one, and to answer a SELECT; rows of single people, devices and calls are not there.
    """
    try:
        from flows.ask.mcp import make_server  # noqa: PLC0415 (an extra that no other command needs)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise TidemarkError(
            "the server needs the package mcp, which is not installed: `.venv/bin/python -m pip install 'mcp>=2.3,<3'`"
        ) from None
    if sys.stdin.isatty():
        click.echo("a client starts this and talks to it: docs/guides/asking.md says how; Ctrl-C ends it", err=True)
    make_server(settings, Visibility(level)).run("stdio")
