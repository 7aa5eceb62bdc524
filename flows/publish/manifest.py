"""What a version holds: its manifest, and whether its files are whole."""

from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.build.staleness import Cause
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.publish.views import MANIFEST, versions
from flows.rights import PRIVATE, Rights, Visibility, give
from flows.settings import Settings

CURRENT = "current"
# The number of no change: a file that is to be written again as soon as its table is good.
UNCOMPARABLE = -1
# How files are named and which types they hold; files of another number are not linked but written.
FORMAT = 2


# A table with one of these columns has rows of periods, which may end, or begin, ahead of the data.
OF_PERIODS = ("period_end_date", "week_start_date")
# Tables that tell of the warehouse's own work begin so.
OPS = "ops_"


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
    """A published table: its files, and the column of the day it is partitioned by, if it is.

    A stale table has the files of an earlier version, because what it depends on failed or was not built:
    ``stale_since`` is when the first version was made in which it was stale, ``stale_because`` what it waits for.
    ``as_of`` is when the version was made in which its rows were last good: this one, where it is not stale. (It is
    None in versions that Tidemark published before tables could be stale.) Both are UTC. ``visibility`` is who may see
    it: the fewest, in versions of before tables said so.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    day_column: str | None
    files: tuple[PublishedFile, ...]
    owner: str = ""
    as_of: datetime | None = None
    stale_since: datetime | None = None
    stale_because: tuple[Cause, ...] = ()
    visibility: Visibility = Visibility.RESTRICTED

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


def describe_causes(causes: tuple[Cause, ...]) -> str:
    """What failed and who is to be asked about it, for people."""
    return ", ".join(f"{cause.name} (owner: {cause.owner or 'none'})" for cause in causes)


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


def write_manifest(folder: Path, manifest: Manifest, rights: Rights) -> None:
    """Put a manifest into a version's folder in one step, which makes it a version where it was none."""
    partial = folder / f"{MANIFEST}.partial"
    partial.unlink(missing_ok=True)  # left by one that was killed, and not to be written
    partial.touch(mode=PRIVATE.file)
    partial.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    give(partial, rights)
    sync_file(partial)
    partial.rename(folder / MANIFEST)
    sync_folder(folder)


def newest_manifest(settings: Settings) -> Manifest | None:
    """The manifest of the newest version, whether or not it is current."""
    kept = versions(settings)
    return read_manifest(settings, kept[-1]) if kept else None


def damaged_files(settings: Settings, manifest: Manifest, table: PublishedTable | None = None) -> list[str]:
    """The files of a version, or of one table of it, that are missing or of another size than the manifest says."""
    tables = manifest.tables if table is None else (table,)
    folder = settings.published / manifest.version
    return [f"{manifest.version}/{file.path}" for one in tables for file in one.files if not is_whole(folder, file)]


def is_whole(folder: Path, file: PublishedFile) -> bool:
    """Whether a file is in its version's folder, with the size it was published with."""
    try:
        return (folder / file.path).stat().st_size == file.bytes
    except FileNotFoundError:
        return False
