"""Write a batch: a file's conformed rows, and what does not fit into quarantine."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import extract_tb

import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import MACHINE_ERRORS, FileRefusedError, TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.conform import Conformed
from flows.land.hints import LOOKED_AT, Rejected, no_row_fits
from flows.land.landed_files import LandedFiles
from flows.land.receipt import Receipt, Status, batch_name
from flows.settings import Settings

REJECTS_SCHEMA = pa.schema(
    [
        ("_batch_id", pa.int64()),
        ("_line", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("raw", pa.binary()),
    ]
)
UNKNOWN_SCHEMA = pa.schema(
    [("_batch_id", pa.int64()), ("_line", pa.int64()), ("key", pa.string()), ("value", pa.string())]
)
# In a quarantine file's metadata: the columns its rows stood in, without which CSV and Parquet cannot be read again.
COLUMNS = b"tidemark.columns"
EXAMPLES = 3
PACKAGE = Path(__file__).parents[1]


def land_rows(
    settings: Settings,
    spec: DatasetSpec,
    receipt: Receipt,
    made: Path,
    conformed: Iterator[Conformed],
    columns: Callable[[], str | None],
    examples: list[str],
) -> Receipt:
    """Stream a file's conformed rows into the batch being made, and what does not fit into quarantine, with the columns
    that its rows stand in."""
    stem = settings.quarantine / spec.name / batch_name(receipt.batch_id)
    rejects = _LazyParquet(stem.with_suffix(".parquet"), REJECTS_SCHEMA)
    unknown = _LazyParquet(stem.with_suffix(".unknown.parquet"), UNKNOWN_SCHEMA)
    shown = 0
    reasons: Counter[tuple[str, str | None]] = Counter()
    first: list[Rejected] = []
    names: str | None = None
    with rejects, unknown, LandedFiles(spec, receipt.batch_id, made) as landed:
        for part in _of_the_file(conformed):
            landed.write(part.rows)
            rejects.write(
                [
                    {
                        "_batch_id": receipt.batch_id,
                        "_line": r.line,
                        "reason": r.reason,
                        "field": r.field,
                        "raw": r.raw,
                    }
                    for r in part.rejects
                ]
            )
            reasons.update((r.reason, r.field) for r in part.rejects)
            first += [Rejected(r.reason, r.field, r.raw) for r in part.rejects[: LOOKED_AT - len(first)]]
            unknown.write(
                [{"_batch_id": receipt.batch_id, "_line": u.line, "key": u.key, "value": u.value} for u in part.unknown]
            )
            for r in part.rejects[: EXAMPLES - shown]:
                where = f", field {r.field}" if r.field else ""
                examples.append(f"{receipt.file}, line {r.line}{where}: {r.reason.replace('_', ' ')}")
                shown += 1
        if rejects.rows and (names := columns()) is not None:
            rejects.note(COLUMNS, names)
    why = None
    if rejects.rows and not landed.rows:
        # Of Parquet the rows, as JSON, say as much.
        header = json.loads(names) if names and receipt.format == "csv" else []
        why = no_row_fits(rejects.rows, reasons, first, header, spec, load_specs() | {spec.name: spec})
    return receipt.model_copy(
        update={
            "status": Status.LANDED,
            "reason": why,
            "rows_read": landed.rows + rejects.rows,
            "rows_landed": landed.rows,
            "rows_rejected": rejects.rows,
            "unknown_keys": unknown.rows,
            "files": tuple(landed.files),
            "columns": landed.columns if landed.rows else (),
            "rejects_path": f"quarantine/{spec.name}/{rejects.path.name}" if rejects.rows else None,
        }
    )


def _of_the_file(conformed: Iterator[Conformed]) -> Iterator[Conformed]:
    """The chunks as they come, and any error in reading or conforming them as the file's own.

    Writing the batch is no part of this: an error there is the lake's. So is what this machine has no more of (room,
    open files), and a file that was taken away is looked at by the caller.
    """
    try:
        yield from conformed
    except (TidemarkError, FileNotFoundError):
        raise
    except OSError as error:
        if error.errno in MACHINE_ERRORS:
            raise
        raise FileRefusedError(thrown(error)) from error
    except Exception as error:
        raise FileRefusedError(thrown(error)) from error


def thrown(error: Exception) -> str:
    """What was thrown, and where; not what it says, which may repeat a value of the file."""
    ours = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(PACKAGE)]
    where = f" in {Path(ours[-1].filename).relative_to(PACKAGE)}, line {ours[-1].lineno}" if ours else ""
    return f"reading its rows failed ({type(error).__name__}{where}); deliver it again, written another way"


class _LazyParquet:
    """A Parquet file of the quarantine, readable by its owner only, made when the first row comes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_LazyParquet":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.close()
        if kind is None:
            sync_file(self.path)
            sync_folder(self.path.parent)
        else:
            self.path.unlink(missing_ok=True)

    def write(self, rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))
        self.rows += len(rows)

    def note(self, key: bytes, text: str) -> None:
        """Put a text into the file's metadata, once it has rows."""
        if self._writer is not None:
            self._writer.add_key_value_metadata({key.decode(): text})
