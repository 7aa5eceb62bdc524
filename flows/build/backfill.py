"""Rebuild a range of days, in chunks that each stand on their own: what is done stays done, however it ends.

A selection limits which models are rebuilt. What is downstream of them is rebuilt with them, or it would show other
rows than what it depends on. The warehouse is locked for one chunk at a time, so arrivals are built in between.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import duckdb

from flows.build.build import Build, run_named, run_pending
from flows.build.dbt import read_project, select_models
from flows.build.landings import enter_landings
from flows.build.project import STORED, Model
from flows.build.warehouse import (
    PendingWork,
    once_free,
    open_warehouse,
    read_pending_work,
    warehouse_held,
)
from flows.errors import TidemarkError
from flows.settings import Settings

# Who waits for the warehouse looks for its lock every 0.05 s: between two chunks it is free for longer than that.
FREE_SECONDS = 0.5


@dataclass(frozen=True)
class Request:
    """What is asked for: days, both ends included, ``chunk_days`` at once; ``selection`` is in dbt's syntax, '' is
    all."""

    first_day: date
    last_day: date
    selection: str
    chunk_days: int


@dataclass(frozen=True)
class Chunk:
    """Days that are rebuilt at once, both ends included: the ``number``-th of ``count`` chunks of a backfill."""

    backfill_id: int
    selection: str
    first_day: date
    last_day: date
    number: int
    count: int

    @property
    def days(self) -> str:
        """Its days, for people."""
        return f"{self.first_day} to {self.last_day}"


@dataclass(frozen=True)
class Rebuilt:
    """What was done for a chunk.

    ``before`` is the build of what was pending, None where the chunk reads none of it. ``chunk`` is the build of
    its days, None where what it reads could not be built.
    """

    before: Build | None
    chunk: Build | None

    @property
    def is_done(self) -> bool:
        """Whether the chunk's days are rebuilt and tested."""
        return self.chunk is not None and not self.chunk.failed

    @property
    def builds(self) -> list[Build]:
        """What was built, in order."""
        return [done for done in (self.before, self.chunk) if done]


def backfill(
    settings: Settings,
    request: Request,
    progress: Callable[[str], None] = lambda line: None,
) -> Build:
    """Rebuild and test what is partitioned by day, for these days and those that follow from them, a chunk after the
    other.

    A backfill of the same request that stopped goes on where it stopped; ``ops.backfill_chunks`` says which chunks
    are done. What lands meanwhile is built before the next chunk. Stops at the first chunk that fails. Raises
    :class:`TidemarkError` where the request is wrong, or what the models depend on is not built yet: then what is
    open is built first.
    """
    check(settings, request)
    _check_is_built(settings, request)
    nodes = []
    for chunk in plan(settings, request):
        time.sleep(FREE_SECONDS)
        progress(f"backfill {chunk.number} of {chunk.count}: {chunk.days}")
        done = rebuild(settings, chunk, progress)
        nodes += [node for build in done.builds for node in build.nodes]
        if not done.is_done:
            break
    return Build(nodes)


@once_free
def _check_is_built(settings: Settings, request: Request) -> None:
    with warehouse_held(settings, "rebuilding days"):
        enter_landings(settings)
        pending = _pending_upstream(settings, models_to_rebuild(settings, request.selection))
        if not pending.is_empty:
            raise TidemarkError(f"days cannot be rebuilt yet: {pending.reason}")


def check(settings: Settings, request: Request) -> None:
    """Raise a :class:`TidemarkError` that says what is wrong with a request; the warehouse is not looked at."""
    if request.last_day < request.first_day:
        raise TidemarkError(
            f"there is no day from {request.first_day} to {request.last_day}: the first must not be after the last"
        )
    if request.chunk_days < 1:
        raise TidemarkError(f"a chunk has at least one day, not {request.chunk_days}")
    models_to_rebuild(settings, request.selection)


def models_to_rebuild(settings: Settings, selection: str) -> frozenset[str]:
    """The names of the selected models that are partitioned by day ('' selects all), and of all downstream of them.

    Raises :class:`TidemarkError` where it holds none, where it names what there is not, and where something below
    cannot be rebuilt for some days alone.
    """
    project = read_project(settings)
    selected = project.partitioned_by_day
    if selection.split():
        selected &= select_models(settings, selection)
    if not selected:
        raise TidemarkError(
            f"the selection {selection!r} holds no model that is partitioned by day; these are: "
            f"{', '.join(sorted(project.partitioned_by_day))}"
        )
    return with_downstream(project.models, project.partitioned_by_day, selected)


def with_downstream(
    models: Mapping[str, Model], partitioned_by_day: frozenset[str], selected: frozenset[str]
) -> frozenset[str]:
    """These models and the stored ones downstream of them: tables whole, others for the days chosen.

    Raises :class:`TidemarkError` where one downstream is partitioned by something other than days.
    """
    found = {
        model.name
        for model in models.values()
        if model.materialized in STORED and (model.name in selected or model.upstream & selected)
    }
    others = {name for name in found - partitioned_by_day if models[name].materialized != "table"}
    if others:
        raise TidemarkError(
            f"{', '.join(sorted(selected))} cannot be rebuilt for some days alone: {', '.join(sorted(others))} "
            "downstream is not partitioned by day; rebuild all of it: "
            f"`tidemark build -- --full-refresh --select {' '.join(f'{name}+' for name in sorted(selected))}`"
        )
    return frozenset(found)


