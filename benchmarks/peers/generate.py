"""Write our dbt models as SQLMesh models: their SQL as dbt compiles it, the kind that follows from their configuration.

    python -m benchmarks.peers.generate FOLDER

A few macros ask what an incremental run is for. Those of the same name in ``sqlmesh/macros.sql`` take their place, so
that the conditions are SQLMesh's. What nothing reads after that is left out, such as the models that say which days and
keys a batch touches. README.md says why that is fair.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from flows.contract.spec import PROJECT

PEER = Path(__file__).parent / "sqlmesh"
# Days that are made again with each run: events of the sample come as late as that.
LOOKBACK_DAYS = 5
# This many days before a touched one may change with it, for models that name a macro in `meta.days_to_replace`. None
# where any day may: a device's first week is looked for in all weeks, and the peer makes all of them again.
EARLIER_DAYS = {
    "affected_session_days": 1,
    "affected_period_ends": 0,
    "affected_days_of_keys": 0,
    "affected_week_ends": None,
    "affected_cohort_weeks": None,
    "affected_weeks_after": None,
    "affected_days_of_adjusted": None,
    "affected_days_of_attractiveness": None,
    "affected_days_of_selection": None,
    "affected_days_of_sectioned": None,
    "affected_days_of_enjoyment": None,
    "affected_mondays": None,
}
# Layers whose tables are wanted for themselves; of the others, what these read.
WANTED = ("raw", "marts", "ops")


@dataclass(frozen=True)
class PeerModel:
    """A model as SQLMesh has it. ``day`` is the column of the days that a run replaces, None where it replaces all."""

    schema: str
    name: str
    is_stored: bool
    day: str | None
    text: str


def generate(folder: Path) -> list[PeerModel]:
    """Write SQLMesh's project into an empty folder; returns the models that follow from dbt's."""
    shutil.copytree(PEER / "models", folder / "models")
    shutil.copy(PEER / "config.yaml", folder)
    manifest = compile_models()
    models = [*_models(manifest)]
    for model in models:
        path = folder / "models" / model.schema / f"{model.name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(model.text)
    return models


def compile_models() -> Any:
    """dbt's manifest in which every model is compiled with SQLMesh's conditions.

    Raises ``SystemExit`` where dbt cannot, or has no macro of a name that is to be replaced.
    """
    manifest = _dbt("parse")
    for name, sql in peer_macros().items():
        macro = manifest.macros.get(f"macro.tidemark.{name}")
        if macro is None:
            raise SystemExit(f"sqlmesh/macros.sql has {name} in place of a macro of ours that there is no longer")
        macro.macro_sql = sql
    compiled = _dbt("compile", manifest)
    for result in compiled.results:
        manifest.nodes[result.node.unique_id] = result.node
    return manifest


def peer_macros() -> dict[str, str]:
    """The macros that take the place of ours, by name."""
    text = (PEER / "macros.sql").read_text()
    return {found[1]: found[0] for found in re.finditer(r"\{% macro (\w+)\(.*?endmacro -?%\}", text, re.DOTALL)}


def _dbt(command: str, manifest: Any = None) -> Any:
    with tempfile.TemporaryDirectory() as target:
        folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles"), "--target", "lint"]
        outputs = ["--target-path", target, "--log-path", target]
        done = dbtRunner(manifest=manifest).invoke([command, "--quiet", "--no-partial-parse", *folders, *outputs])
    if not done.success:
        raise SystemExit(f"dbt cannot {command} the project: {done.exception or done.result}")
    return done.result


def _models(manifest: Any) -> Iterator[PeerModel]:
    """The wanted tables, and all that these read, directly or not."""
    nodes = {n.unique_id: n for n in manifest.nodes.values() if str(n.resource_type) in ("model", "seed")}
    names = {n.relation_name: f"{n.schema}.{n.name}" for n in [*nodes.values(), *manifest.sources.values()]}
    days = {n.config.unique_key for n in nodes.values() if n.config.get("incremental_strategy") == "replace_days"}
    grains = dict(_grains(manifest))
    waiting = [id_ for id_, n in nodes.items() if n.schema in WANTED and n.config.materialized != "view"]
    while waiting:
        node = nodes.pop(waiting.pop(), None)
        if node is None:
            continue
        day, is_seed = _day(node, days), str(node.resource_type) == "seed"
        sql = "" if is_seed else node.compiled_code
        waiting += [id_ for id_, other in nodes.items() if other.relation_name in sql]
        for relation, name in names.items():
            sql = sql.replace(relation, name)
        properties = [f"name {node.schema}.{node.name}", *(_seed(node) if is_seed else [f"kind {kind_of(node, day)}"])]
        if grain := grains.get(node.unique_id):
            properties.append(f"grain ({', '.join(grain)})")
        head = ",\n  ".join(properties)
        is_stored = node.config.materialized != "view"
        yield PeerModel(node.schema, node.name, is_stored, day, f"MODEL (\n  {head}\n);\n\n{sql.strip()}\n")


def _day(node: Any, days: set[str]) -> str | None:
    """The column of the days that are replaced. What is appended to is replaced by the days that its readers are."""
    strategy = node.config.get("incremental_strategy")
    if EARLIER_DAYS.get((node.config.meta or {}).get("days_to_replace"), 0) is None:
        return None
    if strategy == "append":
        return next((column for column in node.columns if column in days), None)
    return str(node.config.unique_key) if strategy == "replace_days" else None


def kind_of(node: Any, day: str | None) -> str:
    """How SQLMesh keeps a model of which a run replaces these days."""
    if day is None:
        return "VIEW" if node.config.materialized == "view" else "FULL"
    asks = (node.config.meta or {}).get("days_to_replace")
    lookback = LOOKBACK_DAYS + ((EARLIER_DAYS[asks] or 0) if asks else 0)
    return f"INCREMENTAL_BY_TIME_RANGE (time_column {day}, lookback {lookback})"


def _seed(node: Any) -> list[str]:
    columns = ", ".join(f"{name} {kind}" for name, kind in node.config.column_types.items())
    return [f"kind SEED (path '{PROJECT / node.original_file_path}')", f"columns ({columns})"]


def _grains(manifest: Any) -> Iterator[tuple[str, list[str]]]:
    """The key of each model whose test names one."""
    for node in manifest.nodes.values():
        key = getattr(node, "test_metadata", None) and node.test_metadata.kwargs.get("key")
        if key and node.attached_node:
            yield node.attached_node, key


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
