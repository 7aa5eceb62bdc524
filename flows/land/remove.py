"""Take rows out of the landed zone: those of days that are over, or of people who are to be forgotten.

A removal is a batch of its own. Its receipt says how many rows of which batch and day it took out, so that every row
that ever landed stays accounted for; and by its number each model finds, as with any other batch, which days it has to
make again. Of every day it touches it leaves one file with the other rows, as a compaction does, and it counts from one
moment on, with all its days: the commit of its receipt.

The files that held the rows stay until a build has entered the removal (:mod:`flows.build.landings`), since the view of
the one before reads them.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.land.compact import LOCK as COMPACTION_LOCK
from flows.land.compact import check_conserved, order_of
from flows.land.field_sql import identifier, literal
from flows.land.file_index import FileInForce
from flows.land.land import open_for_landing
from flows.land.landed_files import GROUP_ROWS
from flows.land.landed_sql import read_by_day, read_files
from flows.land.receipt import LandedFile, Receipt, Removed, Status, compacted_path
from flows.land.receipts import Receipts, work_folder
from flows.locks import held
from flows.settings import Settings

Rows = dict[int, int]


@contextmanager
def removing(settings: Settings, specs: dict[str, DatasetSpec], command: str) -> Iterator[Receipts]:
    """The lake's receipts, while nothing lands and nothing is compacted; ``command`` is what goes on where a disk or
    the index fails meanwhile."""
    with open_for_landing(settings, specs) as receipts:
        try:
            with held(settings.lake / COMPACTION_LOCK, "removing rows"):
                yield receipts
        except (OSError, sqlite3.Error) as error:
            raise TidemarkError(
                f"removing stopped ({error}); what was removed before is removed; fix the cause (a full disk, a "
                f"missing permission) and run `{command}` again"
            ) from error


def remove_days(receipts: Receipts, settings: Settings, spec: DatasetSpec, last: date, why: str) -> Receipt | None:
    """Take out every row of the days up to one, ``last`` included; None where there is none.

    ``why`` is for people, and stands in the receipt. The caller holds :func:`removing`.
    """
    days = {file.event_date for file in receipts.files.in_force(spec.name) if file.event_date is not None}
    number = receipts.last_batch_id()
    removed = [
        Removed(batch_id=batch_id, event_date=day, rows=rows)
        for day in sorted(day for day in days if day <= last)
        for batch_id, rows in sorted(receipts.files.rows_by_batch(spec.name, day, number).items())
    ]
    if not removed:
        return None
    receipt = removal_receipt(receipts, spec, why, removed, [], ())
    receipts.commit(receipt, made_folder(settings))
    return receipt


def remove_rows(
    receipts: Receipts,
    settings: Settings,
    spec: DatasetSpec,
    is_taken: str,
    why: str,
    progress: Callable[[str], None] = lambda line: None,
) -> Receipt | None:
    """Take out the rows that meet a condition; None where there is none.

    ``is_taken`` is SQL over the dataset's columns as they land: UUIDs are sixteen bytes. The caller holds
    :func:`removing`. Raises :class:`TidemarkError` where a file holds other rows than its receipts say: nothing is
    removed then.
    """
    made = made_folder(settings)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    by_day: dict[date | None, list[FileInForce]] = {}
    in_force = receipts.files.in_force(spec.name)
    for file in in_force:
        by_day.setdefault(file.event_date, []).append(file)
    older = older_columns(spec, in_force)
    nothing = no_row(settings, spec, older)
    number = receipts.last_batch_id() + 1
    removed: list[Removed] = []
    files: list[LandedFile] = []
    with engine_for(settings, spec, made) as engine:
        days = sorted(_days_with(engine, settings, spec, in_force, is_taken), key=str)
        for done, day in enumerate(days, 1):
            landed = receipts.files.rows_by_batch(spec.name, day, number)
            path = compacted_path(spec.name, day, number)
            rows = rows_in(settings, spec, by_day[day])
            wanted = _others(engine, spec, by_day[day], rows, nothing, is_taken)
            left = write_day(engine, rows, wanted, landed, made / path)
            removed += [
                Removed(batch_id=batch_id, event_date=day, rows=rows - left.get(batch_id, 0))
                for batch_id, rows in sorted(landed.items())
                if rows != left.get(batch_id, 0)
            ]
            if left:
                size = (made / path).stat().st_size
                files.append(LandedFile(path=path, event_date=day, rows=sum(left.values()), bytes=size))
            progress(f"{spec.name} of {day or 'all days'}: {done} of {len(days)}")
    if not removed:
        return None
    receipt = removal_receipt(receipts, spec, why, removed, files, tuple(older))
    receipts.commit(receipt, made)
    return receipt


def remove_unread(receipts: Receipts, settings: Settings, specs: dict[str, DatasetSpec]) -> None:
    """Delete the files whose place others took, where there is no warehouse whose views may read them: where there is
    one, its next build does."""
    if settings.warehouse.exists():
        return
    for name in specs:
        receipts.files.remove_replaced(name, {file.path for file in receipts.files.in_force(name)})


def made_folder(settings: Settings) -> Path:
    """Where a removal is made."""
    return work_folder(settings) / "removal"


def removal_receipt(
    receipts: Receipts,
    spec: DatasetSpec,
    why: str,
    removed: list[Removed],
    files: list[LandedFile],
    older: tuple[str, ...],
) -> Receipt:
    """The receipt of a removal: what it took out of which day, and the files in which the rest stands. ``older`` are
    the columns in these that the contract does not have."""
    now = datetime.now(UTC)
    return Receipt(
        batch_id=receipts.last_batch_id() + 1,
        dataset=spec.name,
        source=spec.source,
        file=why,
        sha256="",
        bytes=0,
        format="",
        status=Status.REMOVED,
        reason=why,
        files=tuple(files),
        columns=(*(column.name for column in spec.columns()), *older),
        removed=tuple(removed),
        contract=f"{spec.name}.{spec.version}",
        key_check=receipts.any_key_check() or "",
        delivered_at=now,
        landed_at=now,
    )


@contextmanager
def engine_for(settings: Settings, spec: DatasetSpec, made: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """What writes a removal's files below ``made``. Raises :class:`TidemarkError` where it cannot."""
    try:
        with duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit}) as engine:
            engine.execute(f"set TimeZone = 'UTC'; set temp_directory = {literal(str(made / '.spilled'))}")
            yield engine
    except duckdb.Error as error:
        raise TidemarkError(
            f"files of {spec.name} could not be written again ({error}); every row is where it was; fix the cause (a "
            "full disk, a damaged file: `tidemark audit` names it) and run the same again"
        ) from error


