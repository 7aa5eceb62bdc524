"""Boards: what they say, the choices of their filters, and the rows of their queries.

A board is a file below ``boards/charts``, in the language of dbt-charts. Its queries read published tables. Each choice
of its filters is a *view* of it, which becomes a page: a filter is a link.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from flows.errors import TidemarkError

Row = tuple[Any, ...]
# More choices in one filter are no links but a list to search, and each costs a page in every other choice.
MOST_CHOICES = 12
# Where dbt-charts looks for boards, and the file there that applies to all of them.
CHARTS = "charts"
META = "meta.yml"


class BoardError(TidemarkError):
    """A board cannot be read, or one of its queries cannot be run."""


@dataclass(frozen=True)
class Rows:
    """What a query gave: the names of its columns and its rows, or ``error``, why there are none."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    error: str | None = None

    def values(self, column: str) -> list[Any]:
        """The values of a column, in the order of the rows. Raises :class:`BoardError` where there is no such one."""
        if column not in self.columns:
            raise BoardError(f"the query has no column {column}; it has {', '.join(self.columns)}")
        at = self.columns.index(column)
        return [row[at] for row in self.rows]


@dataclass(frozen=True)
class Filter:
    """A filter: its name in the queries, how it is called, its choices and the one that a board opens with."""

    name: str
    label: str
    choices: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Board:
    """A board as it was written. ``name`` is that of its file, ``notes`` says what it answers."""

    name: str
    path: Path
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        """How it is called."""
        return str(self.document.get("title", self.name))

    @property
    def notes(self) -> str:
        """What it answers, in a few sentences."""
        return " ".join(str(self.document.get("notes", "")).split())

    @property
    def queries(self) -> dict[str, str]:
        """The SQL of its queries, by name, with the filters' places in it."""
        return {
            name: query if isinstance(query, str) else query["sql"]
            for name, query in self.document.get("queries", {}).items()
        }

    @property
    def charts(self) -> Mapping[str, Mapping[str, Any]]:
        """Its charts, by name."""
        charts: Mapping[str, Mapping[str, Any]] = self.document.get("charts", {})
        return charts


@dataclass(frozen=True)
class View:
    """A board with a choice in each of its filters, and the rows of each of its queries."""

    board: Board
    chosen: Mapping[str, str]
    rows: Mapping[str, Rows]
    tables: frozenset[str]


@dataclass(frozen=True)
class SiteSettings:
    """What ``site.yml`` says: the order of the boards, and what people search for by which words of descriptions."""

    order: tuple[str, ...] = ()
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_site_settings(folder: Path, problems: list[str]) -> SiteSettings:
    """What ``site.yml`` says; where it cannot be read, nothing, and ``problems`` says why."""
    try:
        document = _read_yaml(folder / "site.yml")
        return SiteSettings(tuple(map(str, document.get("boards", ()))), dict(document.get("synonyms", {})))
    except (BoardError, TypeError, ValueError) as error:
        problems.append(f"{folder / 'site.yml'}: {error}")
        return SiteSettings()


def read_boards(folder: Path, order: Sequence[str], problems: list[str]) -> list[Board]:
    """The boards of a project: first those that ``order`` names, then the others by name.

    A file that is no board leaves the others alone, and is added to ``problems``.
    """
    boards = []
    try:
        shared = _read_yaml(folder / CHARTS / META)
    except BoardError as error:
        shared = {}
        problems.append(str(error))
    first = {name: number for number, name in enumerate(order)}
    for path in sorted((folder / CHARTS).glob("*.yml"), key=lambda path: (first.get(path.stem, len(first)), path.stem)):
        if path.name == META:
            continue
        try:
            document = _read_yaml(path)
        except BoardError as error:
            problems.append(str(error))
            continue
        boards.append(Board(path.stem, path, {**shared, **document, "style": merged(shared, document, "style")}))
    return boards


