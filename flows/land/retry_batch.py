"""Land again the rows of one file that are in quarantine: a batch of its own, committed like any other."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec
from flows.errors import FileRefusedError
from flows.land.again import chunks_again, columns_noted, spec_of_feed
from flows.land.batch import BatchFiles, land_rows
from flows.land.conformers import Conformers, conformed
from flows.land.day_keys import DestroyedKeyError
from flows.land.feed_mapping import mapped
from flows.land.feeds import feed_of
from flows.land.quarantine import discard, opened
from flows.land.readers import Part, decoded
from flows.land.receipt import Receipt, batch_name
from flows.land.receipts import Receipts, work_folder
from flows.settings import Settings

REMEDY = "restore it, or have the rows delivered again in a new file"


@dataclass(frozen=True)
class Left:
    """Rows of a file that stay in quarantine, with the reason found now."""

    file: str
    reason: str
    field: str | None
    rows: int


def retry_batch(
    settings: Settings,
    spec: DatasetSpec,
    before: Receipt,
    receipts: Receipts,
    conformers: Conformers,
) -> tuple[Receipt | None, list[Left]]:
    """Try one file's quarantined rows: the receipt of those that landed, and what is left. There is no receipt where
    none of them fits, which leaves everything as it was.

    Raises :class:`FileRefusedError` where the quarantine file cannot be read again.
    """
    receipt = before.model_copy(
        update={
            "batch_id": receipts.last_batch_id() + 1,
            "supersedes_batch_id": None,
            "retries_batch_id": before.delivery_batch_id,
            "files": (),
            "text_files": (),
            "texts_too_late": 0,
            "rows_removed": 0,
            "rows_ignored": 0,
            "rows_withheld": 0,
            "told_files": (),
            "columns": (),
            "contract": f"{spec.name}.{spec.version}",
            **conformers.key_checks,
            "landed_at": datetime.now(UTC),
        }
    )
    made = work_folder(settings) / batch_name(receipt.batch_id)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        path = settings.lake / (before.rejects_path or "")
        with opened(path, conformers.day_keys) as quarantine:
            columns = columns_noted(quarantine, before.format)
            feed = feed_of(before.file)
            as_delivered = spec_of_feed(feed, before.format, columns) if feed else spec
            chunks = chunks_again(quarantine, before.format, as_delivered, columns, work_folder(settings))
            parts: Iterator[Part] = map(decoded, chunks)
            # A row that the feed leaves out by now stays where it is: it was promised to be kept.
            if feed:
                parts = mapped(parts, feed, spec, conformers.beside.of(feed, before.source), keep_others=True)
            rows = conformed(parts, conformers.of(spec), receipt.batch_id)
            keys, erased, earlier_days = conformers.day_keys, conformers.erased, conformers.earlier_days
            files = BatchFiles(settings, spec, receipt, made, keys, erased, earlier_days)
            receipt = land_rows(files, receipt, rows, lambda: columns, [])
    except DestroyedKeyError as error:
        raise FileRefusedError("what they said is gone: its time was over; have the rows delivered again") from error
    except pa.ArrowException as error:
        raise FileRefusedError(f"{before.rejects_path} is damaged ({error}); {REMEDY}") from error
    if receipt.rows_read != before.rows_rejected:
        discard(settings, receipt)
        raise FileRefusedError(
            f"{before.rejects_path} gave {receipt.rows_read:,} rows, and the receipt of batch {before.batch_id} counts "
            f"{before.rows_rejected:,}; {REMEDY}"
        )
    left = left_of(settings.lake / receipt.rejects_path, receipt.file) if receipt.rejects_path else []
    if not receipt.rows_landed:
        discard(settings, receipt)
        return None, left
    receipts.commit(receipt, made)
    return receipt, left


def left_of(rejects: Path, file: str) -> list[Left]:
    """The rows of a quarantine file, counted by what is wrong with them."""
    table = pq.read_table(rejects, columns=["reason", "field"])
    counted = Counter(zip(table["reason"].to_pylist(), table["field"].to_pylist(), strict=True))
    return [Left(file, reason, where, rows) for (reason, where), rows in counted.most_common()]
