"""Compaction: the many small files of a day become one, with the same rows, in the order in which they are looked up.

The new file takes the place of all files of its day that hold batches up to the one in its name, in one step: the
rename that puts it there. Nothing is removed here. A build at work, and whoever reads the view it made, go on with the
files they have; the next build reads the new one, and then removes what it replaced (:mod:`flows.build.landings`).
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from flows.contract.spec import LINEAGE, DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.commit import begun_files
from flows.land.field_sql import literal
from flows.land.file_index import FileInForce, compacted_file
from flows.land.landed_files import GROUP_ROWS
from flows.land.landed_sql import read_by_day
from flows.land.layout import check_layout
from flows.land.receipt import compacted_path
from flows.land.receipts import Receipts, work_folder
from flows.locks import held
from flows.rights import make_private
from flows.settings import Settings

LOCK = ".compaction.lock"
WORK = ".compacting"
# Of fewer files a day is read as fast as of one, or nearly (docs/performance.md).
MANY_FILES = 8


@dataclass(frozen=True)
class Compacted:
    """A day that stands in one file now: how many files it stood in, and the rows and bytes of the new one."""

    dataset: str
    day: date
    files: int
    rows: int
    bytes: int


@dataclass
class Compaction:
    """The days that were compacted, and why others were not: those are as they were."""

    days: list[Compacted] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def raise_faults(self) -> None:
        """Raise :class:`TidemarkError` where a day could not be compacted."""
        if self.faults:
            raise TidemarkError(f"{'; '.join(self.faults[:5])}; all other days are compacted")


def compact(
    settings: Settings,
    specs: dict[str, DatasetSpec] | None = None,
    at_least: int = 2,
    progress: Callable[[Compacted], None] = lambda done: None,
) -> Compaction:
    """Compact each day that stands in at least so many files.

    Files that land meanwhile are left for the next time. Another compaction of the same lake is waited for. A day whose
    files are not as their receipts say stays as it is, and does not stop the others. Raises :class:`TidemarkError`
    where compacting as such cannot go on, as on a full disk.
    """
    specs = load_specs() if specs is None else specs
    done = Compaction()
    if not settings.landed.exists():
        return done
    check_layout(settings, specs)
    work = settings.lake / WORK
    with held(settings.lake / LOCK, "compacting"), closing(Receipts(settings)) as receipts:
        try:
            if work.exists():  # one was killed, maybe before it could note its last file
                receipts.files.find_compacted(begun_files(settings.lake, work_folder(settings)))
                receipts.files.commit()
            for spec in (spec for spec in specs.values() if spec.is_by_day):
                for day, files in _by_day(receipts, spec).items():
                    if len(files) >= at_least:
                        _compact_or_say_why(settings, spec, day, files, receipts, done, progress)
        except (OSError, sqlite3.Error) as error:
            raise TidemarkError(
                f"compacting stopped ({error}); every row is where it was; fix the cause (a full disk, a missing "
                "permission) and run `tidemark compact` again"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return done


def _compact_or_say_why(
    settings: Settings,
    spec: DatasetSpec,
    day: date,
    files: list[FileInForce],
    receipts: Receipts,
    done: Compaction,
    progress: Callable[[Compacted], None],
) -> None:
    """Compact a day into what is ``done``; raises OSError on a full disk, which the next day would meet too."""
    made = settings.lake / WORK / f"{spec.name}-{day}.parquet"
    make_private(made.parent)
    try:
        done.days.append(_compact_day(settings, spec, day, files, receipts, made))
    except (TidemarkError, duckdb.Error) as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, str(error)) from error
        made.unlink(missing_ok=True)
        done.faults.append(f"{spec.name} of {day} was not compacted: {error}")
    else:
        progress(done.days[-1])


def _by_day(receipts: Receipts, spec: DatasetSpec) -> dict[date, list[FileInForce]]:
    days: dict[date, list[FileInForce]] = {}
    for file in receipts.files.in_force(spec.name):
        if file.event_date is not None:
            days.setdefault(file.event_date, []).append(file)
    return days


def _compact_day(
    settings: Settings, spec: DatasetSpec, day: date, files: list[FileInForce], receipts: Receipts, made: Path
) -> Compacted:
    through = max(file.batch_id for file in files)
    # All columns that any file has, also those that the contract has no more.
    rows = f"select * from {read_by_day(settings.lake, files, ', union_by_name = true')}"
    with duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit}) as engine:
        engine.execute(f"set TimeZone = 'UTC'; set temp_directory = {literal(str(made.with_suffix('.spilled')))}")
        engine.execute(
            f"copy ({rows} order by {', '.join(order_of(spec))}) to {literal(str(made))} "
            f"(format parquet, compression zstd, row_group_size {GROUP_ROWS})"
        )
        counted = engine.execute("select _batch_id, count(*) from read_parquet(?) group by all", [str(made)])
        check_conserved(dict(counted.fetchall()), receipts.files.rows_by_batch(spec.name, day, through))
    sync_file(made)
    path = settings.lake / compacted_path(spec.name, day, through)
    made.rename(path)
    sync_folder(path.parent)
    file = compacted_file(settings.lake, path)
    receipts.files.note_compaction(spec.name, file)
    receipts.files.commit()
    return Compacted(spec.name, day, len(files), file.rows, path.stat().st_size)


def order_of(spec: DatasetSpec) -> list[str]:
    """The columns by which a day's rows are sorted: whose they are, then when, then where they came from.

    One device's rows are then together in time's order, as sessions and questions about a person read them, and a file
    says by its statistics which of its parts may hold a device.
    """
    whose = [column.name for column in spec.columns() if column.privacy == "pseudonym"][:1]
    return [*whose, *([spec.day_of] if spec.day_of else []), *LINEAGE]


def check_conserved(held_rows: dict[int, int], landed: dict[int, int]) -> None:
    for batch_id in sorted({*held_rows, *landed}):
        if held_rows.get(batch_id, 0) != landed.get(batch_id, 0):
            raise TidemarkError(
                f"its files hold {held_rows.get(batch_id, 0):,} rows of batch {batch_id}, and the receipt says "
                f"{landed.get(batch_id, 0):,}; `tidemark audit` says which file is wrong and what to do"
            )
