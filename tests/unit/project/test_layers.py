"""Layers read only what they may, and files are named and placed by one rule: checked from dbt's manifest."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifest import Manifest, Node, layer_of, models, without_comments

# What each layer may read. A source is a layer of its own: landed data and the warehouse's own tables.
MAY_READ = {
    "raw": {"source"},
    "staging": {"raw", "source"},
    "intermediate": {"staging", "intermediate", "seed"},
    "marts": {"intermediate", "marts", "seed"},
    "ops": {"staging", "intermediate", "marts", "ops", "seed", "source"},
}
NAMES = {
    "raw": r"raw_[a-z0-9_]+",
    "staging": r"stg_{folder}__[a-z0-9_]+",
    "intermediate": r"int_{folder}__[a-z0-9_]+",
    "marts": r"(dim|fct|agg)_[a-z0-9_]+",
    "ops": r"ops_[a-z0-9_]+",
}


def reading_violations(manifest: Manifest) -> list[str]:
    """Models that read a layer they may not, a line each."""
    found = []
    for node in models(manifest):
        layer = layer_of(node["unique_id"], manifest)
        for parent in sorted(set(node["depends_on"]["nodes"])):
            parent_layer = layer_of(parent, manifest)
            if parent_layer not in MAY_READ.get(layer, set()):
                found.append(f"{node['name']}: {layer} may not read {parent_layer} ({parent})")
    return found


def joining_violations(manifest: Manifest) -> list[str]:
    """Staging models that read anything but one raw model or source, or read it twice."""
    found = []
    for node in models(manifest):
        if layer_of(node["unique_id"], manifest) != "staging":
            continue
        parents = set(node["depends_on"]["nodes"])
        if len(parents) != 1:
            found.append(f"{node['name']}: staging reads one parent, not {len(parents)}: {sorted(parents)}")
        if re.search(r"\bjoin\b", without_comments(node["raw_code"]), re.IGNORECASE):
            found.append(f"{node['name']}: staging never joins")
    return found


def naming_violations(manifest: Manifest) -> list[str]:
    """Models whose name does not follow from their layer and folder."""
    found = []
    for node in models(manifest):
        path = Path(node["original_file_path"])
        layer, folder = path.parts[1], path.parts[-2]
        pattern = NAMES.get(layer)
        if pattern is None:
            found.append(f"{path}: models/{layer}/ is no layer: choose from {', '.join(NAMES)}")
        elif not re.fullmatch(pattern.format(folder=folder), node["name"]):
            found.append(f"{path}: a model here is named {pattern.format(folder=folder)}")
    return found


def placing_violations(manifest: Manifest) -> list[str]:
    """Models without a .yml of their own, of the same name, beside the .sql."""
    described = Counter(node["patch_path"] for node in models(manifest) if node["patch_path"])
    found = []
    for node in models(manifest):
        expected = Path(node["original_file_path"]).with_suffix(".yml")
        patch = node["patch_path"]
        if patch is None:
            found.append(f"{node['name']}: described nowhere; expected {expected}")
        elif Path(patch.split("://", 1)[1]) != expected:
            found.append(f"{node['name']}: described in {patch.split('://', 1)[1]}, not in {expected}")
        elif described[patch] > 1:
            found.append(f"{expected}: describes {described[patch]} models; each has its own file")
    return found


@pytest.mark.parametrize("violations", [reading_violations, joining_violations, naming_violations, placing_violations])
def test_the_project_keeps_its_layers(manifest: Manifest, violations: Any) -> None:
    assert violations(manifest) == []


def test_every_layer_is_there(manifest: Manifest) -> None:
    """Were the manifest read wrongly, the checks would pass over nothing."""
    assert {layer_of(node["unique_id"], manifest) for node in models(manifest)} == set(MAY_READ)


def a_model(path: str, parents: tuple[str, ...] = (), sql: str = "select 1", yml: str = "") -> Node:
    name = Path(path).stem
    return {
        "unique_id": f"model.tidemark.{name}",
        "resource_type": "model",
        "name": name,
        "original_file_path": path,
        "patch_path": "tidemark://" + (yml or path.replace(".sql", ".yml")),
        "depends_on": {"nodes": list(parents)},
        "raw_code": sql,
    }


def a_manifest(*nodes: Node) -> Manifest:
    return {"nodes": {node["unique_id"]: node for node in nodes}}


RAW = a_model("models/raw/raw_a.sql", ("source.tidemark.landed.a",))
STAGED = a_model("models/staging/web/stg_web__a.sql", ("model.tidemark.raw_a",))
REFINED = a_model("models/intermediate/x/int_x__a_done.sql", ("model.tidemark.stg_web__a",))
MART = a_model("models/marts/x/fct_a.sql", ("model.tidemark.int_x__a_done", "seed.tidemark.rules"))
CHAIN = (RAW, STAGED, REFINED, MART)


def test_a_chain_through_the_layers_is_right() -> None:
    manifest = a_manifest(*CHAIN)
    assert reading_violations(manifest) == []
    assert joining_violations(manifest) == []
    assert naming_violations(manifest) == []
    assert placing_violations(manifest) == []


@pytest.mark.parametrize(
    ("path", "parent"),
    [
        ("models/marts/x/fct_b.sql", "model.tidemark.stg_web__a"),
        ("models/marts/x/fct_b.sql", "model.tidemark.raw_a"),
        ("models/marts/x/fct_b.sql", "source.tidemark.landed.a"),
        ("models/intermediate/x/int_x__b.sql", "model.tidemark.raw_a"),
        ("models/intermediate/x/int_x__b.sql", "source.tidemark.landed.a"),
        ("models/intermediate/x/int_x__b.sql", "model.tidemark.fct_a"),
        ("models/staging/web/stg_web__b.sql", "model.tidemark.stg_web__a"),
        ("models/staging/web/stg_web__b.sql", "model.tidemark.int_x__a_done"),
        ("models/raw/raw_b.sql", "model.tidemark.raw_a"),
        ("models/ops/ops_b.sql", "model.tidemark.raw_a"),
        ("models/elsewhere/b.sql", "model.tidemark.fct_a"),
    ],
)
def test_reading_a_forbidden_layer_is_found(path: str, parent: str) -> None:
    found = reading_violations(a_manifest(*CHAIN, a_model(path, (parent,))))
    assert len(found) == 1
    assert parent in found[0]


def test_a_join_in_staging_is_found() -> None:
    path = "models/staging/web/stg_web__b.sql"
    two = a_model(path, ("model.tidemark.raw_a", "model.tidemark.raw_b"))
    itself = a_model(path, ("model.tidemark.raw_a",), "select 1 from a\nINNER JOIN a as b on true")
    none = a_model(path, ("model.tidemark.raw_a",), "-- no join here\nselect join_id from a {# nor a join #}")
    assert len(joining_violations(a_manifest(two))) == 1
    assert len(joining_violations(a_manifest(itself))) == 1
    assert joining_violations(a_manifest(none)) == []


@pytest.mark.parametrize(
    "path",
    [
        "models/raw/events.sql",
        "models/staging/web/stg_ios__a.sql",
        "models/staging/web/stg_web_a.sql",
        "models/intermediate/x/int_y__a.sql",
        "models/intermediate/x/x__a.sql",
        "models/marts/x/a.sql",
        "models/marts/x/mart_a.sql",
        "models/ops/landings.sql",
        "models/elsewhere/dim_a.sql",
    ],
)
def test_a_wrong_name_is_found(path: str) -> None:
    assert len(naming_violations(a_manifest(a_model(path)))) == 1


def test_a_misplaced_description_is_found() -> None:
    path = "models/marts/x/dim_a.sql"
    elsewhere = a_model(path, yml="models/marts/x/_x__models.yml")
    undescribed = {**a_model(path), "patch_path": None}
    shared = a_model("models/marts/x/dim_b.sql", yml="models/marts/x/dim_a.yml")
    assert len(placing_violations(a_manifest(elsewhere))) == 1
    assert len(placing_violations(a_manifest(undescribed))) == 1
    assert len(placing_violations(a_manifest(a_model(path), shared))) == 2
