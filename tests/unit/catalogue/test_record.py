"""What the project says of its tables, read from dbt's manifest and the edges between columns."""

from typing import Any

import pytest

from flows.catalogue.record import Documented, ProjectRecord, Source, Use, read_project_record
from flows.catalogue.write import catalog_of


def a_model(name: str, *reads: str, **more: Any) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "unique_id": f"model.p.{name}",
        "original_file_path": f"models/{name}.sql",
        "depends_on": {"nodes": list(reads)},
        "config": {"meta": {}, "materialized": "table"},
        "database": "memory",
        "schema": "marts",
        "columns": {"number": {"name": "number", "data_type": "bigint"}, "word": {"name": "word"}},
        **more,
    }


def a_manifest() -> dict[str, Any]:
    versioned = {"version": 2, "deprecation_date": "2027-03-01T00:00:00+00:00"}
    promised = {"config": {"meta": {"fresh_within_hours": 26, "version_policy": "Add\n only."}}}
    mart = a_model("agg_a", "model.p.stg_a", "test.p.x", **versioned, **promised)
    source = a_model("events", source_name="landed", resource_type="source", unique_id="source.p.landed.events")
    del source["config"], source["depends_on"]
    source["config"] = {}
    exposure = {
        "name": "letter",
        "label": None,
        "type": "analysis",
        "url": None,
        "owner": {"email": "n@example.org", "name": None},
        "depends_on": {"nodes": ["model.p.agg_a"]},
    }
    return {
        "metadata": {"dbt_version": "1.11", "generated_at": "2026-01-01T00:00:00Z", "invocation_id": "1"},
        "nodes": {
            "model.p.agg_a": mart,
            "model.p.stg_a": a_model("stg_a", "source.p.landed.events"),
            "test.p.x": {"resource_type": "test", "name": "x"},
        },
        "sources": {"source.p.landed.events": source},
        "exposures": {"exposure.p.letter": exposure},
    }


def an_edge(source: str, column: str, target: str, to: str) -> dict[str, Any]:
    return {"source": source, "sourceColumn": column, "target": target, "targetColumn": to}


def test_a_record_has_what_the_manifest_says() -> None:
    edges = [
        an_edge("model.p.stg_a", "number", "model.p.agg_a", "number"),
        an_edge("model.p.stg_a", "number", "model.p.agg_a", "number"),
        an_edge("model.p.stg_a", "word", "model.p.agg_a", ""),  # read, as by a join
        an_edge("source.p.landed.events", "number", "model.p.stg_a", "number"),
        an_edge("nobody", "number", "model.p.stg_a", "number"),
    ]
    record = read_project_record(a_manifest(), edges, "mark", ["one was not read"])
    assert record.fingerprint == "mark" and record.unread == ("one was not read",)
    assert record.tables["agg_a"] == Documented(
        id="model.p.agg_a",
        path="models/agg_a.sql",
        reads=("stg_a",),
        sources={"number": (Source(table="stg_a", column="number"),)},
        fresh_within_hours=26,
        version="2",
        deprecation_date="2027-03-01",
        version_policy="Add only.",
        uses=(Use(label="letter", kind="analysis", url="", owner="n@example.org"),),
    )
    assert record.way_back("agg_a", "number") == [
        [Source(table="stg_a", column="number")],
        [Source(table="landed.events", column="number")],
    ]


def a_record(**sources: str) -> ProjectRecord:
    """A record of tables with a column ``x`` each: of which others it is made."""
    return ProjectRecord(
        fingerprint="",
        tables={
            name: Documented(
                id=name, path=name, sources={"x": tuple(Source(table=one, column="x") for one in of.split())}
            )
            for name, of in sources.items()
        },
    )


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param({"a": ""}, [], id="rows are counted"),
        pytest.param({}, [], id="no such table"),
        pytest.param({"a": "b c", "b": "d", "c": "d", "d": ""}, ["b c", "d"], id="two ways to one"),
        pytest.param({"a": "d b", "b": "c", "c": "d"}, ["b", "c", "d"], id="a short and a long way to one"),
        pytest.param({"a": "b", "b": "a c"}, ["b", "c"], id="a column of itself"),
        pytest.param({"a": "b", "b": "c", "c": "b"}, ["b", "c"], id="two of each other"),
    ],
)
def test_a_way_back_has_each_column_once_and_at_its_farthest(sources: dict[str, str], expected: list[str]) -> None:
    steps = a_record(**sources).way_back("a", "x")
    assert [" ".join(source.table for source in step) for step in steps] == expected


def test_a_way_through_many_diamonds_ends() -> None:
    """Forty tables in pairs that each read both before: 2^20 ways, and forty columns."""
    sources = {f"t{n}": f"t{n + 2 - n % 2} t{n + 3 - n % 2}" for n in range(40)}
    assert len(a_record(a="t0 t1", **sources).way_back("a", "x")) == 21


def test_a_catalog_has_the_declared_columns() -> None:
    catalog = catalog_of(a_manifest())
    assert set(catalog["nodes"]) == {"model.p.agg_a", "model.p.stg_a"}
    columns = catalog["nodes"]["model.p.agg_a"]["columns"]
    assert [(column["name"], column["type"], column["index"]) for column in columns.values()] == [
        ("number", "bigint", 1),
        ("word", "varchar", 2),
    ]
    assert catalog["sources"]["source.p.landed.events"]["metadata"]["name"] == "events"