@once_free
def plan(settings: Settings, request: Request) -> list[Chunk]:
    """The chunks to do, in order: what is left of the newest backfill of the same request, else those of a new one."""
    selection = " ".join(request.selection.split())
    split = list(split_days(request.first_day, request.last_day, request.chunk_days))
    with warehouse_held(settings, "rebuilding days"):
        enter_landings(settings)  # also makes the tables where there is no warehouse yet
        with open_warehouse(settings) as warehouse:
            statuses = _statuses_of_newest(warehouse, selection, split)
            backfill_id = next(iter(statuses), None)
            if backfill_id is None or all(status == "done" for status in statuses[backfill_id]):
                backfill_id = _begin(warehouse, selection, split)
                statuses = {backfill_id: ["waiting"] * len(split)}
    return [
        Chunk(backfill_id, selection, *days, number, len(split))
        for number, (days, status) in enumerate(zip(split, statuses[backfill_id], strict=True), 1)
        if status != "done"
    ]


def split_days(first_day: date, last_day: date, chunk_days: int) -> Iterator[tuple[date, date]]:
    """The range in chunks of ``chunk_days`` days, the last perhaps shorter; both ends of each included."""
    day = first_day
    while day <= last_day:
        end = min(day + timedelta(days=chunk_days - 1), last_day)
        yield day, end
        day = end + timedelta(days=1)


@once_free
def rebuild(settings: Settings, chunk: Chunk, progress: Callable[[str], None] = lambda line: None) -> Rebuilt:
    """Rebuild and test the days of a chunk, and first what is pending, where the chunk reads any of it.

    Both under one lock of the warehouse, which is waited for. Raises :class:`TidemarkError` where the warehouse cannot
    be opened or the project cannot be parsed; failed models and tests are in the result.
    """
    with warehouse_held(settings, "rebuilding days"):
        enter_landings(settings)
        before = None
        models = models_to_rebuild(settings, chunk.selection)
        if not _pending_upstream(settings, models).is_empty:
            before = run_pending(settings, progress)
            pending = _pending_upstream(settings, models)
            if not pending.is_empty:
                _mark(settings, chunk, "failed")
                if before and before.failed:
                    return Rebuilt(before, None)
                raise TidemarkError(f"{chunk.days} cannot be rebuilt yet: {pending.reason}")
        _mark(settings, chunk, "running")
        tests = {test.name for test in read_project(settings).tests if test.reads & models}
        done = run_named(settings, {*models, *tests}, progress, (chunk.first_day, chunk.last_day))
        _mark(settings, chunk, "failed" if done.failed else "done")
        return Rebuilt(before, done)


def _pending_upstream(settings: Settings, models: frozenset[str]) -> PendingWork:
    """What of these models, and of all they depend on, is not built with all that landed."""
    project = read_project(settings)
    pending = read_pending_work(settings, project)
    read = models.union(*(project.models[name].upstream for name in models))
    return replace(pending, outdated=tuple(name for name in pending.outdated if name in read), tests=())


def _statuses_of_newest(
    warehouse: duckdb.DuckDBPyConnection, selection: str, split: list[tuple[date, date]]
) -> dict[int, list[str]]:
    """The number of the newest backfill of these chunks, and how they stand, in order; empty where there was none."""
    rows = warehouse.execute(
        """
        select backfill_id, list(status order by first_day) from ops.backfill_chunks
        where selection = $selection
        group by backfill_id
        having list(first_day order by first_day) = $first_days and max(last_day) = $last_day
        order by backfill_id desc limit 1
        """,
        {"selection": selection, "first_days": [first for first, _ in split], "last_day": split[-1][1]},
    ).fetchall()
    return dict(rows)


def _begin(warehouse: duckdb.DuckDBPyConnection, selection: str, split: list[tuple[date, date]]) -> int:
    ((backfill_id,),) = warehouse.execute(
        "select coalesce(max(backfill_id), 0) + 1 from ops.backfill_chunks"
    ).fetchall()
    warehouse.begin()
    warehouse.executemany(
        "insert into ops.backfill_chunks values (?, ?, ?, ?, null, null, 'waiting')",
        [[backfill_id, selection, first_day, last_day] for first_day, last_day in split],
    )
    warehouse.commit()
    return int(backfill_id)


def _mark(settings: Settings, chunk: Chunk, status: str) -> None:
    moment = "started_at" if status == "running" else "finished_at"
    with open_warehouse(settings) as warehouse:
        warehouse.begin()
        warehouse.execute(
            f"update ops.backfill_chunks set status = ?, {moment} = now() at time zone 'UTC' "
            "where backfill_id = ? and first_day = ?",
            [status, chunk.backfill_id, chunk.first_day],
        )
        warehouse.execute("delete from ops.changes where model = 'ops_backfills'")
        warehouse.execute("insert into ops.changes select 'ops_backfills', null, nextval('ops.change_number')")
        warehouse.commit()
