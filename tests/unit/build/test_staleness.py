"""What is failing, since when, and what waits for it: all that happened, and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.build import staleness as failures_module
from flows.build.project import DataTest, Model
from flows.build.staleness import Failing, find_causes, read_failing, successors
from flows.build.warehouse import PendingWork, open_warehouse
from flows.errors import TidemarkError
from flows.settings import Settings
from tests.support.lake import make_warehouse_tables
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
# raw -> view -> left, right -> agg, which reads both; seed -> right. Published are the marts.
UPSTREAM = {
    "raw": "",
    "view": "raw",
    "left": "view raw",
    "right": "view raw seed",
    "agg": "left right view raw seed",
    "other": "",
}
SCHEMAS = {"raw": "raw", "view": "staging"}


def data_test(name: str, reads: str, guards: str, is_blocking: bool = True, is_attached: bool = True) -> DataTest:
    return DataTest(f"test.{name}", name, is_blocking, frozenset(reads.split()), frozenset(guards.split()), is_attached)


OF_VIEW = data_test("of_view", "view raw landings", "view left right agg")
OF_LEFT = data_test("of_left", "left", "left agg")
OF_BOTH = data_test("of_both", "left right", "left right agg", is_attached=False)
OF_KEYS = data_test("of_keys", "right other", "right agg")
WARNS = data_test("warns", "left", "left agg", is_blocking=False)
OWNERS = {"left": "them", "of_left": "testers"}


def project_of() -> Any:
    models = {
        name: Model(name, SCHEMAS.get(name, "marts"), "table", None, "", {}, frozenset(upstream.split()))
        for name, upstream in UPSTREAM.items()
    }
    kinds = {**dict.fromkeys(models, "model"), "seed": "seed"}
    tests = [OF_VIEW, OF_LEFT, OF_BOTH, OF_KEYS, WARNS]
    nodes = {f"{kind}.{name}": (name, kind) for name, kind in kinds.items()} | {
        test.unique_id: (test.name, "test") for test in tests
    }
    return SimpleNamespace(
        models=models,
        seeds=frozenset({"seed"}),
        tests=tests,
        owners={name: OWNERS.get(name, "") for name, _ in nodes.values()},
        fingerprint="now",
        downstream=lambda name: frozenset(m.name for m in models.values() if name == m.name or name in m.upstream),
        manifest=SimpleNamespace(
            nodes={
                id_: SimpleNamespace(name=name, resource_type=kind, original_file_path=f"{kind}s/{name}")
                for id_, (name, kind) in nodes.items()
            }
        ),
    )


# --- what waits for what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outdated", "tests", "expected"),
    [
        ("", [], {}),
        ("left", [], {"left": "left", "agg": "left"}),
        # What was skipped is no cause.
        ("view left right agg", [], {"left": "view", "right": "view", "agg": "view"}),
        ("left right agg", [], {"left": "left", "right": "right", "agg": "left right"}),
        ("seed right agg", [], {"right": "seed", "agg": "seed"}),
        ("other", [], {"other": "other"}),
        # Only the mart itself.
        ("agg", [], {"agg": "agg"}),
        # A test that fails, and what was skipped downstream of it.
        ("", [OF_LEFT], {"left": "of_left", "agg": "of_left"}),
        ("agg", [OF_LEFT], {"left": "of_left", "agg": "of_left"}),
        ("left right agg", [OF_VIEW], {"left": "of_view", "right": "of_view", "agg": "of_view"}),
        # A test that did not come to run, as what it reads failed.
        ("left agg", [OF_LEFT], {"left": "left", "agg": "left"}),
        ("view left right agg", [OF_VIEW, OF_LEFT], {"left": "view", "right": "view", "agg": "view"}),
        ("other", [OF_KEYS], {"right": "other", "agg": "other", "other": "other"}),
        # One that compares says nothing of what does not depend on what failed.
        ("left agg", [OF_BOTH], {"left": "left", "agg": "left"}),
        # A test of a model downstream of one whose test fails.
        ("left right agg", [OF_VIEW, OF_LEFT], {"left": "of_view", "right": "of_view", "agg": "of_view"}),
        # Two causes.
        ("right agg", [OF_LEFT], {"left": "of_left", "right": "right", "agg": "of_left right"}),
        ("", [OF_LEFT, OF_BOTH], {"left": "of_both of_left", "right": "of_both", "agg": "of_both of_left"}),
        ("", [WARNS], {}),
    ],
)
def test_causes_are_where_the_trouble_begins(outdated: str, tests: list[DataTest], expected: dict[str, str]) -> None:
    found = find_causes(project_of(), PendingWork(False, tuple(outdated.split()), tuple(tests)))
    assert {name: [cause.name for cause in because] for name, because in found.items()} == {
        name: because.split() for name, because in expected.items()
    }
    for because in found.values():
        assert all(cause.owner == OWNERS.get(cause.name, "") for cause in because)


def test_no_model_is_good_before_a_whole_build() -> None:
    assert find_causes(project_of(), PendingWork(everything=True)).keys() == {"left", "right", "agg", "other"}


# --- what is failing -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose warehouse has its tables and nothing in them."""
    made = Settings(home=tmp_path / "home")
    made.warehouse.parent.mkdir(parents=True)
    with open_warehouse(made) as db:
        make_warehouse_tables(db)
    monkeypatch.setattr(failures_module, "read_project", lambda settings: project_of())
    return made


