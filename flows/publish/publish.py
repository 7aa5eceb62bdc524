"""Publish the marts: a new version beside the old ones, then one atomic swap of ``current``.

``published/<version>/`` holds the marts and the ops tables as Parquet, a file per table or, where it is partitioned by
days, per day; a DuckDB file for each level of readers, with a view of each table that they may see; and
``manifest.json``. A file that did not change since the version before is linked, not copied; none can be written. Who
may read which says :mod:`flows.publish.access`. A reader that opens a DuckDB file below ``published/current/`` gets one
whole version; it keeps that version until it opens again, whatever is published meanwhile.

A table whose inputs failed stays as it was in the version before, marked stale; the others go on.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import duckdb
from filelock import FileLock

from flows.build.dbt import read_project
from flows.build.project import RUN_RECORDS, STORED, Model, Project
from flows.build.staleness import Cause, find_causes
from flows.build.visibility import published_models, refuse_wrong_visibility
from flows.build.warehouse import once_free, open_warehouse, read_pending_work, warehouse_held
from flows.errors import TidemarkError
from flows.files import sync_folder
from flows.publish.access import give_rights, heal_rights
from flows.publish.files import PARTITIONS, link_files, link_unchanged, write_changed
from flows.publish.manifest import (
    CURRENT,
    FORMAT,
    UNCOMPARABLE,
    Manifest,
    MissingTable,
    PublishedFile,
    PublishedTable,
    current_version,
    damaged_files,
    describe_causes,
    newest_manifest,
    read_manifest,
    write_manifest,
)
from flows.publish.marts import make_views, read_columns
from flows.publish.send import keep_only_newest_sent, send_current
from flows.publish.views import MANIFEST, heal_views, versions
from flows.release.releases import code_revision
from flows.rights import PRIVATE, Visibility, make_for_everybody, narrower, published_rights
from flows.settings import Settings

STAMP = "%Y%m%dT%H%M%S.%fZ"


class NothingGoodError(TidemarkError):
    """No table is good, and no version was published before."""


@dataclass(frozen=True)
class Publication:
    """A version and whether this call made it; ``unsent`` is why it could not be sent to the object store, where one is
    set and that failed."""

    manifest: Manifest
    is_new: bool
    unsent: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether every table was good, and whoever reads at the object store sees that too."""
        return self.manifest.is_fresh and self.unsent is None


@dataclass(frozen=True)
class _Source:
    """What the warehouse has to publish: which it is, its last landing and change, and each model's changes by day."""

    warehouse_id: str
    batch_high_water: int
    change_high_water: int
    changes: dict[str, dict[date | None, int]]


def publish(settings: Settings, force: bool = False) -> Publication:
    """Publish what is good in the warehouse, unless the newest version shows just that already, and is whole.

    A table is good when nothing it depends on is outdated and no blocking test that guards it is pending. One that is
    not keeps the rows of the newest version, marked stale, and is missing where it never was good.

    Raises :class:`TidemarkError` where no complete build of the current project has finished, and
    :class:`NothingGoodError` where nothing is good and there is no version yet: what readers see then stays as it is.
    Where an object store is set, what is current is sent there, also where an earlier call could not.
    """
    publication = _publish_here(settings, force)
    try:
        send_current(settings)
    except TidemarkError as error:  # what was published stands
        return replace(publication, unsent=str(error))
    return publication


