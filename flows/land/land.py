"""Land what settled in the inbox: verify, conform to the contract, pseudonymise, quarantine, commit."""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from traceback import extract_tb

import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec, Redelivery, load_specs
from flows.errors import MACHINE_ERRORS, FileRefusedError, TidemarkError, UnreadableFileError
from flows.land.conform import Conformed, Conformer, landed_schema
from flows.land.hints import LOOKED_AT, Rejected, no_row_fits
from flows.land.inbox import Delivery, file_format, is_settled, new_deliveries, wait_for_settling
from flows.land.pseudonyms import Pseudonymiser, key_check, load_key
from flows.land.readers import Part, columns_of, decoded, read_parts
from flows.land.receipts import DATA, Receipt, Receipts, Status, batch_name, sync_folder, work_folder
from flows.locks import held
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
    with open_for_landing(settings) as receipts:
        return _land_all(settings, specs, receipts, progress, wait_for_young)


@contextmanager
def open_for_landing(settings: Settings) -> Iterator[Receipts]:
    """The lake's receipts, for one landing at a time, cleaned of what a killed one left."""
    try:
        for folder in (settings.inbox, settings.landed):
            folder.mkdir(parents=True, exist_ok=True)
        settings.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        with held(settings.lake / ".landing.lock", "landing"), _work(settings), closing(Receipts(settings)) as receipts:
            receipts.clean_up()
            yield receipts
    except (OSError, sqlite3.Error) as error:
        raise TidemarkError(
            f"landing stopped ({error}); what landed before is whole, the rest waits in {settings.inbox}; "
            "fix the cause (a full disk, a missing permission) and run `tidemark land` again"
        ) from error


@contextmanager
def _work(settings: Settings) -> Iterator[None]:
    """Leave no half-made batch behind, however the landing ends."""
    try:
        yield
    finally:
        shutil.rmtree(work_folder(settings), ignore_errors=True)


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
    sha256 = _sha256(delivery.path)
    last = receipts.last_of_file(delivery.name)
    is_known = last is not None and last.sha256 == sha256
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
        sha256=sha256,
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
    known = None if superseded else receipts.landed_content(spec.name, sha256)
    if known is not None:
        receipt = receipt.model_copy(
            update={"reason": f"the same bytes landed as {known.file} (batch {known.batch_id})"}
        )
    else:
        reason: str | None = None
        try:
            parts, columns = read_parts(delivery.path, spec), partial(columns_of, delivery.path, spec)
            receipt = land_rows(settings, spec, receipt, made, parts, columns, conformers.of(spec), done)
        except (TidemarkError, OSError, sqlite3.Error) as error:
            if not isinstance(error, FileRefusedError):
                raise  # the lake's own: the next file would meet it too
            reason = str(error)
        except Exception as error:  # whatever a file's rows make a library throw costs that file alone
            reason = _thrown(error)
        if reason is not None:
            for path in made.iterdir():
                path.unlink()
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