def record(settings: Settings, hour: int, **statuses: str) -> None:
    """A whole build that came to its end then, and how each of its nodes went; tests are named without ``of_``."""
    at = START + timedelta(hours=hour)
    kinds = dict.fromkeys(UPSTREAM, "model") | {"seed": "seed"}
    with open_warehouse(settings) as db:
        db.execute(
            "insert into ops.dbt_runs values (?, 'build', true, 'now', ?, ?, 'failed')",
            [str(hour), at.replace(tzinfo=None), at.replace(tzinfo=None)],
        )
        for name, status in statuses.items():
            kind = kinds.get(name, "test")
            db.execute(
                "insert into ops.dbt_results values (?, ?, ?, ?, ?, ?, ?, null, null, 0.5, ?)",
                [str(hour), f"{kind}.{name}", kind, name, status, 3 if kind == "test" else None, "why",
                 at.replace(tzinfo=None)],
            )  # fmt: skip
            if kind != "test" and status in ("error", "skipped"):
                db.execute("insert into ops.failed_or_skipped values (?, now())", [name])


def failing(settings: Settings) -> dict[str, int]:
    """What is failing by name, and since which hour."""
    return {f.name: round((f.since - START) / timedelta(hours=1)) for f in read_failing(settings)}


def test_before_the_first_build_nothing_fails(settings: Settings, tmp_path: Path) -> None:
    assert read_failing(Settings(home=tmp_path / "elsewhere")) == []
    assert read_failing(settings) == []
    settings.warehouse.unlink()
    open_warehouse(settings).close()
    assert read_failing(settings) == []


def test_a_failure_is_reported_with_all_there_is_to_know(settings: Settings) -> None:
    record(settings, 0, left="error", right="success", agg="skipped", of_keys="fail", warns="warn", seed="error")
    assert read_failing(settings) == [
        Failing("model.left", "left", "model", "models/left", "them", "error", 0, "why", START, True, ("agg", "left")),
        Failing("seed.seed", "seed", "seed", "seeds/seed", "", "error", 0, "why", START, True, ("agg", "right")),
        Failing(
            "test.of_keys", "of_keys", "test", "tests/of_keys", "", "fail", 3, "why", START, True, ("agg", "right")
        ),
        Failing("test.warns", "warns", "test", "tests/warns", "", "warn", 3, "why", START, False, ()),
    ]


def test_a_failure_lasts_from_the_first_of_an_unbroken_run_to_the_next_success(settings: Settings) -> None:
    record(settings, 0, left="success", of_left="fail")
    record(settings, 1, left="error", of_left="skipped")
    assert failing(settings) == {"left": 1, "of_left": 0}
    record(settings, 2, left="error", of_left="skipped")
    record(settings, 3, left="skipped", of_left="skipped")  # what is skipped neither fails nor passes
    record(settings, 4, left="error")
    assert failing(settings) == {"left": 1, "of_left": 0}
    record(settings, 5, left="success", of_left="runtime error")
    assert failing(settings) == {"of_left": 0}
    record(settings, 6, of_left="pass")
    assert failing(settings) == {}
    record(settings, 7, left="error")
    record(settings, 8, of_left="warn")
    record(settings, 9, of_left="fail")
    assert failing(settings) == {"left": 7, "of_left": 9}


