"""Land again what did not fit: rows in quarantine and files refused whole, after the contract or a reader was fixed.

A retry of a file's quarantined rows is a batch of its own, committed like any other by one rename. It reads every row
that the file's batch before it rejected: those that fit now land in it, with the lines they had, and the rest are its
own rejects, which take the place of the earlier ones. So of each file only the last batch's rejects stand, and

    rows in = rows landed, over the file's first batch and its retries, + rows rejected by the last of them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import FileRefusedError, TidemarkError, UnreadableFileError
from flows.land.conformers import Conformers
from flows.land.inbox import deliveries, file_format, is_settled
from flows.land.land import open_for_landing
from flows.land.land_file import FileLander
from flows.land.receipt import Receipt, Status
from flows.land.receipts import Receipts
from flows.land.retry_batch import REMEDY, Left, left_of, retry_batch
from flows.settings import Settings


@dataclass
class Retried:
    """What a retry did: receipts of what landed, rows that still do not fit, and what was not tried, with why."""

    receipts: list[Receipt] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    not_tried: list[str] = field(default_factory=list)
    still_refused: list[Receipt] = field(default_factory=list)


def retry_quarantine(
    settings: Settings,
    dataset: str | None = None,
    specs: dict[str, DatasetSpec] | None = None,
    progress: Callable[[Receipt], None] = lambda receipt: None,
) -> Retried:
    """Land what fits by now of the rows in quarantine, and of the refused files that are still in the inbox.

    ``dataset`` narrows it to one. Rows of a file that a later delivery superseded are not tried, nor are batches of
    datasets that the contract no longer has. Doing it twice lands nothing twice. Raises
    :class:`~flows.errors.TidemarkError` as :func:`~flows.land.land.land` does, and where there is no such dataset.
    """
    specs = load_specs() if specs is None else specs
    if dataset is not None and dataset not in specs:
        raise TidemarkError(f"the contract has no dataset {dataset} (there are {', '.join(sorted(specs))})")
    done = Retried()
    with open_for_landing(settings, specs) as receipts, Conformers(settings, receipts) as conformers:
        for before, superseded_by in receipts.last_with_rejects(dataset):
            try:
                _check_can_be_tried(settings, before, superseded_by, specs)
                receipt, left = retry_batch(settings, specs[before.dataset], before, receipts, conformers)
            except FileRefusedError as why:
                done.not_tried.append(f"{before.file}, {before.rows_rejected:,} rows: {why}")
                continue
            done.left += left
            if receipt is not None:
                done.receipts.append(receipt)
                progress(receipt)
        _retry_refused(settings, dataset, specs, receipts, conformers, done, progress)
    return done


def _check_can_be_tried(
    settings: Settings, before: Receipt, superseded_by: int | None, specs: dict[str, DatasetSpec]
) -> None:
    """Raise :class:`FileRefusedError`, with the reason, where a batch's rejects are not to be tried."""
    if superseded_by is not None:
        raise FileRefusedError(f"the file was delivered again with other bytes (batch {superseded_by}): these count")
    if before.dataset not in specs:
        raise FileRefusedError(f"the contract no longer has the dataset {before.dataset}")
    if not (settings.lake / (before.rejects_path or "")).is_file():
        raise FileRefusedError(f"{before.rejects_path} is missing; {REMEDY}")


def _retry_refused(
    settings: Settings,
    dataset: str | None,
    specs: dict[str, DatasetSpec],
    receipts: Receipts,
    conformers: Conformers,
    done: Retried,
    progress: Callable[[Receipt], None],
) -> None:
    """Land the files refused whole, where the inbox still has them; refused again they keep the receipt they have."""
    lander = FileLander(settings, receipts, conformers, examples=[], unsettled=[])
    refused = {r.file: r for r in receipts.last_of_each_file(Status.REFUSED) if dataset in (None, r.dataset)}
    for delivery in deliveries(settings.inbox) if refused else ():
        known = delivery.dataset in specs and file_format(delivery.path.name) is not None
        settled = is_settled(delivery.stat, datetime.now(UTC).timestamp(), settings.settle_seconds)
        if delivery.name not in refused or not known or not settled or delivery.is_beside:
            continue
        try:
            new = lander.look_at(delivery, again=True)
            receipt = lander.land(specs[delivery.dataset], new) if new else None
        except FileNotFoundError:
            if delivery.path.exists():
                raise
            continue  # taken away while it was read
        except UnreadableFileError as why:
            done.not_tried.append(f"{delivery.name}: {why}")
            continue
        last = receipt or receipts.last_of_file(delivery.name)
        if last is not None and last.status is Status.REFUSED:
            done.still_refused.append(last)
        elif receipt is not None:
            done.receipts.append(receipt)
            progress(receipt)
            if receipt.rejects_path:
                done.left += left_of(settings.lake / receipt.rejects_path, receipt.file)
    gone = [name for name in refused if not os.path.lexists(settings.inbox / name)]
    done.not_tried += [f"{name}: refused, and no longer in the inbox; have it delivered again" for name in gone]
