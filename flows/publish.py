"""Publish the marts: a new version beside the old ones, then one atomic swap of ``current``.

``published/<version>/`` holds the marts and the ops tables as Parquet, a file per table or, where a table is kept by
days, per day; ``marts.duckdb``, with a view of each; and ``manifest.json``. A file that did not change since the
version before is linked, not copied. A reader that opens ``published/current/marts.duckdb`` gets one whole version;
it keeps that version until it opens again, whatever is published meanwhile.
"""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from flows.contract import PROJECT
from flows.errors import TidemarkError
from flows.project import RUN_RECORDS, STORED, Model, Project, read_project
from flows.receipts import sync_folder
from flows.settings import Settings
from flows.warehouse import open_warehouse, read_open_work, warehouse_lock

CURRENT = "current"
MARTS = "marts.duckdb"
MANIFEST = "manifest.json"
PARQUET = "parquet"
SCHEMAS = ("marts", "ops")
# The newest storage format that DuckDB 1.4 clients still open.
STORAGE_VERSION = "v1.4.0"


class PublishedFile(BaseModel):
    """A Parquet file of a published table, with its size and SHA-256; ``path`` is below the version's folder.

    ``day`` is the day whose rows it holds, None where it holds the whole table; ``change`` is the number of the
    change in the warehouse that it shows.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    day: date | None
    change: int
    rows: int
    bytes: int
    sha256: str


class PublishedTable(BaseModel):
    """A published table: its files, and the column of the day it is kept by, if it is."""

    model_config = ConfigDict(frozen=True)

    name: str
    day_column: str | None
    files: tuple[PublishedFile, ...]

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return sum(file.rows for file in self.files)


class Manifest(BaseModel):
    """What a published version holds and where it comes from."""

    model_config = ConfigDict(frozen=True)

    version: str
    created_at: datetime
    git_revision: str | None
    warehouse_id: str
    batch_high_water: int
    change_high_water: int
    project_fingerprint: str
    tables: tuple[PublishedTable, ...]


@dataclass(frozen=True)
class Publication:
    """A version and whether this call made it."""

    manifest: Manifest
    is_new: bool


@dataclass(frozen=True)
class _Source:
    """What the warehouse has to publish: which it is, its last landing and change, and each model's changes by day."""

    warehouse_id: str
    batch_high_water: int
    change_high_water: int
    changes: dict[str, dict[date | None, int]]


def publish(settings: Settings, force: bool = False) -> Publication:
    """Publish what the warehouse holds, unless the newest version holds just that already.

    Raises :class:`TidemarkError` where a model is not built or a blocking test has not passed: what readers see then
    stays as it is.
    """
    settings.published.mkdir(parents=True, exist_ok=True)
    _check_path(settings.published.absolute())
    # No build may begin between the check and the copy: what it leaves half done would be published.
    with warehouse_lock(settings), FileLock(settings.published / ".publish.lock"):
        project = read_project(settings)
        still = read_open_work(settings, project)
        if still.blocks_publication:
            raise TidemarkError(f"nothing was published: {still.reason}; `tidemark status` says more")
        _clean_up(settings)
        newest = newest_manifest(settings)
        with open_warehouse(settings) as warehouse:
            source = _read_source(warehouse)
            if newest and not force and _is_of(newest, source, project):
                return Publication(newest, is_new=False)
            return Publication(_publish(settings, project, warehouse, source, newest), is_new=True)


def _publish(
    settings: Settings, project: Project, warehouse: duckdb.DuckDBPyConnection, source: _Source, newest: Manifest | None
) -> Manifest:
    # A folder is a version once it has its manifest, which comes last: its views name files where they already are.
    version = _new_version(settings)
    folder = settings.published / version
    folder.mkdir()
    if newest and newest.warehouse_id != source.warehouse_id:
        newest = None  # a warehouse made anew counts its changes anew
    models = [m for m in sorted(project.models.values(), key=lambda m: (m.schema, m.name)) if m.schema in SCHEMAS]
    is_same_project = newest is not None and newest.project_fingerprint == project.fingerprint
    tables = []
    for model in models:
        changes = source.changes.get(model.name, {})
        # A view of another logic shows other rows though nothing was noted to have changed.
        before = newest if is_same_project or model.materialized in STORED else None
        kept = _link_unchanged(settings, folder, model, changes, before)
        fresh = _write_changed(warehouse, folder, model, changes, {file.day for file in kept})
        files = sorted([*kept, *fresh], key=lambda file: file.path)
        tables.append(PublishedTable(name=model.name, day_column=model.day_column, files=tuple(files)))
    _make_views(warehouse, folder, models, tables)
    manifest = Manifest(
        version=version,
        created_at=datetime.now(UTC),
        git_revision=_git_revision(),
        warehouse_id=source.warehouse_id,
        batch_high_water=source.batch_high_water,
        change_high_water=source.change_high_water,
        project_fingerprint=project.fingerprint,
        tables=tuple(tables),
    )
    _prepare_current(settings, version)
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(manifest.model_dump_json(indent=1))
    _sync_file(partial)
    partial.rename(folder / MANIFEST)
    # Linked files were made durable when they were written, and journals keep the order of links and renames.
    sync_folder(folder)
    _point_current_at(settings, version)
    _prune(settings)
    return manifest


