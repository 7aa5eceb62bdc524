"""Land again what did not fit: rows in quarantine and files refused whole, after the contract or a reader was fixed.

A retry of a file's quarantined rows is a batch of its own, committed like any other by one rename. It reads every row
that the file's batch before it rejected: those that fit now land in it, with the lines they had, and the rest are its
own rejects, which take the place of the earlier ones. So of each file only the last batch's rejects stand, and

    rows in = rows landed, over the file's first batch and its retries, + rows rejected by the last of them.

The rows are put back into a small file of the format in which they came and read by the reader of that format: they
are judged as if they were delivered now.
"""

import ast
import base64
import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import FileRefusedError, TidemarkError, UnreadableFileError
from flows.land.batch import BatchFiles, land_rows
from flows.land.conformers import Conformers, conformed
from flows.land.day_keys import DestroyedKeyError
from flows.land.inbox import deliveries, file_format, is_settled
from flows.land.land import open_for_landing
from flows.land.land_file import FileLander
from flows.land.quarantine import COLUMNS, discard, opened
from flows.land.readers import Chunk, Reject, Unknown, decoded, limits, read_chunks
from flows.land.readers.csv import DELIMITERS, PIECE, is_one_row
from flows.land.readers.json_lines import chunk_of
from flows.land.readers.protobuf import decoder_of
from flows.land.readers.values import json_rows
from flows.land.receipt import Receipt, Status, batch_name
from flows.land.receipts import Receipts, work_folder
from flows.rights import PRIVATE
from flows.settings import Settings

PIECE_ROWS = 10_000
REMEDY = "restore it, or have the rows delivered again in a new file"


@dataclass(frozen=True)
class Left:
    """Rows of a file that stay in quarantine, with the reason found now."""

    file: str
    reason: str
    field: str | None
    rows: int


@dataclass
class Retried:
    """What a retry did: receipts of what landed, rows that still do not fit, and what was not tried, with why."""

    receipts: list[Receipt] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    not_tried: list[str] = field(default_factory=list)
    still_refused: list[Receipt] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    """Rows of the quarantine as a file of the format they came in: its bytes, and the line at which each begins."""

    data: bytes
    starts: list[int]


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
                receipt = _retry_batch(settings, specs[before.dataset], before, receipts, conformers, done)
            except FileRefusedError as why:
                done.not_tried.append(f"{before.file}, {before.rows_rejected:,} rows: {why}")
                continue
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


