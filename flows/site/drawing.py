"""Charts drawn by dbt-charts, in a process of its environment.

dbt-charts needs other versions of libraries than Prefect does, so it is installed apart, in ``boards`` within the
environment that Tidemark runs in (``make boards``). It gets the rows that the queries gave and draws them: it reads no
table and keeps nothing.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from flows.errors import TidemarkError
from flows.site.boards import Rows, View, merged
from flows.site.colours import CATEGORIES

# What is drawn as a chart. Key figures and tables are text, and pages show them as such.
TEXT = frozenset({"kpi", "table", "callout"})
# Pixels of a chart, by how many stand side by side on a wide screen; a telephone shows one.
WIDTHS = {1: 560, 2: 560, 3: 380}
CHILD = Path(__file__).with_name("draw.py")
SECONDS = 300
FONTS = ("InterVariable.woff2", "DBTSansTabular-Regular.woff2")
PAINT = {"categorical": {"palette": list(CATEGORIES), "single_series_palette": list(CATEGORIES[:1])}}


class DrawingError(TidemarkError):
    """Charts could not be drawn."""


@dataclass(frozen=True)
class Drawing:
    """A chart as SVG, or why it could not be drawn."""

    svg: str = ""
    error: str | None = None


def python_of_boards() -> Path | None:
    """The interpreter that has dbt-charts, or None where it is not installed."""
    found = Path(sys.prefix) / "boards" / "bin" / "python"
    return found if found.exists() else None


def fonts_of_boards() -> list[Path]:
    """The fonts that charts are measured with, as dbt-charts brings them; none where it is not installed."""
    python = python_of_boards()
    folders = python.parents[1].glob("lib/python*/site-packages/dbt_charts/core/render/fonts") if python else ()
    return [folder / name for folder in folders for name in FONTS]


def drawn_charts(view: View) -> dict[str, int]:
    """The charts of a view that are to be drawn, and how many stand side by side with each."""
    beside = dict(_beside(view.board.document.get("rows", [])))
    return {
        name: beside.get(name, 1)
        for name, chart in view.board.charts.items()
        if chart.get("type") not in TEXT and not view.rows[chart["query"]].error and view.rows[chart["query"]].rows
    }


def document(view: View, charts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The boards to draw for a view, one for each width: its charts below each other, with their rows in them."""
    by_width: dict[int, list[str]] = {}
    for name, beside in charts.items():
        by_width.setdefault(WIDTHS.get(beside, min(WIDTHS.values())), []).append(name)
    style = view.board.document.get("style", {})
    documents = []
    for width, names in sorted(by_width.items()):
        queries = {view.board.charts[name]["query"] for name in names}
        documents.append(
            {
                "width": width,
                "queries": {query: _values(view.rows[query]) for query in sorted(queries)},
                "charts": {name: _without_title(view.board.charts[name]) for name in names},
                "rows": names,
                "style": merged({"style": {"charts": {"color": PAINT}}}, {"style": style}, "style"),
            }
        )
    return documents


class DrawingProcess:
    """A process that draws: it loads dbt-charts, which takes seconds, while others still ask for rows."""

    def __init__(self, process: "subprocess.Popen[str] | None") -> None:
        self._process = process

    def draw(self, views: Sequence[View]) -> list[dict[str, Drawing]]:
        """The charts of views, by name, in the order of the views. It can be called once.

        Raises :class:`DrawingError` where dbt-charts is not installed or ends early.
        """
        if self._process is None:
            raise DrawingError(f"dbt-charts is not installed in {Path(sys.prefix) / 'boards'}; run `make boards`")
        wanted = [drawn_charts(view) for view in views]
        first = first_alike(views, wanted)
        tasks = [
            {"view": number, "board": view.board.name, "document": one}
            for number, view in enumerate(views)
            for one in document(view, {name: n for name, n in wanted[number].items() if (number, name) not in first})
        ]
        drawings: list[dict[str, Drawing]] = [{} for _ in views]
        for answer in self._answers(tasks):
            drawings[answer["view"]].update({name: Drawing(**one) for name, one in answer["charts"].items()})
        for (number, name), (before, its) in first.items():
            if its in drawings[before]:
                drawings[number][name] = drawings[before][its]
        return drawings

    def _answers(self, tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        assert self._process is not None
        try:
            answers, said = self._process.communicate("".join(json.dumps(task) + "\n" for task in tasks), SECONDS)
        except subprocess.TimeoutExpired:
            raise DrawingError(
                f"dbt-charts did not end within {SECONDS} seconds; the next publication tries again"
            ) from None
        if self._process.returncode:
            last = (said.strip().splitlines() or ["no message"])[-1]
            raise DrawingError(f"dbt-charts ended with {self._process.returncode}: {last}")
        return [json.loads(line) for line in answers.splitlines()]


@contextmanager
def drawing_process(workers: int) -> Iterator[DrawingProcess]:
    """One that draws with so many workers. It ends with the block, whatever it was doing."""
    python = python_of_boards()
    if python is None:
        yield DrawingProcess(None)
        return
    # Nothing of this process's environment that is Python's: it is another environment.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    process = subprocess.Popen(
        [python, "-I", CHILD, str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables | {"DO_NOT_TRACK": "1"},
        start_new_session=True,
    )
    try:
        yield DrawingProcess(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # and those that it began
        process.communicate()


def first_alike(views: Sequence[View], wanted: Sequence[Mapping[str, int]]) -> dict[tuple[int, str], tuple[int, str]]:
    """The charts that look as one before them, and that one; each as the number of its view and its name.

    A filter that a chart does not read gives the same chart for each choice.
    """
    seen: dict[str, tuple[int, str]] = {}
    alike = {}
    for number, (view, charts) in enumerate(zip(views, wanted, strict=True)):
        for name, beside in charts.items():
            (one,) = document(view, {name: beside})
            key = json.dumps([one["width"], one["style"], *one["charts"].values(), *one["queries"].values()])
            if key in seen:
                alike[number, name] = seen[key]
            else:
                seen[key] = (number, name)
    return alike


def _beside(items: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Each chart of a board's rows, and how many stand in its row."""
    for item in items:
        if isinstance(item, str):
            yield item, 1
        elif "cols" in item:
            yield from ((name, len(item["cols"])) for name in item["cols"] if isinstance(name, str))
        elif "rows" in item:
            yield from _beside(item["rows"])


def _without_title(chart: Mapping[str, Any]) -> dict[str, Any]:
    """A chart without what the page says itself, in a text that is no picture."""
    return {key: value for key, value in chart.items() if key not in ("title", "subtitle", "notes")}


def _values(rows: Rows) -> dict[str, Any]:
    return {
        "type": "values",
        "columns": list(rows.columns),
        "values": [[_plain(value) for value in row] for row in rows.rows],
    }


def _plain(value: object) -> Any:
    """A value as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
