"""Publish the marts: a new version beside the old ones, then one atomic swap of ``current``.

``published/<version>/`` holds the marts and the ops tables as Parquet, a file per table or, where a table is kept by
days, per day; ``marts.duckdb``, with a view of each; and ``manifest.json``. A file that did not change since the
version before is linked, not copied; none can be written. A reader that opens ``published/current/marts.duckdb`` gets
one whole version; it keeps that version until it opens again, whatever is published meanwhile.

A table whose inputs failed stays as it was in the version before, marked stale; the others go on.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from flows.catalogue import first_sentence
from flows.errors import TidemarkError
from flows.failures import Cause, find_causes
from flows.project import RUN_RECORDS, SCHEMAS, STORED, Model, Project, read_project
from flows.receipts import sync_folder
from flows.releases import code_revision
from flows.settings import Settings
from flows.views import MANIFEST, MARTS, VERSION_FOLDER, heal_views, seal, version_folder_macro, versions
from flows.warehouse import once_free, open_warehouse, read_open_work, warehouse_held

CURRENT = "current"
STAMP = "%Y%m%dT%H%M%S.%fZ"
PARQUET = "parquet"
# Where DuckDB writes the days of a table before each gets its name; never in a finished version.
PARTITIONS = ".partitions"
# The table in MARTS that tells readers how fresh the others are.
PUBLISHED_TABLES = "published_tables"
# The number of no change: a file that is to be written anew as soon as its table is good.
UNCOMPARABLE = -1
# How files are named and which types they hold; files of another number are not linked but written.
FORMAT = 2
# The newest storage format that DuckDB 1.4 clients still open.
STORAGE_VERSION = "v1.4.0"


# The columns of each schema's tables with their types.
Columns = dict[tuple[str, str], dict[str, str]]

log = logging.getLogger("tidemark.publish")


class PublishedFile(BaseModel):
    """A Parquet file of a published table, with its size and SHA-256; ``path`` is below the version's folder.

    ``day`` is the day whose rows it holds, None where it holds the whole table; ``change`` is the number of the
    change in the warehouse that it shows, -1 where that cannot be compared with the warehouse's.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    day: date | None
    change: int
    rows: int
    bytes: int
    sha256: str


