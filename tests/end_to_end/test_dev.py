"""A developer changes a mart: it alone is built, of what is built and what is published, and the home it is of is as
before."""

import hashlib
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner

from flows.build.build import Build
from flows.build.lent import read_lent
from flows.cli import main
from flows.contract.spec import PROJECT
from flows.develop import dev as dev_module
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.settings import Settings

PARTS = ("dbt_project.yml", "profiles", "models", "macros", "seeds", "tests/generic", "tests/singular")
MART = "models/marts/content/agg_content_daily.sql"


def files_of(home: Path) -> dict[str, str]:
    """Every file that a developer's home must leave as it is, with its bytes."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("lake", "warehouse", "published", "secrets")
        for path in sorted((home / part).rglob("*"))
        # SQLite makes these beside an index that is read.
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_only_what_changed_is_built_and_the_diff_shows_it(
    sample_run: tuple[Settings, Landing, Build, Publication], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lender, before = sample_run[0], files_of(sample_run[0].home)
    home = tmp_path / "dev"
    monkeypatch.setattr(dev_module, "PLACE", home)
    # What is not committed yet would count as changed by the developer too.
    monkeypatch.setattr(dev_module, "_check_out", lambda commit, folder: "this is a test")
    made = CliRunner().invoke(main, ["dev", "--days", "2"], env={"TIDEMARK_HOME": str(lender.home)})
    assert made.exit_code == 0, made.output
    assert f"export TIDEMARK_HOME={home}\nexport DBT_STATE={home / 'state'} DBT_DEFER=true\n" in made.stdout

    project = tmp_path / "project"
    for part in PARTS:
        (project / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / part).is_dir() else shutil.copy
        copy(PROJECT / part, project / part)
    mart = project / MART
    text = mart.read_text()
    assert "\n    views_count,\n" in text
    mart.write_text(text.replace("\n    views_count,\n", "\n    views_count + 1 as views_count,\n"))
    monkeypatch.setenv("TIDEMARK_HOME", str(home))
    monkeypatch.setenv("DBT_STATE", str(home / "state"))
    monkeypatch.setenv("DBT_DEFER", "true")
    try:
        done = dbtRunner().invoke(
            ["build", "--select", "state:modified+", "--exclude-resource-type", "unit_test",
             "--project-dir", str(project), "--profiles-dir", str(project / "profiles")]
        )  # fmt: skip
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        reset_adapters()  # type: ignore[no-untyped-call]
    assert done.exception is None
    results = {r.node.name: str(r.status) for r in done.result if str(r.node.resource_type) == "model"}  # type: ignore[union-attr]
    # A test of it fails, as there are more views than there were, and what is downstream of it waits.
    waiting = dict.fromkeys(
        ("agg_content_sections_daily", "agg_content_enjoyment", "agg_content_returns_weekly"), "skipped"
    )
    assert results == {"agg_content_daily": "success"} | waiting
    # It reads fct_content_engagement, which is published and not built here.
    with duckdb.connect(str(home / "warehouse" / "tidemark.duckdb"), read_only=True) as db:
        marts = db.execute("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()
        assert marts == [("agg_content_daily",)]
        days = db.execute("select count(distinct event_date) from intermediate.int_audience__devices_active").fetchone()
    assert days is not None and 0 < days[0] <= 3

    found = CliRunner().invoke(main, ["diff"], env={"TIDEMARK_HOME": str(home)})
    assert found.exit_code == 0, found.output
    assert "agg_content_daily, 2026" in found.output and "views_count: other in" in found.output
    assert "the same: 0 tables" in found.output
    assert files_of(lender.home) == before


def test_a_commit_that_is_not_here_is_said_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    assert "does not say which commit" in dev_module._check_out("", folder)
    assert "is not in this clone" in dev_module._check_out("0" * 40, folder)
    assert not [*folder.rglob("*")]
    assert read_lent(Settings(home=tmp_path)) is None