def call_results(settings: Settings, hour: int, unique_id: str) -> None:
    """Give the results of ``of_left`` in a build the id that dbt gave the test then, by its arguments."""
    with open_warehouse(settings) as db:
        db.execute(
            "update ops.dbt_results set node_id = ? where run_id = ? and node_name = 'of_left'", [unique_id, str(hour)]
        )


def test_a_test_whose_arguments_were_edited_is_the_same_test(settings: Settings) -> None:
    record(settings, 0, of_left="fail")
    record(settings, 1, of_left="pass")
    call_results(settings, 1, "test.of_left.fixed")
    assert failing(settings) == {}, "it passed since, under the id of then"
    record(settings, 2, of_left="fail")
    assert failing(settings) == {"of_left": 2}, "the first failure after the last pass"


def test_what_failed_before_an_edit_of_the_test_is_reported(settings: Settings) -> None:
    record(settings, 0, of_left="pass")
    record(settings, 1, of_left="fail")
    call_results(settings, 1, "test.of_left.broken")
    (found,) = read_failing(settings)
    assert (found.unique_id, found.name, found.since) == ("test.of_left", "of_left", START + timedelta(hours=1))


def test_of_several_tests_of_a_name_none_stands_for_another() -> None:
    project = project_of()
    project.manifest.nodes["test.of_left.twin"] = SimpleNamespace(name="of_left", resource_type="test")
    assert successors([("test.of_left.old", "test", "of_left"), ("test.of_view.old", "test", "of_view")], project) == {
        "test.of_view.old": "test.of_view"
    }


def test_a_model_made_by_a_build_that_was_killed_is_made(settings: Settings) -> None:
    record(settings, 0, left="error", right="error")
    with open_warehouse(settings) as db:
        marks = [("left", START + timedelta(minutes=5)), ("right", START - timedelta(minutes=5))]
        for name, at in marks:
            db.execute(
                "insert into ops.model_progress values (?, 0, ['events'], '', 0, ?)", [name, at.replace(tzinfo=None)]
            )
    assert failing(settings) == {"right": 0}


def test_a_model_made_while_the_clock_ran_ahead_fails_when_it_fails(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        ahead = datetime.now(UTC) + timedelta(days=300)
        db.execute(
            "insert into ops.model_progress values ('left', 0, ['events'], '', 0, ?)", [ahead.replace(tzinfo=None)]
        )
    record(settings, 0, left="error")
    assert failing(settings) == {"left": 0}


def test_what_is_gone_from_the_project_does_not_fail(settings: Settings) -> None:
    record(settings, 0, gone="fail", left="error")
    assert failing(settings) == {"left": 0}


def test_a_test_that_only_warns_does_not_block_even_where_it_cannot_run(settings: Settings) -> None:
    record(settings, 0, warns="error", of_left="warn")
    assert {f.name: (f.is_blocking, f.skipped) for f in read_failing(settings)} == {
        "warns": (False, ()),
        "of_left": (False, ()),
    }


def test_unit_tests_and_operations_are_left_out(settings: Settings) -> None:
    record(settings, 0, of_left="fail")
    with open_warehouse(settings) as db:
        db.execute("update ops.dbt_results set resource_type = 'unit_test'")
    assert read_failing(settings) == []


def _hold(warehouse: Path, ready: Any, done: Any) -> None:
    with open_warehouse(Settings(home=warehouse.parent.parent)):
        ready.set()
        done.wait(PATIENCE_SECONDS)


def test_a_warehouse_that_another_process_has_is_an_error(settings: Settings) -> None:
    ready, done = FORKSERVER.Event(), FORKSERVER.Event()
    process = FORKSERVER.Process(target=_hold, args=(settings.warehouse, ready, done))
    process.start()
    assert ready.wait(PATIENCE_SECONDS)
    try:
        with pytest.raises(TidemarkError, match=f"process {process.pid} .*has the warehouse"):
            read_failing(settings)
    finally:
        done.set()
        process.join()
