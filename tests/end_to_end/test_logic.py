"""What is rebuilt when the project's logic changed, and how far days reach, is what one full refresh would give."""

import re
from pathlib import Path
from typing import Any

import pytest

from flows import sample
from flows.build import dbt as dbt_module
from flows.build.build import Build, build, build_pending
from flows.build.dbt import read_project
from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.land.land import land
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lakes import hold_back, release
from tests.support.sample_lake import settings_of
from tests.support.workshop import Workshop

pytestmark = pytest.mark.long

RULES = "seeds/engagement_rules.csv"
LATENESS = "macros/engine/dates.sql"
SETTINGS = "dbt_project.yml"
# Each reads the day before of the one above: nobody says how far that reaches, and the second says too little.
ROLLED = """
{{{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date'{more}) }}}}
with days as (select * from {{{{ ref('{parent}') }}}} where {{{{ in_days_to_replace('event_date', before=1) }}}}),
counted as (select event_date, cast({count} as bigint) as events_count from days group by event_date),
both_days as (
    select event_date, events_count from counted
    union all select event_date + 1, events_count from counted
)
select event_date, cast(sum(events_count) as bigint) as events_count
from both_days where {{{{ in_days_to_replace('event_date') }}}} group by event_date
"""
CHAIN = {
    "int_events__two_days_summed": ("int_events__events_deduplicated", "count(*)", ""),
    "int_events__three_days_summed": (
        "int_events__two_days_summed",
        "sum(events_count)",
        ", meta={'lookback_days': 1}",
    ),
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Workshop(tmp_path_factory.mktemp("project"))
    for name, (parent, count, more) in CHAIN.items():
        made.write(f"models/intermediate/events/{name}.sql", ROLLED.format(parent=parent, count=count, more=more))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbt_module, "PROJECT", made.folder)
        yield made