class PublishedTable(BaseModel):
    """A published table: its files, and the column of the day it is kept by, if it is.

    A stale table has the files of an earlier version, because what it is made from failed or was not built:
    ``stale_since`` is when the first version was made in which it was stale, ``stale_because`` what it waits for.
    ``as_of`` is when the version was made in which its rows were last good: this one, where it is not stale. (It is
    None in versions that Tidemark published before tables could be stale.) Both are UTC.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    day_column: str | None
    files: tuple[PublishedFile, ...]
    owner: str = ""
    as_of: datetime | None = None
    stale_since: datetime | None = None
    stale_because: tuple[Cause, ...] = ()

    @property
    def is_stale(self) -> bool:
        """Whether its rows are those of an earlier version."""
        return self.stale_since is not None

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return sum(file.rows for file in self.files)


class MissingTable(BaseModel):
    """A table of the project that was never good so far, and what it waits for."""

    model_config = ConfigDict(frozen=True)

    name: str
    because: tuple[Cause, ...]


class Manifest(BaseModel):
    """What a published version holds, what of it is stale or missing, and where it comes from."""

    model_config = ConfigDict(frozen=True)

    version: str
    created_at: datetime
    git_revision: str | None
    warehouse_id: str
    batch_high_water: int
    change_high_water: int
    project_fingerprint: str
    tables: tuple[PublishedTable, ...]
    missing: tuple[MissingTable, ...] = ()
    format: int = 1

    @property
    def stale(self) -> tuple[PublishedTable, ...]:
        """The tables whose rows are those of an earlier version."""
        return tuple(table for table in self.tables if table.is_stale)

    @property
    def is_fresh(self) -> bool:
        """Whether every table was good when the version was made."""
        return not (self.stale or self.missing)


class NothingGoodError(TidemarkError):
    """No table is good, and no version was published before."""


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


@once_free
def publish(settings: Settings, force: bool = False) -> Publication:
    """Publish what is good in the warehouse, unless the newest version shows just that already, and is whole.

    A table is good when nothing it is made from is behind and no blocking test that guards it is due. One that is not
    keeps the rows of the newest version, marked stale, and is missing where it never was good.

    Raises :class:`TidemarkError` where no whole build of the project has come to its end, and
    :class:`NothingGoodError` where nothing is good and there is no version yet: what readers see then stays as it is.
    """
    # No build may begin between the check and the copy: what it leaves half done would be published.
    with warehouse_held(settings, "publishing"), _one_publication(settings):
        project = read_project(settings)
        still = read_open_work(settings, project)
        if still.everything:
            raise TidemarkError(f"nothing was published: {still.reason}; `tidemark status` says more")
        causes = find_causes(project, still)
        _clean_up(settings)
        heal_views(settings)
        newest = newest_manifest(settings)
        if newest is None and causes.keys() == {model.name for model in _published_models(project)}:
            failed = sorted({cause.name for because in causes.values() for cause in because})
            raise NothingGoodError(
                f"nothing was published: no table is good so far, and all wait for {', '.join(failed)}; mend the cause "
                "and run `tidemark build --retry`, then `tidemark publish`; `tidemark status` says more"
            )
        with open_warehouse(settings) as warehouse:
            source = _read_source(warehouse)
            is_whole = newest is not None and not damaged_files(settings, newest)
            if newest and is_whole and not force and _is_of(newest, source, project, causes):
                return Publication(newest, is_new=False)
            return Publication(_publish(settings, project, warehouse, source, newest, causes), is_new=True)


@contextmanager
def _one_publication(settings: Settings) -> Iterator[None]:
    """One publication or rollback at a time; the room that one takes which fails is given back at once."""
    settings.published.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.published / ".publish.lock"):
        try:
            yield
        except Exception:
            _remove_unfinished(settings)
            raise


def describe_causes(causes: tuple[Cause, ...]) -> str:
    """What failed and who is to be asked about it, for people."""
    return ", ".join(f"{cause.name} (owner: {cause.owner or 'none'})" for cause in causes)


def _published_models(project: Project) -> list[Model]:
    models = [model for model in project.models.values() if model.schema in SCHEMAS]
    return sorted(models, key=lambda model: (model.schema, model.name))


def _publish(
    settings: Settings,
    project: Project,
    warehouse: duckdb.DuckDBPyConnection,
    source: _Source,
    newest: Manifest | None,
    causes: dict[str, tuple[Cause, ...]],
) -> Manifest:
    # A folder is a version once it has its manifest, which comes last: its views name files where they already are.
    version = _new_version(settings)
    folder = settings.published / version
    folder.mkdir()
    models = _published_models(project)
    tables_before = {table.name: table for table in newest.tables} if newest else {}
    files: dict[str, list[PublishedFile]] = {}
    columns = _read_columns(settings, warehouse, newest if causes else None)
    for model in models:
        before = tables_before.get(model.name)
        is_comparable = newest is not None and _is_comparable(model, newest, source, project)
        if model.name not in causes:
            changes = source.changes.get(model.name, {})
            kept = _link_unchanged(settings, folder, model, changes, newest if is_comparable else None)
            fresh = _write_changed(warehouse, folder, model, columns, changes, {file.day for file in kept})
            files[model.name] = sorted([*kept, *fresh], key=lambda file: file.path)
        elif newest is not None and before is not None:
            if lost := damaged_files(settings, newest, before):
                raise TidemarkError(
                    f"publishing stopped: {lost[0]} is missing or damaged, and {model.name} cannot be written again "
                    f"while it waits for {describe_causes(causes[model.name])}; repair that, or put the file back, or "
                    "delete that version: the one before it is then taken"
                )
            files[model.name] = [
                file if is_comparable else file.model_copy(update={"change": UNCOMPARABLE})
                for file in _link(settings, newest.version, folder, before.name, before.files)
            ]
    shutil.rmtree(folder / PARTITIONS, ignore_errors=True)
    created_at = datetime.now(UTC)
    tables = [
        _table(model, project, tuple(files[model.name]), created_at, causes.get(model.name, ()), newest)
        for model in models
        if model.name in files
    ]
    _make_views(settings, version, project, tables, columns)
    manifest = Manifest(
        version=version,
        created_at=created_at,
        git_revision=code_revision(),
        warehouse_id=source.warehouse_id,
        batch_high_water=source.batch_high_water,
        change_high_water=source.change_high_water,
        project_fingerprint=project.fingerprint,
        tables=tuple(tables),
        missing=tuple(
            MissingTable(name=model.name, because=causes[model.name]) for model in models if model.name not in files
        ),
        format=FORMAT,
    )
    _prepare_current(settings, version)
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    _finish(partial)
    partial.rename(folder / MANIFEST)
    # Linked files were made durable when they were written, and journals keep the order of links and renames.
    sync_folder(folder)
    _point_current_at(settings, version)
    _prune(settings)
    return manifest


def _is_comparable(model: Model, newest: Manifest, source: _Source, project: Project) -> bool:
    """Whether the change numbers of a table's files in the newest version mean what they mean in the warehouse."""
    if newest.warehouse_id != source.warehouse_id:
        return False  # a warehouse made anew counts its changes anew
    if newest.format != FORMAT:
        return False
    # A view of another logic shows other rows though nothing was noted to have changed.
    return newest.project_fingerprint == project.fingerprint or model.materialized in STORED


