"""Land what settled in the inbox: verify, conform to the contract, pseudonymise, quarantine, commit."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flows.contract.spec import DatasetSpec, Redelivery, load_specs
from flows.errors import FileRefusedError, TidemarkError, UnreadableFileError
from flows.files import sha256
from flows.land.batch import Conformers, land_rows, thrown
from flows.land.inbox import Delivery, file_format, is_settled, new_deliveries, wait_for_settling
from flows.land.layout import refuse_half_swapped, settle_layout
from flows.land.pseudonyms import key_check
from flows.land.readers import columns_of, read_parts
from flows.land.receipt import Receipt, Status, batch_name
from flows.land.receipts import Receipts, work_folder
from flows.locks import held
from flows.settings import Settings

LOCK = ".landing.lock"


@dataclass
class Landing:
    """What a landing did: receipts by status, files left for later, and examples of rejects for people."""

    receipts: list[Receipt] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """Files that came to this."""
        return sum(r.status is status for r in self.receipts)

    def rows(self, attribute: str) -> int:
        """The sum of a count over all files."""
        return sum(getattr(r, attribute) for r in self.receipts)


def land(
    settings: Settings,
    specs: dict[str, DatasetSpec] | None = None,
    progress: Callable[[Receipt], None] = lambda receipt: None,
    wait_for_young: bool = True,
) -> Landing:
    """Land every settled file of the inbox that is not dealt with, in order of name.

    ``specs`` are the datasets' landing specs, the committed contract's where None. Files that may still be written
    are given the time to settle, unless ``wait_for_young`` is False. Another landing of the same lake is waited for.
    Raises :class:`~flows.errors.TidemarkError` where landing as such cannot go on (the key is missing, the disk is
    full); a file that cannot be landed is recorded as refused and does not stop the others.
    """
    specs = load_specs() if specs is None else specs
    with open_for_landing(settings, specs) as receipts:
        return _land_all(settings, specs, receipts, progress, wait_for_young)


@contextmanager
def open_for_landing(settings: Settings, specs: dict[str, DatasetSpec]) -> Iterator[Receipts]:
    """The lake's receipts, for one landing at a time, cleaned of what a killed one left."""
    refuse_half_swapped(settings)
    try:
        for folder in (settings.inbox, settings.landed):
            folder.mkdir(parents=True, exist_ok=True)
        settings.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        with held(settings.lake / LOCK, "landing"):
            settle_layout(settings, specs)
            with closing(Receipts(settings)) as receipts, _work(receipts):
                yield receipts
    except (OSError, sqlite3.Error) as error:
        raise TidemarkError(
            f"landing stopped ({error}); what landed before is whole, the rest waits in {settings.inbox}; "
            "fix the cause (a full disk, a missing permission) and run `tidemark land` again"
        ) from error


@contextmanager
def _work(receipts: Receipts) -> Iterator[None]:
    """Leave no half-made batch behind, of a landing that was killed nor of this one, however it ends."""
    receipts.clean_up()
    try:
        yield
    finally:
        receipts.clean_up()


def _land_all(
    settings: Settings,
    specs: dict[str, DatasetSpec],
    receipts: Receipts,
    progress: Callable[[Receipt], None],
    wait_for_young: bool,
) -> Landing:
    done = Landing()
    with Conformers(settings, receipts) as conformers:
        new = new_deliveries(
            settings.inbox, specs, receipts.is_unchanged, lambda left: done.left_alone.append(str(left))
        )
        for delivery in _settled(settings, new, done, wait_for_young):
            try:
                receipt = land_file(settings, specs[delivery.dataset], delivery, receipts, conformers, done)
            except FileNotFoundError:
                if delivery.path.exists():
                    raise
                continue  # taken away while it was read
            except UnreadableFileError as error:
                done.left_alone.append(f"{delivery.name}: {error}")
                continue
            if receipt is not None:
                done.receipts.append(receipt)
                progress(receipt)
    return done


