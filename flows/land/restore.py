"""Bring the landed zone back from an object store into a home that has none.

All that the list there names is fetched into a folder beside, with the receipts of its batches. Only where that makes
the landed zone of the list, file by file, it takes its place, in one step. Killed anywhere, the next call goes on.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.errors import TidemarkError
from flows.files import replace_private, sync_file, sync_folder
from flows.land.compact import LOCK as COMPACTION_LOCK
from flows.land.land import LOCK as LANDING_LOCK
from flows.land.layout import has_batches, refuse_half_swapped, write_layout
from flows.land.receipts import Receipts
from flows.land.rejects_at_store import REJECTS, put_back, rejects_path
from flows.land.rotation import write_rotations
from flows.land.sent import SentZone, read_sent_zone, write_sent_zone, zone_record_path
from flows.land.zone_list import CLAIM, LIST, ZoneList, batch_of, is_receipt, path_of, read_zone_list
from flows.locks import held
from flows.object_store import Object, Store, StoreError
from flows.rights import make_private
from flows.settings import Settings
from flows.store_place import Publisher, sha256_of

# The home of the lake that is being fetched, below the lake, and the list that it is fetched by.
TARGET = ".restored"
FETCHED_BY = "list.json"


@dataclass(frozen=True)
class Restored:
    """What was brought back: batches, files of rows, their rows and bytes; and batches that left rows in quarantine, or
    text in the text store, which are not at the store."""

    batches: int
    files: int
    rows: int
    bytes: int
    with_rejects: int
    with_text: int


def restore_landed(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> Restored:
    """Bring back what the list at ``TIDEMARK_LANDED_URL`` names. This home then sends there.

    Raises :class:`TidemarkError` where something has landed here, or what is there is not whole: nothing is changed
    then.
    """
    url = settings.landed_url
    if url is None:
        raise TidemarkError("set TIDEMARK_LANDED_URL to the address that the landed zone was sent to")
    settings.lake.mkdir(parents=True, exist_ok=True)
    try:
        with (
            held(settings.lake / LANDING_LOCK, "restoring"),
            held(settings.lake / COMPACTION_LOCK, "restoring"),
        ):
            return _restore(settings, url, progress)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise TidemarkError(
            f"restoring stopped ({error}); nothing counts yet; fix the cause (a full disk) and run `tidemark restore` "
            "again, which goes on where it stopped"
        ) from error


def _restore(settings: Settings, url: str, progress: Callable[[str], None]) -> Restored:
    refuse_half_swapped(settings)
    if has_batches(settings.landed):
        raise TidemarkError(f"the lake {settings.lake} has a landed zone; restore into a home that has none")
    before = read_sent_zone(settings)
    if before and before.may_hold and before.url != url:
        raise TidemarkError(
            f"what landed in this home was sent to {before.url}: set TIDEMARK_LANDED_URL to that, or delete "
            f"{zone_record_path(settings)}"
        )
    store = Store(url)
    found, claim = store.read(LIST), store.read(CLAIM)
    if found is None or claim is None:
        raise StoreError(f"{store.url} has no landed zone that was sent whole: there is no {LIST} and {CLAIM}")
    zone = read_zone_list(found[0], f"{store.url}/{LIST}")
    wanted = _wanted_of(store, zone)
    target = _target(settings, found[0])
    for key, one in sorted(wanted.items()):
        if _fetch(store, key, one, target.lake / path_of(zone.folder, key)) and not is_receipt(key):
            progress(f"restore  {key}")
    _put_rejects_back(settings, store, zone, target)
    write_layout(target.landed, zone.layout)
    if zone.rotations.rotations:
        write_rotations(target, zone.rotations)
    restored = _check(target, zone)
    write_sent_zone(
        settings,
        SentZone(
            url=url,
            publisher=Publisher.model_validate_json(claim[0]).publisher,
            may_hold=True,
            last_batch_id=zone.last_batch_id,
            lists=(sha256_of(found[0]),),
            sent_at=datetime.now(UTC),
        ),
    )
    shutil.rmtree(settings.landed, ignore_errors=True)  # no batch is in it
    target.landed.rename(settings.landed)
    sync_folder(settings.lake)
    shutil.rmtree(target.home)
    return restored


def _wanted_of(store: Store, zone: ZoneList) -> dict[str, Object]:
    """The objects to fetch. Raises :class:`StoreError` where one is missing, or not what the list says."""
    there = {one.key: one for one in store.list(f"{zone.folder}/")}
    wanted: dict[str, Object] = {}
    for file in zone.files:
        one = there.get(file.path)
        if one is None or one.size != file.bytes:
            raise StoreError(f"{store.url}/{file.path} is missing or has another size than {LIST} says")
        wanted[file.path] = one
    receipts = {batch_of(one.key): one for one in there.values() if is_receipt(one.key)}
    for number in range(1, zone.last_batch_id + 1):
        if number not in receipts:
            raise StoreError(f"{store.url} has no receipt of batch {number}, and {LIST} says that it landed")
        wanted[receipts[number].key] = receipts[number]
    return wanted


def _put_rejects_back(settings: Settings, store: Store, zone: ZoneList, target: Settings) -> None:
    """Have rejected rows counted, where no backup has what they said."""
    for one in store.list(f"{zone.folder}/"):
        dataset, _, name = one.key.split("/")[-3:]
        if name != REJECTS or batch_of(one.key) > zone.last_batch_id:
            continue
        to = rejects_path(settings, dataset, batch_of(one.key))
        if not to.exists():
            fetched = target.home / "rejects" / f"{batch_of(one.key)}.parquet"
            _fetch(store, one.key, one, fetched)
            put_back(fetched, to)


def _target(settings: Settings, listed: bytes) -> Settings:
    """The home that the lake is fetched into: with what was fetched by the same list before, or empty."""
    target = settings.model_copy(update={"home": settings.lake / TARGET})
    by = target.home / FETCHED_BY
    if not by.exists() or by.read_bytes() != listed:
        shutil.rmtree(target.home, ignore_errors=True)
        for folder in (target.home, target.landed):
            make_private(folder)
        replace_private(by, listed)
    return target


def _fetch(store: Store, key: str, one: Object, to: Path) -> bool:
    """Fetch an object, whole or not at all; False where that was done before."""
    if to.exists() and to.stat().st_size == one.size:
        return False
    to.parent.mkdir(parents=True, exist_ok=True)
    partial, digest, size = to.with_name(f".{to.name}.partial"), hashlib.md5(usedforsecurity=False), 0
    with store.opened(key) as body, partial.open("wb") as file:
        for chunk in body.chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
    if size != one.size or body.md5 not in (None, digest.hexdigest()):
        partial.unlink()
        raise StoreError(f"{store.url}/{key} came with other bytes than the store says; run `tidemark restore` again")
    sync_file(partial)
    partial.replace(to)
    sync_folder(to.parent)
    return True


def _check(target: Settings, zone: ZoneList) -> Restored:
    """Make the index, and see that the rows that count are those of the list."""
    with closing(Receipts(target)) as receipts:
        landed = list(receipts.after(0))
        datasets = sorted({receipt.dataset for receipt in landed})
        in_force = [file for name in datasets for file in receipts.files.in_force(name)]
    found = {(file.path, file.event_date, file.rows, file.batch_id) for file in in_force}
    listed = {(path_of(zone.folder, file.path), file.event_date, file.rows, file.batch_id) for file in zone.files}
    if found != listed:
        first = min(path for path, *_ in found ^ listed)
        raise StoreError(f"{first}: the receipts at the store say otherwise than {LIST}; restore from another backup")
    return Restored(
        batches=len(landed),
        files=len(listed),
        rows=sum(file.rows for file in zone.files),
        bytes=sum(file.bytes for file in zone.files),
        with_rejects=sum(bool(receipt.rejects_path) for receipt in landed),
        with_text=sum(bool(receipt.text_files) for receipt in landed),
    )
