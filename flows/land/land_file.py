"""Land a file, step by step: what is known of it, its rows made a batch, the batch ready to be committed."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flows.contract.spec import DatasetSpec, Redelivery
from flows.errors import FileRefusedError, TidemarkError, UnreadableFileError
from flows.files import sha256
from flows.land.batch import BatchFiles, land_rows, thrown
from flows.land.commit import abandon
from flows.land.conform import Conformed
from flows.land.conformers import Conformers, conformed
from flows.land.feeds import feed_of
from flows.land.gather import of_batch
from flows.land.inbox import Delivery, file_format
from flows.land.quarantine import discard
from flows.land.reading import columns_noted, parts_of
from flows.land.receipt import Receipt, Status
from flows.land.receipts import Receipts, work_folder
from flows.settings import Settings


@dataclass(frozen=True)
class NewFile:
    """A delivery whose bytes are not known under its name; or which were refused, and are tried once more."""

    delivery: Delivery
    sha256: str
    was_refused: bool


class FileLander:
    """Lands files one after the other. ``examples`` takes rejects to show, ``unsettled`` the files that changed."""

    def __init__(
        self,
        settings: Settings,
        receipts: Receipts,
        conformers: Conformers,
        examples: list[str],
        unsettled: list[str],
    ) -> None:
        self._settings = settings
        self._receipts = receipts
        self._conformers = conformers
        self._examples = examples
        self._unsettled = unsettled
        # One folder for all batches, since a batch's files are renamed out of it: making folders costs more than that.
        self._made = work_folder(settings) / "batch"

    def look_at(self, delivery: Delivery, again: bool = False) -> NewFile | None:
        """What is known of a file; None where these bytes under this name are dealt with already.

        With ``again``, bytes that were refused are tried once more. Raises :class:`~flows.errors.UnreadableFileError`
        where it cannot be read.
        """
        checksum = _checksum(delivery.path)
        last = self._receipts.last_of_file(delivery.name)
        if last is None or last.sha256 != checksum:
            return NewFile(delivery, checksum, was_refused=False)
        if again and last.status is Status.REFUSED:
            return NewFile(delivery, checksum, was_refused=True)
        self._receipts.remember(delivery.name, delivery.stat)
        return None

    def land(self, spec: DatasetSpec, new: NewFile) -> Receipt | None:
        """From a file's bytes to its receipt; None where nothing is committed, as of :meth:`begin`."""
        self.begin(spec, new)
        return next(iter(self.commit()), None)

    def begin(self, spec: DatasetSpec, new: NewFile, rows: Conformed | None = None) -> None:
        """Make a file's batch, from its bytes or from its rows that were conformed with those of others.

        It is to be committed soon, by :meth:`commit`. None is made where the file changed meanwhile, or was refused
        before and is refused again.
        """
        receipt = self._new_receipt(spec, new)
        try:
            receipt = self._made_batch(spec, new, receipt, rows)
            # Written to or replaced since, the checksum and the rows may be of different bytes.
            is_as_found = _is_as_found(new.delivery)
        except BaseException:
            self._take_back(receipt)
            raise
        if not is_as_found:
            self._take_back(receipt)
            self._unsettled.append(new.delivery.name)
            return
        if not (new.was_refused and receipt.status is Status.REFUSED):
            self._receipts.begin(receipt, self._made)
        self._receipts.remember(new.delivery.name, new.delivery.stat)

    def take_beside(self, spec: DatasetSpec, delivery: Delivery, rows: int | None, fault: str | None) -> list[Receipt]:
        """Note a file beside a feed's as dealt with; its receipt, where it cannot be read, or could not before.

        ``rows`` are those that it has, all of them for others to find: it lands none. Where neither is known, since it
        came or went meanwhile, nothing is noted.
        """
        new = self.look_at(delivery) if rows is not None or fault else None
        if new is None:
            return []
        last = self._receipts.last_of_file(delivery.name)
        if fault or (last is not None and last.status is Status.REFUSED):
            status = Status.REFUSED if fault else Status.LANDED
            read = {"rows_read": rows or 0, "rows_ignored": rows or 0}
            update = {"status": status, "reason": fault, "supersedes_batch_id": None, **read}
            self._receipts.begin(self._new_receipt(spec, new).model_copy(update=update), self._made)
        self._receipts.remember(delivery.name, delivery.stat)
        return self.commit()

    def commit(self) -> list[Receipt]:
        """Commit the batches begun; their receipts in order."""
        return self._receipts.commit_begun()

    def _new_receipt(self, spec: DatasetSpec, new: NewFile) -> Receipt:
        """The receipt as far as it is known before a row is read; its status is that of a duplicate."""
        delivery, superseded = new.delivery, None
        if spec.redelivery is Redelivery.NEWEST_WINS:
            superseded = self._receipts.replaced_by_redelivery(delivery.name)
        return Receipt(
            batch_id=self._receipts.last_batch_id() + 1,
            dataset=spec.name,
            source=delivery.source,
            file=delivery.name,
            sha256=new.sha256,
            bytes=delivery.stat.st_size,
            format=file_format(delivery.path.name) or "",
            status=Status.DUPLICATE,
            supersedes_batch_id=superseded.batch_id if superseded else None,
            contract=f"{spec.name}.{spec.version}",
            **self._conformers.key_checks,
            delivered_at=datetime.fromtimestamp(delivery.stat.st_mtime, UTC),
            landed_at=datetime.now(UTC),
        )

    def _made_batch(self, spec: DatasetSpec, new: NewFile, begun: Receipt, rows: Conformed | None) -> Receipt:
        """The receipt to commit; the batch's files stand in the folder of what is made, its rejects in quarantine."""
        # A name that landed other bytes before must land these, even if another name did: it takes their place.
        known = None if begun.supersedes_batch_id else self._receipts.landed_content(spec.name, new.sha256)
        # The same bytes in the folder of another feed, or where nothing of them was wanted, are read otherwise.
        if known and (feed_of(known.file) != feed_of(begun.file) or (not known.rows_landed and known.rows_ignored)):
            known = None
        if known is not None:
            reason = f"the same bytes landed as {known.file} (batch {known.batch_id})"
            return begun.model_copy(update={"reason": reason})
        columns = partial(columns_noted, new.delivery, spec)
        try:
            if rows is None:
                stream = conformed(
                    parts_of(new.delivery, spec, self._conformers.beside), self._conformers.of(spec), begun.batch_id
                )
            else:
                stream = of_batch(rows, begun.batch_id)
            of = self._conformers
            files = BatchFiles(self._settings, spec, begun, self._made, of.day_keys, of.erased, of.earlier_days)
            return land_rows(files, begun, stream, columns, self._examples)
        except (TidemarkError, OSError, sqlite3.Error) as error:
            if not isinstance(error, FileRefusedError):
                raise  # the lake's own: the next file would meet it too
            reason = str(error)
        except Exception as error:  # whatever a file's rows make a library throw costs that file alone
            reason = thrown(error)
        self._take_back(begun)
        update = {"status": Status.REFUSED, "reason": reason, "supersedes_batch_id": None}
        return begun.model_copy(update=update)

    def _take_back(self, receipt: Receipt) -> None:
        """Take away what is made of a batch that will not be committed."""
        abandon(receipt, self._made)
        discard(self._settings, receipt)


def _is_as_found(delivery: Delivery) -> bool:
    try:
        now, then = delivery.path.stat(), delivery.stat
    except PermissionError:
        return False
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (then.st_ino, then.st_size, then.st_mtime_ns)


def _checksum(path: Path) -> str:
    """Raises :class:`UnreadableFileError` where it cannot be read: its rights may have changed since it was found."""
    try:
        return sha256(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(
            f"cannot be read ({error.strerror or error}); give the right to read it, or take it away"
        ) from error
