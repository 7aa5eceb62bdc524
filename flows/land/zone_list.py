"""What of the landed zone is to be at an object store, and the list by which readers there find it.

Below ``landed/`` stand, for each layout of the lake, the files of rows and the receipts, by the names that they have
here: ``landed/layout-1/events/event_date=2026-01-15/batch-000000000001.parquet``. A lake that is laid out again gets
another folder, so no key ever means something else. ``landed/current.json`` names the files whose rows count, of one
moment, with what a restored lake needs to know.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.errors import TidemarkError
from flows.land.file_index import FileInForce
from flows.land.landing_index import INDEX
from flows.land.layout import Layout, read_layout, refuse_half_swapped
from flows.land.receipt import RECEIPT, batch_name
from flows.land.receipts import Receipts
from flows.land.rejects_at_store import REJECTS, rejects_path
from flows.land.rotation import Rotations, read_rotations
from flows.settings import Settings
from flows.store_place import PUBLISHER, sha256_of

ZONE = "landed"
LIST = f"{ZONE}/current.json"
CLAIM = f"{ZONE}/{PUBLISHER}"
FORMAT = 1
OURS = re.compile(rf"{ZONE}/layout-\d+/.+")


class ListedFile(BaseModel):
    """A file whose rows count: its key below the URL, the day it holds, its last batch, rows and bytes.

    ``superseded_batch_ids`` are the batches in it whose rows do not count, since their file was delivered again.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    event_date: date | None
    path: str
    batch_id: int
    rows: int
    bytes: int
    superseded_batch_ids: tuple[int, ...] = ()


class ZoneList(BaseModel):
    """The landed zone of one moment, as it is at a store: all batches up to one, in the files of one folder."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    folder: str
    last_batch_id: int
    layout: Layout
    rotations: Rotations
    files: tuple[ListedFile, ...]


@dataclass(frozen=True)
class Wanted:
    """What is to be at the store: the list, which names the files of rows, and by key what is here of each batch:
    rejected rows, and the receipts in order."""

    zone: ZoneList
    rejects: dict[str, Path]
    receipts: dict[str, Path]

    @cached_property
    def body(self) -> bytes:
        """The list, as it stands there."""
        return self.zone.model_dump_json().encode()

    @cached_property
    def digest(self) -> str:
        """What tells it from any other."""
        return sha256_of(self.body)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of all of it but the list."""
        return frozenset((*self.rejects, *self.receipts, *(file.path for file in self.zone.files)))


def read_zone_list(body: bytes, where: str) -> ZoneList:
    """The list that stands at a store. Raises :class:`TidemarkError` where it cannot be read."""
    try:
        read = ZoneList.model_validate_json(body)
        if read.format > FORMAT:
            raise ValueError(read.format)
    except ValueError as error:
        raise TidemarkError(
            f"{where} is damaged or was written by a later Tidemark: use that, or delete it there, and what landed is "
            "sent again"
        ) from error
    return read


def wanted_at_store(settings: Settings) -> Wanted | None:
    """What is to be there, of one moment; None where nothing has landed yet.

    Raises :class:`FileNotFoundError` where a file was replaced meanwhile, or is missing, and :class:`TidemarkError`
    where the landed zone cannot be read.
    """
    while True:
        refuse_half_swapped(settings)
        layout, rotations = read_layout(settings.landed), read_rotations(settings)
        if layout is None:
            return None
        try:
            with closing(Receipts(settings, read_only=True)) as receipts, receipts.at_one_moment():
                made = _wanted(settings, receipts, layout, rotations)
        except (sqlite3.Error, ValueError) as error:
            raise TidemarkError(f"the landing index {settings.landed / INDEX} cannot be read ({error})") from error
        # What was the same before and after was so at that moment.
        if (layout, rotations) == (read_layout(settings.landed), read_rotations(settings)):
            return made


def _wanted(settings: Settings, receipts: Receipts, layout: Layout, rotations: Rotations) -> Wanted:
    folder = f"{ZONE}/layout-{layout.number}"
    superseded = frozenset(receipts.superseded())
    batches = receipts.committed()
    files = tuple(
        ListedFile(
            dataset=dataset,
            event_date=file.event_date,
            path=_key(folder, file.path),
            batch_id=file.batch_id,
            rows=file.rows,
            bytes=(settings.lake / file.path).stat().st_size,
            superseded_batch_ids=tuple(_superseded_in(receipts, dataset, file, superseded)),
        )
        for dataset in sorted({dataset for _, dataset, _ in batches})
        for file in receipts.files.in_force(dataset)
    )
    last = batches[-1][0] if batches else 0
    zone = ZoneList(folder=folder, last_batch_id=last, layout=layout, rotations=rotations, files=files)
    rejects = {
        f"{folder}/{dataset}/{batch_name(batch_id)}/{REJECTS}": rejects_path(settings, dataset, batch_id)
        for batch_id, dataset, rejected in batches
        if rejected
    }
    paths = [f"{ZONE}/{dataset}/{batch_name(batch_id)}/{RECEIPT}" for batch_id, dataset, _ in batches]
    return Wanted(zone, rejects, {_key(folder, path): settings.lake / path for path in paths})


def _superseded_in(receipts: Receipts, dataset: str, file: FileInForce, superseded: Collection[int]) -> Iterator[int]:
    if superseded and min(superseded) <= file.batch_id:
        batches = receipts.files.rows_by_batch(dataset, file.event_date, file.batch_id)
        yield from sorted({*batches} & {*superseded})


def _key(folder: str, path: str) -> str:
    """The key of a file that stands here at a path below the lake."""
    return f"{folder}/{path.removeprefix(f'{ZONE}/')}"


def path_of(folder: str, key: str) -> str:
    """The path below the lake of what stands there under a key."""
    return f"{ZONE}/{key.removeprefix(f'{folder}/')}"


def is_ours(key: str) -> bool:
    """Whether an object holds rows or is a receipt that was sent, and no other's below the same URL."""
    return OURS.fullmatch(key) is not None


def batch_of(key: str) -> int:
    """The batch whose receipt or rejected rows have a key."""
    return int(key.split("/")[-2].removeprefix("batch-"))


def is_receipt(key: str) -> bool:
    """Whether an object is a receipt."""
    return key.rpartition("/")[2] == RECEIPT
