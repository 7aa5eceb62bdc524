"""The metrics that are made of each table, as the publication's own definitions say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from flows.publish.definitions import SEMANTIC_MANIFEST, meaning_of, measures_of, meta_of


@dataclass(frozen=True)
class MetricOfTable:
    """A metric: its name, what it means and its unit."""

    name: str
    meaning: str
    unit: str


def metrics_by_table(database: duckdb.DuckDBPyConnection) -> Mapping[str, tuple[MetricOfTable, ...]]:
    """The metrics of each table, by its name; of a publication that has no definitions, none."""
    try:
        row = database.execute(f"select {SEMANTIC_MANIFEST}()").fetchone()
    except duckdb.CatalogException:
        return {}
    assert row is not None
    definitions = json.loads(row[0])
    table_of = {
        measure["name"]: model["node_relation"]["alias"]
        for model in definitions["semantic_models"]
        for measure in model["measures"]
    }
    found: dict[str, list[MetricOfTable]] = {}
    for metric in definitions["metrics"]:
        one = MetricOfTable(metric["name"], meaning_of(metric), meta_of(metric).get("unit", ""))
        for table in sorted({table_of[measure] for measure in measures_of(metric)}):
            found.setdefault(table, []).append(one)
    return {table: tuple(some) for table, some in found.items()}
