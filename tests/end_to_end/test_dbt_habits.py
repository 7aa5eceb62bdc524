"""Who knows dbt types what they always type, in a copy of the project with a small landed lake and no environment.

Each command is dbt's own, in this process: a start of Python less for each.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner

from flows import sample
from flows.contract.spec import PROJECT
from flows.land.land import land
from flows.run import run
from flows.settings import Settings

# What makes a dbt project of a folder.
PARTS = ("dbt_project.yml", "profiles.yml", "profiles", "models", "macros", "seeds", "tests/generic", "tests/singular")
WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
OVERRIDDEN = """
unit_tests:
  - name: asks_the_warehouse
    model: int_audience__devices_active
    overrides: {macros: {is_incremental: true}}
    given: &nothing
      - {input: ref('int_audience__session_fragments_split'), rows: []}
      - {input: ref('int_audience__session_fragments_continued'), rows: []}
    expect: {rows: []}
  - name: is_told_the_days
    model: int_audience__devices_active
    overrides: {macros: {is_incremental: true, days_to_replace: ['2026-01-15']}}
    given: *nothing
    expect: {rows: []}
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing set for dbt or Tidemark: neither by who runs the tests nor by a test before."""
    for name in list(os.environ):
        if name.startswith(("DBT_", "TIDEMARK_")):
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the dbt project, without data."""
    folder = tmp_path / "project"
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, folder / part)
        else:
            shutil.copy(PROJECT / part, folder / part, follow_symlinks=False)
    return folder


@pytest.fixture
def settings(project: Path) -> Settings:
    """The project's own home, ``data/``, in which a small sample has landed and nothing is built."""
    made = Settings(home=project / "data", settle_seconds=0)
    sample.generate(made.home, 20_000, 2, 5)
    land(made)
    return made


@pytest.fixture
def dbt(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Run dbt in the project's folder and give what it prints; it must do well, unless ``fails``."""
    monkeypatch.chdir(project)

    def invoke(*arguments: str, fails: bool = False) -> str:
        capsys.readouterr()
        try:
            done = dbtRunner().invoke([*arguments])
        finally:
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
            reset_adapters()  # type: ignore[no-untyped-call]
        printed = capsys.readouterr().out
        assert done.success is not fails, printed
        return f"{printed}{done.exception or ''}"

    yield invoke


def rows(settings: Settings, table: str) -> list[Any]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        return warehouse.execute(f"select * from {table} order by all").fetchall()


def marts(database: Path, schema: str) -> dict[str, list[Any]]:
    """All rows of all marts by name."""
    with duckdb.connect(str(database), read_only=True) as db:
        names = db.execute(
            "select table_name from information_schema.tables where table_schema = ? and regexp_matches(table_name, ?)",
            [schema, "^(dim|fct|agg)_"],
        ).fetchall()
        return {name: db.execute(f"select * from {schema}.{name} order by all").fetchall() for (name,) in names}


@pytest.mark.long
def test_the_habits_of_a_day(settings: Settings, project: Path, dbt: Callable[..., str]) -> None:
    """From a fresh warehouse on, and at its end the next run of Tidemark gives what Tidemark alone would have given."""
    assert "new landings entered" in dbt("build", "--select", "+fct_sessions")
    assert rows(settings, "marts.fct_sessions")
    dbt("build", *WITHOUT_UNIT_TESTS)
    built = marts(settings.warehouse, "marts")
    assert all(built.values()), [name for name, found in built.items() if not found]
    assert "fragment_number" in dbt("show", "--select", "int_audience__session_fragments_split")
    assert "2026-01" in dbt("show", "--select", "fct_sessions")
    dbt("compile", "--select", "agg_audience_daily")
    dbt("run", "--full-refresh", "--select", "fct_sessions")
    dbt("test", "--select", "fct_sessions")
    dbt("seed")
    dbt("retry")
    dbt("docs", "generate")
    assert (project / "target" / "catalog.json").exists()
    shutil.copytree(project / "target", project / "before")
    assert "Nothing to do" in dbt("build", "--select", "state:modified", "--state", "before")
    model = project / "models/marts/audience/fct_sessions.sql"
    model.write_text(model.read_text() + "-- edited\n")
    assert "fct_sessions" in dbt("ls", "--select", "state:modified", "--state", "before", "--resource-type", "model")
    assert marts(settings.warehouse, "marts") == built
    dbt("build", "--empty", *WITHOUT_UNIT_TESTS)
    assert rows(settings, "marts.fct_sessions") == []
    done = run(settings)
    assert done.is_good
    assert marts(settings.warehouse, "marts") == built


def test_where_nothing_has_landed_models_are_empty_and_dbt_says_why(project: Path, dbt: Callable[..., str]) -> None:
    assert "All checks passed" in dbt("debug")
    result = dbt("build", "--select", "+fct_sessions", *WITHOUT_UNIT_TESTS)
    assert f"nothing has landed in {project / 'data' / 'lake' / 'landed'}" in result
    assert rows(Settings(home=project / "data"), "marts.fct_sessions") == []
    dbt("source", "freshness")
    dbt("clean")


def test_from_elsewhere_the_home_is_the_project_s_or_the_one_given(
    settings: Settings, project: Path, tmp_path: Path, dbt: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folders = ("--project-dir", "../project", "--profiles-dir", str(project))
    dbt("run", "--select", "raw_calls", *folders)
    assert (found := rows(settings, "raw.raw_calls"))
    assert not list(elsewhere.iterdir())

    settings.home.rename(elsewhere / "home")
    shutil.rmtree(elsewhere / "home" / "warehouse")
    monkeypatch.setenv("TIDEMARK_HOME", str(elsewhere / "home"))
    dbt("run", "--select", "raw_calls", *folders)
    assert rows(Settings(home=elsewhere / "home"), "raw.raw_calls") == found
    assert not settings.home.exists()


def test_a_unit_test_that_overrides_what_it_need_not_says_so(project: Path, dbt: Callable[..., str]) -> None:
    (project / "models" / "mine.yml").write_text(OVERRIDDEN)
    dbt("run", "--empty", "--select", "+int_audience__devices_active")
    result = dbt("test", "--select", "asks_the_warehouse", "is_told_the_days", fails=True)
    assert "the unit test overrides is_incremental" in result and "days_to_replace: ['2026-01-15']" in result
    assert "ERROR=1" in result and "PASS int_audience__devices_active::is_told_the_days" in result
