"""The mark of a model changes with all that its rows depend on, and days reach as far as what is read around them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.build import dbt as dbt_module
from flows.build.dbt import project_fingerprint, read_project
from flows.build.logic import BOOKKEEPING, CALLS_BY_META, ProjectLogic, Reach, variables_given, variables_of
from flows.contract.spec import PROJECT
from flows.settings import Settings

BY_DAYS = "{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date'%s) }}\n"


def by_days(parent: str, around: str = "", more: str = "") -> str:
    """A model of days that reads another, and days around its own."""
    where = f"{{{{ in_days_to_replace('event_date'{around}) }}}}"
    return BY_DAYS % more + f"select * from {{{{ ref('{parent}') }}}} where {where}"


FILES = {
    "dbt_project.yml": """
name: tidemark
profile: tidemark
vars: {window: 6, unused: 1, greeting: hello, tidemark: {greeting: hi}}
on-run-start: "{{ prepare_warehouse() }}"
models: {tidemark: {+post-hook: "{{ record_progress() }}"}}
""",
    "seeds/names.csv": "name\nAnn\n",
    "macros/own.sql": """
{% macro outer() %}{{ inner() }}{% endmacro %}
{% macro inner() %}1{% endmacro %}
{% macro greet() %}'{{ var('greeting') }}'{% endmacro %}
{% macro any_of(name) %}'{{ var(name) }}'{% endmacro %}
{% macro spoken() %}{{ adapter.dispatch('spoken')() }}{% endmacro %}
{% macro duckdb__spoken() %}2{% endmacro %}
{% macro called_by_name() %}3{% endmacro %}
{% macro week_around() %}{{ in_days_to_replace('event_date', before=6) }}{% endmacro %}
{% macro own_days() %}{% do return(affected_days()) %}{% endmacro %}
{% macro get_incremental_own_way_sql(arg_dict) %}select 4{% endmacro %}
""",
    "models/raw_events.sql": "select date '2026-01-01' as event_date, 1 as _batch_id",
    "models/plain.sql": "select 1 as one",
    "models/plain.yml": "models: []",
    "models/calls.sql": "select {{ outer() }} as one",
    "models/below.sql": "select * from {{ ref('calls') }}",
    "models/greets.sql": "select {{ greet() }} as greeting",
    "models/any_variable.sql": "select {{ any_of('win' ~ 'dow') }} as one",
    "models/dispatches.sql": "select {{ spoken() }} as one",
    "models/by_name.sql": "select {{ context['called_by_name']() }} as one",
    "models/grown.sql": "{{ config(materialized='incremental', incremental_strategy='own_way') }} select 1 as one",
    "models/environment.sql": "select '{{ env_var('SHAPE', 'round') }}' as shape",
    "models/seeded.sql": "select * from {{ ref('names') }}",
    "models/base.sql": by_days("raw_events"),
    "models/week.sql": by_days("base", ", before=6"),
    "models/month.sql": by_days("week", ", before=27"),
    "models/view_of_week.sql": "select * from {{ ref('week') }}",
    "models/over_view.sql": by_days("view_of_week", ", before=1"),
    "models/by_position.sql": by_days("base", ", 3"),
    "models/by_variable.sql": by_days("base", ", before=var('window')"),
    "models/by_macro.sql": BY_DAYS % "" + "select * from {{ ref('base') }} where {{ week_around() }}",
    "models/ahead.sql": by_days("base", ", after=2"),
    "models/over_ahead.sql": by_days("ahead", ", before=1, after=1"),
    "models/says_more.sql": by_days("week", "", ", meta={'lookback_days': 40}"),
    "models/says_less.sql": by_days("week", ", before=1", ", meta={'lookback_days': 1}"),
    "models/worked_out.sql": "{% set n = 1 + 1 %}" + by_days("base", ", before=n"),
    "models/over_worked_out.sql": by_days("worked_out"),
    "models/finds_days.sql": by_days("base", "", ", meta={'days_to_replace': 'own_days'}"),
    "models/over_finds_days.sql": by_days("finds_days"),
    "models/kept_whole.sql": "{{ config(materialized='table') }} select * from {{ ref('month') }}",
}
REACHES = {
    "base": Reach(),
    "week": Reach(after=6),
    "month": Reach(after=33),
    "over_view": Reach(after=7),
    "by_position": Reach(after=3),
    "by_variable": Reach(after=6),
    "by_macro": Reach(after=6),
    "ahead": Reach(before=2),
    "over_ahead": Reach(before=3, after=1),
    "says_more": Reach(after=40),
    "says_less": Reach(after=7),
    "worked_out": None,
    "over_worked_out": None,
    "finds_days": Reach(),
    "over_finds_days": None,
    "kept_whole": Reach(),
}
NOT_OF_ITS_ROWS = "{name: plain, config: {meta: {owner: me, visibility: public}}}"
# What is edited at once, as each parse takes a second, and the models whose rows may be others then.
# `any_variable` works out the name of its variable: it may be any.
EDITS = (
    (
        ("macros/own.sql", "%}1{%", "%}10{%", {"calls", "below"}),
        ("macros/own.sql", "%}2{%", "%}20{%", {"dispatches"}),
        ("macros/own.sql", "%}3{%", "%}30{%", {"by_name"}),
        ("macros/own.sql", "select 4", "select 40", {"grown"}),
        ("macros/own.sql", "return(affected_d", "return( affected_d", {"finds_days", "over_finds_days"}),
        ("dbt_project.yml", "greeting: hello", "greeting: hej", set()),
        ("models/plain.yml", "models: []", f"models: [{NOT_OF_ITS_ROWS}]", set()),
    ),
    (
        ("dbt_project.yml", "greeting: hi", "greeting: hej", {"greets", "any_variable"}),
        ("seeds/names.csv", "Ann", "Bea", {"names", "seeded"}),
        ("models/plain.sql", "select", "{{ config(materialized='table') }} select", {"plain"}),
    ),
    (("dbt_project.yml", "unused: 1", "unused: 2", {"any_variable"}),),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with the real macros."""
    folder = tmp_path / "project"
    for name in ("profiles", "macros/incremental", "macros/overrides", "macros/project"):
        shutil.copytree(PROJECT / name, folder / name)
    (folder / "macros" / "engine").mkdir()
    shutil.copy(PROJECT / "macros/engine/days.sql", folder / "macros/engine/days.sql")
    # Reads a model that this project has not.
    (folder / "macros/incremental/session_days.sql").unlink()
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(dbt_module, "PROJECT", folder)
    monkeypatch.delenv("SHAPE", raising=False)
    return folder