@pytest.fixture(scope="module")
def settings(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three days, of which the first landed last: each was built as it came."""
    made = settings_of(tmp_path_factory.mktemp("lake"))
    sample.generate(made.home, 2_000, 3, 3)
    first_day = hold_back(made, "2026-01-01")
    land(made)
    assert_good(build_pending(made))
    release(first_day)
    land(made)
    assert_good(build_pending(made))
    return made


def assert_good(done: Build | None) -> None:
    assert done is not None
    assert not done.failed, [(node.name, node.message) for node in done.failed]


def rows_of(settings: Settings) -> dict[str, list[Any]]:
    """The rows of every model in the warehouse, but for when what was built."""
    models = [m for m in read_project(settings).models.values() if m.schema != "ops" or m.materialized != "view"]
    with open_warehouse(settings, read_only=True) as db:
        return {
            model.name: db.execute(f"select * from {model.schema}.{model.name} order by all").fetchall()
            for model in models
        }


def built_whole(settings: Settings) -> dict[str, int]:
    """For each model that grows, the change with which it was last built whole."""
    growing = [m.name for m in read_project(settings).models.values() if m.materialized == "incremental"]
    with open_warehouse(settings, read_only=True) as db:
        found = db.execute(
            "select model, whole_change from ops.model_progress where list_contains(?, model)", [growing]
        )
        return dict(found.fetchall())


def deliver(settings: Settings, events: list[dict[str, Any]]) -> None:
    """Land a file of events."""
    folder = settings.inbox / "web" / "events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}_more.ndjson").write_bytes(ndjson(events))
    assert land(settings).rows("rows_landed") == len(events)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def replace(workshop: Workshop, name: str, old: str, new: str) -> None:
    text = (workshop.folder / name).read_text()
    assert text.count(old) == 1
    workshop.write(name, text.replace(old, new))


def test_days_reach_as_far_as_all_that_is_read_around_them(settings: Settings) -> None:
    grown = rows_of(settings)
    assert len(grown["int_events__three_days_summed"]) >= 3
    assert_good(build(settings, ("--full-refresh",)))
    assert changed(grown, rows_of(settings)) == set()


def test_what_a_changed_macro_variable_or_seed_makes_is_rebuilt_whole_and_nothing_else(
    settings: Settings, workshop: Workshop
) -> None:
    rows, whole = rows_of(settings), built_whole(settings)
    # Whole seconds now: of a day's length nothing changes, of an event's lateness what is below a second.
    exact, rough = (
        "date_diff('millisecond', {{ earlier }}, {{ later }})",
        "date_sub('second', {{ earlier }}, {{ later }})",
    )
    replace(workshop, LATENESS, exact, f"(1000 * {rough})")
    replace(workshop, SETTINGS, "last_year: 2035", "last_year: 2034")
    replace(workshop, RULES, "*,article,0.5,15,60,1", "*,article,0.1,1,2,1")
    assert_good(build_pending(settings))
    judged = {
        "fct_content_engagement", "agg_content_daily", "agg_content_periods", "agg_audience_periods",
        "agg_content_sections_daily", "agg_content_enjoyment", "agg_enjoyed_rules_daily", "agg_content_returns_weekly",
    }  # fmt: skip
    assert changed(whole, built_whole(settings)) == {"ops_late_arrivals", *judged}
    grown = rows_of(settings)
    # Figures of so few devices are withheld before and after.
    rows_changed = changed(rows, grown) | {"agg_audience_periods"}
    assert rows_changed == {"ops_late_arrivals", *judged, "dim_dates"}
    assert max(row[0] for row in grown["dim_dates"]).year == 2034
    assert build_pending(settings) is None
    assert_good(build(settings, ("--full-refresh",)))
    assert changed(grown, rows_of(settings)) == set()


def test_variables_given_to_one_build_are_gone_with_the_next(settings: Settings) -> None:
    rows, whole = rows_of(settings), built_whole(settings)
    # A gap so short that sessions are others.
    given = "{session_gap_minutes: 1, last_year: 2030}"
    done = build(settings, ("--vars", given))
    split = {
        "int_audience__session_fragments_split",
        "int_audience__session_fragments_continued",
        "int_audience__devices_active",
        "int_audience__groups_counted",
        "int_journeys__cohorts_counted",
        "int_journeys__device_weeks_seen",
        "int_journeys__funnels_followed",
        "fct_sessions",
        "fct_funnels",
        "agg_audience_daily",
        "agg_audience_periods",
        "agg_content_paths",
    }
    assert {node.name for node in done.failed} == set()
    assert changed(whole, built_whole(settings)) == split
    assert changed(rows, rows_of(settings)) >= {"int_audience__session_fragments_split", "fct_sessions", "dim_dates"}
    assert_good(build_pending(settings))
    assert changed(rows, rows_of(settings)) == set()


def test_what_dbt_built_without_tidemark_is_built_whole_again(settings: Settings) -> None:
    whole = built_whole(settings)
    project = read_project(settings)
    dbt_module._invoke(settings, ["build", "--select", "agg_adverts_daily"], "", project.manifest)
    by_itself = built_whole(settings)
    assert changed(whole, by_itself) == {"agg_adverts_daily"}
    assert_good(build_pending(settings))
    assert changed(by_itself, built_whole(settings)) == {"agg_adverts_daily"}
    assert build_pending(settings) is None


def test_a_model_whose_reach_is_unknown_is_built_whole_each_time(settings: Settings, workshop: Workshop) -> None:
    path = Path("models/intermediate/events/int_events__three_days_summed.sql")
    text = (workshop.folder / path).read_text()
    workshop.write(str(path), "{% set days = 2 - 1 %}" + text.replace("before=1", "before=days"))
    assert_good(build_pending(settings))
    whole = built_whole(settings)
    assert_good(build(settings))
    assert changed(whole, built_whole(settings)) == {"int_events__three_days_summed"}


def test_a_model_built_before_what_it_reads_is_built_again_with_it(settings: Settings, workshop: Workshop) -> None:
    """One by one, in whatever order people build them after an edit or a landing."""
    rules = (workshop.folder / RULES).read_text()
    workshop.write(RULES, re.sub(r"(?m)^\*,article,.*$", "*,article,0.2,2,3,1", rules))
    assert_good(build(settings, ("--select", "agg_content_daily")))
    assert_good(build_pending(settings))
    grown = rows_of(settings)
    assert_good(build(settings, ("--full-refresh",)))
    assert changed(grown, rows_of(settings)) == set()

    deliver(settings, [event(number) for number in range(5)])
    by_hand = ["build", "--select", "int_audience__session_fragments_continued"]
    enter_landings(settings)
    dbt_module._invoke(settings, by_hand, "", read_project(settings).manifest)
    for names in (
        "int_audience__devices_active int_audience__groups_counted",
        "agg_audience_daily agg_audience_periods fct_sessions",
    ):
        # What holds of all of them cannot hold yet.
        assert_good(build(settings, ("--select", names, "--exclude-resource-type", "test")))
    assert_good(build_pending(settings))
    grown = rows_of(settings)
    assert_good(build(settings, ("--full-refresh",)))
    assert changed(grown, rows_of(settings)) == set()


def test_an_appended_model_built_whole_while_others_are_behind_appends_nothing_twice(settings: Settings) -> None:
    deliver(settings, [event(number) for number in range(10, 15)])
    adverts = next(path for path in sorted(settings.inbox.rglob("*")) if "adverts" in str(path) and path.is_file())
    (adverts.parent / f"again_{adverts.name}").write_bytes(adverts.read_bytes() + b"\n")
    land(settings)
    assert_good(build(settings, ("--full-refresh", "--select", "raw_adverts+", "--exclude-resource-type", "test")))
    assert_good(build_pending(settings))
    with open_warehouse(settings) as db:
        doubled = db.execute(
            "select _batch_id, call_id from intermediate.int_adverts__calls_affected group by all having count(*) > 1"
        )
        assert doubled.fetchall() == []
    grown = rows_of(settings)
    assert_good(build(settings, ("--full-refresh",)))
    assert changed(grown, rows_of(settings)) == set()


def test_rows_never_go_into_a_table_of_other_columns(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute("alter table marts.fct_enquiries add column of_nobody integer")
    deliver(settings, [event(20)])
    done = build_pending(settings)
    assert done is not None
    (failed,) = (node for node in done.failed if node.kind == "model")
    assert failed.name == "fct_enquiries" and "of_nobody" in failed.message
    with open_warehouse(settings) as db:
        db.execute("alter table marts.fct_enquiries drop column of_nobody")
    assert_good(build_pending(settings))
