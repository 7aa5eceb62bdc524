"""Draw boards with dbt-charts: a board a line comes in, its charts as SVG go out.

Runs in the environment of dbt-charts and knows nothing of Tidemark. In: ``{"view": 0, "board": "audience", "document":
{...}}``, a board with its rows in it. Out: ``{"view": 0, "charts": {"trend": {"svg": "<svg ...>"}}}``, in any order.
The one argument is how many processes draw.
"""

import json
import multiprocessing
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# What a process needs to have seen once: that takes as long as ten charts.
FIRST = {
    "queries": {"q": {"type": "values", "columns": ["x", "y"], "values": [["a", 1]]}},
    "charts": {"c": {"query": "q", "type": "bar", "x": "x", "y": "y"}},
    "rows": ["c"],
}


def main(workers: int) -> None:
    """Answer each line of standard input with one.

    dbt-charts is loaded while there is no line yet, and once: the processes that draw are forks. Before a chart was
    drawn it has no threads, which a fork would lose. Elsewhere than on Linux one process draws alone.
    """
    # Only where it is installed; this file is also read by what is not.
    import dbt_charts.agent_api  # type: ignore[import-not-found]  # noqa: PLC0415

    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    dbt_charts.compile(json.dumps(FIRST))
    tasks = [json.loads(line) for line in sys.stdin]
    for answer in _answers(tasks, min(workers, len(tasks)) if sys.platform == "linux" else 1):
        sys.stdout.write(json.dumps(answer) + "\n")


def _answers(tasks: list[dict[str, Any]], workers: int) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        yield from map(_draw, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(_draw, task) for task in tasks]):
            yield done.result()


def _draw(task: dict[str, Any]) -> dict[str, Any]:
    """The charts of one board."""
    from dbt_charts import compile as compile_board  # noqa: PLC0415
    from dbt_charts.agent_api import ProjectSession  # noqa: PLC0415

    names = list(task["document"]["charts"])
    compiled = compile_board(json.dumps(task["document"]))  # JSON is YAML
    if not compiled.success:
        return {"view": task["view"], "charts": {name: {"error": _said(compiled.errors)} for name in names}}
    with tempfile.TemporaryDirectory() as folder, ProjectSession.open(folder) as session:
        result = session.render_board(compile_result=compiled, format="svg", use_cache=False, scale=1.0)
    failed = {error.fields.get("chart_id"): error.message for error in result.chart_errors}
    charts = {name: {"error": failed[name]} for name in names if name in failed}
    if result.data:
        charts |= _charts(result.data, [name for name in names if name not in failed])
    missing = {name: {"error": _said(result.validation_errors)} for name in names if name not in charts}
    return {"view": task["view"], "charts": charts | missing}


def _said(errors: object) -> str:
    """What went wrong, in a line."""
    said = "; ".join(" ".join(str(getattr(error, "message", error)).split()) for error in errors or [])  # type: ignore[attr-defined]
    return said or "it was not drawn"


def _charts(board: str, names: list[str]) -> dict[str, dict[str, str]]:
    """The charts of a board's SVG, each as an SVG of its own, which scales with its place."""
    charts = {}
    for group in ElementTree.fromstring(board).iter(f"{{{SVG}}}g"):
        name = group.get("data-chart-id")
        if name not in names or name in charts:
            continue
        width, height = (float(group.attrib[f"data-chart-{side}"]) for side in ("width", "height"))
        for key in [key for key in group.attrib if key.startswith(("data-", "aria-", "role"))]:
            del group.attrib[key]
        svg = ElementTree.Element(f"{{{SVG}}}svg", {"viewBox": f"0 0 {width:g} {height:g}"})
        svg.append(group)
        charts[name] = {"svg": re.sub(r">\s+<", "><", ElementTree.tostring(svg, encoding="unicode"))}
    return charts


if __name__ == "__main__":
    main(int(sys.argv[1]))
