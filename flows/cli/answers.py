"""How answers are printed: for people as a table, for programs as CSV, JSON or Markdown."""

import csv
import json
import sys
from collections.abc import Callable
from typing import TextIO

import click
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from flows.ask.answer import Answer
from flows.ask.publication import Publication
from flows.ask.values import Value
from flows.cli.render import out, plain
from flows.clock import minute

NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
           "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip

# Characters of a line that no table is as wide as.
WIDEST = 10_000_000


def print_answer(answer: Answer, form: str) -> None:
    """The rows, and below them what they are of: beside them, where a program is to read the rows."""
    more = ["--limit N prints N rows"] if answer.is_more else []
    lines = [*answer.notes, *more, described(answer.publication, answer)]
    if form == "table":
        _print_table(answer)
        for line in lines:
            out.print(Text(plain(line), style="dim"))
        return
    FORMATS[form](answer, sys.stdout)
    sys.stdout.flush()
    for line in lines:
        click.echo(plain(line), err=True)


def described(publication: Publication, answer: Answer | None = None) -> str:
    """Which publication it is, and how far its data goes."""
    up_to = answer.data_up_to if answer else publication.data_up_to
    return (
        f"publication {publication.version} · published {minute(publication.published_at)} · "
        f"{f'data up to {up_to} · ' if up_to else ''}level {publication.level}"
    )


def _print_table(answer: Answer) -> None:
    """A table, as wide as it has to be; on a terminal that is narrower, each row as lines of its own."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name, kind in answer.columns:
        justify = "right" if kind.partition("(")[0] in NUMBERS else "left"
        table.add_column(Text(plain(name)), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in answer.rows:
        table.add_row(*map(_cell, row))
    endless = Console(width=WIDEST)
    wide = Measurement.get(endless, endless.options, table).maximum
    if out.is_terminal and wide > out.width:
        _print_lines(answer)
    else:
        type(out)(highlight=False, width=max(wide, 1)).print(table)
    if not answer.rows:
        out.print("[dim]no rows[/]")


def _print_lines(answer: Answer) -> None:
    names = [plain(name) for name, _ in answer.columns]
    width = max(map(len, names))
    for number, row in enumerate(answer.rows, 1):
        out.print(Text(f"row {number:,}", style="bold"))
        for name, value in zip(names, row, strict=True):
            out.print(Text.assemble((f"  {name.ljust(width)}  ", "dim"), _cell(value)))


def _cell(value: Value) -> Text:
    return Text("NULL", style="dim") if value is None else Text(plain(_text(value)))


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _write_csv(answer: Answer, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(name for name, _ in answer.columns)
    writer.writerows(map(_text, row) for row in answer.rows)


def _write_json(answer: Answer, file: TextIO) -> None:
    """A list of objects, one a line. A name that several columns have gets a number."""
    names: list[str] = []
    for name, _ in answer.columns:
        same = sum(each == name or each.startswith(f"{name}_") for each in names)
        names.append(f"{name}_{same + 1}" if name in names else name)
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in answer.rows]
    file.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def _write_markdown(answer: Answer, file: TextIO) -> None:
    right = [kind.partition("(")[0] in NUMBERS for _, kind in answer.columns]
    file.write(_markdown([name for name, _ in answer.columns]))
    file.write(_markdown(["---:" if is_right else "---" for is_right in right]))
    for row in answer.rows:
        file.write(_markdown([_text(value) for value in row]))


def _markdown(cells: list[str]) -> str:
    return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |\n"


FORMATS: dict[str, Callable[[Answer, TextIO], None]] = {
    "table": lambda answer, file: _print_table(answer),
    "csv": _write_csv,
    "json": _write_json,
    "markdown": _write_markdown,
}
