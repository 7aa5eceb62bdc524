"""Superset's bundle holds together: datasets say what the marts say, and charts ask for what the datasets have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.catalogue.superset import BUNDLE, column_texts, dataset, datasets, label
from flows.contract.spec import PROJECT

FOLDER = PROJECT / BUNDLE
NUMBER = {"data_type": "bigint", "description": "How\n many."}
MART: dict[str, Any] = {
    "name": "agg_things",
    "description": "One row\nper thing.",
    "columns": [
        {"name": "product", "description": "{{ doc('product') }}", "data_type": "string", "config": {"meta": {}}},
        {"name": "period_end_date", "description": "The day.", "data_type": "date", "config": {"meta": {}}},
        {"name": "views_count", **NUMBER, "config": {"meta": {"additive": True}}},
        {"name": "readers_count", **NUMBER, "config": {"meta": {"additive": False}}},
    ],
}


def read(folder: str) -> dict[str, dict[str, Any]]:
    """The files of a folder of the bundle, by their ids."""
    found = [yaml.safe_load(path.read_text()) for path in (FOLDER / folder).rglob("*.yaml")]
    assert found
    by_id = {one["uuid"]: one for one in found}
    assert len(by_id) == len(found), "two have one id"
    return by_id


def test_what_may_not_be_summed_is_empty_for_several_rows() -> None:
    made = dataset(MART, {"product": "The product."})
    metrics = {metric["metric_name"]: metric["expression"] for metric in made["metrics"]}
    assert metrics == {
        "views_count": "sum(views_count)",
        "readers_count": "case when count(*) = 1 then max(readers_count) end",
    }
    assert "cannot be summed" in made["metrics"][1]["description"]
    assert "cannot be summed" not in made["metrics"][0]["description"]


def test_columns_have_their_types_and_meaning() -> None:
    made = dataset(MART, {"product": "The product."})
    product, day, views, _ = made["columns"]
    assert (product["type"], product["description"], product["groupby"]) == ("VARCHAR", "The product.", True)
    assert (day["type"], day["is_dttm"], made["main_dttm_col"]) == ("DATE", True, "period_end_date")
    assert (views["description"], views["groupby"]) == ("How many.", False)
    assert made["description"] == "One row per thing."


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("readers_count", "readers"),
        ("period_end_date", "period end"),
        ("is_stale", "stale"),
        ("read_rate", "read rate"),
    ],
)
def test_labels_are_words(name: str, shown: str) -> None:
    assert label(name) == shown


def test_docs_blocks_are_read() -> None:
    assert column_texts("{% docs a %}\nOne\ntwo.\n{% enddocs %}\n{% docs b %}B{% enddocs %}") == {
        "a": "One two.",
        "b": "B",
    }


def test_datasets_are_of_marts_that_more_than_a_few_may_see() -> None:
    names = {path.stem for path in datasets(PROJECT)}
    assert "agg_audience_periods" in names and "dim_contents" in names
    assert not names & {"fct_sessions", "dim_accounts", "fct_content_engagement", "fct_calls", "fct_enquiries"}


def test_everything_refers_to_what_is_there() -> None:
    (database,) = read("databases").values()
    tables, charts = read("datasets"), read("charts")
    assert {one["database_uuid"] for one in tables.values()} == {database["uuid"]}
    assert {chart["dataset_uuid"] for chart in charts.values()} <= tables.keys()
    (dashboard,) = read("dashboards").values()
    shown = [
        part["meta"] for part in dashboard["position"].values() if isinstance(part, dict) and part["type"] == "CHART"
    ]
    assert {meta["uuid"]: meta["sliceName"] for meta in shown} == {
        id_: chart["slice_name"] for id_, chart in charts.items()
    }
    (chosen,) = dashboard["metadata"]["native_filter_configuration"]
    (target,) = chosen["targets"]
    assert target["column"]["name"] in {c["column_name"] for c in tables[target["datasetUuid"]]["columns"]}


def asked(chart: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The columns and the metrics that a chart asks for by their names, and the words of its SQL among the columns."""
    params = chart["params"]
    metrics = [*params.get("metrics", []), *filter(None, [params.get("metric"), params.get("timeseries_limit_metric")])]
    fields = ("groupby", "all_columns", "groupbyRows", "groupbyColumns")
    columns = [column for field in fields for column in params.get(field, [])] + [params.get("x_axis")]
    columns += [one.get("subject") for one in params["adhoc_filters"]]
    written = [
        one["sqlExpression"] for one in [*metrics, *columns, *params["adhoc_filters"]] if "sqlExpression" in (one or "")
    ]
    words = {word for sql in written for word in re.findall(r"[a-z]+_[a-z_]+", re.sub(r"'[^']*'", "", sql))}
    return {c for c in columns if isinstance(c, str)} | words, {m for m in metrics if isinstance(m, str)}


@pytest.mark.parametrize("path", sorted((FOLDER / "charts").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_chart_asks_for_what_its_dataset_has_and_says_what_it_shows(path: Path) -> None:
    chart = yaml.safe_load(path.read_text())
    of = read("datasets")[chart["dataset_uuid"]]
    columns, metrics = asked(chart)
    assert columns <= {column["column_name"] for column in of["columns"]}
    assert metrics <= {metric["metric_name"] for metric in of["metrics"]}
    assert chart["description"].endswith(".")
    assert chart["params"]["viz_type"] == chart["viz_type"]


def test_the_exposure_names_the_marts_that_the_dashboard_reads() -> None:
    written = read("datasets")
    texts = (
        one.get("sql") or one["table_name"]
        for chart in read("charts").values()
        for one in [written[chart["dataset_uuid"]]]
    )
    marts = {path.stem for path in (PROJECT / "models/marts").rglob("*.sql")}
    (exposure,) = yaml.safe_load((PROJECT / "models/marts/_exposures.yml").read_text())["exposures"]
    named = {re.findall(r"'(\w+)'", ref)[0] for ref in exposure["depends_on"]}
    assert named == marts.intersection(word for text in texts for word in re.findall(r"\w+", text))
