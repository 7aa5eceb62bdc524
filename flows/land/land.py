"""Land what settled in the inbox: verify, conform to the contract, pseudonymise, quarantine, commit."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import FileRefusedError, TidemarkError, UnreadableFileError
from flows.land.beside import BesideRows
from flows.land.commit import MOST_BEGUN
from flows.land.conformers import Conformers
from flows.land.feeds import feed_beside, feed_of
from flows.land.gather import gathered, in_groups
from flows.land.inbox import Delivery, is_settled, new_deliveries, wait_for_settling
from flows.land.land_file import FileLander, NewFile
from flows.land.layout import refuse_half_swapped, remove_zone_before, settle_layout
from flows.land.receipt import Receipt, Status
from flows.land.receipts import Receipts, work_folder
from flows.land.retry_batch import retry_batch
from flows.land.told import ZONE, land_told
from flows.locks import held
from flows.rights import make_inbox, make_private
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
        make_inbox(settings.inbox)
        for folder in (settings.landed, settings.quarantine, settings.text, settings.lake / ZONE, settings.day_keys):
            make_private(folder)
        with held(settings.lake / LOCK, "landing"):
            remove_zone_before(settings)
            settle_layout(settings, specs)
            with closing(Receipts(settings)) as receipts, _work(settings, receipts):
                land_told(settings, specs, receipts)  # what a killed landing left
                yield receipts
                land_told(settings, specs, receipts)
    except (OSError, sqlite3.Error) as error:
        raise TidemarkError(
            f"landing stopped ({error}); what landed before is whole, the rest waits in {settings.inbox}; "
            "fix the cause (a full disk, a missing permission) and run `tidemark land` again"
        ) from error


@contextmanager
def _work(settings: Settings, receipts: Receipts) -> Iterator[None]:
    """Leave no half-made batch behind, of a landing that was killed nor of this one, however it ends."""
    receipts.clean_up()
    make_private(work_folder(settings))
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
    young: list[Delivery] = []
    new = new_deliveries(settings.inbox, specs, receipts.is_unchanged, lambda left: done.left_alone.append(str(left)))
    settled = _settled(settings, new, young)
    grown = _grown(settings, young, done, wait_for_young)
    with Conformers(settings, receipts) as conformers:
        lander = FileLander(settings, receipts, conformers, done.examples, done.unsettled)
        # What is settled does not wait for what is young.
        beside: list[Delivery] = []
        for group in chain(in_groups(_with_rows(settled, beside)), in_groups(_with_rows(grown, beside))):
            for receipt in _land_group(group, specs[group[0].dataset], lander, conformers, done):
                done.receipts.append(receipt)
                progress(receipt)
        for receipt in _take_beside(settings, specs, beside, lander, receipts, conformers, done):
            done.receipts.append(receipt)
            progress(receipt)
    return done


def _with_rows(found: Iterable[Delivery], beside: list[Delivery]) -> Iterator[Delivery]:
    """The deliveries whose rows land; those beside a feed's are added to ``beside``."""
    for delivery in found:
        if delivery.is_beside:
            beside.append(delivery)
        else:
            yield delivery


def _take_beside(
    settings: Settings,
    specs: dict[str, DatasetSpec],
    came: list[Delivery],
    lander: FileLander,
    receipts: Receipts,
    conformers: Conformers,
    done: Landing,
) -> Iterator[Receipt]:
    """Try quarantined rows again that may have waited for what came beside them: the receipts of those that land, and
    of files that cannot be read.
    """
    if not came:
        return
    conformers.beside = BesideRows(settings)  # what is known of them is of before they came
    waiting = {(feed.name, delivery.source): feed for delivery in came if (feed := feed_beside(delivery.name))}
    for (_, source), feed in sorted(waiting.items(), key=lambda each: each[0]):
        conformers.beside.of(feed, source)
        for before, superseded_by in receipts.last_with_rejects(feed.dataset):
            if superseded_by is None and before.source == source and feed_of(before.file) == feed:
                try:
                    receipt, _ = retry_batch(settings, specs[feed.dataset], before, receipts, conformers)
                except (FileRefusedError, FileNotFoundError) as error:
                    done.left_alone.append(f"{before.file}: its rows in quarantine cannot be tried again: {error}")
                    continue
                if receipt is not None:
                    yield receipt
    for delivery in came:
        rows, fault = conformers.beside.rows.get(delivery.name), conformers.beside.unread.get(delivery.name)
        with _passed_over_where_gone(delivery, done):
            yield from lander.take_beside(specs[delivery.dataset], delivery, rows, fault)


def _land_group(
    group: list[Delivery],
    spec: DatasetSpec,
    lander: FileLander,
    conformers: Conformers,
    done: Landing,
) -> Iterator[Receipt]:
    """Land deliveries of one dataset that are small enough to be conformed together, each as a batch of its own."""
    found: list[NewFile] = []
    for delivery in group:
        with _passed_over_where_gone(delivery, done):
            if new := lander.look_at(delivery):
                found.append(new)
    rows = gathered([new.delivery for new in found], spec, conformers)
    for number, new in enumerate(found):
        share = rows.pop(new.delivery.name, None)
        if share is None or number % MOST_BEGUN == 0:
            yield from lander.commit()  # before one that may take long by itself, too
        with _passed_over_where_gone(new.delivery, done):
            try:
                lander.begin(spec, new, share)
            except Exception:
                yield from lander.commit()  # the batches before it are whole, whatever stops landing here
                raise
    yield from lander.commit()


@contextmanager
def _passed_over_where_gone(delivery: Delivery, done: Landing) -> Iterator[None]:
    """Go on with the next file where one was taken away while it was read, or cannot be read any more."""
    try:
        yield
    except FileNotFoundError:
        if delivery.path.exists():
            raise
    except UnreadableFileError as error:
        done.left_alone.append(f"{delivery.name}: {error}")


def _settled(settings: Settings, new: Iterable[Delivery], young: list[Delivery]) -> Iterator[Delivery]:
    """The deliveries nobody is writing any more; the others are added to ``young``."""
    for delivery in new:
        if is_settled(delivery.stat, time.time(), settings.settle_seconds):
            yield delivery
        else:
            young.append(delivery)


def _grown(settings: Settings, young: list[Delivery], done: Landing, wait_for_young: bool) -> Iterator[Delivery]:
    """The young deliveries that are settled by now, or given the time to settle, once for all."""
    until = time.monotonic() + (settings.settle_seconds + 0.1 if wait_for_young else 0)
    for delivery in young:
        stat = wait_for_settling(delivery.path, settings.settle_seconds, until)
        if stat is not None:
            yield replace(delivery, stat=stat)
        elif os.path.exists(delivery.path):  # noqa: PTH110 (False also where it may not be looked at any more)
            done.unsettled.append(delivery.name)
