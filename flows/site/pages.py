"""Pages from views: what each place on a board shows, as templates need it. Nothing here reads a table."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from flows.clock import minute
from flows.publish.manifest import Manifest, describe_causes
from flows.site.boards import Board, Filter, Rows, View
from flows.site.colours import with_variables
from flows.site.drawing import Drawing
from flows.site.figures import figure, is_number

TEMPLATES = Path(__file__).with_name("templates")
# Rows of a chart's or a table's figures that a page holds; the explorer has them all.
MOST_ROWS = 400


@dataclass(frozen=True)
class Column:
    """A column of a table on a page."""

    label: str
    is_number: bool


@dataclass(frozen=True)
class Table:
    """A table as text; ``left_off`` is how many rows it has beyond those shown."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    left_off: int = 0


@dataclass(frozen=True)
class Place:
    """What stands at a place of a board.

    ``state`` says why it shows no figures, for people: nothing was there, too few were, or something failed.
    """

    kind: Literal["kpi", "chart", "table", "text"]
    name: str
    title: str
    notes: str = ""
    figure: str = ""
    support: str = ""
    tone: str = ""
    svg: str = ""
    table: Table | None = None
    state: str = ""
    is_failure: bool = False


@dataclass(frozen=True)
class Row:
    """Places side by side, below a heading where one is written."""

    places: tuple[Place, ...]
    title: str = ""


@dataclass(frozen=True)
class Choice:
    """A choice of a filter: its label, the page that shows it, and whether it is the one shown."""

    label: str
    href: str
    is_chosen: bool


@dataclass(frozen=True)
class Page:
    """A page of a board: where it is below the site, its filters and its rows; ``reads`` is the tables it shows."""

    path: str
    board: Board
    filters: tuple[tuple[str, tuple[Choice, ...]], ...]
    rows: tuple[Row, ...]
    reads: tuple[str, ...]
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What every page says: of which publication it is, and where one can go from it."""

    version: str
    published_at: datetime
    data_until: str
    boards: Sequence[Board]
    stale: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    has_explorer: bool = False
    revision: str = ""

    @property
    def published(self) -> str:
        """When it was published, for people."""
        return minute(self.published_at)


def frame_of(manifest: Manifest, boards: Sequence[Board], data_until: str, **more: Any) -> Frame:
    """The frame of a publication's pages."""
    return Frame(
        version=manifest.version,
        published_at=manifest.created_at,
        data_until=data_until,
        boards=boards,
        stale={table.name: describe_causes(table.stale_because) for table in manifest.stale},
        missing={table.name: describe_causes(table.because) for table in manifest.missing},
        revision=(manifest.git_revision or "")[:10],
        **more,
    )


def page_name(filters: Sequence[Filter], chosen: Mapping[str, str]) -> str:
    """The file of a view beside the others of its board: ``index.html`` for the one that it opens with."""
    parts = [f"{one.name}-{_slug(chosen[one.name])}" for one in filters if chosen[one.name] != one.default]
    return "_".join(parts) + ".html" if parts else "index.html"


def board_page(view: View, filters: Sequence[Filter], drawings: Mapping[str, Drawing], frame: Frame) -> Page:
    """The page of a view."""
    choices = tuple(
        (
            one.label if one.label != one.name else one.name.replace("_", " ").capitalize(),
            tuple(
                Choice(
                    choice,
                    page_name(filters, {**view.chosen, one.name: choice}),
                    is_chosen=view.chosen[one.name] == choice,
                )
                for choice in one.choices
            ),
        )
        for one in filters
    )
    return Page(
        path=f"boards/{view.board.name}/{page_name(filters, view.chosen)}",
        board=view.board,
        filters=choices,
        rows=tuple(_rows(view.board.document.get("rows", []), view, drawings)),
        reads=tuple(sorted(view.tables)),
        stale=tuple(sorted(view.tables & frame.stale.keys())),
    )


def _rows(items: Sequence[Any], view: View, drawings: Mapping[str, Drawing], title: str = "") -> Iterator[Row]:
    """The rows of a board, as its ``rows`` have them: a chart, charts side by side, or rows below a heading."""
    for item in items:
        if isinstance(item, str):
            yield Row((_place(item, view, drawings),), title)
        elif "cols" in item:
            yield Row(tuple(_place(name, view, drawings) for name in item["cols"]), item.get("title", title))
        elif "rows" in item:
            yield from _rows(item["rows"], view, drawings, item.get("title", title))
        elif "text" in item:
            yield Row((Place("text", "", "", notes=str(item["text"]).strip()),), item.get("title", title))
        title = ""


