"""Publish the marts: a new version beside the old ones, then one atomic swap of ``current``.

``published/<version>/`` holds ``marts.duckdb`` (the marts and the ops tables), the same tables as Parquet, and
``manifest.json``. A reader that opens ``published/current/marts.duckdb`` gets one whole version; it keeps
that version until it opens again, whatever is published meanwhile.
"""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from flows.build import BUILD_LOCK, last_whole_run_passed, open_warehouse, project_fingerprint
from flows.contract import PROJECT
from flows.errors import TidemarkError
from flows.receipts import sync_folder
from flows.settings import Settings

CURRENT = "current"
MARTS = "marts.duckdb"
MANIFEST = "manifest.json"
SCHEMAS = ("marts", "ops")
# The newest storage format that DuckDB 1.4 clients still open.
STORAGE_VERSION = "v1.4.0"


class PublishedTable(BaseModel):
    """A published table: its rows, and its Parquet file with size and SHA-256."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    parquet: str
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a published version holds and where it comes from."""

    model_config = ConfigDict(frozen=True)

    version: str
    created_at: datetime
    git_revision: str | None
    batch_high_water: int
    project_fingerprint: str
    tables: tuple[PublishedTable, ...]


@dataclass(frozen=True)
class Publication:
    """A version and whether this call made it."""

    manifest: Manifest
    is_new: bool


def publish(settings: Settings, force: bool = False) -> Publication:
    """Publish what the warehouse holds, unless the newest version holds just that already.

    Raises :class:`TidemarkError` where the last whole build did not pass: what readers see then stays as it is.
    """
    for folder in (settings.warehouse.parent, settings.published):
        folder.mkdir(parents=True, exist_ok=True)
    # No build may begin between the check and the copy: what it leaves half done would be published.
    with FileLock(settings.warehouse.parent / BUILD_LOCK), FileLock(settings.published / ".publish.lock"):
        if not last_whole_run_passed(settings):
            raise TidemarkError(
                "nothing was published: the last build failed, was killed or did not cover everything; "
                "`tidemark status` says which model or test; mend it and run `tidemark build`"
            )
        _clean_up(settings)
        newest = newest_manifest(settings)
        high_water, fingerprint = _high_water(settings), project_fingerprint()
        if newest and not force and (newest.batch_high_water, newest.project_fingerprint) == (high_water, fingerprint):
            return Publication(newest, is_new=False)
        version = _new_version(settings)
        work = settings.published / f".{version}.partial"
        work.mkdir()
        manifest = Manifest(
            version=version,
            created_at=datetime.now(UTC),
            git_revision=_git_revision(),
            batch_high_water=high_water,
            project_fingerprint=fingerprint,
            tables=tuple(_copy_tables(settings, work)),
        )
        (work / MANIFEST).write_text(manifest.model_dump_json(indent=2))
        for path in [*work.rglob("*"), work]:
            sync_folder(path)
        _prepare_current(settings, version)
        work.rename(settings.published / version)
        _point_current_at(settings, version)
        _prune(settings)
        return Publication(manifest, is_new=True)


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
    return Manifest.model_validate_json((settings.published / version / MANIFEST).read_text())


def newest_manifest(settings: Settings) -> Manifest | None:
    """The manifest of the newest version, whether or not it is current."""
    kept = versions(settings)
    return read_manifest(settings, kept[-1]) if kept else None


def _copy_tables(settings: Settings, work: Path) -> list[PublishedTable]:
    """Write the marts into a DuckDB file of their own and as Parquet.

    They stand in its default schema: one called like the file would be ambiguous to name.
    """
    (work / "parquet").mkdir()
    tables = []
    with open_warehouse(settings) as db:
        db.execute(f"attach '{_escape(str(work / MARTS))}' as published (storage_version '{STORAGE_VERSION}')")
        for schema, name, description, columns in _models(settings):
            target = f'published.main."{name}"'
            db.execute(f'create table {target} as select * from {schema}."{name}"')
            db.execute(f"comment on table {target} is '{_escape(description)}'")
            for column, text in columns.items():
                db.execute(f"comment on column {target}.\"{column}\" is '{_escape(text)}'")
            parquet = work / "parquet" / f"{name}.parquet"
            db.execute(f"copy {target} to '{_escape(str(parquet))}' (format parquet, compression zstd)")
            rows = db.execute(f"select count(*) from {target}").fetchone()
            with parquet.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            tables.append(
                PublishedTable(
                    name=name,
                    rows=rows[0] if rows else 0,
                    parquet=str(parquet.relative_to(work)),
                    bytes=parquet.stat().st_size,
                    sha256=sha256,
                )
            )
        db.execute("detach published")
    return tables


def _models(settings: Settings) -> list[tuple[str, str, str, dict[str, str]]]:
    """The models to publish: schema, name, and what the project says of each and its columns, for BI tools to show."""
    manifest = json.loads((settings.home / "warehouse" / "target" / "manifest.json").read_text())
    return sorted(
        (
            node["schema"],
            node["name"],
            node["description"],
            {name: column["description"] for name, column in node["columns"].items()},
        )
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["schema"] in SCHEMAS
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
    for path in settings.published.glob(".*.partial"):
        shutil.rmtree(path)
    fresh = settings.published / f".{CURRENT}.new"
    if fresh.exists():  # and the version that it points to
        _point_current_at(settings, str(fresh.readlink()))
    fresh.unlink(missing_ok=True)


def _prune(settings: Settings) -> None:
    """Drop the oldest versions beyond the number kept, never the current one."""
    for version in versions(settings)[: -settings.keep_versions]:
        if version != current_version(settings):
            shutil.rmtree(settings.published / version)


def _new_version(settings: Settings) -> str:
    """A name that sorts after every kept one, even when the clock was set back."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = versions(settings)
    if kept and stamp <= kept[-1]:
        return f"{kept[-1]}+1"
    return stamp


def _high_water(settings: Settings) -> int:
    with open_warehouse(settings, read_only=True) as warehouse:
        row = warehouse.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone()
    return int(row[0]) if row else 0


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


def _escape(text: str) -> str:
    return text.replace("'", "''")
