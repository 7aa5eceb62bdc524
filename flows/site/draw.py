"""Draw boards with dbt-charts: a board a line comes in, its charts as SVG go out.

Runs in the environment of dbt-charts and knows nothing of Tidemark. In: ``{"view": 0, "board": "audience", "document":
{...}}``, a board with its rows in it. Out: ``{"view": 0, "charts": {"trend": {"svg": "<svg ...>"}}}``.
"""

import json
import re
import sys
import tempfile
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def main() -> None:
    """Answer each line of standard input with one."""
    # Only where it is installed; this file is also read by what is not.
    from dbt_charts import compile as compile_board  # type: ignore[import-not-found]  # noqa: PLC0415
    from dbt_charts.agent_api import ProjectSession  # type: ignore[import-not-found]  # noqa: PLC0415

    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    with tempfile.TemporaryDirectory() as folder, ProjectSession.open(folder) as session:
        for line in sys.stdin:
            task = json.loads(line)
            names = list(task["document"]["charts"])
            compiled = compile_board(json.dumps(task["document"]))  # JSON is YAML
            if not compiled.success:
                charts = {name: {"error": _said(compiled.errors)} for name in names}
            else:
                result = session.render_board(compile_result=compiled, format="svg", use_cache=False, scale=1.0)
                failed = {error.fields.get("chart_id"): error.message for error in result.chart_errors}
                charts = {name: {"error": failed[name]} for name in names if name in failed}
                if result.data:
                    charts |= _charts(result.data, [name for name in names if name not in failed])
            missing = {name: {"error": _said(result.validation_errors)} for name in names if name not in charts}
            sys.stdout.write(json.dumps({"view": task["view"], "charts": charts | missing}) + "\n")


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
    main()
