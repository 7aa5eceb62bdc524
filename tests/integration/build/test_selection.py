"""Which models a build with dbt's own arguments makes: the plan of the build must know before dbt begins."""

from pathlib import Path

import pytest

from flows.build.dbt import models_to_build, read_project, run_dbt
from flows.errors import TidemarkError
from flows.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--select fct_sessions fct_enquiries", {"fct_sessions", "fct_enquiries"}),
        ("-s fct_sessions --models fct_enquiries", {"fct_sessions", "fct_enquiries"}),
        (
            "--full-refresh --select 1+fct_sessions --exclude fct_sessions --fail-fast",
            {
                "int_audience__session_fragments_split",
                "int_audience__session_fragments_continued",
                "int_audience__devices_stitched",
                "int_consents__days_used",
            },
        ),
        ("--select fct_sessions --exclude-resource-type test --vars {late_after_hours:1}", {"fct_sessions"}),
        ("--select fct_sessions --resource-type test seed", set()),
        ("--select fct_sessions --resource-type model test", {"fct_sessions"}),
        ("--exclude-resource-type model", set()),
        ("--select no_such_model", set()),
    ],
)
def test_the_models_are_those_that_dbt_would_build(settings: Settings, arguments: str, expected: set[str]) -> None:
    assert models_to_build(settings, read_project(settings), tuple(arguments.split())) == expected


def test_without_a_selection_every_model_is_built(settings: Settings) -> None:
    project = read_project(settings)
    every = frozenset(project.models)
    assert len(every) > 30
    assert models_to_build(settings, project, ()) == models_to_build(settings, project, ("--full-refresh",)) == every


def test_a_selection_that_dbt_cannot_read_is_refused(settings: Settings) -> None:
    with pytest.raises(TidemarkError, match="dbt could not run"):
        models_to_build(settings, read_project(settings), ("--select", "no_such_method:x"))


def test_what_a_person_asks_of_dbt_comes_before_what_tidemark_does(settings: Settings) -> None:
    asked = ["--log-level-file", "debug", "--write-json"]
    assert run_dbt(settings, ["list", "--select", "dim_dates", "--resource-type", "model", *asked])
    assert "[debug]" in (settings.home / "warehouse" / "logs" / "dbt.log").read_text()