@pytest.fixture
def read(project: Path, tmp_path: Path) -> Callable[[], ProjectLogic]:
    return lambda: read_project(Settings(home=tmp_path / "home")).logic({})


def marks(logic: ProjectLogic) -> dict[str, str]:
    return {name: of.mark for name, of in logic.by_name.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_marks_and_reach_follow_the_project(
    project: Path, read: Callable[[], ProjectLogic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test for all, as dbt parses the project for each edit."""
    logic = read()
    assert {name: logic.by_name[name].reach for name in REACHES} == REACHES
    before = marks(logic)
    for edits in EDITS:
        texts = {name: (project / name).read_text() for name, *_ in edits}
        for name, old, new, _ in edits:
            text = (project / name).read_text()
            assert text.count(old) == 1, old
            (project / name).write_text(text.replace(old, new))
        assert changed(before, marks(read())) == set().union(*(expected for *_, expected in edits))
        for name, text in texts.items():
            (project / name).write_text(text)
    assert marks(read()) == before
    monkeypatch.setenv("SHAPE", "square")
    assert changed(before, marks(read())) == {"environment"}


def test_a_variable_given_to_the_command_counts(project: Path, tmp_path: Path) -> None:
    whole = read_project(Settings(home=tmp_path / "home"))
    given = variables_given(["--select", "x", "--vars", "{greeting: hej}"])
    assert changed(marks(whole.logic({})), marks(whole.logic(given))) == {"greets", "any_variable"}
    assert whole.logic({"window": 9}).by_name["by_variable"].reach == Reach(after=9)
    assert whole.fingerprint_with({}) == whole.fingerprint != whole.fingerprint_with(given)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--select", "x"], {}),
        (["--vars", "{a: 1, b: two}"], {"a": 1, "b": "two"}),
        (["--vars={a: 1}"], {"a": 1}),
        (["--vars", "a: 1", "--vars", "b: 2"], {"b": 2}),
        (["--vars", "{"], {}),
        (["--vars"], {}),
    ],
)
def test_variables_are_read_as_dbt_reads_them(arguments: list[str], expected: dict[str, object]) -> None:
    assert variables_given(arguments) == expected


def test_the_project_is_another_where_what_it_reads_of_the_environment_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = project_fingerprint(project)
    monkeypatch.setenv("TIDEMARK_HOME", "/elsewhere")
    assert project_fingerprint(project) == first
    monkeypatch.setenv("SHAPE", "square")
    assert project_fingerprint(project) != first


def test_exceptions_and_declared_reach_are_those_of_the_project(tmp_path: Path) -> None:
    """A name that no macro has would be no exception; a declared reach may be taken at its word."""
    real = read_project(Settings(home=tmp_path / "home"))
    names = {macro.name for macro in real.manifest.macros.values()}
    assert {*BOOKKEEPING, CALLS_BY_META} <= names
    logic = real.logic(variables_of(PROJECT, {})).by_name
    for node in real.manifest.nodes.values():
        if node.name in real.partitioned_by_day:
            reach = logic[node.name].reach
            assert reach is not None, f"{node.name}: the days it reads around its own cannot be told from its SQL"
            declared = (node.config.meta or {}).get("lookback_days")
            assert declared in (None, reach.after), f"{node.name}: it reaches {reach.after} days, and says {declared}"