@once_free
def _publish_here(settings: Settings, force: bool) -> Publication:
    # No build may begin between the check and the copy: what it leaves half done would be published.
    with warehouse_held(settings, "publishing"), _one_publication(settings):
        project = read_project(settings)
        pending = read_pending_work(settings, project)
        if pending.everything:
            raise TidemarkError(f"nothing was published: {pending.reason}; `tidemark status` says more")
        causes = find_causes(project, pending)
        _clean_up(settings)
        heal_views(settings)
        models = published_models(project)
        refuse_wrong_visibility(models, lambda model: model.columns)
        heal_rights(settings, {model.name: Visibility(model.visibility) for model in models})
        newest = newest_manifest(settings)
        if newest is None and causes.keys() == {model.name for model in models}:
            failed = sorted({cause.name for because in causes.values() for cause in because})
            raise NothingGoodError(
                f"nothing was published: no table is good yet, and all wait for {', '.join(failed)}; fix the cause "
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
    make_for_everybody(settings.published)
    with FileLock(settings.published / ".publish.lock"):
        try:
            yield
        except Exception:
            _remove_unfinished(settings)
            raise


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
    # Nobody looks into it before what is in it has its rights.
    folder.mkdir(mode=PRIVATE.folder)
    models = published_models(project)
    tables_before = {table.name: table for table in newest.tables} if newest else {}
    files: dict[str, list[PublishedFile]] = {}
    columns = read_columns(settings, warehouse, newest if causes else None)
    # What the tables hold, whatever the project says of them: a stale one keeps its files, and their level.
    refuse_wrong_visibility([m for m in models if m.name not in causes], lambda m: columns.get((m.schema, m.name), ()))
    for model in models:
        before = tables_before.get(model.name)
        is_comparable = newest is not None and _is_comparable(model, newest, source, project)
        if model.name not in causes:
            changes = source.changes.get(model.name, {})
            kept = link_unchanged(settings, folder, model, changes, newest if is_comparable else None)
            fresh = write_changed(warehouse, folder, model, columns, changes, {file.day for file in kept})
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
                for file in link_files(settings, newest.version, folder, before.name, before.files)
            ]
    shutil.rmtree(folder / PARTITIONS, ignore_errors=True)
    created_at = datetime.now(UTC)
    tables = [
        _table(model, project, tuple(files[model.name]), created_at, causes.get(model.name, ()), newest)
        for model in models
        if model.name in files
    ]
    make_views(settings, version, project, tables, columns)
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
    give_rights(settings, folder, {table.name: table.visibility for table in tables})
    _prepare_current(settings, version)
    # Linked files were made durable when they were written, and journals keep the order of links and renames.
    write_manifest(folder, manifest, published_rights(settings, Visibility.RESTRICTED))
    _point_current_at(settings, version)
    _prune(settings)
    return manifest


def _is_comparable(model: Model, newest: Manifest, source: _Source, project: Project) -> bool:
    """Whether the change numbers of a table's files in the newest version mean what they mean in the warehouse."""
    if newest.warehouse_id != source.warehouse_id:
        return False  # a rebuilt warehouse counts its changes from the start
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
    level = Visibility(model.visibility)
    if not because or newest is None:
        return PublishedTable(
            name=model.name,
            day_column=model.day_column,
            files=files,
            owner=owner,
            as_of=created_at,
            visibility=level,
        )
    before = next(table for table in newest.tables if table.name == model.name)
    return PublishedTable(
        name=model.name,
        day_column=before.day_column,  # these files are partitioned by
        files=files,
        owner=owner,
        as_of=before.as_of or newest.created_at,
        stale_since=before.stale_since or created_at,
        stale_because=because,
        visibility=narrower(level, before.visibility),  # its columns may be those that made it narrower
    )


def rollback(settings: Settings, version: str | None = None) -> Manifest:
    """Point ``current`` at an older version: the one before it where none is named.

    The version rolled back from stays; a later `tidemark run` publishes again only when there is something new.
    Raises :class:`TidemarkError` where there is no such version, and where it is current now and could not be sent to
    the object store.
    """
    manifest = _roll_back_here(settings, version)
    try:
        send_current(settings)
    except TidemarkError as error:
        raise TidemarkError(
            f"readers here see {manifest.version}, and those at the object store do not yet: {error}; the next "
            "publication or rollback sends it"
        ) from error
    return manifest


def _roll_back_here(settings: Settings, version: str | None) -> Manifest:
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


def keep_only_newest(settings: Settings) -> list[str]:
    """Remove every version but the newest, and let readers see that one; the names of those removed.

    Beside another, a version would show by their difference what was taken out of it. Readers that still have one of
    them open find its files gone, and are to open ``current`` again. It is done at the object store as well, and raises
    :class:`TidemarkError` where it cannot be.
    """
    with _one_publication(settings):
        *older, newest = versions(settings)
        if current_version(settings) != newest:
            _point_current_at(settings, newest)
        for version in older:
            _remove(settings, version)
        sync_folder(settings.published)
    keep_only_newest_sent(settings)
    return older


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
    """The link to swap in. Made before the version gets its name, it shows a killed publication, which the next one
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
            _remove(settings, version)


def _remove(settings: Settings, version: str) -> None:
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