def _settled(settings: Settings, new: Iterable[Delivery], done: Landing, wait_for_young: bool) -> Iterator[Delivery]:
    """The deliveries nobody is writing any more: the young ones last, given the time to settle, once for all."""
    young = []
    for delivery in new:
        if is_settled(delivery.stat, time.time(), settings.settle_seconds):
            yield delivery
        else:
            young.append(delivery)
    until = time.monotonic() + (settings.settle_seconds + 0.1 if wait_for_young else 0)
    for delivery in young:
        stat = wait_for_settling(delivery.path, settings.settle_seconds, until)
        if stat is not None:
            yield replace(delivery, stat=stat)
        elif os.path.exists(delivery.path):  # noqa: PTH110 (False also where it may not be looked at any more)
            done.unsettled.append(delivery.name)


def land_file(
    settings: Settings,
    spec: DatasetSpec,
    delivery: Delivery,
    receipts: Receipts,
    conformers: "Conformers",
    done: Landing,
    again: bool = False,
) -> Receipt | None:
    """One file, from its bytes to its receipt; None where these bytes under this name are known already.

    With ``again``, bytes that were refused are tried once more, and None says that they are refused again. Raises
    :class:`~flows.errors.UnreadableFileError` where it cannot be read at all.
    """
    checksum = _checksum(delivery.path)
    last = receipts.last_of_file(delivery.name)
    is_known = last is not None and last.sha256 == checksum
    if is_known and not (again and last is not None and last.status is Status.REFUSED):
        receipts.remember(delivery.name, delivery.stat)
        return None

    superseded = None
    if spec.redelivery is Redelivery.NEWEST_WINS:
        superseded = receipts.replaced_by_redelivery(delivery.name)
    receipt = Receipt(
        batch_id=receipts.last_batch_id() + 1,
        dataset=spec.name,
        source=delivery.source,
        file=delivery.name,
        sha256=checksum,
        bytes=delivery.stat.st_size,
        format=file_format(delivery.path.name) or "",
        status=Status.DUPLICATE,
        supersedes_batch_id=superseded.batch_id if superseded else None,
        contract=f"{spec.name}.{spec.version}",
        key_check=key_check(conformers.key),
        delivered_at=datetime.fromtimestamp(delivery.stat.st_mtime, UTC),
        landed_at=datetime.now(UTC),
    )
    made = work_folder(settings) / batch_name(receipt.batch_id)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    # A name that landed other bytes before must land these, even if another name did: it takes their place.
    known = None if superseded else receipts.landed_content(spec.name, checksum)
    if known is not None:
        receipt = receipt.model_copy(
            update={"reason": f"the same bytes landed as {known.file} (batch {known.batch_id})"}
        )
    else:
        reason: str | None = None
        try:
            parts, columns = read_parts(delivery.path, spec), partial(columns_of, delivery.path, spec)
            receipt = land_rows(settings, spec, receipt, made, parts, columns, conformers.of(spec), done.examples)
        except (TidemarkError, OSError, sqlite3.Error) as error:
            if not isinstance(error, FileRefusedError):
                raise  # the lake's own: the next file would meet it too
            reason = str(error)
        except Exception as error:  # whatever a file's rows make a library throw costs that file alone
            reason = thrown(error)
        if reason is not None:
            shutil.rmtree(made)
            made.mkdir()
            update = {"status": Status.REFUSED, "reason": reason, "supersedes_batch_id": None}
            receipt = receipt.model_copy(update=update)
    if not _is_as_found(delivery):
        # Written to or replaced since: the checksum and the rows may be of different bytes.
        discard(settings, receipt)
        done.unsettled.append(delivery.name)
        return None
    if is_known and receipt.status is Status.REFUSED:
        receipts.remember(delivery.name, delivery.stat)
        return None
    receipts.commit(receipt, made)
    receipts.remember(delivery.name, delivery.stat)
    return receipt


def _is_as_found(delivery: Delivery) -> bool:
    try:
        now, then = delivery.path.stat(), delivery.stat
    except PermissionError:
        return False
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (then.st_ino, then.st_size, then.st_mtime_ns)


def discard(settings: Settings, receipt: Receipt) -> None:
    """Take back what quarantine holds of a batch that will not be committed."""
    for path in (settings.quarantine / receipt.dataset).glob(f"{batch_name(receipt.batch_id)}.*"):
        path.unlink()


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
