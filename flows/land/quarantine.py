"""The quarantine: rows that did not fit the contract, and keys it does not know, as they came.

What they say may be personal data: it is encrypted with the key of the day (UTC) on which the batch landed, in folders
that only their owner may read. Where a row stood and why it did not fit is in clear, and is all that the warehouse
reads.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from flows.contract.spec import descriptors, load_specs
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.day_keys import DayKeys, DestroyedKeyError
from flows.land.readers import Reject, Unknown
from flows.land.receipt import Receipt, batch_name
from flows.rights import PRIVATE, make_private
from flows.settings import Settings

STORE = "quarantine"
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
# A key that the contract does not know may be anybody's address as well.
SECRET_OF_UNKNOWN = ("key", "value")
READ_ROWS = 1_000
# In a file's metadata: the columns its rows stood in, without which CSV and Parquet cannot be read again.
COLUMNS = b"tidemark.columns"


class Quarantine:
    """What a batch leaves in quarantine: two files, each made when its first row comes.

    Used as a context, whose end has the files on the disk, or takes them away where it ends in an error.
    """

    def __init__(self, settings: Settings, keys: DayKeys, receipt: Receipt) -> None:
        stem = settings.quarantine / receipt.dataset / batch_name(receipt.batch_id)
        self._batch_id = receipt.batch_id

        def file(suffix: str, schema: pa.Schema, *secret: str) -> _File:
            day = receipt.landed_at.date()
            path = stem.with_suffix(suffix)
            return _File(path, schema, lambda: keys.to_write(STORE, receipt.dataset, day, secret))

        self._rejects = file(".parquet", REJECTS_SCHEMA, "raw")
        self._unknown = file(".unknown.parquet", UNKNOWN_SCHEMA, *SECRET_OF_UNKNOWN)

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._rejects.close(is_whole=kind is None)
        self._unknown.close(is_whole=kind is None)

    @property
    def rejected(self) -> int:
        """How many rows were rejected so far."""
        return self._rejects.rows

    @property
    def unknown(self) -> int:
        """How many values of unknown keys were set aside so far."""
        return self._unknown.rows

    @property
    def rejects_path(self) -> str | None:
        """Where the rejected rows stand, below the lake; None where there are none."""
        path = self._rejects.path
        return "/".join((STORE, *path.parts[-2:])) if self._rejects.rows else None

    def write(self, rejects: Iterable[Reject], unknown: Iterable[Unknown]) -> None:
        """Take in rows that did not fit, and values of unknown keys."""
        self._rejects.write(
            [
                {"_batch_id": self._batch_id, "_line": r.line, "reason": r.reason, "field": r.field, "raw": r.raw}
                for r in rejects
            ]
        )
        self._unknown.write(
            [{"_batch_id": self._batch_id, "_line": u.line, "key": u.key, "value": u.value} for u in unknown]
        )

    def note_columns(self, names: str) -> None:
        """Put the columns that the rejected rows stood in beside them."""
        self._rejects.note(COLUMNS, names)


class _File:
    """A Parquet file, readable by its owner only."""

    def __init__(self, path: Path, schema: pa.Schema, encryption: Callable[[], Any]) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._encryption = encryption
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        if self._writer is None:
            encryption = self._encryption()
            make_private(self.path.parent)
            self.path.touch(mode=PRIVATE.file)
            self._writer = pq.ParquetWriter(
                self.path, self._schema, compression="zstd", encryption_properties=encryption
            )
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))
        self.rows += len(rows)

    def note(self, key: bytes, text: str) -> None:
        """Put a text into the file's metadata, once it has rows."""
        if self._writer is not None:
            self._writer.add_key_value_metadata({key.decode(): text})

    def close(self, is_whole: bool) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        finally:
            if not is_whole:
                self.path.unlink(missing_ok=True)
        if is_whole:
            sync_file(self.path)
            sync_folder(self.path.parent)


def opened(path: Path, keys: DayKeys) -> pq.ParquetFile:
    """A file of the quarantine, to be read whole."""
    return pq.ParquetFile(path, decryption_properties=keys.to_read())


@dataclass(frozen=True)
class Quarantined:
    """A row or value of the quarantine, for people: where it stood, what is wrong with it, and what it says.

    Where ``text`` is None, ``fault`` says why what the file left in quarantine cannot be read.
    """

    file: str
    line: int
    fault: str
    text: str | None


def read_rejects(settings: Settings, receipts: Iterable[Receipt]) -> Iterator[Quarantined]:
    """The rejected rows of batches, in order; of a file that cannot be read, why not."""
    for receipt, row in _rows_of(settings, ((r, r.rejects_path) for r in receipts)):
        if isinstance(row, str):
            yield Quarantined(receipt.file, 0, row, None)
            continue
        fault = f"{row['reason'].replace('_', ' ')}{', field ' + row['field'] if row['field'] else ''}"
        yield Quarantined(receipt.file, row["_line"], fault, _as_text(receipt, row["raw"]))


