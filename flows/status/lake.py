"""How the lake, the warehouse and the publication stand: what waits, what failed, what readers see.

How jobs, the service and incidents stand is in :mod:`flows.status.jobs`.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flows.build.warehouse import (
    has_tables,
    lock_file,
    once_free,
    open_warehouse,
    outdated_models,
    warehouse_at_rest,
    warehouse_held,
)
from flows.contract.spec import PROJECT, load_specs
from flows.errors import TidemarkError, WarehouseInUseError
from flows.land.inbox import Delivery, LeftAlone, is_settled, new_deliveries
from flows.land.landing_index import INDEX
from flows.land.receipt import Status
from flows.land.receipts import Receipts
from flows.land.sent import sent_zone_status
from flows.locks import holder_of
from flows.publish.access import open_to_others
from flows.publish.manifest import Manifest, current_version, damaged_files, describe_causes, read_manifest
from flows.publish.sent import sent_status
from flows.publish.views import MARTS, moved_from, versions
from flows.rights import is_open_to_others
from flows.settings import Settings
from flows.status.key_change import KeyChangeStatus, read_key_change
from flows.store_place import SENT_NOWHERE, SentStatus


@dataclass(frozen=True)
class LandedFile:
    """A file that landed, at a moment in UTC."""

    file: str
    landed_at: datetime
    rows_landed: int
    rows_rejected: int


@dataclass(frozen=True)
class RefusedFile:
    """A file that was refused, and not delivered again since."""

    file: str
    refused_at: datetime
    reason: str


@dataclass(frozen=True)
class UnfitFile:
    """A file of which no row fits, as it was last delivered, nor by a retry since; ``reason`` has the likely cause."""

    file: str
    landed_at: datetime
    rows: int
    reason: str
    owner: str


@dataclass(frozen=True)
class DatasetStatus:
    """What of a dataset came, and what of that waits.

    ``waiting_files`` settled in the inbox and have not landed, the oldest of them has not changed since
    ``waiting_since``. ``unpublished_batches`` landed with rows that readers do not see yet; ``lag_seconds`` is how long
    ago the oldest of these landed, 0 where there is none. ``readers_see`` is when the newest batch landed that readers
    do see. Moments are in UTC.
    """

    dataset: str
    last: LandedFile | None
    waiting_files: int
    waiting_since: datetime | None
    unpublished_batches: int
    lag_seconds: float
    readers_see: datetime | None


@dataclass(frozen=True)
class FailedNode:
    """A model or test that failed in the last run; ``rows`` is what a test found."""

    kind: str
    name: str
    rows: int
    message: str


@dataclass(frozen=True)
class WarehouseStatus:
    """How the last run went. ``note`` says why that is not known, ``is_broken`` that a person must see to it.

    ``models_behind`` have not seen all that was entered, failed, or are not there, as after a build that was killed."""

    note: str | None = None
    is_broken: bool = False
    last_run: str | None = None
    last_run_at: datetime | None = None
    last_run_ended: str | None = None
    landings_not_built: int = 0
    models_behind: int = 0
    failed: tuple[FailedNode, ...] = ()


@dataclass(frozen=True)
class StaleTable:
    """A published table whose rows are those of an earlier version; where ``since`` is None, one not there yet."""

    table: str
    since: datetime | None
    as_of: datetime | None
    because: str


@dataclass(frozen=True)
class PublishedStatus:
    """What readers see. ``note`` says what is wrong where a version is named but cannot be read; ``moved_from`` is the
    folder whose files its views name, where that is another one; ``damaged`` are its files that are missing or of
    another size. ``sent`` says which version readers of the object store see, where one is set, ``not_sent`` why that
    is another one than here."""

    version: str | None = None
    note: str | None = None
    created_at: datetime | None = None
    tables: int = 0
    landings_behind: int = 0
    not_good: tuple[StaleTable, ...] = ()
    newest_version: str | None = None
    versions_kept: int = 0
    moved_from: str | None = None
    damaged: tuple[str, ...] = ()
    sent: str | None = None
    not_sent: str | None = None


@dataclass(frozen=True)
class LakeStatus:
    """How the lake, the warehouse and the publication stood at ``read_at``.

    ``open_to_others`` are the folders and files that users may read who may not. ``key_change`` is None where none is
    under way. ``landed_sent`` is how the object store stands to what landed.
    """

    read_at: datetime
    still_being_written: int
    left_alone: tuple[str, ...]
    datasets: tuple[DatasetStatus, ...]
    refused: tuple[RefusedFile, ...]
    unfit: tuple[UnfitFile, ...]
    warehouse: WarehouseStatus
    published: PublishedStatus
    open_to_others: tuple[str, ...] = ()
    key_change: KeyChangeStatus | None = None
    landed_sent: SentStatus = SENT_NOWHERE

    @property
    def needs_a_person(self) -> bool:
        """Whether something is wrong that does not fix itself."""
        return bool(
            self.left_alone
            or self.refused
            or self.unfit
            or self.warehouse.is_broken
            or self.warehouse.failed
            or self.published.note
            or self.published.moved_from
            or self.published.damaged
            or self.published.not_good
            or self.published.not_sent
            or self.landed_sent.not_there
            or self.open_to_others
            or (self.key_change and self.key_change.is_due)
        )


@dataclass(frozen=True)
class Totals:
    """What the warehouse holds: distinct events, delivered copies of them, events that came late, copies that say
    something else than the one that counts, and events from the future."""

    events: int
    copies: int
    late: int
    conflicts: int
    future: int

    @property
    def duplicates(self) -> int:
        """Copies of an event that say what the one that counts does."""
        return self.copies - self.events - self.conflicts


@once_free
def read_totals(settings: Settings) -> Totals:
    """Sum up the warehouse's events from the small tables that count them by day."""
    # Not beside a build: one that begins while a reader has the file open cannot.
    with warehouse_held(settings, "summing up"), open_warehouse(settings, read_only=True) as warehouse:
        row = warehouse.execute(
            """
            select
                (select coalesce(sum(events_count), 0) from ops.ops_late_arrivals),
                (
                    select coalesce(sum(rows_landed), 0) from landed.landed_files
                    where dataset = 'events' and batch_id <= (
                        select batch_id from ops.model_progress where model = 'int_events__copies_compared'
                    )
                ),
                (select coalesce(sum(late_events_count), 0) from ops.ops_late_arrivals),
                (select count(*) from ops.ops_event_conflicts),
                (select coalesce(sum(future_events_count), 0) from ops.ops_late_arrivals)
            """
        ).fetchone()
    return Totals(*map(int, row or (0, 0, 0, 0, 0)))


