"""What fails stops only what is downstream of it; the rest goes on, and readers see what is stale, and why."""

import csv
import gzip
import io
import json
import re
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest
from click.testing import CliRunner

from flows import cli, sample
from flows.build import dbt as dbt_module
from flows.build.build import Build, build, build_pending, run_every_test
from flows.build.project import SCHEMAS
from flows.build.staleness import read_failing
from flows.build.warehouse import open_warehouse, read_pending_work
from flows.errors import TidemarkError
from flows.publish.manifest import Manifest, PublishedTable, read_manifest
from flows.publish.publish import publish
from flows.run import Run, run
from flows.settings import Settings
from tests.support.lakes import hold_back, marts_of, release
from tests.support.sample_lake import run_all, settings_of
from tests.support.workshop import Workshop

BROKEN = "int_audience__session_fragments_split"
AUDIENCE = {"fct_sessions", "agg_audience_daily", "agg_audience_periods", "agg_retention_weekly", "fct_funnels"}
DOWNSTREAM = {*AUDIENCE, "agg_content_paths", "agg_content_returns_weekly"}
# A lake, and the files of its second day and its third.
Lake = tuple[Settings, list[Path], list[Path]]
# Fails with each content that is called so.
NAMED = """
{{ config(enabled=true) }}
select content_id from {{ ref('int_content__contents_deduplicated') }} where title = 'broken'
"""
# Fails, and reads no model.
ALWAYS = "{{ config(enabled=true) }} select 1 as one"


def project_in(folder: Path) -> Workshop:
    """The project, but groups of few devices are shown: these days have no others. Of its tests of data only those of
    sessions and the audience are left, and what a test here writes: all of them take a third of each build."""
    made = Workshop(folder)
    made.set_variables({"smallest_group": 1})
    made.set_data_tests("{+enabled: false, marts: {audience: {+enabled: true}}}")
    return made


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """The project that the test's builds are of."""
    made = project_in(tmp_path / "project")
    monkeypatch.setattr(dbt_module, "PROJECT", made.folder)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Three days that were delivered, of which nothing landed."""
    made = settings_of(tmp_path / "home")
    sample.generate(made.home, 3_000, 3, 3)
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Three days that were delivered: the first was built and published, the others are held back."""
    made = settings_of(tmp_path_factory.mktemp("built"))
    sample.generate(made.home, 3_000, 3, 3)
    second_day, third_day = hold_back(made, "2026-01-02"), hold_back(made, "2026-01-03")
    with mock.patch.object(dbt_module, "PROJECT", project_in(tmp_path_factory.mktemp("project")).folder):
        run_all(made)
    return made, second_day, third_day


@pytest.fixture
def lake(built: Lake, tmp_path: Path) -> Lake:
    """A copy of that lake, and what is held back of it."""
    whole, *days = built
    made = settings_of(tmp_path / "home")
    shutil.copytree(whole.home, made.home, symlinks=True)
    second_day, third_day = ([made.home / path.relative_to(whole.home) for path in day] for day in days)
    return made, second_day, third_day


def run_failing(settings: Settings, *failed: str) -> tuple[Build, Manifest]:
    """A run in which just these fail, and what it publishes all the same."""
    done = run(settings)
    assert done.build is not None and done.publication is not None and done.publication.is_new
    assert {node.name for node in done.build.failed} == {*failed}
    assert not done.is_good
    return done.build, done.publication.manifest


def run_good(settings: Settings) -> Run:
    """A run after which nothing is stale and nothing left to do."""
    done = run(settings)
    assert done.is_good and done.publication is not None
    assert done.publication.manifest.stale == done.publication.manifest.missing == ()
    assert build_pending(settings) is None
    return done


def assert_as_built_at_once(settings: Settings) -> None:
    """The marts are those of one full refresh."""
    grown = marts_of(settings)
    assert not build(settings, ("--full-refresh",)).failed
    publish(settings, force=True)
    assert marts_of(settings) == grown


def stale_of(manifest: Manifest) -> dict[str, PublishedTable]:
    return {table.name: table for table in manifest.stale}


def read_marts(settings: Settings, sql: str) -> list[Any]:
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as db:
        return db.execute(sql).fetchall()