def _days_with(
    engine: duckdb.DuckDBPyConnection,
    settings: Settings,
    spec: DatasetSpec,
    files: list[FileInForce],
    is_taken: str,
) -> set[date | None]:
    """The days that have such rows."""
    if not files:
        return set()
    day = "event_date" if spec.is_by_day else "null"
    rows = rows_in(settings, spec, files)
    return {of for (of,) in engine.execute(f"select distinct {day} from {rows} where {is_taken}").fetchall()}


def rows_in(settings: Settings, spec: DatasetSpec, files: list[FileInForce]) -> str:
    """The rows of these files, of which there is one at least, as a table of SQL; UUIDs in it are sixteen bytes."""
    read = read_by_day if spec.is_by_day else read_files
    return read(settings.lake, files, ", union_by_name = true")


def _others(
    engine: duckdb.DuckDBPyConnection,
    spec: DatasetSpec,
    files: list[FileInForce],
    rows: str,
    nothing: str,
    is_taken: str,
) -> str:
    """A query of the rows of a day that are not to be taken, in the order of a compacted day.

    Of a day that is in order already, a bit for each place says first which rows are to be taken: looking keys up is a
    join, after which DuckDB keeps no order. Sorting would cost half as much again as reading and writing.
    """
    if not _is_in_order(spec, files):
        return in_order(
            spec, f"{nothing} union all by name (select * from {rows} where not coalesce({is_taken}, false))"
        )
    place = "cast(file_row_number as integer)"
    bits = f"select bitstring_agg({place}, 0, {files[0].rows - 1}) from {rows} where {is_taken}"
    engine.execute(f"set variable taken = ({bits})")
    stays = f"coalesce(get_bit(getvariable('taken'), {place}) = 0, true)"
    return f"{nothing} union all by name (select * from {rows} where {stays})"


def _is_in_order(spec: DatasetSpec, files: list[FileInForce]) -> bool:
    """Whether the rows of a day stand in one file that a compaction or a removal put in order."""
    first, *more = files
    return not more and first.path == compacted_path(spec.name, first.event_date, first.batch_id)


def in_order(spec: DatasetSpec, query: str) -> str:
    """A query with its rows in the order in which compaction puts those of a day."""
    return f"select * from ({query}) order by {', '.join(order_of(spec))}"


def write_day(engine: duckdb.DuckDBPyConnection, rows: str, wanted: str, landed: Rows, to: Path) -> Rows:
    """Write what is wanted of the rows of a day into one file, none where that is nothing; how many rows it has of each
    batch. Both are SQL. Raises :class:`TidemarkError` where the rows are not those that ``landed``."""
    before = engine.execute(f"select _batch_id, count(*) from {rows} group by all").fetchall()
    check_conserved(dict(before), landed)
    to.parent.mkdir(parents=True, exist_ok=True)
    engine.execute(
        f"copy ({wanted}) to {literal(str(to))} (format parquet, compression zstd, row_group_size {GROUP_ROWS})"
    )
    left = dict(engine.execute("select _batch_id, count(*) from read_parquet(?) group by all", [str(to)]).fetchall())
    if not left:
        to.unlink()
    return left


def older_columns(spec: DatasetSpec, files: list[FileInForce]) -> dict[str, FileInForce]:
    """The columns that the contract does not have, each with a file that has it: those that it had once, and the later
    pseudonyms."""
    known = {column.name for column in spec.columns()}
    return {name: file for file in files for name in file.columns if name not in known}


def no_row(settings: Settings, spec: DatasetSpec, older: dict[str, FileInForce]) -> str:
    """No row, with the contract's columns and those of older ones: no file has all of them."""
    types = {"uuid": "blob"}
    columns = (f"cast(null as {types.get(c.type, c.type)}) as {identifier(c.name)}" for c in spec.columns())
    others = (
        f"(select {identifier(name)} from {read_files(settings.lake, [file])} where false)"
        for name, file in older.items()
    )
    return " union all by name ".join([f"(select {', '.join(columns)} where false)", *others])
