"""The plan of a build: which batches and days each model is for, from what the warehouse says."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from flows.build.logic import Logic, Reach
from flows.build.plan import LandedDay, Progress, State, Step, plan

MARK = "as now"
# Each model by name: how it is kept, what it reads, how far its changes reach (None: not known).
MODELS: dict[str, tuple[str, tuple[str, ...], Reach | None]] = {
    "raw_events": ("view", ("source.landed.events",), Reach()),
    "raw_calls": ("incremental", ("source.landed.calls",), Reach()),
    "copies": ("replace_days", ("model.raw_events",), Reach()),
    "audience": ("replace_days", ("model.copies", "seed.names"), Reach(after=2)),
    "both": ("table", ("model.audience", "model.raw_calls"), Reach()),
    "around": ("replace_days", ("model.copies",), Reach(before=1, after=1)),
    "unclear": ("replace_days", ("model.copies",), None),
    "landings": ("table", ("source.lake.landings",), Reach()),
    "some_landings": ("table", ("source.lake.landings",), Reach()),
    "dates": ("table", ("seed.names",), Reach()),
    "devices": ("replace_keys", ("model.copies",), Reach()),
}
TOUCHED_BY_DAY = "devices"


INCREMENTAL = ("replace_days", "replace_keys")


def node(name: str, kept: str, parents: tuple[str, ...]) -> Any:
    metas: dict[str, Any] = {"some_landings": {"datasets": ["calls"]}, TOUCHED_BY_DAY: {"touched_keys": "copies"}}
    config = SimpleNamespace(
        materialized="incremental" if kept in INCREMENTAL else kept,
        meta=metas.get(name, {}),
    )
    return SimpleNamespace(name=name, resource_type="model", config=config, depends_on_nodes=list(parents))


def upstream(name: str) -> frozenset[str]:
    parents = {parent.partition(".")[2] for parent in MODELS[name][1] if not parent.startswith("source.")}
    return frozenset(parents).union(*(upstream(parent) for parent in parents & MODELS.keys()))


PROJECT: Any = SimpleNamespace(
    manifest=SimpleNamespace(
        nodes={
            "seed.names": SimpleNamespace(
                name="names",
                resource_type="seed",
                config=SimpleNamespace(materialized="seed", meta={}),
                depends_on_nodes=[],
            ),
            **{f"model.{name}": node(name, kept, parents) for name, (kept, parents, _) in MODELS.items()},
        },
        sources={
            "source.landed.events": SimpleNamespace(name="events", source_name="landed"),
            "source.landed.calls": SimpleNamespace(name="calls", source_name="landed"),
            "source.lake.landings": SimpleNamespace(name="landings", source_name="lake"),
        },
    ),
    models={
        name: SimpleNamespace(
            materialized="incremental" if kept in INCREMENTAL else kept,
            upstream=upstream(name),
        )
        for name, (kept, *_) in MODELS.items()
    },
    partitioned_by_day=frozenset(name for name, (kept, *_) in MODELS.items() if kept in INCREMENTAL),
)
LOGIC = {name: Logic(MARK, reach) for name, (*_, reach) in MODELS.items()}
ALL = frozenset(MODELS)
LANDED = (
    LandedDay(4, "events", date(2026, 1, 10)),
    LandedDay(5, "events", date(2026, 1, 15)),
    LandedDay(5, "events", date(2026, 1, 31)),
    LandedDay(6, "calls", date(2026, 1, 20)),
    LandedDay(7, "events", date(2026, 2, 10)),
)


def steps(models: frozenset[str] = ALL, seen: int = 4, is_backfill: bool = False, **others: int) -> dict[str, Step]:
    """The plan where every model has seen this many of 6 batches, but for ``others``."""
    progress = {name: Progress(others.get(name, seen), MARK) for name in MODELS}
    return plan(PROJECT, LOGIC, models, State(6, progress, LANDED, is_backfill=is_backfill))


def test_a_model_is_for_the_batches_it_has_not_seen_and_the_days_these_reach() -> None:
    made = steps()
    assert made.keys() == ALL
    assert {(step.seen, step.upto) for step in made.values()} == {(4, 6)}
    assert made["copies"].days == ["2026-01-15", "2026-01-31"]
    assert made["audience"].days == ["2026-01-15", "2026-01-16", "2026-01-17", "2026-01-31", "2026-02-01", "2026-02-02"]
    assert made["around"].days == ["2026-01-14", "2026-01-15", "2026-01-16", "2026-01-30", "2026-01-31", "2026-02-01"]
    assert made["both"].days == made["raw_calls"].days == []


def test_the_batches_of_a_model_are_those_of_the_datasets_it_reads() -> None:
    made = steps()
    assert made["audience"].datasets == ["events"]
    assert made["both"].datasets == ["calls", "events"]
    assert made["landings"].datasets == ["*"]
    assert made["some_landings"].datasets == ["calls"]
    assert made["dates"].datasets == []


@pytest.mark.parametrize(
    ("models", "seen", "expected"),
    [
        ({"audience"}, {"copies": 5}, {"audience": (4, 5)}),
        ({"audience"}, {"copies": 4}, {"audience": (4, 4)}),
        ({"copies", "audience"}, {"copies": 5}, {"copies": (5, 6), "audience": (4, 6)}),
        # A view keeps nothing: through it the model sees what was landed.
        ({"copies"}, {}, {"copies": (4, 6)}),
        ({"both"}, {"audience": 6, "raw_calls": 5}, {"both": (4, 5)}),
        ({"audience", "both"}, {"copies": 3, "raw_calls": 6}, {"audience": (4, 3), "both": (4, 3)}),
        (set(), {}, {}),
    ],
)
def test_a_model_sees_no_more_than_what_it_reads_will_have_seen(
    models: set[str], seen: dict[str, int], expected: dict[str, tuple[int, int]]
) -> None:
    made = steps(frozenset(models), **seen)
    assert {name: (step.seen, step.upto) for name, step in made.items()} == expected


def test_a_model_of_another_logic_or_without_progress_is_built_whole() -> None:
    other = {**LOGIC, "copies": Logic("edited", Reach())}
    progress = {name: Progress(4, MARK) for name in MODELS if name != "audience"}
    made = plan(PROJECT, other, ALL, State(6, progress, LANDED))
    assert {name for name, step in made.items() if step.is_whole} == {"copies", "audience", "unclear"}
    assert made["copies"].mark == "edited" and made["audience"].seen == 0


def test_what_saw_more_than_what_it_reads_is_built_whole() -> None:
    assert steps(frozenset({"audience"}), copies=3)["audience"].is_whole


def marked(models: set[str], logic: dict[str, str] | None = None, **state: Any) -> set[str]:
    """Which of these models, built now, the next build takes for built by their logic; ``logic`` built the others."""
    progress = {name: Progress(4, (logic or {}).get(name, MARK)) for name in MODELS}
    return {
        name
        for name, step in plan(PROJECT, LOGIC, frozenset(models), State(6, progress, LANDED, **state)).items()
        if step.mark == MARK
    }


def test_a_model_made_of_what_is_not_as_made_now_is_made_again_by_the_next_build() -> None:
    some = {"audience", "both", "landings"}
    assert marked(some) == some
    # What it reads was built by other logic, or by dbt without Tidemark, and is not built with it.
    assert marked(some, {"copies": "edited"}) == marked(some, {"copies": ""}) == {"landings"}
    assert marked({*some, "copies"}, {"copies": "edited"}) == {*some, "copies"}
    # It failed when it was last to be made: also a seed or a view, which keep no mark.
    for failed in ("copies", "names", "raw_events"):
        assert marked(some, failed=frozenset({failed})) == {"landings"}
    assert marked({*some, "raw_events"}, failed=frozenset({"raw_events"})) == some | {"raw_events"}


def test_before_a_whole_build_of_the_project_only_a_whole_one_makes_what_counts() -> None:
    assert marked({"copies", "audience"}, has_whole_build=False) == set()
    assert marked({*MODELS}, has_whole_build=False) == {*MODELS}


def test_what_was_built_without_its_mark_is_built_whole() -> None:
    progress = {name: Progress(6, "") for name in MODELS}
    assert all(step.is_whole for step in plan(PROJECT, LOGIC, ALL, State(6, progress, LANDED)).values())


def test_a_backfill_is_for_the_chosen_days_whatever_was_seen_of_them() -> None:
    made = steps(seen=6, is_backfill=True)
    assert made["copies"].days == ["2026-01-10", "2026-01-15", "2026-01-31", "2026-02-10"]
    assert made["copies"].seen == made["copies"].upto == 6


def test_a_model_of_things_touched_by_day_is_for_days_and_whole_where_rows_were_taken_away() -> None:
    made = steps()
    assert made["devices"].days == ["2026-01-15", "2026-01-31"] and not made["devices"].is_whole
    state = State(6, {name: Progress(4, MARK) for name in MODELS}, LANDED, removals=((6, "events"),))
    made = plan(PROJECT, LOGIC, ALL, state)
    assert {name for name, step in made.items() if step.takes_away} >= {"copies", "devices", "audience"}
    # Which of its things is gone no day says any more; a day is made again all the same.
    assert made["devices"].is_whole and not made["copies"].is_whole
    state = State(6, state.progress, LANDED, removals=((4, "events"), (6, "calls")))
    assert not plan(PROJECT, LOGIC, ALL, state)["devices"].takes_away