def _read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a file holds, an empty one where there is no file."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BoardError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise BoardError(f"{path} says nothing by name: a board has a title, queries, charts and rows")
    return document


def merged(below: Mapping[str, Any], above: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mappings that two mappings have at a key as one, key by key; ``above`` wins."""
    first, second = below.get(key) or {}, above.get(key) or {}
    return {
        name: merged(first, second, name)
        if isinstance(first.get(name), dict) and isinstance(second.get(name), dict)
        else second.get(name, first.get(name))
        for name in {**first, **second}
    }


def read_filters(board: Board, database: duckdb.DuckDBPyConnection) -> tuple[Filter, ...]:
    """The filters of a board, with the choices that there are in what is published."""
    filters = []
    for name, variable in board.document.get("variables", {}).items():
        options = variable.get("options", {})
        if "static" in options:
            choices = [str(choice) for choice in options["static"]]
        else:
            found = run_query(database, board.queries[options["query"]])
            if found.error:
                raise BoardError(f"{board.path}, filter {name}: {found.error}")
            choices = [str(value) for value in found.values(options["column"])]
        default = str(variable.get("default", choices[0] if choices else ""))
        if default not in choices:
            choices = [default, *choices]
        kept = tuple(dict.fromkeys(choices))[:MOST_CHOICES]
        filters.append(Filter(name, str(variable.get("label", name)), kept, default))
    return tuple(filters)


def views(board: Board, filters: Sequence[Filter], database: duckdb.DuckDBPyConnection) -> Iterator[View]:
    """A view for each choice of the filters, the one that the board opens with first."""
    ordered = [sorted(one.choices, key=lambda choice, one=one: choice != one.default) for one in filters]  # type: ignore[misc]
    seen: dict[str, Rows] = {}
    for choices in product(*ordered):
        chosen = {one.name: choice for one, choice in zip(filters, choices, strict=True)}
        rows, tables = {}, set()
        for name, sql in board.queries.items():
            try:
                text = render_sql(sql, chosen)
            except TemplateError as error:
                rows[name] = Rows(error=f"query {name}: {error}")
                continue
            if text not in seen:  # not every query depends on every filter
                seen[text] = run_query(database, text)
            rows[name] = seen[text]
            tables |= tables_of(database, text)
        yield View(board, chosen, rows, frozenset(tables))


def _quoted(value: object) -> object:
    """What is put into a text of SQL, which a quote in it does not end."""
    return value.replace("'", "''") if isinstance(value, str) else value


SQL = SandboxedEnvironment(undefined=StrictUndefined, finalize=_quoted, autoescape=False)


def render_sql(sql: str, chosen: Mapping[str, str]) -> str:
    """A query with the choices of the filters in their places."""
    return SQL.from_string(sql).render(**chosen)


def run_query(database: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    """The rows of a query, or why there are none: one that fails leaves the others of a board alone."""
    try:
        cursor = database.execute(sql)
        columns = tuple(column[0] for column in cursor.description or ())
        return Rows(columns, tuple(cursor.fetchall()))
    except duckdb.Error as error:
        missing = re.search(r"Table with name (\w+) does not exist", str(error))
        if missing:
            return Rows(error=f"{missing[1]} is not published")
        return Rows(error=" ".join(str(error).split()))


def tables_of(database: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """The tables that a query reads; none where it cannot be read."""
    found = database.execute("select json_serialize_sql(?)", [sql]).fetchone()
    names: set[str] = set()
    own: set[str] = set()
    _collect_tables(json.loads(found[0]) if found else {}, names, own)
    return names - own


def _collect_tables(node: object, names: set[str], own: set[str]) -> None:
    """The tables that are named below a node of DuckDB's syntax tree, and the CTEs that are defined there."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            names.add(node["table_name"])
        own |= {entry["key"] for entry in node.get("cte_map", {}).get("map", ())}
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _collect_tables(below, names, own)
