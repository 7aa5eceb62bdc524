"""The Parquet files of a version: linked from the one before where nothing changed, else written."""

import hashlib
import logging
import os
import re
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from flows.build.project import Model
from flows.files import sync_file
from flows.publish.manifest import (
    Manifest,
    PublishedFile,
    is_whole,
)
from flows.settings import Settings

PARQUET = "parquet"
# Where DuckDB writes the days of a table before each gets its name; never in a finished version.
PARTITIONS = ".partitions"
# The columns of each schema's tables with their types.
Columns = dict[tuple[str, str], dict[str, str]]
log = logging.getLogger("tidemark.publish")


def link_unchanged(
    settings: Settings, folder: Path, model: Model, changes: dict[date | None, int], newest: Manifest | None
) -> list[PublishedFile]:
    """Give the new version the files of the newest that still show the table as it is."""
    before = next((t for t in newest.tables if t.name == model.name), None) if newest else None
    if newest is None or before is None or before.day_column != model.day_column:
        return []
    lost = [file for file in before.files if not is_whole(settings.published / newest.version, file)]
    if lost:
        named = ", ".join(file.path for file in lost[:3])
        log.warning("%d published files are missing or damaged and are written again: %s", len(lost), named)
    # A day of which a file is lost is written again as a whole.
    again = {file.day for file in lost}
    kept = tuple(file for file in before.files if changes.get(file.day) == file.change and file.day not in again)
    return link_files(settings, newest.version, folder, model.name, kept)


def link_files(
    settings: Settings, version: str, folder: Path, table: str, files: tuple[PublishedFile, ...]
) -> list[PublishedFile]:
    """Give the new version these files of an earlier one."""
    linked = []
    for file in files:
        path = _current_path(table, file)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        origin = settings.published / version / file.path
        try:
            os.link(origin, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(origin, target)
            sync_file(target)
        linked.append(file if path == file.path else file.model_copy(update={"path": path}))
    return linked


def _path(table: str, day: date | None, part: int = 0) -> str:
    """Where a file of a table is below the version's folder.

    All files of a table are in one folder whose name says nothing of a column: readers that take ``column=value`` for a
    partition would find the column twice, in the folder's name and in the file.
    """
    name = table if day is None else f"{table}-{day}" + (f"-{part}" if part else "")
    return f"{PARQUET}/{table}/{name}.parquet"


def _current_path(table: str, file: PublishedFile) -> str:
    """Where a file belongs, also one of a version with a folder per day: ``event_date=2026-01-15/part-0.parquet``."""
    of_before = re.fullmatch(r".*=.*/part-(\d+)\.parquet", file.path)
    return _path(table, file.day, int(of_before[1])) if of_before else file.path


def write_changed(
    warehouse: duckdb.DuckDBPyConnection,
    folder: Path,
    model: Model,
    columns: Columns,
    changes: dict[date | None, int],
    kept: set[date | None],
) -> list[PublishedFile]:
    """Write the days that changed, or the table that is not partitioned by day."""
    changed = [day for day in changes if day not in kept]
    if not changed:
        return []
    selected = ", ".join(stored_as(name, type_) for name, type_ in columns[model.schema, model.name].items())
    rows = f'select {selected} from {model.schema}."{model.name}"'
    target = folder / PARQUET / model.name
    if model.day_column is None:
        target.mkdir(parents=True, exist_ok=True)
        path = folder / _path(model.name, None)
        warehouse.execute(f"copy ({rows}) to '{escape(path)}' (format parquet, compression zstd)")
        return [_described(folder, path, None, changes[None])]
    # Day by day the files of a first version would take minutes; all at once they are one pass.
    if kept:
        days = ", ".join(f"date '{day}'" for day in changed)
        rows += f" where {model.day_column} in ({days})"
    partitions = folder / PARTITIONS / model.name
    partitions.mkdir(parents=True)
    warehouse.execute(
        f"copy ({rows}) to '{escape(partitions)}' (format parquet, compression zstd, "
        f"partition_by ({model.day_column}), write_partition_columns true)"
    )
    written = []
    for day in changed:
        for part, path in enumerate(sorted((partitions / f"{model.day_column}={day}").glob("*.parquet"))):
            target.mkdir(parents=True, exist_ok=True)
            placed = path.rename(folder / _path(model.name, day, part))
            written.append(_described(folder, placed, day, changes[day]))
    return written


def _described(folder: Path, path: Path, day: date | None, change: int) -> PublishedFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return PublishedFile(
        path=str(path.relative_to(folder)),
        day=day,
        change=change,
        rows=pq.read_metadata(path).num_rows,
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def stored_as(column: str, type_: str) -> str:
    """How a column is written: keys as text, because Spark reads no UUID and Polars makes bytes of them."""
    plain = re.sub(r"\bUUID\b", "VARCHAR", type_)
    return f'"{column}"' if plain == type_ else f'cast("{column}" as {plain}) as "{column}"'


def escape(text: str | Path) -> str:
    return str(text).replace("'", "''")