def _table(
    model: Model,
    project: Project,
    files: tuple[PublishedFile, ...],
    created_at: datetime,
    because: tuple[Cause, ...],
    newest: Manifest | None,
) -> PublishedTable:
    """What the manifest of a version made now says of a table: stale where it has a cause to be."""
    owner = project.owners.get(model.name, "")
    if not because or newest is None:
        return PublishedTable(name=model.name, day_column=model.day_column, files=files, owner=owner, as_of=created_at)
    before = next(table for table in newest.tables if table.name == model.name)
    return PublishedTable(
        name=model.name,
        day_column=before.day_column,  # these files are kept by
        files=files,
        owner=owner,
        as_of=before.as_of or newest.created_at,
        stale_since=before.stale_since or created_at,
        stale_because=because,
    )


def rollback(settings: Settings, version: str | None = None) -> Manifest:
    """Point ``current`` at an older version: the one before it where none is named.

    The version rolled back from stays; a later `tidemark run` publishes anew only when there is something new.
    Raises :class:`TidemarkError` where there is no such version.
    """
    if not settings.published.is_dir():
        raise TidemarkError(f"there is no version below {settings.published} yet; `tidemark run` publishes one")
    with _one_publication(settings):
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
        manifest = read_manifest(settings, version)
        heal_views(settings)
        _point_current_at(settings, version)
        return manifest


def current_version(settings: Settings) -> str | None:
    """The version that readers see."""
    link = settings.published / CURRENT
    return str(link.readlink()) if link.is_symlink() else None


def read_manifest(settings: Settings, version: str) -> Manifest:
    """The manifest of a kept version."""
    path = settings.published / version / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, of its members, of UTF-8
        raise TidemarkError(
            f"{path} cannot be read: it is damaged, or an earlier Tidemark published it; delete the folder "
            f"{path.parent} (and the link `current` where it points there) and publish again"
        ) from error


def newest_manifest(settings: Settings) -> Manifest | None:
    """The manifest of the newest version, whether or not it is current."""
    kept = versions(settings)
    return read_manifest(settings, kept[-1]) if kept else None


def damaged_files(settings: Settings, manifest: Manifest, table: PublishedTable | None = None) -> list[str]:
    """The files of a version, or of one table of it, that are missing or of another size than the manifest says."""
    tables = manifest.tables if table is None else (table,)
    return [
        f"{manifest.version}/{file.path}"
        for one in tables
        for file in one.files
        if not _is_whole(settings.published / manifest.version / file.path, file)
    ]