def _place(name: str, view: View, drawings: Mapping[str, Drawing]) -> Place:
    chart = view.board.charts[name]
    rows = view.rows[chart["query"]]
    title = str(chart.get("title") or chart.get("label") or name.replace("_", " ").capitalize())
    kind: Literal["kpi", "chart", "table"] = chart["type"] if chart["type"] in ("kpi", "table") else "chart"
    plain = Place(kind, name, title, notes=" ".join(str(chart.get("notes", "")).split()))
    state = _state(chart, rows, drawings.get(name))
    if state:
        # What could not be drawn can be read all the same.
        table = _table(chart, rows) if kind == "chart" and rows.rows and state[1] else None
        return _with(plain, state=state[0], is_failure=state[1], table=table)
    if kind == "kpi":
        return _key_figure(plain, chart, rows)
    table = _table(chart, rows)
    if kind == "table":
        return _with(plain, table=table)
    return _with(plain, table=table, svg=Markup(with_variables(drawings[name].svg)))


def _state(chart: Mapping[str, Any], rows: Rows, drawing: Drawing | None) -> tuple[str, bool] | None:
    """Why a place shows no figures, and whether that is a failure; None where it shows some."""
    if rows.error:
        return rows.error, True
    if not rows.rows:
        return "Nothing to show for this choice.", False
    measures = _measures(chart)
    if measures and all(value is None for column in measures for value in rows.values(column)):
        return "Too few to be shown.", False
    if chart["type"] not in ("kpi", "table") and (drawing is None or drawing.error):
        return f"The chart could not be drawn: {drawing.error if drawing else 'it was left out'}", True
    return None


def _measures(chart: Mapping[str, Any]) -> list[str]:
    """The columns whose figures a chart shows."""
    named = chart.get("value") or chart.get("y") or []
    return [named] if isinstance(named, str) else list(named)


def _key_figure(place: Place, chart: Mapping[str, Any], rows: Rows) -> Place:
    style = chart.get("style", {})
    (value,) = rows.values(chart["value"])[:1]
    support, shown, tone = chart.get("support"), "", ""
    if support:
        (change,) = rows.values(support["value"])[:1]
        if change is not None:
            shown = f"{figure(change, style.get('support', {}).get('format'))} {support.get('label', '')}".strip()
            tone = "up" if is_number(change) and change > 0 else "down" if is_number(change) and change < 0 else ""
    return _with(place, figure=figure(value, style.get("value", {}).get("format")), support=shown, tone=tone)


def _table(chart: Mapping[str, Any], rows: Rows) -> Table:
    """The rows of a chart as text."""
    styles = chart.get("style", {}).get("columns", {}) if chart["type"] == "table" else {}
    at = [n for n, name in enumerate(rows.columns) if styles.get(name, {}).get("visible", True)]
    columns = tuple(
        Column(
            str(styles.get(rows.columns[n], {}).get("label", rows.columns[n].replace("_", " ").capitalize())),
            is_number=any(is_number(row[n]) for row in rows.rows),
        )
        for n in at
    )
    formats = [styles.get(rows.columns[n], {}).get("format") for n in at]
    shown = tuple(
        tuple(figure(row[n], name) for n, name in zip(at, formats, strict=True)) for row in rows.rows[:MOST_ROWS]
    )
    return Table(columns, shown, left_off=max(0, len(rows.rows) - MOST_ROWS))


def _with(place: Place, **changed: Any) -> Place:
    return Place(**{**place.__dict__, **changed})


def _slug(text: str) -> str:
    """A choice as part of a file's name."""
    return "".join(character if character.isalnum() else "-" for character in text.lower())


def _with_code(text: str) -> Markup:
    """A text in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


PAGES = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


PAGES.filters["code"] = _with_code
PAGES.filters["minute"] = minute


def render(template: str, frame: Frame, path: str, **more: Any) -> str:
    """A page from its template. ``path`` is where it is below the site: links lead there from it."""
    return PAGES.get_template(template).render(frame=frame, root="../" * path.count("/"), path=path, **more)
