"""What is measured of the lake: receipts, landed and quarantined files, and the files of the inbox."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from flows.audit.judge import (
    RESTORE,
    Batch,
    FileCount,
    Finding,
)
from flows.contract.spec import PROJECT, DatasetSpec
from flows.errors import FileRefusedError
from flows.files import sha256
from flows.land.day_keys import DayKeys
from flows.land.file_index import compacted_with
from flows.land.readers.columns import OtherColumnsError
from flows.land.reading import chunks_as_delivered
from flows.land.receipt import DATA, RECEIPT, Receipt, Status, batch_name, removed_rows
from flows.land.text import STORE
from flows.settings import Settings

DAMAGE = (OSError, pa.ArrowException)
Gone = Counter[tuple[int, date | None]]


def read_receipts(settings: Settings) -> tuple[list[Receipt], list[Finding]]:
    """Every receipt of the landed zone by batch, from the folders that are the truth, and those that cannot be read."""
    receipts, faults = [], []
    for folder in settings.landed.glob("*/batch-*"):
        path, dataset, number = folder / RECEIPT, folder.parent.name, folder.name.removeprefix("batch-")
        try:
            receipt = Receipt.model_validate_json(path.read_text())
            if (receipt.dataset, batch_name(receipt.batch_id)) != (dataset, folder.name):
                raise ValueError("it is another batch's")
            receipts.append(receipt)
        except (OSError, ValueError) as error:
            kind = "missing" if isinstance(error, FileNotFoundError) else "damaged or another batch's"
            where = str(path.relative_to(settings.lake))
            batch_id = int(number) if number.isdigit() else None
            faults.append(Finding(dataset, "receipt", f"{where} is {kind}", RESTORE.format(path=where), batch_id))
    return sorted(receipts, key=lambda r: r.batch_id), faults


def lost_batches(settings: Settings, every: dict[int, Receipt]) -> Iterator[Finding]:
    """Batches that the index knows and the landed zone no longer has."""
    try:
        with closing(sqlite3.connect(f"file:{settings.landed / 'index.sqlite'}?mode=ro", uri=True)) as index:
            rows = index.execute("select batch_id, dataset, file from receipts order by batch_id").fetchall()
    except sqlite3.Error:
        return
    for batch_id, dataset, file in rows:
        path = f"landed/{dataset}/{batch_name(batch_id)}"
        if batch_id not in every and not (settings.lake / path).exists():
            yield Finding(dataset, "landed", f"{path} is missing", RESTORE.format(path=path), batch_id, file)


def stray_texts(settings: Settings, every: dict[int, Receipt]) -> Iterator[Finding]:
    """Files of the text store that no receipt names. Those of later batches may be about to be committed."""
    named = {file.path for receipt in every.values() for file in receipt.text_files}
    upto = batch_name(max(every, default=0))
    for path in sorted(settings.text.rglob("*")):
        name = str(path.relative_to(settings.lake))
        is_to_come = path.name.startswith("batch-") and path.name[: len(upto)] > upto
        if path.is_file() and name not in named and not is_to_come:
            dataset = path.relative_to(settings.text).parts[0]
            yield Finding(dataset, "landed", f"{name} is named by no receipt", f"look what it is, and remove {name}")


def in_period(receipts: list[Receipt], first: date | None, last: date | None, dataset: str | None) -> list[Receipt]:
    """The receipts of every file of which a batch landed in the period."""
    zone = ZoneInfo(yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["timezone"])

    def is_in(receipt: Receipt) -> bool:
        day = receipt.landed_at.astimezone(zone).date()
        return (first is None or day >= first) and (last is None or day <= last)

    files = [r for r in receipts if r.status is not Status.REMOVED]
    chosen = {r.delivery_batch_id for r in files if dataset in (None, r.dataset) and is_in(r)}
    return [r for r in files if r.delivery_batch_id in chosen]


def by_batch(gone: Gone) -> Counter[int]:
    """The rows of each batch that are gone, of whatever day."""
    rows: Counter[int] = Counter()
    for (batch_id, _), many in gone.items():
        rows[batch_id] += many
    return rows


def superseded(receipts: Iterable[Receipt], upto: int) -> dict[int, int]:
    """The batches that a later delivery up to a batch superseded, each with that one."""
    return {
        r.supersedes_batch_id: r.batch_id
        for r in receipts
        if r.supersedes_batch_id and r.status is not Status.REFUSED and r.batch_id <= upto
    }


def measure_lake(
    settings: Settings,
    batches: list[Batch],
    every: dict[int, Receipt],
    specs: dict[str, DatasetSpec],
    notes: list[str],
) -> Iterator[Batch]:
    there = 0
    inbox: dict[str, str] = {}
    before: dict[int, Receipt] = {}
    gone = removed_rows(every.values())
    of_batch = by_batch(gone)
    for batch in batches:
        r = batch.receipt
        stem = f"quarantine/{r.dataset}/{batch_name(r.batch_id)}.parquet"
        quarantine, quarantine_fault = _rows_of(settings, r.rejects_path or stem)
        measured = replace(
            batch,
            files=tuple(_counted(settings, r, gone)),
            removed=of_batch[r.batch_id],
            quarantine=quarantine,
            quarantine_fault=quarantine_fault if r.rows_rejected else None,
        )
        if r.retries_batch_id is None and r.status is Status.LANDED and r.dataset in specs:
            path = settings.inbox / r.file
            if path.is_file():
                inbox[r.file] = inbox.get(r.file) or sha256(path)
                if inbox[r.file] == r.sha256:
                    rows, fault = _rows_delivered(path, r.file, specs[r.dataset])
                    measured = replace(measured, delivered=rows, delivered_fault=fault)
                    there += measured.delivered is not None
        elif (
            r.retries_batch_id is not None
            and not (measured.removed or r.rows_removed)
            and (earlier := before.get(r.delivery_batch_id))
        ):
            measured = replace(measured, lines_differ=_lines_differ(settings, earlier, r))
        before[r.delivery_batch_id] = r
        yield measured
    landed = [b.receipt for b in batches if b.receipt.status is Status.LANDED and b.receipt.retries_batch_id is None]
    of_file: dict[str, set[str]] = {}
    for r in every.values():
        of_file.setdefault(r.file, set()).add(r.sha256)
    waiting = sum(sha256 not in of_file[file] for file, sha256 in inbox.items())
    notes.append(f"{there:,} of {len(landed):,} landed files are in the inbox still and were counted there again")
    if waiting:
        notes.append(f"{waiting:,} files of the inbox hold other bytes than landed under their name: they wait to land")


def _counted(settings: Settings, r: Receipt, gone: Gone) -> Iterator[FileCount]:
    """The files in which a batch landed; of one that landed nothing, what stands in its folder nevertheless."""
    in_compacted: dict[Path, int] = {}
    of_day = r.rows_by_day
    for file in r.files:
        compacted = compacted_with(settings, r, file)
        if of_day[file.event_date] == gone[r.batch_id, file.event_date]:
            continue  # no row of that day is left
        if compacted is not None:
            in_compacted[compacted] = of_day[file.event_date] - gone[r.batch_id, file.event_date]
            continue
        rows, fault = _rows_of(settings, file.path)
        yield FileCount(file.path, file.rows, rows, fault)
    keys = DayKeys(settings)
    for file in r.text_files:
        assert file.event_date is not None
        if keys.is_destroyed(STORE, r.dataset, file.event_date):
            continue  # its time was over
        rows, fault = _rows_of(settings, file.path)
        if key_fault := keys.fault(STORE, r.dataset, file.event_date):
            rows, fault = None, f"cannot be read, for the key {key_fault}"
        yield FileCount(file.path, file.rows, rows, fault)
    for path, expected in in_compacted.items():
        try:
            yield FileCount(
                str(path.relative_to(settings.lake)),
                expected,
                _rows_by_batch(path, path.stat().st_mtime_ns).get(r.batch_id, 0),
            )
        except DAMAGE as error:
            fault = f"is damaged ({str(error).splitlines()[0]})"
            yield FileCount(str(path.relative_to(settings.lake)), expected, None, fault)
    stray = f"{r.folder}/{DATA}"
    if not r.files and (settings.lake / stray).exists():
        rows, fault = _rows_of(settings, stray)
        yield FileCount(stray, 0, rows, fault)


@lru_cache(maxsize=512)
def _rows_by_batch(path: Path, written: int) -> dict[int, int]:
    """The rows of each batch in a compacted file, as it was ``written`` at a time."""
    counted = pq.read_table(path, columns=["_batch_id"])["_batch_id"].value_counts()
    return {each["values"].as_py(): each["counts"].as_py() for each in counted}


def _rows_of(settings: Settings, path: str) -> tuple[int | None, str | None]:
    """The rows that a Parquet file of the lake holds by its footer, or what is wrong with it."""
    try:
        return int(pq.read_metadata(settings.lake / path).num_rows), None
    except FileNotFoundError:
        return None, "is missing"
    except DAMAGE as error:
        return None, f"is damaged ({str(error).splitlines()[0]})"


def _rows_delivered(path: Path, name: str, spec: DatasetSpec) -> tuple[int | None, str | None]:
    """The rows of a delivered file, read once more, or why it cannot be read; neither where the contract of today does
    not take it."""
    try:
        return sum(
            int(chunk.table.num_rows) + len(chunk.rejects) for chunk in chunks_as_delivered(path, name, spec)
        ), None
    except (OtherColumnsError, OSError):
        return None, None
    except FileRefusedError as error:
        return None, str(error)
    except Exception as error:  # whatever a damaged file makes a library throw
        return None, type(error).__name__


def _lines_differ(settings: Settings, before: Receipt, retry: Receipt) -> bool:
    """Whether a retry's lines, landed and rejected, are not just those that the batch before it rejected."""

    def lines(r: Receipt, *paths: Path | None) -> list[int]:
        found: list[int] = []
        for path in {*filter(None, paths)}:
            own = pc.field("_batch_id") == r.batch_id
            found += pq.read_table(path, columns=["_line"], filters=own)["_line"].to_pylist()
        return sorted(found)

    def rejects(r: Receipt) -> Path | None:
        return settings.lake / r.rejects_path if r.rejects_path else None

    landed = (compacted_with(settings, retry, file) or settings.lake / file.path for file in retry.files)
    try:
        return lines(retry, *landed, rejects(retry)) != lines(before, rejects(before))
    except (*DAMAGE, KeyError):
        return False  # reported of the file itself
