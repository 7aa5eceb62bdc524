"""The jobs as they are shipped are right, and each thing that can be wrong with a job is said when it is read."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flows.clock import organisation_timezone
from flows.contract.spec import PROJECT, load_specs
from flows.errors import TidemarkError
from flows.orchestrate import describe as describe_module
from flows.orchestrate.describe import describe, main
from flows.orchestrate.job import Arrival, Build, Cron, Extract, Job, Maintain, Publish, Requires, Success
from flows.orchestrate.validate import validate
from flows.schedule import JOBS
from flows.settings import Settings
from tests.support.schedules import ZONE, a_job

# What a build may select, and what it may not since there is no such thing.
SELECTIONS = (
    "fct_sessions",
    "+fct_sessions+ @dim_dates 2+fct_sessions+3",
    "agg_*_daily",
    "source:landed.events+,tag:raw",
    "path:models/marts engagement_rules+",
)
NO_SELECTIONS = {
    "fct_sesions": "no model or seed fct_sesions in the project (there",
    "+fct_sessions fct_sesions+": "no model or seed fct_sesions in",
    "fct_sessions,source:landed.evnets+": "no dataset evnets in the contract",
    "agg_nothing_*": "no model or seed agg_nothing_* in the project",
}
GOOD = a_job("good", "0 6 * * *")
OTHER = a_job("other", "0 7 * * *")


def steps(*runs: object) -> Job:
    return replace(GOOD, runs=runs)  # type: ignore[arg-type]


def test_the_shipped_jobs_are_valid_and_day_and_zone_are_the_organisations() -> None:
    validate(JOBS)
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    assert {job.when.timezone for job in JOBS if isinstance(job.when, Cron)} == {variables["timezone"]}
    assert [job.name for job in JOBS] == [
        "refine", "nightly_test", "nightly_audit", "nightly_compact", "nightly_expire", "nightly_topics",
        "daily_figures",
        "warning_digest",
    ]  # fmt: skip
    assert JOBS[0].when == Arrival(tuple(load_specs()))


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([replace(GOOD, when=Arrival(("evnets",)))], "job good: when: no dataset evnets in the contract (there are a"),
        ([replace(GOOD, requires=(Requires("evnets"),))], "job good: requires: no dataset evnets in the contract"),
        ([replace(GOOD, requires=(Requires("events", -1),))], "job good: requires: -1 days before"),
        ([replace(GOOD, owner="nobody")], "job good: owner: no owner nobody in models/_groups.yml or the contract (th"),
        ([steps(Maintain("tset"))], "job good: runs: no maintenance task tset (there are audit, compact"),
        ([replace(GOOD, when=Success(("gone",)))], "job good: when: no job gone (there are good)"),
        ([replace(GOOD, when=Success(()))], "job good: when: success of no job"),
        ([replace(GOOD, when=Arrival(()))], "job good: when: an arrival of no dataset"),
        ([GOOD, OTHER, GOOD], "job good: 2 jobs have this name"),
        ([replace(GOOD, name="Good-Job")], "job Good-Job: name: write it in snake_case"),
        ([replace(GOOD, name="")], "name: write it in snake_case"),
        ([replace(GOOD, name="land")], "job land: name: land is a flow of its own; choose another"),
        ([replace(GOOD, when=Cron("60 6 * * *", ZONE))], "job good: when: '60 6 * * *' is no cron expression: bad min"),
        ([replace(GOOD, when=Cron("6 * * *", ZONE))], "job good: when: '6 * * *' is not minute, hour"),
        ([replace(GOOD, when=Cron("0 0 6 * * *", ZONE))], "job good: when: '0 0 6 * * *' is not minute, hour"),
        ([replace(GOOD, when=Cron("@daily", ZONE))], "job good: when: '@daily' is not minute, hour"),
        ([replace(GOOD, when=Cron("0 6 31 2 *", ZONE))], "job good: when: '0 6 31 2 *' is no cron expression: bad day"),
        ([replace(GOOD, when=Cron("0 6 30 2 1#5", ZONE))], None),
        ([replace(GOOD, when=Cron("0 6 * * *", "Europe/Stokholm"))], "job good: when: no time zone 'Europe/Stokholm'"),
        ([replace(GOOD, when=Cron("0 6 * * *", "../etc"))], "job good: when: no time zone '../etc'"),
        ([replace(GOOD, when=Cron("0 6 * * *", ""))], "job good: when: no time zone ''"),
        ([replace(GOOD, when=Success(("good",)))], "job good: when: follows itself (good after good)"),
        (
            [replace(GOOD, when=Success(("other",))), replace(OTHER, when=Success(("good",)))],
            "job good: when: follows itself (good after other after good)",
        ),
        (
            [GOOD, OTHER, a_job("both", Success(("good", "other")))],
            "job both: when: follows good, other, which go back to cron `0 6 * * *`, Europe/Stockholm and cron `0 7 *",
        ),
        (
            [a_job("c", Arrival(("events",))), a_job("a", Success(("c",))), a_job("b", Success(("c", "a")))],
            "job b: when: follows c, a, which go back to arrival of events; slots of several jobs can be matched",
        ),
        ([replace(GOOD, deadline=timedelta(hours=-1))], "job good: deadline: -1 day, 23:00:00"),
        ([replace(GOOD, deadline=timedelta())], "job good: deadline: 0:00:00"),
        ([replace(GOOD, retries=-1)], "job good: retries: -1 is below zero"),
        ([replace(GOOD, retry_delay=timedelta(seconds=-1))], "job good: retry_delay:"),
        ([steps()], "job good: runs: nothing"),
        ([steps(Extract("flows.nowhere:fetch"))], "job good: runs: flows.nowhere:fetch cannot be imported (Module"),
        ([steps(Extract("flows.schedule:fetch"))], "job good: runs: flows.schedule:fetch cannot be imported (Attr"),
        ([steps(Extract("flows.schedule:JOBS"))], "job good: runs: flows.schedule:JOBS is not a function"),
        ([steps(Extract("flows.schedule"))], "runs: 'flows.schedule' is neither package.module:function nor a source"),
        *(([steps(Build(selection))], f"job good: runs: {said}") for selection, said in NO_SELECTIONS.items()),
        ([steps(Build(" "))], "job good: runs: the selection is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_job_is_said(jobs: list[Job], said: str | None) -> None:
    if said is None:
        validate(jobs)
        return
    with pytest.raises(TidemarkError) as raised:
        validate(jobs)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "jobs",
    [
        [GOOD, OTHER, a_job("after", Success(("good",))), a_job("both", Success(("good", "after")))],
        [GOOD, replace(GOOD, name="twin"), a_job("both", Success(("good", "twin")))],
        [a_job("refine", Arrival(("events",))), a_job("after", Success(("refine",)))],
        [steps(Extract("flows.settings:Settings"), Build(), Publish(), Maintain("audit"))],
        [steps(*map(Build, SELECTIONS))],
        [replace(GOOD, when=Cron("*/5 6-8 * JAN-MAR MON", "UTC"), retries=0, retry_delay=timedelta())],
    ],
)
def test_what_is_right_is_taken(jobs: list[Job]) -> None:
    validate(jobs)


def test_owners_of_models_and_of_datasets_are_known() -> None:
    groups = yaml.safe_load((PROJECT / "models" / "_groups.yml").read_text())["groups"]
    for owner in {g["owner"]["name"] for g in groups} | {spec.owner for spec in load_specs().values()}:
        validate([replace(GOOD, owner=owner)])


def is_found(selection: str, settings: Settings) -> bool:
    """Whether dbt finds something by each part of the selection."""
    from flows.build.dbt import select_models  # noqa: PLC0415  # dbt takes seconds to import

    try:
        select_models(settings, selection)
    except TidemarkError as error:
        assert "names nothing in the project" in str(error)
        return False
    return True


def test_dbt_finds_what_may_be_selected_and_what_the_jobs_select(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    shipped = {step.select for job in JOBS for step in job.runs if isinstance(step, Build) and step.select is not None}
    assert {selection for selection in {*SELECTIONS, *shipped} if not is_found(selection, settings)} == set()
    assert {selection for selection in NO_SELECTIONS if is_found(selection, settings)} == set()


def test_the_schedule_is_read_without_dbt_or_the_engine() -> None:
    code = "import sys, flows.schedule; print(*sorted({'dbt', 'duckdb', 'prefect', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_project_without_a_time_zone_is_reported(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("vars:\n  first_year: 2020\n")
    with pytest.raises(TidemarkError, match="no variable timezone"):
        organisation_timezone(tmp_path)


def test_the_document_lists_the_jobs_as_they_are() -> None:
    assert (PROJECT / "docs" / "jobs.md").read_text() == describe(JOBS), "run `make contract`"


def test_checking_the_document_writes_nothing_and_fails_where_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe_module, "PROJECT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert CliRunner().invoke(main, ["--check"]).exit_code == 1
    assert CliRunner().invoke(main, []).exit_code == 0
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0
    (tmp_path / "docs" / "jobs.md").write_text("old")
    done = CliRunner().invoke(main, ["--check"])
    assert (done.exit_code, (tmp_path / "docs" / "jobs.md").read_text()) == (1, "old")
    assert "make contract" in done.output


def test_everything_a_job_says_is_in_the_document() -> None:
    job = Job(
        name="fetch",
        description="Fetches | sorts.",
        runs=(Extract("a.b:c"), Build("+fct_sessions"), Maintain("audit"), Publish()),
        owner="newsroom-insight",
        when=Success(("good",)),
        requires=(Requires("events", 0), Requires("calls"), Requires("adverts", 3)),
        deadline=timedelta(minutes=90),
        retries=0,
        catch_up="latest",
    )
    row = describe([job]).splitlines()[-1]
    assert row == (
        "| `fetch` | Fetches \\| sorts. | success of `good` | extract `a.b:c`, then build `+fct_sessions`, then the "
        "audit of every row from inbox to models, then publish | events of the same day, calls of the day before, "
        "adverts of 3 days before | 90 min after it was due | never | the newest missed slot | newsroom-insight |"
    )