def read_status(settings: Settings, now: datetime) -> LakeStatus:
    """Read how things stand; writes nothing.

    Raises :class:`TidemarkError` where the receipts or their index cannot be read.
    """
    specs = load_specs()
    with _receipts(settings) as receipts:
        last_batch_id = receipts.last_batch_id()
        published, manifest = _read_published(settings, last_batch_id)
        left_alone: list[LeftAlone] = []
        new = list(new_deliveries(settings.inbox, specs, receipts.is_unchanged, left_alone.append))
        settled: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in new:
            if is_settled(delivery.stat, time.time(), settings.settle_seconds):
                settled[delivery.dataset].append(delivery)
        seen = manifest.batch_high_water if manifest else 0
        datasets = tuple(_read_dataset(receipts, name, settled[name], seen, now) for name in specs)
        refused = tuple(
            RefusedFile(r.file, r.landed_at, r.reason or "") for r in receipts.last_of_each_file(Status.REFUSED)
        )
        unfit = tuple(
            UnfitFile(r.file, r.landed_at, r.rows_read, r.reason or "no row fits", specs[r.dataset].owner)
            for r in receipts.last_without_a_fit()
            if r.dataset in specs
        )
        sent = sent_zone_status(settings, receipts, now)
    return LakeStatus(
        read_at=now,
        still_being_written=len(new) - sum(map(len, settled.values())),
        left_alone=tuple(str(left) for left in left_alone),
        datasets=datasets,
        refused=refused,
        unfit=unfit,
        warehouse=_read_warehouse(settings, last_batch_id),
        published=published,
        open_to_others=tuple(str(path) for path in _open_to_others(settings, manifest)),
        key_change=read_key_change(settings, now),
        landed_sent=sent,
    )


def _open_to_others(settings: Settings, manifest: Manifest | None) -> Iterator[Path]:
    lake = (settings.landed, settings.quarantine, settings.text, settings.day_keys)
    for folder in (*lake, settings.warehouse.parent, settings.key_file("master").parent):
        if folder.exists() and is_open_to_others(folder):
            yield folder
    if manifest is not None:
        yield from open_to_others(settings, manifest)


@contextmanager
def _receipts(settings: Settings) -> Iterator[Receipts]:
    try:
        with closing(Receipts(settings, read_only=True)) as receipts:
            yield receipts
    except (OSError, ValueError) as error:
        raise TidemarkError(
            f"how the lake stands cannot be read ({error}); see to the file it names and its rights"
        ) from error
    except sqlite3.Error as error:
        index = settings.landed / INDEX
        raise TidemarkError(
            f"the landing index {index} cannot be read ({error}); see to disk space and rights; where it is damaged, "
            "delete it: it is rebuilt from the receipts"
        ) from error


