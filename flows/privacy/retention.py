"""The end of what the contract no longer lets be kept: in the inbox, the landed zone, quarantine and the text store.

Each day ends as a whole, once its retention is over. Of text and quarantine the day's key is destroyed first: what it
encrypted is gone with it, in every copy and backup. Landed rows end by their day, and of a dataset without days by that
on which they landed: a removal takes them out (flows/land/remove.py), and :mod:`flows.privacy.renew` has them gone from
what was made of them. Killed anywhere, the next run goes on.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path

from flows.clock import local_day
from flows.contract.spec import DatasetSpec, load_specs
from flows.files import sync_folder
from flows.land import quarantine, text
from flows.land.day_keys import DayKeys
from flows.land.inbox import deliveries
from flows.land.receipt import Receipt, day_in
from flows.land.receipts import Receipts
from flows.land.remove import remove_days, remove_rows, remove_unread, removing
from flows.settings import Settings


@dataclass(frozen=True)
class Ended:
    """What ended: of which store (inbox, landed, text, quarantine) and dataset, the day or, of landed rows, the last of
    the days; and how many files, rows or days of words."""

    store: str
    dataset: str
    day: date
    count: int


def expire(
    settings: Settings,
    specs: dict[str, DatasetSpec] | None = None,
    today: date | None = None,
    progress: Callable[[Ended], None] = lambda ended: None,
) -> list[Ended]:
    """End what is older than its retention: ``today`` is the organisation's day where it is not given.

    What is made of landed rows is not renewed by this. Datasets that the contract no longer has, or that may be kept
    for ever, are left as they are. Another landing is waited for. Raises :class:`TidemarkError` where a file cannot be
    removed; what ended before has ended.
    """
    specs = load_specs() if specs is None else specs
    today = today or local_day(datetime.now(UTC))
    done: list[Ended] = []
    if not settings.lake.exists():
        return done
    with removing(settings, specs, "tidemark expire") as receipts:
        of_datasets = (_of_dataset(settings, spec, receipts, today) for spec in specs.values())
        for ended in chain(*of_datasets, _of_inbox(settings, specs, receipts, today)):
            done.append(ended)
            progress(ended)
        remove_unread(receipts, settings, specs)
    return done


def last_day_to_end(days: int, today: date) -> date | None:
    """The last day that is over after this many days of retention; None where 0 of them mean for ever."""
    return today - timedelta(days=days + 1) if days else None


def _of_dataset(settings: Settings, spec: DatasetSpec, receipts: Receipts, today: date) -> Iterator[Ended]:
    keys = DayKeys(settings)
    # Fields of text stand in one file, so all of them end with the first.
    of_texts = [field.retention_days or spec.retention_days for field in spec.texts]
    if last := last_day_to_end(min(filter(None, of_texts), default=0), today):
        with_files = _days_with_files(settings.text / spec.name)
        for day in sorted(day for day in {*with_files, *keys.days(text.STORE, spec.name)} if day <= last):
            keys.destroy(text.STORE, spec.name, day)
            yield Ended(text.STORE, spec.name, day, _remove_all(settings.text / spec.name / f"event_date={day}"))
    if last := last_day_to_end(spec.retention_days, today):
        # Where a row stood and why it did not fit stays: that names nobody.
        for day in sorted(day for day in keys.days(quarantine.STORE, spec.name) if day <= last):
            keys.destroy(quarantine.STORE, spec.name, day)
            yield Ended(quarantine.STORE, spec.name, day, 1)
        if removal := _remove_landed(settings, spec, receipts, last):
            yield Ended("landed", spec.name, last, sum(rows.rows for rows in removal.removed))


def _remove_landed(settings: Settings, spec: DatasetSpec, receipts: Receipts, last: date) -> Receipt | None:
    why = f"retention of {spec.retention_days:,} days: up to {last}"
    if spec.is_by_day:
        return remove_days(receipts, settings, spec, last, why)
    there = receipts.files.rows_by_batch(spec.name, None, receipts.last_batch_id())
    over = sorted(batch_id for batch_id in there if local_day(receipts.one(batch_id).landed_at) <= last)
    if not over:
        return None
    return remove_rows(receipts, settings, spec, f"_batch_id in ({', '.join(map(str, over))})", why)


def _days_with_files(folder: Path) -> Iterator[date]:
    for path in folder.glob("event_date=*"):
        with suppress(ValueError):  # no day: somebody else's
            if day := day_in(path):
                yield day


def _remove_all(folder: Path) -> int:
    """Remove a day's files and its folder; how many files there were."""
    if not folder.exists():
        return 0
    files = list(folder.iterdir())
    for path in files:
        path.unlink()
    folder.rmdir()
    sync_folder(folder.parent)
    return len(files)


def _of_inbox(settings: Settings, specs: dict[str, DatasetSpec], receipts: Receipts, today: date) -> Iterator[Ended]:
    """Files that were dealt with, as they are, longer ago than their dataset's retention."""
    for found in deliveries(settings.inbox):
        last = last_day_to_end(specs[found.dataset].retention_days, today) if found.dataset in specs else None
        receipt = receipts.last_of_file(found.name)
        if last is None or receipt is None or not receipts.is_unchanged(found.name, found.stat):
            continue
        day = local_day(receipt.landed_at)
        if day <= last:
            found.path.unlink()
            sync_folder(found.path.parent)
            yield Ended("inbox", found.dataset, day, 1)
