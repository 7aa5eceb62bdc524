"""A home whose warehouse is as a passed build of three small marts leaves it: one of each level, made by hand."""

from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from flows.build.project import Model
from flows.build.warehouse import open_warehouse
from flows.publish import publish as publish_module
from flows.settings import Settings
from tests.support.lake import make_warehouse_tables

START = datetime(2026, 1, 15)
DAYS = [date(2026, 1, day) for day in range(10, 13)]
ROWS = 50
NO_METRICS = '{"semantic_models": [], "metrics": [], "project_configuration": {"time_spines": []}}'


def small_project() -> SimpleNamespace:
    """The project of these marts."""
    models = [
        Model(
            "fct_days", "marts", "incremental", "event_date", "Days; it's \"quoted\".", {"word": "A word."},
            frozenset(), "restricted",
        ),
        Model(
            "fct_none", "marts", "incremental", "event_date", "Nothing.", {}, frozenset(), "internal",
            {"number": "behaviour", "event_date": "none"},
        ),
        Model("agg_whole", "marts", "table", None, "All.", {}, frozenset(), "public", {"number": "none", "id": "none"}),
    ]  # fmt: skip
    return SimpleNamespace(
        models={model.name: model for model in models},
        seeds=frozenset(),
        tests=[],
        owners={},
        fingerprint="first",
        semantic_manifest=NO_METRICS,
    )


def use_small_project(made: SimpleNamespace | None = None) -> None:
    """Let publications of this process be of these marts: for processes of their own."""
    project = made or small_project()
    publish_module.read_project = lambda settings: project  # type: ignore[assignment,return-value]


def make_small_home(settings: Settings) -> None:
    """Make the warehouse, and build it once with the number 1."""
    settings.warehouse.parent.mkdir(parents=True)
    with open_warehouse(settings) as db:
        make_warehouse_tables(db)
        db.execute(
            "create schema marts; create table marts.fct_days (number bigint, event_date date, word varchar);"
            "create table marts.fct_none (number bigint, event_date date)"
        )
        for name in small_project().models:
            db.execute("insert into ops.model_progress values (?, 0, ['events'], '', 0, ?)", [name, START])
    build_small(settings, 1, *DAYS)


def build_small(settings: Settings, number: int, *days: date, word: str = "plain") -> None:
    """A whole build that passed: these days, and the table that is not by day, carry the number."""
    with open_warehouse(settings) as db:
        db.execute("begin")
        db.execute(
            "insert into landed.landings by name select ? as batch_id, 'events' as dataset, 'f' as file, "
            "'s' as sha256, 1 as bytes, 'landed' as status, 1 as rows_read, 1 as rows_landed, 0 as rows_rejected, "
            "0 as unknown_keys, ? as landed_at",
            [number, START + timedelta(days=number)],
        )
        _note(db, "landings", None)
        for day in days:
            db.execute("delete from marts.fct_days where event_date = ?", [day])
            db.execute(f"insert into marts.fct_days select ?, ?, ? from range({ROWS})", [number, day, word])
            _note(db, "fct_days", day)
        db.execute(f"create or replace table marts.agg_whole as select i as id, {number} as number from range(9) t(i)")
        _note(db, "agg_whole", None)
        db.execute("update ops.model_progress set batch_id = ?", [number])
        db.execute("insert into ops.dbt_runs values ('run', 'build', true, 'first', ?, null, 'passed')", [START])
        db.execute("commit")


def _note(db: duckdb.DuckDBPyConnection, name: str, day: date | None) -> None:
    db.execute("delete from ops.changes where model = ? and day is not distinct from ?", [name, day])
    db.execute("insert into ops.changes values (?, ?, nextval('ops.change_number'))", [name, day])


def small_home(home: Path) -> Settings:
    """Such a home, made."""
    settings = Settings(home=home)
    make_small_home(settings)
    return settings


def published_small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Such a home, published."""
    monkeypatch.setattr(publish_module, "read_project", lambda settings: small_project())
    settings = small_home(home)
    publish_module.publish(settings)
    return settings