def rollback(settings: Settings, version: str | None = None) -> Manifest:
    """Point ``current`` at an older version: the one before it where none is named.

    The version rolled back from stays; a later `tidemark run` publishes anew only when there is something new.
    Raises :class:`TidemarkError` where there is no such version.
    """
    settings.published.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.published / ".publish.lock"):
        kept = versions(settings)
        now = current_version(settings)
        if version is None:
            older = [v for v in kept if now is not None and v < now]
            if not older:
                raise TidemarkError(
                    f"there is no version before {now or 'the first'}; kept are: {', '.join(kept) or 'none'}"
                )
            version = older[-1]
        elif version not in kept:
            raise TidemarkError(f"there is no version {version}; kept are: {', '.join(kept) or 'none'}")
        _point_current_at(settings, version)
        return read_manifest(settings, version)


def versions(settings: Settings) -> list[str]:
    """The versions kept, oldest first."""
    if not settings.published.exists():
        return []
    return sorted(p.parent.name for p in settings.published.glob(f"[0-9]*/{MANIFEST}"))


def current_version(settings: Settings) -> str | None:
    """The version that readers see."""
    link = settings.published / CURRENT
    return str(link.readlink()) if link.is_symlink() else None


def read_manifest(settings: Settings, version: str) -> Manifest:
    """The manifest of a kept version."""
    path = settings.published / version / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text())
    except ValidationError as error:
        raise TidemarkError(
            f"{path} cannot be read: it is damaged, or an earlier Tidemark published it; delete the folder "
            f"{path.parent} (and the link `current` where it points there) and publish again"
        ) from error


def newest_manifest(settings: Settings) -> Manifest | None:
    """The manifest of the newest version, whether or not it is current."""
    kept = versions(settings)
    return read_manifest(settings, kept[-1]) if kept else None


