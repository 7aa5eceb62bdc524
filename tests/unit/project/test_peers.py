"""The models that the peer of the benchmark runs can be made from ours: `benchmarks/peers/generate.py`."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.peers.generate import EARLIER_DAYS, generate, kind_of, peer_macros
from tests.support.manifest import Manifest, models


def arguments_of(macro: str) -> str:
    found = re.search(r"macro \w+\((.*?)\)", macro)
    assert found is not None
    return found[1]


def test_each_macro_of_the_peer_is_called_as_ours(manifest: Manifest) -> None:
    assert {"in_days_to_replace", "parquet_of_batches"} <= peer_macros().keys()
    for name, sql in peer_macros().items():
        ours = manifest["macros"].get(f"macro.tidemark.{name}")
        assert ours is not None, f"benchmarks/peers/sqlmesh/macros.sql: there is no macro {name} to take the place of"
        assert arguments_of(sql) == arguments_of(ours["macro_sql"]), name


def test_how_far_back_each_model_reaches_is_known(manifest: Manifest) -> None:
    asked = {node["config"]["meta"].get("days_to_replace") for node in models(manifest)} - {None}
    assert asked <= EARLIER_DAYS.keys()


def node(materialized: str = "incremental", **meta: str) -> Any:
    return SimpleNamespace(config=SimpleNamespace(materialized=materialized, meta=meta))


@pytest.mark.parametrize(
    ("of", "day", "kind"),
    [
        (node("view"), None, "VIEW"),
        (node("table"), None, "FULL"),
        (node(), None, "FULL"),
        (node(), "event_date", "INCREMENTAL_BY_TIME_RANGE (time_column event_date, lookback 5)"),
        (
            node(days_to_replace="affected_session_days"),
            "started_date",
            "INCREMENTAL_BY_TIME_RANGE (time_column started_date, lookback 6)",
        ),
    ],
)
def test_a_model_is_of_the_kind_that_its_configuration_says(of: Any, day: str | None, kind: str) -> None:
    assert kind_of(of, day) == kind


@pytest.mark.long
def test_every_table_is_made_for_the_peer_and_reads_what_is_made(tmp_path: Path, manifest: Manifest) -> None:
    made = {f"{model.schema}.{model.name}": model for model in generate(tmp_path / "project")}
    tables = {f"{n['schema']}.{n['name']}" for n in models(manifest) if n["config"]["materialized"] != "view"}
    assert {name for name in tables if name.startswith(("raw.", "marts.", "ops."))} <= made.keys()
    read: set[str] = set()
    for name, model in made.items():
        assert not re.search(r'\{[{%]|"memory"', model.text), name
        body = re.sub(r"--[^\n]*", "", model.text)
        read.update(re.findall(r"(?:from|join) ((?:raw|staging|intermediate|marts|ops|seeds|landed)\.\w+)", body))
    assert read - {"landed.landings", "landed.events", "landed.calls", "landed.text_topics"} <= made.keys()
