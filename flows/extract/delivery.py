"""Deliver a file into the inbox, whole: written under a name that landing passes over, and then renamed."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.extract.errors import MayPassError
from flows.extract.source import Extract
from flows.files import sha256, sync_file, sync_folder
from flows.land.receipt import Status
from flows.land.receipts import Receipts
from flows.rights import make_inbox
from flows.settings import Settings

# How often a file is written again that others remove before it is done.
CREATE_TRIES = 10


@dataclass(frozen=True)
class Delivered:
    """A file in the inbox: its name there, its rows and its size; of a file as others wrote it, rows are not known."""

    name: str
    rows: int | None
    bytes: int


def partial_in(settings: Settings, folder: str, name: str) -> Path:
    """Where to write what is to be delivered into a folder of the inbox; landing passes over it."""
    make_inbox(settings.inbox)
    path = settings.inbox / folder
    path.mkdir(parents=True, exist_ok=True)
    return path / f".{name}.partial"


def deliver_into(
    settings: Settings, folder: str, name: str, write: Callable[[Path], int | None], replaces: bool = False
) -> Delivered | None:
    """Have a file of this name written, and put it into a folder of the inbox; ``write`` gives the number of its rows,
    or None where it does not know.

    None where the file has no rows, or the same one is there already, unless it ``replaces`` the one before.
    """
    partial = partial_in(settings, folder, name)
    path = partial.with_name(name)
    try:
        rows = write(partial)
        is_new = replaces or (rows != 0 and not (path.exists() and sha256(path) == sha256(partial)))
        if not is_new:
            return None
        sync_file(partial)
        size = partial.stat().st_size
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return Delivered(f"{folder}/{name}", rows, size)


class Folder:
    """The folder of the inbox into which one extract delivers. One process at a time may.

    It is another one where what its files follow from is declared otherwise: then all rows come again.
    """

    def __init__(self, settings: Settings, source: str, dataset: str, extract: Extract) -> None:
        self._settings = settings
        self._name = f"{source}/{dataset}/extract-{extract.mark()}"
        self._path = settings.inbox / self._name
        for partial in self._path.glob(".*.partial"):  # of a run that was killed
            partial.unlink(missing_ok=True)

    @property
    def name(self) -> str:
        """Its name in the inbox."""
        return self._name

    def last_delivered(self, name: str) -> datetime | None:
        """When a file of this name was last delivered here; None where it never was, or was refused."""
        with closing(Receipts(self._settings, read_only=True)) as receipts:
            receipt = receipts.last_of_file(f"{self._name}/{name}")
        if receipt and receipt.status is Status.REFUSED:
            return None
        with suppress(OSError):
            return datetime.fromtimestamp((self._path / name).stat().st_mtime, UTC)
        return receipt.delivered_at if receipt else None

    def has(self, name: str) -> bool:
        """Whether a file of this name is still in the inbox, landed, refused or neither."""
        return (self._path / name).exists()

    def names(self) -> Iterator[str]:
        """The files that were delivered here and are still there, or landed; none that was refused."""
        refused = self._refused()
        with closing(Receipts(self._settings, read_only=True)) as receipts:
            yield from receipts.taken_below(f"{self._name}/")
        for path in self._path.glob("*"):
            if not path.name.startswith(".") and f"{self._name}/{path.name}" not in refused:
                yield path.name

    def partial(self, name: str) -> Path:
        """Where to write what is to be delivered once its name is known; landing passes over it."""
        return partial_in(self._settings, self._name, name)

    def deliver(self, name: str, write: Callable[[Path], int | None], replaces: bool = False) -> Delivered | None:
        """Have a file of this name written, and put it here, as :func:`deliver_into` does."""
        return deliver_into(self._settings, self._name, name, write, replaces)

    def create(self, name: str, pieces: Sequence[bytes], rows: int) -> Delivered | None:
        """Put a file of this name into the inbox unless one is there, whoever else delivers here at the same time.

        None where there is one, but one that was refused is replaced by other bytes.
        """
        make_inbox(self._settings.inbox)
        self._path.mkdir(parents=True, exist_ok=True)
        path = self._path / name
        for _ in range(CREATE_TRIES):
            partial = self._path / f".{name}.{uuid.uuid4().hex}.partial"
            try:
                with partial.open("xb") as file:
                    file.writelines(pieces)
                    size = file.tell()
                sync_file(partial)
                try:
                    os.link(partial, path)  # unlike a rename, it replaces nothing
                except FileExistsError:
                    if f"{self._name}/{name}" not in self._refused() or sha256(path) == sha256(partial):
                        return None
                    partial.replace(path)
                sync_folder(self._path)
            except FileNotFoundError:  # another process that begins took it for what a killed one left
                continue
            finally:
                partial.unlink(missing_ok=True)
            return Delivered(f"{self._name}/{name}", rows, size)
        raise MayPassError(f"{self._name}: other processes remove what is written there; let one at a time deliver")

    def _refused(self) -> set[str]:
        with closing(Receipts(self._settings, read_only=True)) as receipts:
            return {receipt.file for receipt in receipts.last_of_each_file(Status.REFUSED)}