def test_a_failing_model_stops_only_what_is_downstream_of_it(lake: Lake, workshop: Workshop) -> None:
    settings, second_day, third_day = lake
    first_events = [path for path in third_day if "events" in path.parts]
    first = marts_of(settings)

    # The project changes, and a model of it fails: one whole build.
    workshop.break_model(BROKEN)
    release(second_day)
    whole, second = run_failing(settings, BROKEN)
    assert whole.count("model") == len(dbt_module.read_project(settings).models)
    seen = marts_of(settings)
    assert {name: seen[name] for name in DOWNSTREAM} == {name: first[name] for name in DOWNSTREAM}
    for name in ("agg_content_daily", "agg_adverts_daily", "fct_content_engagement", "dim_contents", "dim_adverts"):
        assert seen[name] != first[name], name
    stale = stale_of(second)
    assert stale.keys() == DOWNSTREAM and second.missing == ()
    for table in stale.values():
        assert table.stale_since == second.created_at
        assert table.as_of is not None and table.as_of < second.created_at
        assert [(cause.name, cause.owner) for cause in table.stale_because] == [(BROKEN, "data-platform")]
    reported = read_marts(
        settings, "select name, strftime(stale_since, '%Y-%m-%d %H:%M'), stale_because, owner from published_tables "
        "where is_stale order by name"
    )  # fmt: skip
    since = f"{second.created_at:%Y-%m-%d %H:%M}"
    because = f"{BROKEN} (owner: data-platform)"
    owner = {name: "audience-insight" if name in AUDIENCE else "newsroom-insight" for name in DOWNSTREAM}
    assert reported == [(name, since, because, owner[name]) for name in sorted(DOWNSTREAM)]
    # One without rows is a table.
    comments = dict(
        read_marts(
            settings, "select view_name, comment from duckdb_views() where not internal "
            "union all select table_name, comment from duckdb_tables()"
        )
    )  # fmt: skip
    assert {
        name for name, text in comments.items() if text.startswith(f"STALE since {since} UTC. One row")
    } == DOWNSTREAM

    # What lands then is built, and no more is tried again than what failed and is downstream of it.
    release(first_events)
    some, third = run_failing(settings, BROKEN)
    assert some.count("model") < whole.count("model") / 2
    assert not {node.name for node in some.nodes} & {"dim_dates", "raw_contents", "dim_contents", "raw_adverts"}
    assert {node.name for node in some.nodes if node.status == "skipped"} >= DOWNSTREAM
    later = marts_of(settings)
    assert later["agg_content_daily"] != seen["agg_content_daily"]
    assert {name: later[name] for name in DOWNSTREAM} == {name: first[name] for name in DOWNSTREAM}
    assert {name: (t.stale_since, t.as_of) for name, t in stale_of(third).items()} == {
        name: (t.stale_since, t.as_of) for name, t in stale.items()
    }
    (failing,) = [f for f in read_failing(settings) if f.is_blocking]
    assert (failing.name, failing.kind, failing.owner) == (BROKEN, "model", "data-platform")
    assert failing.path == f"models/intermediate/audience/{BROKEN}.sql"
    assert set(failing.skipped) == DOWNSTREAM and "out of" in failing.message
    assert second.created_at > failing.since > min(t.as_of for t in stale.values() if t.as_of)

    # The warehouse is disposable, even now: the stale rows come from the version before.
    settings.warehouse.unlink()
    rebuilt, fourth = run_failing(settings, BROKEN)
    assert rebuilt.count("model") == whole.count("model")
    assert marts_of(settings) == later
    assert {name: t.stale_since for name, t in stale_of(fourth).items()} == dict.fromkeys(DOWNSTREAM, second.created_at)
    assert {file.change for table in fourth.stale for file in table.files} == {-1}
    assert read_pending_work(settings, dbt_module.read_project(settings)).outdated

    workshop.fix()
    release([path for path in third_day if path not in first_events])
    run_good(settings)
    assert marts_of(settings)["fct_sessions"] != first["fct_sessions"]
    assert read_marts(
        settings, "select count(*) from published_tables where is_stale or stale_because is not null"
    ) == [(0,)]
    assert [f for f in read_failing(settings) if f.is_blocking] == []
    assert_as_built_at_once(settings)


def deliver_title(settings: Settings, title: str) -> None:
    """Deliver a content again under this title, in a file that takes the place of the one before."""
    delivered = next(settings.inbox.glob("cms/contents/2026-01-01.csv")).read_text()
    row = next(csv.DictReader(io.StringIO(delivered))) | {"title": title}
    out = io.StringIO()
    writer = csv.DictWriter(out, row)
    writer.writeheader()
    writer.writerow(row)
    path = settings.inbox / "cms" / "contents" / "corrected.csv"
    partial = path.with_name(".corrected")
    partial.write_text(out.getvalue())
    partial.rename(path)