def _retry_batch(
    settings: Settings,
    spec: DatasetSpec,
    before: Receipt,
    receipts: Receipts,
    conformers: Conformers,
    done: Retried,
) -> Receipt | None:
    """One file's quarantined rows; None where none of them fits, which leaves everything as it was.

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
            columns = _columns(quarantine, before)
            chunks = _chunks_again(quarantine, before.format, spec, columns, work_folder(settings))
            rows = conformed(map(decoded, chunks), conformers.of(spec), receipt.batch_id)
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
    if receipt.rejects_path:
        done.left += _left(settings.lake / receipt.rejects_path, receipt.file)
    if not receipt.rows_landed:
        discard(settings, receipt)
        return None
    receipts.commit(receipt, made)
    return receipt


def _columns(quarantine: pq.ParquetFile, before: Receipt) -> str | None:
    noted = (quarantine.metadata.metadata or {}).get(COLUMNS)
    if noted is None and before.format in (*DELIMITERS, "parquet"):
        raise FileRefusedError(
            "their quarantine file does not say which columns they stood in, as those of earlier versions do not; "
            "have the rows delivered again in a new file"
        )
    return noted.decode() if noted is not None else None


def _left(rejects: Path, file: str) -> list[Left]:
    table = pq.read_table(rejects, columns=["reason", "field"])
    counted = Counter(zip(table["reason"].to_pylist(), table["field"].to_pylist(), strict=True))
    return [Left(file, reason, where, rows) for (reason, where), rows in counted.most_common()]


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
        if delivery.name not in refused or not known or not settled:
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
                done.left += _left(settings.lake / receipt.rejects_path, receipt.file)
    gone = [name for name in refused if not os.path.lexists(settings.inbox / name)]
    done.not_tried += [f"{name}: refused, and no longer in the inbox; have it delivered again" for name in gone]


# --- rows of the quarantine as chunks of a file ----------------------------------------------------------------------


def _chunks_again(
    quarantine: pq.ParquetFile, kind: str, spec: DatasetSpec, columns: str | None, work: Path
) -> Iterator[Chunk]:
    """The rejects as chunks, with the lines they had. What cannot stand in a file again keeps its reason."""
    # Columns are always named here, also for datasets whose files have no header.
    named = spec.model_copy(update={"csv": spec.csv.model_copy(update={"headerless": False})})
    path = work / f"again.{kind}"
    decode = chunk_of if kind not in (*DELIMITERS, "pb", "parquet") else decoder_of(spec) if kind == "pb" else None
    for batch in quarantine.iter_batches(batch_size=PIECE_ROWS):
        rejects = [Reject(r["_line"], r["reason"], r["field"], r["raw"]) for r in batch.to_pylist()]
        if decode is not None:
            # These need no file around them to be read.
            for some in _bounded(rejects):
                yield decode([r.raw for r in some], np.array([r.line for r in some], np.int64))
            continue
        kept, tried = _parted(rejects, kind, named, columns)
        if kept:
            nothing = pa.table({"_line": pa.array([], pa.int64()), "raw": pa.array([], pa.string())})
            yield Chunk(nothing, lambda positions: [], kept, is_json=True)
        if not tried:
            continue
        file = _as_file([r.raw for r in tried], kind, spec, columns)
        path.unlink(missing_ok=True)
        path.touch(mode=PRIVATE.file)
        path.write_bytes(file.data)
        lines = np.array([r.line for r in tried], np.int64)
        for chunk in read_chunks(path, named):
            yield _with_lines(chunk, np.array(file.starts), lines)
    path.unlink(missing_ok=True)


def _bounded(rejects: list[Reject]) -> Iterator[list[Reject]]:
    """The rejects, in parts of not much more than CHUNK_BYTES."""
    ends = np.cumsum([len(r.raw) for r in rejects]) // limits.CHUNK_BYTES
    cuts = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(rejects)]
    return (rejects[start:end] for start, end in pairwise(cuts))


def _with_lines(chunk: Chunk, starts: np.ndarray, lines: np.ndarray) -> Chunk:
    """The chunk with the lines that the rows had as delivered."""

    def line_of(line: int) -> int:
        return int(lines[np.searchsorted(starts, line)])

    at = chunk.table.schema.get_field_index("_line")
    original = lines[np.searchsorted(starts, chunk.table["_line"].to_numpy())]
    return replace(
        chunk,
        table=chunk.table.set_column(at, "_line", pa.array(original, pa.int64())),
        rejects=[replace(r, line=line_of(r.line)) for r in chunk.rejects],
        unknown=[Unknown(line_of(u.line), u.key, u.value) for u in chunk.unknown],
    )


def _parted(
    rejects: list[Reject], kind: str, spec: DatasetSpec, columns: str | None
) -> tuple[list[Reject], list[Reject]]:
    """The rejects that cannot be tried again, and those that can."""
    if kind in DELIMITERS:
        width = len(json.loads(columns or "[]"))
        can = [not r.reason.startswith(PIECE) and is_one_row(r.raw, spec, DELIMITERS[kind], width) for r in rejects]
    else:
        schema = _schema(columns)
        if _restored([r.raw for r in rejects], schema) is not None:
            return [], rejects
        can = [_restored([r.raw], schema) is not None for r in rejects]
    return [r for r, c in zip(rejects, can, strict=True) if not c], [r for r, c in zip(rejects, can, strict=True) if c]


def _as_file(raws: list[bytes], kind: str, spec: DatasetSpec, columns: str | None) -> _File:
    """Rows as a file of their format, one after the other."""
    if kind == "parquet":
        out = io.BytesIO()
        pq.write_table(_restored(raws, _schema(columns)), out)
        return _File(out.getvalue(), list(range(1, len(raws) + 1)))
    header = _csv_header(columns, spec.csv.encoding, DELIMITERS[kind])
    first = header.count(b"\n") + 1
    starts = list(accumulate((raw.count(b"\n") + 1 for raw in raws), initial=first))[:-1]
    return _File(header + b"".join(raw + b"\n" for raw in raws), starts)


def _csv_header(columns: str | None, encoding: str, delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", delimiter=delimiter).writerow(json.loads(columns or "[]"))
    try:
        return text.getvalue().encode(encoding, "surrogateescape")
    except UnicodeEncodeError as error:
        raise FileRefusedError(
            f"their columns' names cannot be written in {encoding}, the contract's encoding"
        ) from error


def _schema(columns: str | None) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(columns or "")))


def _restored(raws: list[bytes], schema: pa.Schema) -> pa.Table | None:
    """Rows of a Parquet file from their JSON, in the types they had; None where that does not give them exactly."""
    try:
        rows = [_native(json.loads(raw), pa.struct(schema)) for raw in raws]
        table = pa.Table.from_pylist(rows, schema)
        again = json_rows(table)
    except Exception:  # whatever type a library has no way back to
        return None
    return table if again == raws else None


def _native(value: Any, kind: pa.DataType) -> Any:
    """A value of a row's JSON as what Arrow gave for it: times, decimals, bytes and UUIDs were written as text."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _native(value[f.name], f.type) for f in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_native(v, kind.value_type) for v in value]
    if pa.types.is_dictionary(kind):
        return _native(value, kind.value_type)
    for is_kind, read in _FROM_TEXT:
        if is_kind(kind):
            return read(value)
    return value


_FROM_TEXT: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any]], ...] = (
    (pa.types.is_timestamp, datetime.fromisoformat),
    (pa.types.is_date, date.fromisoformat),
    (pa.types.is_time, time.fromisoformat),
    (pa.types.is_decimal, Decimal),
    (pa.types.is_binary, ast.literal_eval),
    (pa.types.is_large_binary, ast.literal_eval),
    (pa.types.is_fixed_size_binary, ast.literal_eval),
    (lambda kind: isinstance(kind, pa.UuidType), UUID),
)