def _read_dataset(receipts: Receipts, dataset: str, settled: list[Delivery], seen: int, now: datetime) -> DatasetStatus:
    last = receipts.last_landed_of_dataset(dataset)
    unpublished = receipts.landed_after(dataset, seen)
    newest_seen = receipts.last_landed_of_dataset(dataset, up_to=seen)
    return DatasetStatus(
        dataset=dataset,
        last=LandedFile(last.file, last.landed_at, last.rows_landed, last.rows_rejected) if last else None,
        waiting_files=len(settled),
        # A copy may carry any time of writing; that of its last change is this machine's own.
        waiting_since=datetime.fromtimestamp(min(d.stat.st_ctime for d in settled), UTC) if settled else None,
        unpublished_batches=len(unpublished),
        lag_seconds=max(0.0, (now - unpublished[0].landed_at).total_seconds()) if unpublished else 0.0,
        readers_see=newest_seen.landed_at if newest_seen else None,
    )


def _read_warehouse(settings: Settings, last_batch_id: int) -> WarehouseStatus:
    not_built = WarehouseStatus("not built yet; `tidemark build` makes it", landings_not_built=last_batch_id)
    if not settings.warehouse.exists():
        return not_built
    try:
        # A build that begins while a reader has the file open cannot: so it waits for this, or this leaves it alone.
        with warehouse_at_rest(settings):
            return _read_free_warehouse(settings, last_batch_id) or not_built
    except BlockingIOError:
        holder = holder_of(lock_file(settings))
        return WarehouseStatus(
            f"in use by {holder or 'a build or a publication at work'}; how the last run went is shown afterwards"
        )


def _read_free_warehouse(settings: Settings, last_batch_id: int) -> WarehouseStatus | None:
    """How the warehouse stands, None where it was never built; the caller holds its lock."""
    try:
        warehouse = open_warehouse(settings, read_only=True)
    except WarehouseInUseError as error:
        return WarehouseStatus(f"in use: {error}; builds wait for it; how the last run went is shown afterwards")
    except TidemarkError as error:
        return WarehouseStatus(str(error), is_broken=True)
    with warehouse:
        # By when they were entered: a clock that ran ahead gave an earlier run a later time.
        run = (
            warehouse.execute(
                "select run_id, command, started_at, status from ops.dbt_runs order by rowid desc limit 1"
            ).fetchone()
            if has_tables(warehouse, "dbt_runs")
            else None
        )
        if run is None:
            return None
        known = warehouse.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone()
        run_id, command, started_at, ended = run
        failed = warehouse.execute(
            "select resource_type, node_name, failures, message from ops.dbt_results "
            "where run_id = ? and status in ('error', 'fail', 'runtime error') order by all",
            [run_id],
        ).fetchall()
        # To parse the project would take seconds; the names of its models are those of their files.
        behind = outdated_models(warehouse, {path.stem for path in (PROJECT / "models").rglob("*.sql")})
    return WarehouseStatus(
        last_run=command,
        last_run_at=started_at.replace(tzinfo=UTC),
        last_run_ended=ended,
        landings_not_built=last_batch_id - (known[0] if known else 0),
        models_behind=len(behind),
        failed=tuple(FailedNode(kind, name, rows or 0, (text or "").strip()) for kind, name, rows, text in failed),
    )


def _read_published(settings: Settings, last_batch_id: int) -> tuple[PublishedStatus, Manifest | None]:
    published, manifest = _read_published_here(settings, last_batch_id)
    sent = sent_status(settings, published.version)
    return replace(published, sent=sent.there, not_sent=sent.not_there), manifest


def _read_published_here(settings: Settings, last_batch_id: int) -> tuple[PublishedStatus, Manifest | None]:
    version = current_version(settings)
    if version is None:
        return PublishedStatus(), None
    kept = versions(settings)
    folder = settings.published / version
    try:
        manifest = read_manifest(settings, version)
        moved = moved_from(folder) if (folder / MARTS).exists() else None
    except (TidemarkError, OSError) as error:
        note = str(error) if isinstance(error, TidemarkError) else f"{error}; publish again: `tidemark publish --force`"
        return PublishedStatus(version, note, versions_kept=len(kept)), None
    not_good = [
        StaleTable(t.name, t.stale_since, t.as_of, describe_causes(t.stale_because)) for t in manifest.stale
    ] + [StaleTable(missing.name, None, None, describe_causes(missing.because)) for missing in manifest.missing]
    return (
        PublishedStatus(
            version=version,
            created_at=manifest.created_at,
            tables=len(manifest.tables),
            landings_behind=last_batch_id - manifest.batch_high_water,
            not_good=tuple(not_good),
            newest_version=kept[-1],
            versions_kept=len(kept),
            moved_from=str(moved) if moved else None,
            damaged=tuple(damaged_files(settings, manifest)),
        ),
        manifest,
    )
