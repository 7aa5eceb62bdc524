"""Superset's datasets of the marts, from what the models' YAML says: columns, what they mean, and which may be summed.

``python -m flows.catalogue.superset`` writes them below ``bi/superset``; ``--check`` writes nothing and exits 1 where
one is out of date. Restricted marts have none: a dashboard is for more people than may see them.
"""

import re
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import click
import yaml

from flows.catalogue.marts import MARTS
from flows.contract.spec import PROJECT

BUNDLE = Path("bi/superset/bundle")
DATASETS = BUNDLE / "datasets/marts"
COLUMN_TEXTS = Path("models/_columns.md")
# Superset knows what it imported before by these, so they follow from the names.
NAMES = "https://tidemark.invalid/superset/"
# Types as DuckDB calls them.
TYPES = {"string": "VARCHAR", "integer": "INTEGER", "timestamp": "TIMESTAMP", "double": "DOUBLE", "boolean": "BOOLEAN"}
WHY_EMPTY = "Empty where a chart would put several rows together: it cannot be summed."


def id_of(name: str) -> str:
    """The id that something of this name has in every Superset."""
    return str(uuid5(NAMESPACE_URL, NAMES + name))


def dataset(model: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """A mart as a dataset. A figure that may not be summed is there for one row at a time, and empty for several."""
    columns = [_column(column, texts) for column in model["columns"]]
    days = [column["column_name"] for column in columns if column["is_dttm"]]
    return {
        "table_name": model["name"],
        "schema": "main",
        "description": _spaced(model["description"]),
        "main_dttm_col": days[0] if days else None,
        "uuid": id_of(model["name"]),
        "database_uuid": id_of("Tidemark"),
        "columns": columns,
        "metrics": [metric for column in model["columns"] if (metric := _metric(column, texts))],
        "version": "1.0.0",
    }


def datasets(project: Path) -> dict[Path, str]:
    """The files of all datasets: of marts that more than a few may see."""
    found = {}
    texts = column_texts((project / COLUMN_TEXTS).read_text(encoding="utf-8"))
    for path in sorted((project / MARTS).rglob("*.yml")):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
            if model["config"]["meta"]["visibility"] != "restricted":
                text = yaml.safe_dump(dataset(model, texts), sort_keys=False, allow_unicode=True, width=120)
                head = f"# From {path.relative_to(project)} by `make contract`; do not edit.\n"
                found[DATASETS / f"{model['name']}.yaml"] = head + text
    return found


def label(name: str) -> str:
    """What pages call a column: readers for readers_count, period end for period_end_date."""
    return re.sub(r"_(count|date)$", "", name).removeprefix("is_").replace("_", " ")


def column_texts(page: str) -> dict[str, str]:
    """What ``doc('name')`` stands for in a description."""
    blocks = re.findall(r"{% docs (\w+) %}(.*?){% enddocs %}", page, re.DOTALL)
    return {name: _spaced(text) for name, text in blocks}


def _column(column: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    type_ = column["data_type"]
    return {
        "column_name": column["name"],
        "verbose_name": label(column["name"]),
        "type": TYPES.get(type_, type_.upper()),
        "is_dttm": type_ in ("date", "timestamp"),
        "groupby": not _is_figure(column),
        "filterable": True,
        "description": _text(column, texts),
    }


def _metric(column: dict[str, Any], texts: dict[str, str]) -> dict[str, Any] | None:
    """What a chart may show of a figure."""
    if not _is_figure(column):
        return None
    name, text = column["name"], _text(column, texts)
    expression = f"sum({name})"
    if not column["config"]["meta"]["additive"]:
        expression, text = f"case when count(*) = 1 then max({name}) end", f"{text} {WHY_EMPTY}"
    return {"metric_name": name, "verbose_name": label(name), "expression": expression, "description": text}


def _is_figure(column: dict[str, Any]) -> bool:
    return "additive" in column["config"]["meta"]


def _text(column: dict[str, Any], texts: dict[str, str]) -> str:
    return re.sub(r"{{ doc\('(\w+)'\) }}", lambda found: texts[found[1]], _spaced(column["description"]))


def _spaced(text: str) -> str:
    return " ".join(text.split())


@click.command(help="Write Superset's datasets of the marts.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where one is out of date.")
def main(check: bool) -> None:
    """The command."""
    wanted = datasets(PROJECT)
    there = {path.relative_to(PROJECT): path for path in (PROJECT / DATASETS).glob("*.yaml")}
    written = {name: path.read_text(encoding="utf-8") for name, path in there.items()}
    if check and written != wanted:
        raise click.ClickException(f"the datasets in {DATASETS} are out of date; run `make contract`")
    for name in there.keys() - wanted.keys():
        there[name].unlink()
    for name, text in wanted.items():
        (PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
        (PROJECT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
