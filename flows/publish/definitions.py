"""The definitions of the metrics, kept in the DuckDB files that readers open: they go wherever a version goes, and a
rollback gives those of then. ``select semantic_manifest()`` is dbt's own semantic manifest, as others exchange it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

SEMANTIC_MANIFEST = "semantic_manifest"


def definitions_of(manifest: str, tables: Iterable[str]) -> str | None:
    """Those of a project's definitions that are made of these tables alone; None where there are none.

    The tables are named as they are published: without the warehouse's database and schema.
    """
    known = {*tables}
    definitions: dict[str, Any] = json.loads(manifest)
    models = [model for model in definitions["semantic_models"] if model["node_relation"]["alias"] in known]
    measures = {measure["name"] for model in models for measure in model["measures"]}
    metrics = [metric for metric in definitions["metrics"] if measures.issuperset(measures_of(metric))]
    for relation in _relations(definitions):
        relation |= {"schema_name": "main", "database": None, "relation_name": f'"main"."{relation["alias"]}"'}
    return json.dumps({**definitions, "semantic_models": models, "metrics": metrics}) if metrics else None


def measures_of(metric: dict[str, Any]) -> set[str]:
    """The measures that a metric is made of, also by others."""
    return {measure["name"] for measure in metric["type_params"]["input_measures"]}


def meaning_of(metric: dict[str, Any]) -> str:
    """What a metric means, on one line."""
    return " ".join((metric["description"] or "").split())


def meta_of(metric: dict[str, Any]) -> dict[str, Any]:
    """What its YAML says of it beside MetricFlow's own: its unit, owner and grain."""
    return dict((metric["config"] or {}).get("meta", {}))


def _relations(definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for model in definitions["semantic_models"]:
        yield model["node_relation"]
    for spine in definitions["project_configuration"]["time_spines"]:
        yield spine["node_relation"]