def _is_whole(path: Path, file: PublishedFile) -> bool:
    try:
        return path.stat().st_size == file.bytes
    except FileNotFoundError:
        return False


def _link_unchanged(
    settings: Settings, folder: Path, model: Model, changes: dict[date | None, int], newest: Manifest | None
) -> list[PublishedFile]:
    """Give the new version the files of the newest that still show the table as it is."""
    before = next((t for t in newest.tables if t.name == model.name), None) if newest else None
    if newest is None or before is None or before.day_column != model.day_column:
        return []
    lost = set(damaged_files(settings, newest, before))
    # A day of which a file is lost is written anew as a whole.
    again = {file.day for file in before.files if f"{newest.version}/{file.path}" in lost}
    if lost:
        log.warning(
            "%d published files are missing or damaged and are written anew: %s", len(lost), ", ".join(sorted(lost)[:3])
        )
    kept = tuple(file for file in before.files if changes.get(file.day) == file.change and file.day not in again)
    return _link(settings, newest.version, folder, model.name, kept)


def _link(
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
            _sync_file(target)
        seal(target)
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


def _write_changed(
    warehouse: duckdb.DuckDBPyConnection,
    folder: Path,
    model: Model,
    columns: Columns,
    changes: dict[date | None, int],
    kept: set[date | None],
) -> list[PublishedFile]:
    """Write the days that changed, or the table that is not kept by days."""
    changed = [day for day in changes if day not in kept]
    if not changed:
        return []
    selected = ", ".join(_stored(name, type_) for name, type_ in columns[model.schema, model.name].items())
    rows = f'select {selected} from {model.schema}."{model.name}"'
    target = folder / PARQUET / model.name
    if model.day_column is None:
        target.mkdir(parents=True, exist_ok=True)
        path = folder / _path(model.name, None)
        warehouse.execute(f"copy ({rows}) to '{_escape(path)}' (format parquet, compression zstd)")
        return [_described(folder, path, None, changes[None])]
    # Day by day the files of a first version would take minutes; all at once they are one pass.
    if kept:
        days = ", ".join(f"date '{day}'" for day in changed)
        rows += f" where {model.day_column} in ({days})"
    partitions = folder / PARTITIONS / model.name
    partitions.mkdir(parents=True)
    warehouse.execute(
        f"copy ({rows}) to '{_escape(partitions)}' (format parquet, compression zstd, "
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
    seal(path)
    return PublishedFile(
        path=str(path.relative_to(folder)),
        day=day,
        change=change,
        rows=pq.read_metadata(path).num_rows,
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def _stored(column: str, type_: str) -> str:
    """How a column is written: keys as text, because Spark reads no UUID and Polars makes bytes of them."""
    plain = re.sub(r"\bUUID\b", "VARCHAR", type_)
    return f'"{column}"' if plain == type_ else f'cast("{column}" as {plain}) as "{column}"'


def _make_views(
    settings: Settings, version: str, project: Project, tables: list[PublishedTable], columns: Columns
) -> None:
    """Make the DuckDB file that readers open: a view of each table, with what the project says of it and its columns,
    and the table that tells how fresh they are.

    All are in the file's default schema: one called like the file would be ambiguous to name. The columns of a stale
    table are those that it had: what the warehouse has of it may be changed, or gone.
    """
    folder = (settings.published / version).absolute()
    statements = [*version_folder_macro(folder)]
    for table in tables:
        model = project.models[table.name]
        has = columns["version_before" if table.is_stale else model.schema, model.name]
        kind = "view" if table.files else "table"
        statements.append(_view(table, has) if table.files else _empty_table(table, has))
        statements.append(f"comment on {kind} \"{table.name}\" is '{_escape(_stale_mark(table) + model.description)}'")
        for column, text in model.columns.items():
            if column in has:
                statements.append(f'comment on column "{table.name}"."{column}" is \'{_escape(text)}\'')
    statements.append(f"create table {PUBLISHED_TABLES} as select * from freshness order by name")
    statements.append(f"comment on table {PUBLISHED_TABLES} is '{FRESHNESS_DESCRIPTION}'")
    for field in FRESHNESS:
        text = _escape(field.metadata[b"description"].decode())
        statements.append(f"comment on column {PUBLISHED_TABLES}.{field.name} is '{text}'")
    # A connection of its own: views of an attached file would name that file's functions by the name it is attached as.
    with duckdb.connect(str(folder / MARTS), config={"storage_compatibility_version": STORAGE_VERSION}) as marts:
        marts.register("freshness", _freshness(version, tables, project))
        marts.execute(";\n".join(["begin", *statements, "commit"]))
        marts.unregister("freshness")
    _finish(folder / MARTS)
    readme = folder / version / "README.txt"
    readme.parent.mkdir()
    readme.write_text(README.format(version=version), encoding="utf-8")
    _finish(readme)


def _read_columns(settings: Settings, warehouse: duckdb.DuckDBPyConnection, before: Manifest | None) -> Columns:
    """The columns of each schema's tables with their types; those of the version before are in ``version_before``."""
    if before is not None:
        path = settings.published.absolute() / before.version / MARTS
        warehouse.execute(f"attach '{_escape(path)}' as version_before (read_only)")
    columns: Columns = {}
    for schema, name, column, type_ in warehouse.execute(
        """
        select if(database_name = 'version_before', 'version_before', schema_name), table_name, column_name, data_type
        from duckdb_columns()
        where not internal and database_name in ('version_before', current_database())
        order by column_index
        """
    ).fetchall():
        columns.setdefault((schema, name), {})[column] = type_
    if before is not None:
        warehouse.execute("detach version_before")
    return columns


def _view(table: PublishedTable, columns: dict[str, str]) -> str:
    """A view of a table's files, with the types of its model. The day is read from the files' names, so that a question
    about days opens theirs alone."""
    select = {
        column: f'"{column}"'
        if _stored(column, type_) == f'"{column}"'
        else f'cast("{column}" as {type_}) as "{column}"'
        for column, type_ in columns.items()
    }
    files, options = f"{table.name}.parquet", ""
    if table.day_column is not None:
        files = f"{table.name}-????-??-??*.parquet"
        # DuckDB leaves files out by their names only where their column has the name that it gives it.
        if "filename" not in map(str.lower, columns):
            day = f"cast(substr(parse_filename(filename), {len(table.name) + 2}, 10) as date)"
            select[table.day_column] = f'{day} as "{table.day_column}"'
            options = ", filename = true"
    return (
        f'create view "{table.name}" as select {", ".join(select.values())} '
        f"from read_parquet({VERSION_FOLDER}() || '/{PARQUET}/{table.name}/{files}'{options})"
    )


def _empty_table(table: PublishedTable, columns: dict[str, str]) -> str:
    """What stands for a table without rows, which has no files."""
    return f'create table "{table.name}" (' + ", ".join(f'"{name}" {type_}' for name, type_ in columns.items()) + ")"


README = """\
This is version {version} of the published tables.

Open marts.duckdb read-only with DuckDB 1.4 or newer, or read the folder of a table below parquet/ with pandas, Polars,
Arrow or Spark: by the path of this folder, and not through `current`, which moves when the next version is published.
The table published_tables says what each table is, and how fresh.

The version may be copied or mounted anywhere, under any name but `current`, with all that is in it. This folder has to
stay: by it marts.duckdb knows the files that belong to it. Whoever attaches a copy to another database has to say where
it is: set variable version_folder = '/path/of/the/copy';
"""


def _stale_mark(table: PublishedTable) -> str:
    """What the description of a stale table begins with."""
    return f"STALE since {table.stale_since:%Y-%m-%d %H:%M} UTC. " if table.is_stale else ""


FRESHNESS_DESCRIPTION = "One row per table of this version: whether its rows are up to date, and if not, why."
FRESHNESS = pa.schema(
    [
        pa.field(name, kind, metadata={"description": description})
        for name, kind, description in [
            ("name", pa.string(), "The table."),
            ("is_stale", pa.bool_(), "Whether its rows are those of an earlier version: what it is made from failed."),
            ("as_of", pa.timestamp("us"), "When the version was made in which its rows were last good; UTC."),
            ("stale_since", pa.timestamp("us"), "When the first version was made in which it was stale; UTC."),
            ("stale_because", pa.string(), "What it waits for, with owners; NULL where it is not stale."),
            ("owner", pa.string(), "Who is to be asked about the table; NULL where nobody is named."),
            ("first_day", pa.date32(), "The oldest day with rows; NULL where it is not kept by days, or is empty."),
            ("last_day", pa.date32(), "The newest day with rows; NULL where it is not kept by days, or is empty."),
            ("version", pa.string(), "The version of this publication."),
            ("description", pa.string(), "What a row of it is, in one sentence."),
        ]
    ]
)


def _freshness(version: str, tables: list[PublishedTable], project: Project) -> pa.Table:
    """How fresh each table is, as readers see it: moments are plain UTC."""
    rows = [
        {
            "name": table.name,
            "is_stale": table.is_stale,
            "as_of": table.as_of and table.as_of.replace(tzinfo=None),
            "stale_since": table.stale_since and table.stale_since.replace(tzinfo=None),
            "stale_because": describe_causes(table.stale_because) or None,
            "owner": table.owner or None,
            "first_day": min((file.day for file in table.files if file.day), default=None),
            "last_day": max((file.day for file in table.files if file.day), default=None),
            "version": version,
            "description": first_sentence(project.models[table.name].description) or None,
        }
        for table in tables
    ]
    return pa.Table.from_pylist(rows, FRESHNESS)


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


def _is_of(manifest: Manifest, source: _Source, project: Project, causes: dict[str, tuple[Cause, ...]]) -> bool:
    """Whether a version shows what the warehouse holds, and says what is stale and why. That of runs alone is not worth
    a version."""
    not_good = {table.name: table.stale_because for table in manifest.stale}
    not_good |= {table.name: table.because for table in manifest.missing}
    return (manifest.warehouse_id, manifest.change_high_water, manifest.project_fingerprint, not_good) == (
        source.warehouse_id,
        source.change_high_water,
        project.fingerprint,
        causes,
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
    _remove_unfinished(settings)
    fresh = settings.published / f".{CURRENT}.new"
    if fresh.exists():  # and the version that it points to
        _point_current_at(settings, str(fresh.readlink()))
    fresh.unlink(missing_ok=True)


def _remove_unfinished(settings: Settings) -> None:
    for folder in settings.published.glob("[0-9]*"):
        if not (folder / MANIFEST).exists():
            shutil.rmtree(folder)


def _prune(settings: Settings) -> None:
    """Drop the oldest versions beyond the number kept, never the current one nor one a reader may still have open."""
    recent = datetime.now(UTC) - timedelta(hours=settings.keep_hours)
    kept = versions(settings)
    made_at = [read_manifest(settings, version).created_at for version in kept[1:]]
    # No version was made after a later one: a clock that ran ahead only said so.
    left_at = [*accumulate(reversed(made_at), min)][::-1]
    for version, was_left_at in zip(kept[: -settings.keep_versions], left_at, strict=False):
        if version != current_version(settings) and was_left_at < recent:
            # Without its manifest it is no version, should this be killed in the middle.
            (settings.published / version / MANIFEST).unlink()
            shutil.rmtree(settings.published / version)


def _new_version(settings: Settings) -> str:
    """A name that sorts after every kept one, even when the clock was set back."""
    stamp = datetime.now(UTC).strftime(STAMP)
    kept = versions(settings)
    if kept and stamp <= kept[-1]:
        # A microsecond more each time: anything appended would grow, at last too long for a name.
        newest = datetime.strptime(kept[-1].partition("+")[0], STAMP)
        return (newest + timedelta(microseconds=1)).strftime(STAMP)
    return stamp


def _finish(path: Path) -> None:
    """Make a file durable, and not to be written."""
    _sync_file(path)
    seal(path)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _escape(text: str | Path) -> str:
    return str(text).replace("'", "''")