def tidemark(settings: Settings, *arguments: str) -> tuple[int, str]:
    """The command's exit code and output, each run of spaces as one."""
    environment = {"TIDEMARK_HOME": str(settings.home), "TIDEMARK_SETTLE_SECONDS": "0"}
    done = CliRunner().invoke(cli.main, [*arguments], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, re.sub(r"\s+", " ", done.output)


def test_a_failing_test_stops_only_what_is_downstream_of_it_until_the_data_are_fixed(
    settings: Settings, workshop: Workshop
) -> None:
    test = "assert_contents_are_called_something"
    workshop.write(f"tests/singular/intermediate/{test}.sql", NAMED)
    held_back = hold_back(settings, "2026-01-03")
    run_all(settings)
    first = marts_of(settings)

    deliver_title(settings, "broken")
    release(held_back)
    code, output = tidemark(settings, "run")
    assert code == 1
    manifest = read_manifest(settings, str((settings.published / "current").readlink()))
    names = {one.name for one in manifest.stale}
    assert names == {
        "dim_contents", "agg_content_sections_daily", "agg_content_enjoyment", "agg_content_returns_weekly",
    }  # fmt: skip
    (stale,) = (one for one in manifest.stale if one.name == "dim_contents")
    assert stale.name == "dim_contents" and stale.stale_since == manifest.created_at
    line = (
        f"stale dim_contents since {manifest.created_at:%Y-%m-%d %H:%M} UTC, rows as of {stale.as_of:%Y-%m-%d %H:%M} "
        f"UTC: waits for {test} (owner: data-platform)"
    )
    assert line in output
    seen = marts_of(settings)
    # Of one week nobody comes back in a later one, nobody labelled what calls are about, and no advert has a score.
    unchanged = {name for name in first if seen[name] == first[name]}
    empty = {"fct_call_topics", "agg_call_topics_daily", "dim_topics", "agg_advert_selection"}
    assert unchanged == {*names, "dim_dates", "agg_retention_weekly"} | empty
    for command in (["status"], ["publish"]):
        code, output = tidemark(settings, *command)
        assert code == 1 and line.removeprefix("stale ") in output
    (failing,) = [f for f in read_failing(settings) if f.is_blocking]
    assert (failing.name, failing.kind, failing.rows) == (test, "test", 1)
    assert {*failing.skipped} == names
    assert failing.owner == "data-platform"

    # Nothing landed since: the same fails again, and no more than that is tried.
    code, output = tidemark(settings, "build", "--retry")
    assert code == 1 and f"failed test {test}" in output
    (again,) = [f for f in read_failing(settings) if f.is_blocking]
    assert again.since == failing.since < datetime.now(UTC)
    assert tidemark(settings, "build", "--retry", "--", "--select", "dim_dates")[0] == 2
    with open_warehouse(settings, read_only=True) as warehouse:
        tried = warehouse.execute(
            "select node_name, status from ops.dbt_results where run_id = "
            "(select run_id from ops.dbt_runs order by started_at desc limit 1) and resource_type = 'model'"
        ).fetchall()
    assert set(tried) == {(name, "skipped") for name in (*names, "int_content__contents_versioned")}

    deliver_title(settings, "fixed")
    done = run_good(settings)
    assert done.build is not None and done.build.count("model") < 20
    assert marts_of(settings)["dim_contents"] != first["dim_contents"]
    code, output = tidemark(settings, "build", "--retry")
    assert code == 0 and "nothing to retry" in output
    assert tidemark(settings, "status")[0] == 0
    assert_as_built_at_once(settings)


@pytest.mark.long
def test_what_fails_in_the_first_build_is_missing_until_it_is_made(settings: Settings, workshop: Workshop) -> None:
    workshop.break_model(BROKEN)
    _, first = run_failing(settings, BROKEN)
    assert {missing.name for missing in first.missing} == DOWNSTREAM
    assert {cause.name for missing in first.missing for cause in missing.because} == {BROKEN}
    assert first.stale == ()
    assert not DOWNSTREAM & marts_of(settings).keys() and marts_of(settings)["agg_content_daily"]
    # Nothing new, and the same missing, is no new version.
    assert not publish(settings).is_new
    code, output = tidemark(settings, "run")
    assert code == 1 and f"missing agg_audience_daily: waits for {BROKEN} (owner: data-platform)" in output
    workshop.fix()
    run_good(settings)
    assert marts_of(settings).keys() >= DOWNSTREAM
    assert_as_built_at_once(settings)


@pytest.mark.long
def test_where_nothing_is_good_the_error_says_so_and_readers_see_what_is_stale(
    settings: Settings, workshop: Workshop
) -> None:
    held_back = hold_back(settings, "2026-01-03")
    # A test that reads no model holds all of them back.
    test = "assert_local_days_follow_the_clock"
    workshop.write(f"tests/singular/intermediate/{test}.sql", ALWAYS)
    done = run(settings)
    assert done.build is not None and done.publication is None and not done.is_good
    with pytest.raises(TidemarkError, match=rf"no table is good yet, and all wait for {test}; .*--retry"):
        publish(settings)
    code, output = tidemark(settings, "run")
    assert code == 1 and "no table is good yet" in output
    workshop.fix()
    run_good(settings)
    first = marts_of(settings)

    workshop.write(f"tests/singular/intermediate/{test}.sql", ALWAYS)
    release(held_back)
    _, manifest = run_failing(settings, test)
    published = [m for m in dbt_module.read_project(settings).models.values() if m.schema in SCHEMAS]
    assert len(manifest.stale) == len(manifest.tables) == len(published)
    assert marts_of(settings) == first
    workshop.fix()
    run_good(settings)
    assert marts_of(settings) != first


def deliver_late(settings: Settings) -> None:
    """Deliver an event of the first day that nobody knew of."""
    with gzip.open(settings.inbox / "web" / "events" / "2026-01-01" / "part-0001.ndjson.gz") as delivered:
        event = json.loads(delivered.readline()) | {"event_id": str(uuid.uuid4())}
    (settings.inbox / "web" / "events" / "late.ndjson").write_text(json.dumps(event) + "\n")


def test_a_model_that_fails_in_the_middle_of_its_change_is_as_it_was(lake: Lake, workshop: Workshop) -> None:
    settings, second_day, _ = lake
    first = marts_of(settings)
    macros = "macros/incremental/changes.sql"
    text = (workshop.folder / macros).read_text()
    # When the old days are gone and the new ones are there: in what notes it, which is no part of the model's logic.
    noted = "{% macro record_changed_days(name, days) %}"
    assert text.count(noted) == 1
    fails = "{% if name == 'fct_sessions' %}select error('out of ' || cast(random() as varchar));{% endif %}"
    workshop.write(macros, text.replace(noted, f"{noted}\n    {fails}"))
    release(second_day)
    deliver_late(settings)
    run_failing(settings, "fct_sessions")
    with open_warehouse(settings, read_only=True) as warehouse:
        assert warehouse.execute("from marts.fct_sessions order by all").fetchall() == first["fct_sessions"]
    # Fixed but for what landed: all of it is new to this model alone.
    workshop.fix()
    run_good(settings)
    grown = marts_of(settings)["fct_sessions"]
    assert [row for row in first["fct_sessions"] if row not in grown], "no old day was made again"
    assert_as_built_at_once(settings)


@pytest.mark.long
def test_a_stale_table_keeps_its_columns_and_days_whatever_its_model_becomes(lake: Lake, workshop: Workshop) -> None:
    settings, second_day, third_day = lake
    first = marts_of(settings)
    # The model was renamed a column, is no longer partitioned by day, and fails; its relation is gone from the
    # warehouse.
    path = next(workshop.folder.glob("models/**/agg_content_daily.sql"))
    workshop.write(
        str(path.relative_to(workshop.folder)),
        "select cast(error('out of ' || cast(random() as varchar)) as date) as event_day",
    )
    described = path.with_suffix(".yml")
    text = described.read_text()
    workshop.write(
        str(described.relative_to(workshop.folder)),
        "version: 2\nmodels:\n  - name: agg_content_daily\n    description: One row per day.\n"
        "    config: {contract: {enforced: false}, meta: {visibility: restricted}}\n"
        "    columns: [{name: event_day, description: The day.}, {name: event_date, description: The old day.}]\n",
    )
    with open_warehouse(settings) as warehouse:
        warehouse.execute("drop table marts.agg_content_daily")
    release(second_day + third_day)
    _, manifest = run_failing(settings, "agg_content_daily")
    assert [table.name for table in manifest.stale] == ["agg_content_daily"]
    assert marts_of(settings)["agg_content_daily"] == first["agg_content_daily"]
    assert read_marts(
        settings, "select comment from duckdb_columns() where table_name = 'agg_content_daily' and comment is not null"
    ) == [("The old day.",)]
    assert "event_date" in text
    workshop.fix()
    run_good(settings)
    assert_as_built_at_once(settings)


@pytest.mark.usefixtures("workshop")
def test_what_the_night_finds_is_not_forgotten_by_the_next_build(lake: Lake) -> None:
    settings, _, third_day = lake
    with open_warehouse(settings) as warehouse:
        warehouse.execute("update marts.fct_sessions set engaged_seconds = -1 where started_date = '2026-01-01'")
    assert build_pending(settings) is None  # nothing changed by a build: only a look at all rows finds it
    (failed,) = run_every_test(settings).failed
    assert failed.name == "fct_sessions_has_valid_rows"
    assert failed.message == f"broken rules, with rows: engaged_seconds is not negative ({failed.failures})"

    release(third_day)  # which are other days
    _, manifest = run_failing(settings, "fct_sessions_has_valid_rows")
    assert stale_of(manifest).keys() == {"fct_sessions"}
    (failing,) = [failing for failing in read_failing(settings) if failing.is_blocking]
    assert (failing.name, failing.skipped) == ("fct_sessions_has_valid_rows", ("fct_sessions",))

    build(settings, ("--full-refresh", "--select", "fct_sessions"))
    run_good(settings)
