"""The commands for who changes the project: whether it can be built, and what the change does to the marts."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.render import out, safe
from flows.settings import Settings
from flows.text import counted

if TYPE_CHECKING:
    from flows.develop.compare import TableDiff
    from flows.develop.diff import Diff


@click.command("check")
@click.pass_obj
def check_command(settings: Settings) -> None:
    """Check that every model can be built, on empty tables.

    So is the SQL of every data test, and that each model gives the columns and types of its YAML. It needs no lake and
    no warehouse, waits for no build, and names all that is wrong at once. Exit code 1 where something is.
    """
    from flows.develop.check import check  # noqa: PLC0415

    done = check(settings)
    for finding in done.findings:
        out.print(f"[bold red]{safe(finding.place)}[/] {safe(finding.name)}: {safe(finding.message)}")
    checked = f"{counted(done.models, 'model')} and {counted(done.tests, 'data test')}"
    out.print(f"[bold]check[/]    {checked} · {len(done.findings) or 'nothing'} wrong")
    if done.findings:
        sys.exit(1)


@click.command("dev")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1), metavar="N",
              help="How many of the lake's last days it reads.")  # fmt: skip
@click.pass_obj
def dev_command(settings: Settings, days: int) -> None:
    """Make a warehouse of your own to develop in.

    It is over the last days of the lake, which stays where it is and is not written to. What marts are made of is
    built; marts are read from the publication, until you build them. Prints what to set so that dbt does so. Again, it
    begins from nothing.
    """
    from flows.develop.dev import make_dev  # noqa: PLC0415

    made = make_dev(settings, days)
    of = f"commit {made.commit[:10]}" if made.commit else f"the project as it is: {made.why_no_commit}"
    click.echo(f"# {counted(made.models, 'model')} built; the rest is that of publication {made.version}", err=True)
    click.echo(f"# what you change is compared with {of}", err=True)
    click.echo(f"export TIDEMARK_HOME={shlex.quote(str(made.home))}")
    click.echo(f"export DBT_STATE={shlex.quote(str(made.state))} DBT_DEFER=true")


@click.command("diff")
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="HOME",
              help="Whose publication: this home's, or that of the lake it reads, unless given.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", metavar="FORMAT",
              help="text, unless given, or markdown, as for a pull request.")  # fmt: skip
@click.pass_obj
def diff_command(settings: Settings, against: Path | None, form: str) -> None:
    """Show how the marts differ from those published.

    The marts are those of this home's warehouse. It shows tables, columns, numbers of rows and sums over the days that
    both have; never a row, and of restricted tables no sums. Exit code 0 whether or not anything differs.
    """
    from flows.develop.diff import diff  # noqa: PLC0415

    done = diff(settings, against)
    for line in in_markdown(done) if form == "markdown" else in_text(done):
        click.echo(line)


def in_text(diff: "Diff") -> Iterator[str]:
    """The diff for a terminal."""
    yield f"diff     against publication {diff.version}"
    for title, *lines in _parts(diff):
        yield title
        yield from (f"         {line}" for line in lines)
    yield from _rest(diff)


def in_markdown(diff: "Diff") -> Iterator[str]:
    """The diff for a pull request."""
    yield f"### What changes in the marts, against publication {diff.version}"
    yield ""
    for title, *lines in _parts(diff):
        yield f"- **{title}**"
        yield from (f"  - {line}" for line in lines)
    yield from (f"- {line}" for line in _rest(diff))


def _parts(diff: "Diff") -> Iterator[list[str]]:
    for name in diff.added:
        yield [f"{name}: a new table"]
    for name in diff.removed:
        yield [f"{name}: no longer a table"]
    for table in diff.tables:
        if not table.is_same:
            yield [_title(table), *_lines(table)]


def _rest(diff: "Diff") -> Iterator[str]:
    same = [table for table in diff.tables if table.is_same]
    yield f"the same: {counted(len(same), 'table')}"
    if diff.not_built:
        yield f"not built here, so not compared: {', '.join(diff.not_built)}"
    if diff.unseen:
        yield f"not compared, for you may not read what is published of them: {', '.join(diff.unseen)}"
    if stale := [f"{table.shape.name} (waits for {table.stale_because})" for table in same if table.stale_because]:
        yield f"stale where published: {', '.join(stale)}"


def _title(table: "TableDiff") -> str:
    days = table.shape.days
    return f"{table.shape.name}{f', {days[0]} to {days[1]}' if days else ''}"


def _lines(table: "TableDiff") -> Iterator[str]:
    shape = table.shape
    if table.stale_because:
        yield f"stale where published: it waits for {table.stale_because}"
    for column, kind in shape.added_columns.items():
        yield f"column {column} added ({kind.lower()})"
    for column, kind in shape.removed_columns.items():
        yield f"column {column} removed ({kind.lower()})"
    for column, (before, after) in shape.retyped_columns.items():
        yield f"column {column}: {before.lower()} -> {after.lower()}"
    rows = f"rows {table.rows_before:,} -> {table.rows_after:,}"
    if table.why_not:
        yield f"{rows}; not compared row by row: {table.why_not}"
        return
    if table.added or table.removed or table.changed:
        yield f"{rows}: {table.added:,} added, {table.removed:,} removed, {table.changed:,} changed"
    for change in table.columns:
        # Where rows were only added or removed, none that both have differs.
        other = [f"other in {counted(change.rows, 'row')}"] if change.rows else []
        has_sum = change.before is not None or change.after is not None
        total = [f"sum {_moved(change.before, change.after)}"] if has_sum else []
        yield f"{change.name}: {'; '.join([*other, *total])}"


def _moved(before: Any, after: Any) -> str:
    """Two sums, and by which share the second is more or less."""
    share = f" ({(after - before) / abs(before):+.1%})" if before and after is not None else ""
    return f"{_number(before)} -> {_number(after)}{share}"


def _number(value: Any) -> str:
    return "NULL" if value is None else f"{value:,.2f}".removesuffix(".00")
