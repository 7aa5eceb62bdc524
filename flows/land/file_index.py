"""Which files of the landed zone hold the rows that count: a part of the index over the receipts.

A batch lands in files that its receipt names. A compacted file takes the place of all files of its day that hold
batches up to the one in its name: both stand beside each other until nobody reads the earlier ones any more. A removal
(flows/land/remove.py) leaves such a file of each day it touched, or none where no row of the day is left; of a dataset
that is not laid out by day, one of all batches.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from flows.errors import TidemarkError
from flows.land.receipt import THROUGH, LandedFile, Receipt, compacted_path, day_folder, day_in, through_of
from flows.settings import Settings

TABLES = """
create table if not exists files (
    path text primary key, batch_id integer not null, dataset text not null, event_date text, rows integer not null,
    columns text not null, is_removed integer not null default 0
);
create index if not exists files_by_day on files (dataset, event_date, batch_id);
create table if not exists compactions (
    path text primary key, batch_id integer not null, dataset text not null, event_date text,
    rows integer not null, columns text not null
);
create table if not exists removals (
    removed_by integer not null, dataset text not null, event_date text, batch_id integer not null,
    rows integer not null
);
"""
# Every file that landing or compaction made of a dataset, and whether its rows are read from it.
STANDING = """
    with last as (
        select event_date, max(batch_id) as through from compactions where dataset = :dataset group by event_date
    )
    select files.path, files.event_date, files.batch_id, files.columns, files.rows, files.is_removed,
        files.batch_id > coalesce(last.through, 0) as is_in_force
    from files left join last on files.event_date is last.event_date
    where files.dataset = :dataset
    union all
    select made.path, made.event_date, made.batch_id, made.columns, made.rows, 0, made.batch_id = last.through
    from compactions as made join last on made.event_date is last.event_date
    where made.dataset = :dataset
