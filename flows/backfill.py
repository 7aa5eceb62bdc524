"""Rebuild a range of days, in chunks that each stand on their own: what is done stays done, however it ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb

from flows.build import Build, run_build
from flows.errors import TidemarkError
from flows.project import read_project
from flows.settings import Settings
from flows.warehouse import enter_landings, open_warehouse, read_open_work, warehouse_lock

SELECTED = ("--select", "config.incremental_strategy:replace_days")


@dataclass(frozen=True)
class Chunk:
    """Days that are rebuilt at once, both ends included."""

    backfill_id: int
    first_day: date
    last_day: date


def backfill(
    settings: Settings,
    first_day: date,
    last_day: date,
    chunk_days: int = 7,
    progress: Callable[[str], None] = lambda line: None,
) -> Build:
    """Rebuild and test what is kept by days, for these days and those that follow from them.

    Days are rebuilt from what landed, a chunk of ``chunk_days`` after the other; ``ops.backfill_chunks`` tells which
    are done. A backfill of the same days that stopped goes on where it stopped. Stops at the first chunk with a
    failed model or test. Raises :class:`TidemarkError` where the range is empty, or the models are not up to date:
    then what is open is built first.
    """
    if last_day < first_day:
        raise TidemarkError(f"there is no day from {first_day} to {last_day}: the first must not be after the last")
    if chunk_days < 1:
        raise TidemarkError(f"a chunk has at least one day, not {chunk_days}")
    nodes = []
    with warehouse_lock(settings):
        enter_landings(settings)
        still = read_open_work(settings, read_project(settings))
        if still.everything or still.behind:
            raise TidemarkError(f"days cannot be rebuilt yet: {still.reason}")
        chunks = _chunks_to_do(settings, first_day, last_day, chunk_days)
        for number, chunk in enumerate(chunks, 1):
            progress(f"backfill {number} of {len(chunks)}: {chunk.first_day} to {chunk.last_day}")
            _mark(settings, chunk, "running")
            done = run_build(settings, SELECTED, progress, days=(chunk.first_day, chunk.last_day))
            nodes += done.nodes
            _mark(settings, chunk, "failed" if done.failed else "done")
            if done.failed:
                break
    return Build(nodes)


def split_days(first_day: date, last_day: date, chunk_days: int) -> Iterator[tuple[date, date]]:
    """The range in chunks of so many days, the last perhaps shorter; both ends of each included."""
    day = first_day
    while day <= last_day:
        end = min(day + timedelta(days=chunk_days - 1), last_day)
        yield day, end
        day = end + timedelta(days=1)


def _chunks_to_do(settings: Settings, first_day: date, last_day: date, chunk_days: int) -> list[Chunk]:
    """What is left of the newest backfill where it is of these days and not done; else a new one's chunks."""
    with open_warehouse(settings) as warehouse:
        newest = _chunks_of_newest(warehouse)
        if newest and newest[0][0].first_day == first_day and newest[-1][0].last_day == last_day:
            left = [chunk for chunk, status in newest if status != "done"]
            if left:
                return left
        backfill_id = newest[0][0].backfill_id + 1 if newest else 1
        chunks = [Chunk(backfill_id, *days) for days in split_days(first_day, last_day, chunk_days)]
        warehouse.begin()
        warehouse.executemany(
            "insert into ops.backfill_chunks values (?, ?, ?, null, null, 'waiting')",
            [[chunk.backfill_id, chunk.first_day, chunk.last_day] for chunk in chunks],
        )
        warehouse.commit()
        return chunks


def _chunks_of_newest(warehouse: duckdb.DuckDBPyConnection) -> list[tuple[Chunk, str]]:
    rows = warehouse.execute(
        """
        select backfill_id, first_day, last_day, status from ops.backfill_chunks
        where backfill_id = (select max(backfill_id) from ops.backfill_chunks)
        order by first_day
        """
    ).fetchall()
    return [(Chunk(*row[:3]), row[3]) for row in rows]


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