def _as_text(receipt: Receipt, raw: bytes) -> str:
    """What a row says: its own bytes as text; of a Protobuf record its fields as JSON, where it can be decoded."""
    spec = load_specs().get(receipt.dataset)
    if receipt.format == "pb" and spec is not None:
        message = GetMessageClass(descriptors().FindMessageTypeByName(spec.message))
        try:
            return json.dumps(MessageToDict(message.FromString(raw), preserving_proto_field_name=True))
        except (DecodeError, ValueError):
            pass
    return raw.decode(errors="replace")


def read_unknown(settings: Settings, receipts: Iterable[Receipt]) -> Iterator[Quarantined]:
    """The values of unknown keys of batches, in order; of a file that cannot be read, why not."""
    paths = ((r, f"{STORE}/{r.dataset}/{batch_name(r.batch_id)}.unknown.parquet") for r in receipts)
    for receipt, row in _rows_of(settings, paths):
        if isinstance(row, str):
            yield Quarantined(receipt.file, 0, row, None)
            continue
        yield Quarantined(receipt.file, row["_line"], f"unknown key {row['key']}", row["value"])


def _rows_of(
    settings: Settings, files: Iterable[tuple[Receipt, str | None]]
) -> Iterator[tuple[Receipt, dict[str, Any] | str]]:
    keys = DayKeys(settings)
    for receipt, path in files:
        if path is None:
            continue
        try:
            with opened(settings.lake / path, keys) as file:
                for rows in file.iter_batches(READ_ROWS):
                    for row in rows.to_pylist():
                        yield receipt, row
        except DestroyedKeyError:  # what these rows said ended when its time was over
            continue
        except (OSError, pa.ArrowException, TidemarkError) as error:
            yield receipt, f"{path} cannot be read ({str(error).splitlines()[0]}); restore it from a backup"


def encrypt_what_is_in_clear(settings: Settings, keys: DayKeys) -> int:
    """Encrypt the files that an earlier Tidemark wrote in clear, each in one step; returns how many those were."""
    done = 0
    for path in sorted(settings.quarantine.glob("*/batch-*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                rows, columns = file.read(), (file.metadata.metadata or {}).get(COLUMNS)
        except (OSError, pa.ArrowException):  # encrypted as it should be, or damaged
            continue
        secret = SECRET_OF_UNKNOWN if ".unknown." in path.name else ("raw",)
        day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
        beside = path.with_name(f".{path.name}.partial")
        beside.unlink(missing_ok=True)
        again = _File(beside, rows.schema, partial(keys.to_write, STORE, path.parent.name, day, secret))
        again.write(rows.to_pylist())
        if columns is not None:
            again.note(COLUMNS, columns.decode())
        again.close(is_whole=True)
        if again.rows:
            beside.replace(path)
            sync_folder(path.parent)
            done += 1
    return done


def blank_lines(settings: Settings, keys: DayKeys, receipt: Receipt, lines: Collection[int]) -> list[str]:
    """Take away what these lines of a batch said, in both of its files; those that changed, below the lake.

    That they stood there, and why they did not fit, stays: so rows are still accounted for. A line that says nothing
    fits no contract, so a retry leaves it where it is.
    """
    changed = []
    for suffix, secret in ((".parquet", ("raw",)), (".unknown.parquet", SECRET_OF_UNKNOWN)):
        path = (settings.quarantine / receipt.dataset / batch_name(receipt.batch_id)).with_suffix(suffix)
        if not path.exists():
            continue
        with opened(path, keys) as file:
            rows, columns = file.read().to_pylist(), (file.metadata.metadata or {}).get(COLUMNS)
            schema = file.schema_arrow
        if not any(row["_line"] in lines and any(row[name] for name in secret) for row in rows):
            continue
        nothing = {name: b"" if pa.types.is_binary(schema.field(name).type) else "" for name in secret}
        beside = path.with_name(f".{path.name}.partial")
        beside.unlink(missing_ok=True)
        again = _File(beside, schema, partial(keys.to_write, STORE, receipt.dataset, receipt.landed_at.date(), secret))
        again.write([{**row, **nothing} if row["_line"] in lines else row for row in rows])
        if columns is not None:
            again.note(COLUMNS, columns.decode())
        again.close(is_whole=True)
        beside.replace(path)
        sync_folder(path.parent)
        changed.append(str(path.relative_to(settings.lake)))
    return changed


def discard(settings: Settings, receipt: Receipt) -> None:
    """Take back what quarantine holds of a batch that will not be committed."""
    for path in (settings.quarantine / receipt.dataset).glob(f"{batch_name(receipt.batch_id)}.*"):
        path.unlink()