"""


@dataclass(frozen=True)
class FileInForce:
    """A file of the landed zone that holds rows which count: its path below the lake, the day it holds, the last batch
    whose rows are in it, its columns, and how many rows it has."""

    path: str
    event_date: date | None
    batch_id: int
    columns: tuple[str, ...]
    rows: int


class FileIndex:
    """The files of each dataset, by day. One process at a time may land, and one compact."""

    def __init__(self, settings: Settings, database: sqlite3.Connection) -> None:
        self._settings = settings
        self._database = database

    def enter(self, receipt: Receipt) -> None:
        """Note the files in which a batch landed, or what a removal left. The caller commits."""
        if receipt.removed:
            self._enter_removal(receipt)
            return
        columns = json.dumps(receipt.columns)
        self._database.executemany(
            "insert or ignore into files values (?, ?, ?, ?, ?, ?, 0)",
            [
                (file.path, receipt.batch_id, receipt.dataset, _text(file.event_date), file.rows, columns)
                for file in receipt.files
            ],
        )

    def _enter_removal(self, receipt: Receipt) -> None:
        left = {file.event_date: file for file in receipt.files}
        self._database.execute("delete from removals where removed_by = ?", (receipt.batch_id,))
        self._database.executemany(
            "insert into removals values (?, ?, ?, ?, ?)",
            [(receipt.batch_id, receipt.dataset, _text(r.event_date), r.batch_id, r.rows) for r in receipt.removed],
        )
        for day in {rows.event_date for rows in receipt.removed}:
            path = compacted_path(receipt.dataset, day, receipt.batch_id)
            # Where there is no file, what it would be called stands for none.
            rows = left[day].rows if day in left else 0
            self.note_compaction(receipt.dataset, FileInForce(path, day, receipt.batch_id, receipt.columns, rows))

    def find_compacted(self, begun: Collection[str] = ()) -> None:
        """Note the compacted files that the landed zone has: the index was lost, or a compaction was killed before it
        could note its last. Those of batches that were ``begun`` and never committed count for nothing. The caller
        commits."""
        (last,) = self._database.execute("select coalesce(max(batch_id), 0) from receipts").fetchone()
        landed = self._settings.landed
        for path in (*landed.glob(f"*/event_date=*/{THROUGH}*.parquet"), *landed.glob(f"*/{THROUGH}*.parquet")):
            if str(path.relative_to(self._settings.lake)) in begun:
                continue
            if through_of(path) > last:
                raise TidemarkError(
                    f"{path} holds batches up to {through_of(path)}, and the last receipt of the lake is that of batch "
                    f"{last}: receipts are missing, as in a backup that was taken while files landed; restore them "
                    "(docs/guides/operating.md)"
                )
            dataset = path.relative_to(landed).parts[0]
            self.note_compaction(dataset, compacted_file(self._settings.lake, path))

    def in_force(self, dataset: str) -> list[FileInForce]:
        """The files that hold the landed rows of a dataset, by day: of a day the last compacted one, and what landed
        since."""
        rows = self._database.execute(
            f"with standing as ({STANDING}) select path, event_date, batch_id, columns, rows from standing "
            "where is_in_force and rows > 0 order by event_date, batch_id, path",
            {"dataset": dataset},
        )
        return [
            FileInForce(path, date.fromisoformat(day) if day else None, batch_id, tuple(json.loads(columns)), rows)
            for path, day, batch_id, columns, rows in rows
        ]

    def rows_by_batch(self, dataset: str, day: date | None, through: int) -> dict[int, int]:
        """The rows of a day that each batch up to one landed and that are still there; batches that have any."""
        rows = self._database.execute(
            "select batch_id, sum(rows) from ("
            "select batch_id, rows, batch_id as since from files where dataset = :dataset and event_date is :day "
            "union all select batch_id, -rows, removed_by from removals where dataset = :dataset and event_date is :day"
            ") where since <= :through group by batch_id having sum(rows) <> 0",
            {"dataset": dataset, "day": _text(day), "through": through},
        )
        return dict(rows.fetchall())

    def note_compaction(self, dataset: str, file: FileInForce) -> None:
        """Let a compacted file, which is in its place, count for those it replaces. The caller commits."""
        self._database.execute(
            "insert or replace into compactions values (?, ?, ?, ?, ?, ?)",
            (file.path, file.batch_id, dataset, _text(file.event_date), file.rows, json.dumps(file.columns)),
        )

    def commit(self) -> None:
        """Have what was noted on the disk: by it, files are removed later."""
        self._database.commit()
        self._database.execute("pragma wal_checkpoint(truncate)")

    def remove_replaced(self, dataset: str, still_read: set[str]) -> int:
        """Delete the files that compacted ones replaced; returns how many. The caller knows which are still read."""
        rows = self._database.execute(
            f"with standing as ({STANDING}) select path from standing where not is_in_force and not is_removed",
            {"dataset": dataset},
        ).fetchall()
        paths = [path for (path,) in rows if path not in still_read]
        for path in paths:
            (self._settings.lake / path).unlink(missing_ok=True)
        for path in paths:
            self._database.execute("update files set is_removed = 1 where path = ?", (path,))
            self._database.execute("delete from compactions where path = ?", (path,))
        self._database.commit()
        return len(paths)


def compacted_with(settings: Settings, receipt: Receipt, file: LandedFile) -> Path | None:
    """The compacted file that took the place of a landed one, by what stands in the folder; None where none did."""
    folder = settings.lake / day_folder(receipt.dataset, file.event_date)
    last = max(folder.glob(f"{THROUGH}*.parquet"), default=None)
    return last if last and through_of(last) >= receipt.batch_id else None


def compacted_file(lake: Path, path: Path) -> FileInForce:
    """A compacted file, as its name and footer say."""
    footer = pq.read_metadata(path)
    columns = tuple(footer.schema.to_arrow_schema().names)
    return FileInForce(
        str(path.relative_to(lake)), day_in(path.parent), through_of(path), columns, int(footer.num_rows)
    )


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None