def land_rows(
    settings: Settings,
    spec: DatasetSpec,
    receipt: Receipt,
    made: Path,
    parts: Iterator[Part],
    columns: Callable[[], str | None],
    conformers: "list[Conformer]",
    done: Landing,
) -> Receipt:
    """Stream a file's rows into the batch being made, and what does not fit into quarantine, with the columns that
    its rows stand in."""
    data = made / DATA
    stem = settings.quarantine / spec.name / batch_name(receipt.batch_id)
    rejects = _LazyParquet(stem.with_suffix(".parquet"), REJECTS_SCHEMA)
    unknown = _LazyParquet(stem.with_suffix(".unknown.parquet"), UNKNOWN_SCHEMA)
    landed = examples = 0
    reasons: Counter[tuple[str, str | None]] = Counter()
    first: list[Rejected] = []
    names: str | None = None
    with rejects, unknown, pq.ParquetWriter(data, landed_schema(spec), **_parquet_options(spec)) as writer:
        for part in _of_the_file(_conformed(parts, conformers, receipt.batch_id)):
            writer.write_table(part.rows)
            landed += part.rows.num_rows
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
            for r in part.rejects[: EXAMPLES - examples]:
                where = f", field {r.field}" if r.field else ""
                done.examples.append(f"{receipt.file}, line {r.line}{where}: {r.reason.replace('_', ' ')}")
                examples += 1
        if rejects.rows and (names := columns()) is not None:
            rejects.note(COLUMNS, names)
    if not landed:
        data.unlink()
    else:
        _sync_file(data)
    why = None
    if rejects.rows and not landed:
        # Of Parquet the rows, as JSON, say as much.
        header = json.loads(names) if names and receipt.format == "csv" else []
        why = no_row_fits(rejects.rows, reasons, first, header, spec, load_specs() | {spec.name: spec})
    return receipt.model_copy(
        update={
            "status": Status.LANDED,
            "reason": why,
            "rows_read": landed + rejects.rows,
            "rows_landed": landed,
            "rows_rejected": rejects.rows,
            "unknown_keys": unknown.rows,
            "data_path": f"landed/{spec.name}/{batch_name(receipt.batch_id)}/{DATA}" if landed else None,
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
        raise FileRefusedError(_thrown(error)) from error
    except Exception as error:
        raise FileRefusedError(_thrown(error)) from error


def _thrown(error: Exception) -> str:
    """What was thrown, and where; not what it says, which may repeat a value of the file."""
    ours = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(PACKAGE)]
    where = f" in {Path(ours[-1].filename).relative_to(PACKAGE)}, line {ours[-1].lineno}" if ours else ""
    return f"reading its rows failed ({type(error).__name__}{where}); deliver it again, written another way"


def _conformed(parts: Iterator[Part], conformers: list[Conformer], batch_id: int) -> Iterator[Conformed]:
    """The chunks conformed, in order, as many at once as there are conformers; few more than that are held."""
    free: SimpleQueue[Conformer] = SimpleQueue()
    for conformer in conformers:
        free.put(conformer)

    def conform(part: Part) -> Conformed:
        conformer = free.get()
        try:
            return conformer.conform(part(), batch_id)
        finally:
            free.put(conformer)

    with ThreadPoolExecutor(len(conformers)) as pool:
        pending: deque[Future[Conformed]] = deque()
        for part in _shared_out(parts, len(conformers)):
            pending.append(pool.submit(conform, part))
            if len(pending) > len(conformers):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _shared_out(parts: Iterator[Part], workers: int) -> Iterator[Part]:
    """The chunks as they are; one that is the whole file, in as many pieces as there are workers."""
    first, second = next(parts, None), next(parts, None)
    if first is not None and second is None:
        for chunk in first().split(workers):
            yield decoded(chunk)
        return
    if first is not None and second is not None:
        yield first
        yield second
    yield from parts


class Conformers:
    """The conformers of each dataset met, and the secret they share, both made on first need."""

    def __init__(self, settings: Settings, receipts: Receipts) -> None:
        self._settings = settings
        self._check = receipts.any_key_check()
        self._key: bytes | None = None
        self._made: dict[str, list[Conformer]] = {}

    def __enter__(self) -> "Conformers":
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made.values():
            for conformer in made:
                conformer.close()

    @property
    def key(self) -> bytes:
        if self._key is None:
            key = load_key(self._settings, must_exist=self._check is not None)
            if self._check not in (None, key_check(key)):
                raise TidemarkError(
                    "the pseudonymisation key is not the one that landed the batches before: every device and person "
                    f"would become a stranger; restore the earlier {self._settings.key_file} or TIDEMARK_PSEUDONYM_KEY"
                )
            self._key = key
        return self._key

    def of(self, spec: DatasetSpec) -> list[Conformer]:
        if spec.name not in self._made:
            pseudonymiser = Pseudonymiser(self.key)
            self._made[spec.name] = [Conformer(spec, pseudonymiser, threads=1) for _ in range(self._settings.threads)]
        return self._made[spec.name]


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
            _sync_file(self.path)
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


def _parquet_options(spec: DatasetSpec) -> dict[str, object]:
    """Dictionaries for words, none for what hardly repeats."""
    words = [c.name for c in spec.columns() if c.type in ("string", "string[]", "boolean")]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": words, "store_schema": False}


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


def _sha256(path: Path) -> str:
    """Raises :class:`UnreadableFileError` where it cannot be read: its rights may have changed since it was found."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(
            f"cannot be read ({error.strerror or error}); give the right to read it, or take it away"
        ) from error


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
