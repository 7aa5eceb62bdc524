"""What each model has to do in a build, worked out once, before dbt begins; macros read it (macros/incremental).

How builds stay exact and cheap: every landed row carries its batch, and batch numbers only grow. A model that keeps
rows keeps, in ``ops.model_progress`` and in the transaction that writes it, the last batch it has seen. What it has
still to do lies between that and the last batch that everything upstream of it will have seen. A build that stopped
half-way therefore needs no repair: the next one finds in each model where it stopped. What fails stops what is
downstream of it, so a plan made beforehand holds for all that is run of it.

A batch of a dataset that a model does not read is seen by it without being looked at: so it is marked where landings
are entered (flows/build/landings.py), and a build need not run the models of one dataset for another.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

import duckdb

from flows.build.logic import Logic, Reach
from flows.build.project import STORED, Project
from flows.build.warehouse import has_whole_build, last_batch, open_warehouse
from flows.settings import Settings

Days = tuple[date, date]


@dataclass(frozen=True)
class Progress:
    """The last batch a model has seen, and the mark of the logic that built it."""

    batch_id: int = 0
    logic: str = ""


@dataclass(frozen=True)
class LandedDay:
    """A batch of a dataset holds rows of this day."""

    batch_id: int
    dataset: str
    day: date


@dataclass(frozen=True)
class State:
    """What the warehouse says before a build.

    ``last_batch`` is the last one entered, ``progress`` what each model has seen. ``landed`` are the days that batches
    not yet seen hold; in a backfill (``is_backfill``), the chosen ones. ``removals`` are the batches that took rows
    away, each with its dataset. ``failed`` are models and seeds that are not as
    they were last to be made. Unless the project ``has_whole_build``, views and seeds may be another's.
    """

    last_batch: int
    progress: Mapping[str, Progress]
    landed: tuple[LandedDay, ...]
    removals: tuple[tuple[int, str], ...] = ()
    failed: frozenset[str] = frozenset()
    has_whole_build: bool = True
    is_backfill: bool = False


@dataclass(frozen=True)
class Step:
    """What one model has to do.

    It is ``is_whole`` where another logic built what is there, or rows were taken away of what it keeps by other
    things than days; else it is for the batches after ``seen``, up to and
    with ``upto``, of its ``datasets`` ('*' among them where it reads the landings of all). ``days`` are those to
    replace, as YYYY-MM-DD: the days of these batches, or those chosen, and the days they reach. ``mark`` is that of its
    logic; '' where what it reads is not as this project makes it, so that the next build makes it again. Some of the
    batches took rows away where ``takes_away``.
    """

    mark: str
    datasets: list[str]
    seen: int
    upto: int
    is_whole: bool
    days: list[str]
    takes_away: bool = False


def make_plan(
    settings: Settings, project: Project, given: Mapping[str, Any], models: frozenset[str], chosen: Days | None
) -> dict[str, dict[str, Any]]:
    """The steps of these models, which are to be built with the ``given`` variables, by name and as plain values.

    With ``chosen`` days, models partitioned by day rebuild those, and what is new to them stays so.
    """
    with open_warehouse(settings, read_only=True) as warehouse:
        state = read_state(warehouse, project.fingerprint_with(given), models, chosen)
    steps = plan(project, project.logic(given).by_name, models, state)
    return {name: asdict(step) for name, step in steps.items()}


def read_state(
    warehouse: duckdb.DuckDBPyConnection, fingerprint: str, models: frozenset[str], chosen: Days | None
) -> State:
    """What the warehouse says before a build of these models of the project with this fingerprint."""
    rows = warehouse.execute("select model, batch_id, logic from ops.model_progress").fetchall()
    progress = {model: Progress(*rest) for model, *rest in rows}
    least = min((of.batch_id for name, of in progress.items() if name in models), default=0)
    landed = warehouse.execute(
        """
        select distinct batch_id, dataset, event_date from landed.landed_files
        where
            event_date is not null
            and case when $first is null then batch_id > $least else event_date between $first and $last end
        """,
        {"least": least, "first": chosen and chosen[0], "last": chosen and chosen[1]},
    ).fetchall()
    removals = warehouse.execute(
        "select batch_id, dataset from landed.landings where status = 'removed' and batch_id > ?", [least]
    ).fetchall()
    failed = warehouse.execute("select node from ops.failed_or_skipped").fetchall()
    return State(
        last_batch=last_batch(warehouse),
        progress=progress,
        landed=tuple(LandedDay(*row) for row in landed),
        removals=tuple(removals),
        failed=frozenset(node for (node,) in failed),
        has_whole_build=has_whole_build(warehouse, fingerprint),
        is_backfill=chosen is not None,
    )


def plan(project: Project, logic: Mapping[str, Logic], models: frozenset[str], state: State) -> dict[str, Step]:
    """The steps of these models, by name, from what the warehouse says."""
    manifest = project.manifest
    all_stored = {name for name, model in project.models.items() if model.materialized in STORED}

    def is_as_made_now(name: str) -> bool:
        """Whether a model or seed upstream holds what this project makes, or is to be built with the others."""
        if name in models:
            return True
        is_known = name not in all_stored or state.progress.get(name, Progress()).logic == logic[name].mark
        return name not in state.failed and is_known

    @cache
    def seen_by(id_: str) -> int:
        """The last batch that a node will have seen once it is built, if it is to be."""
        if id_ in manifest.sources:
            return state.last_batch
        node = manifest.nodes[id_]
        if node.config.materialized in STORED and node.name not in models:
            return state.progress.get(node.name, Progress()).batch_id
        return seen_above(id_)

    def seen_above(id_: str) -> int:
        parents = manifest.nodes[id_].depends_on_nodes
        return min((seen_by(parent) for parent in parents if _passes_batches_on(parent)), default=state.last_batch)

    @cache
    def datasets_of(id_: str) -> frozenset[str]:
        if source := manifest.sources.get(id_):
            return frozenset([source.name if source.source_name == "landed" else "*"])
        node: Any = manifest.nodes[id_]
        # A model that reads the table of landings for some datasets alone names them.
        named = (node.config.meta or {}).get("datasets")
        return frozenset(named or ()) or frozenset().union(*(datasets_of(parent) for parent in node.depends_on_nodes))

    def step_of(id_: str, node: Any) -> Step:
        known, own = state.progress.get(node.name, Progress()), logic[node.name]
        datasets, upto = datasets_of(id_), seen_above(id_)
        days: list[str] = []
        reach = own.reach if node.name in project.partitioned_by_day else None
        if reach is not None:
            touched = {
                landed.day
                for landed in state.landed
                if landed.dataset in datasets and (state.is_backfill or known.batch_id < landed.batch_id <= upto)
            }
            days = [day.isoformat() for day in sorted(_reached(touched, reach))]
        # What has seen more than what it reads was built from other rows than are there now.
        is_whole = own.reach is None or known.logic != own.mark or upto < known.batch_id
        # Of a thing whose rows are gone no batch holds the key any more, by which its other rows would be found.
        takes_away = any(known.batch_id < batch_id <= upto and of in datasets for batch_id, of in state.removals)
        if reach is None or "touched_keys" in (node.config.meta or {}):
            is_whole |= takes_away
        is_sound = state.has_whole_build or all_stored <= models
        is_sound = is_sound and all(is_as_made_now(name) for name in project.models[node.name].upstream)
        mark = own.mark if is_sound else ""
        return Step(mark, sorted(datasets), known.batch_id, upto, is_whole, days, takes_away)

    return {
        node.name: step_of(id_, node)
        for id_, node in manifest.nodes.items()
        if str(node.resource_type) == "model" and node.name in models
    }


def _passes_batches_on(id_: str) -> bool:
    return id_.startswith(("model.", "source."))


def _reached(days: set[date], reach: Reach) -> set[date]:
    around = range(-reach.before, reach.after + 1)
    return {day + timedelta(days=offset) for day in days for offset in around}