def _link_unchanged(
    settings: Settings, folder: Path, model: Model, changes: dict[date | None, int], newest: Manifest | None
) -> list[PublishedFile]:
    """Give the new version the files of the newest that still show the table as it is."""
    before = next((t for t in newest.tables if t.name == model.name), None) if newest else None
    if newest is None or before is None or before.day_column != model.day_column:
        return []
    kept = [file for file in before.files if changes.get(file.day) == file.change]
    for file in kept:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        origin = settings.published / newest.version / file.path
        try:
            os.link(origin, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(origin, target)
            _sync_file(target)
    return kept


def _write_changed(
    warehouse: duckdb.DuckDBPyConnection,
    folder: Path,
    model: Model,
    changes: dict[date | None, int],
    kept: set[date | None],
) -> list[PublishedFile]:
    """Write the days that changed, or the table that is not kept by days."""
    changed = [day for day in changes if day not in kept]
    if not changed:
        return []
    target = folder / PARQUET / model.name
    target.mkdir(parents=True, exist_ok=True)
    rows = f'select * from {model.schema}."{model.name}"'
    if model.day_column is None:
        path = target / f"{model.name}.parquet"
        warehouse.execute(f"copy ({rows}) to '{_escape(path)}' (format parquet, compression zstd)")
        return [_described(folder, path, None, changes[None])]
    # Day by day the files of a first version would take minutes; all at once they are one pass.
    if kept:
        days = ", ".join(f"date '{day}'" for day in changed)
        rows += f" where {model.day_column} in ({days})"
    warehouse.execute(
        f"copy ({rows}) to '{_escape(target)}' (format parquet, compression zstd, partition_by ({model.day_column}), "
        f"write_partition_columns true, overwrite_or_ignore true, filename_pattern 'part-{{i}}')"
    )
    return [
        _described(folder, path, day, changes[day])
        for day in changed
        if day is not None
        for path in sorted((target / f"{model.day_column}={day}").glob("*.parquet"))
    ]


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


def _make_views(
    warehouse: duckdb.DuckDBPyConnection, folder: Path, models: list[Model], tables: list[PublishedTable]
) -> None:
    """Make the DuckDB file that readers open: a view of each table, with what the project says of it and its columns.

    Views name their files by absolute path, as DuckDB would look for others where the reader happens to stand. They
    are in the file's default schema: one called like the file would be ambiguous to name.
    """
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, name, column in warehouse.execute(
        "select schema_name, table_name, column_name from duckdb_columns() where not internal order by column_index"
    ).fetchall():
        columns.setdefault((schema, name), []).append(f'"{column}"')
    statements = []
    for model, table in zip(models, tables, strict=True):
        name = f'published.main."{model.name}"'
        kind = "view" if table.files else "table"
        names = ", ".join(columns[model.schema, model.name])
        rows = _files(folder.absolute(), model) if table.files else f'{model.schema}."{model.name}" limit 0'
        statements.append(f"create {kind} {name} as select {names} from {rows}")
        statements.append(f"comment on {kind} {name} is '{_escape(model.description)}'")
        for column, text in model.columns.items():
            statements.append(f"comment on column {name}.\"{column}\" is '{_escape(text)}'")
    warehouse.execute(f"attach '{_escape(folder / MARTS)}' as published (storage_version '{STORAGE_VERSION}')")
    warehouse.execute(";\n".join(["begin", *statements, "commit", "detach published"]))
    _sync_file(folder / MARTS)


def _check_path(path: Path) -> None:
    if set(str(path)) & set("*?[="):
        raise TidemarkError(
            f"the views of a version cannot name files below {path}: DuckDB takes *, ? and [ in a path for patterns "
            "and = for a partition; choose a TIDEMARK_HOME without them"
        )


def _files(folder: Path, model: Model) -> str:
    below = _escape(folder / PARQUET / model.name)
    if model.day_column is None:
        return f"read_parquet('{below}/*.parquet')"
    return f"read_parquet('{below}/*/*.parquet', hive_partitioning = true, hive_types = {{'{model.day_column}': date}})"


def _read_source(warehouse: duckdb.DuckDBPyConnection) -> _Source:
    row = warehouse.execute(
        f"""
        select
            (select cast(warehouse_id as varchar) from ops.warehouse),
            (select coalesce(max(batch_id), 0) from landed.landings),
            (select coalesce(max(change), 0) from ops.changes where model not in {RUN_RECORDS})
        """
    ).fetchone()
    assert row is not None
    changes: dict[str, dict[date | None, int]] = {}
    for model, day, change in warehouse.execute("select model, day, change from ops.changes").fetchall():
        changes.setdefault(model, {})[day] = change
    return _Source(row[0], row[1], row[2], changes)


def _is_of(manifest: Manifest, source: _Source, project: Project) -> bool:
    """Whether a version shows what the warehouse holds. That of runs alone is not worth a version."""
    return (manifest.warehouse_id, manifest.change_high_water, manifest.project_fingerprint) == (
        source.warehouse_id,
        source.change_high_water,
        project.fingerprint,
    )


def _point_current_at(settings: Settings, version: str) -> None:
    """Swap the link in one step: a reader finds the old version or the new one, never none."""
    _prepare_current(settings, version).replace(settings.published / CURRENT)
    sync_folder(settings.published)


def _prepare_current(settings: Settings, version: str) -> Path:
    """The link to swap in. Made before the version gets its name, it tells a killed publication, which the next one
    finishes, from a version rolled back from, which stays so."""
    fresh = settings.published / f".{CURRENT}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(version)
    return fresh


def _clean_up(settings: Settings) -> None:
    """Remove what a killed publication left; let ``current`` be its version where it was killed just before that."""
    for folder in settings.published.glob("[0-9]*"):
        if not (folder / MANIFEST).exists():
            shutil.rmtree(folder)
    fresh = settings.published / f".{CURRENT}.new"
    if fresh.exists():  # and the version that it points to
        _point_current_at(settings, str(fresh.readlink()))
    fresh.unlink(missing_ok=True)


def _prune(settings: Settings) -> None:
    """Drop the oldest versions beyond the number kept, never the current one nor one a reader may still have open."""
    recent = datetime.now(UTC) - timedelta(hours=settings.keep_hours)
    kept = versions(settings)
    for version, next_one in pairwise(kept[: 1 - settings.keep_versions]):
        was_left_at = read_manifest(settings, next_one).created_at
        if version != current_version(settings) and was_left_at < recent:
            # Without its manifest it is no version, should this be killed in the middle.
            (settings.published / version / MANIFEST).unlink()
            shutil.rmtree(settings.published / version)


def _new_version(settings: Settings) -> str:
    """A name that sorts after every kept one, even when the clock was set back."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = versions(settings)
    if kept and stamp <= kept[-1]:
        return f"{kept[-1]}+1"
    return stamp


def _git_revision() -> str | None:
    """The project's commit, with '+changes' where the work tree differs; None outside a checkout."""
    try:
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain"], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{revision}+changes" if changes else revision


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _escape(text: str | Path) -> str:
    return str(text).replace("'", "''")
