"""Prove that no row was lost: per delivered file, what each step between the inbox and the models holds of it.

For a file in the period, over its first batch and the retries of its rejects:

    rows in = rows landed + rows in quarantine          from the receipts, the Parquet files and the inbox
    rows landed = kept + duplicates + conflicts + superseded   from the warehouse, as far as it has been built

Each step is held against the one before it, so that a loss is told once, where it happened. What was measured of a
batch is a :class:`Batch`, what was measured of a day of events a :class:`Day`; :func:`judge` makes findings of them and
touches nothing else.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from flows.contract import PROJECT, DatasetSpec, load_specs
from flows.errors import FileRefusedError, TidemarkError
from flows.readers import read_chunks
from flows.readers.columns import OtherColumnsError
from flows.receipts import DATA, RECEIPT, Receipt, Status, batch_name
from flows.settings import Settings
from flows.warehouse import open_warehouse

EVENTS = "events"
DAYS = "int_events__days_landed"
DEDUPLICATED = "int_events__events_deduplicated"
# The deduplicated events are a view; what may be wrong of them is which copies it leaves out.
COPIES = "int_events__copies_compared"
RESTORE = "restore {path} from a backup of the lake; without one, docs/guides/landing.md says how to start anew"
DAMAGE = (OSError, pa.ArrowException)
MISSING = (-1, -1)


@dataclass(frozen=True)
class Batch:
    """What was measured of a batch: rows at each step, None where that step was not measured or not yet built.

    ``delivered_fault`` says why the delivered file, which landed, would be refused today. ``data_fault`` and
    ``quarantine_fault`` say why a file could not be counted. ``lines_differ`` is True where a retry did not take up
    just the lines that the batch before it had rejected. ``entered`` are the rows landed and rejected by
    landed.landings, both -1 where it lacks the batch and None where it has not come so far. ``noted`` is what
    int_events__days_landed counts, ``superseded`` what a later delivery withdrew, ``conflicts`` the copies that say
    something else than the one that counts, and ``expected`` what deduplication must keep, where that can be told by
    batch.
    """

    receipt: Receipt
    delivered: int | None = None
    delivered_fault: str | None = None
    data: int | None = None
    data_fault: str | None = None
    quarantine: int | None = None
    quarantine_fault: str | None = None
    lines_differ: bool = False
    entered: tuple[int, int] | None = None
    raw: int | None = None
    staging: int | None = None
    noted: int | None = None
    superseded: int = 0
    conflicts: int = 0
    kept: int | None = None
    expected: int | None = None


@dataclass(frozen=True)
class Day:
    """A day of events: copies delivered, copies that the kept events count, distinct events, kept events."""

    day: date
    delivered: int
    counted: int
    distinct: int
    kept: int
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Rows lost or invented: at which step, of which file, how many there are and should be, and what to do."""

    dataset: str
    step: str
    text: str
    remedy: str
    batch_id: int | None = None
    file: str | None = None
    expected: int | None = None
    found: int | None = None


@dataclass
class Total:
    """A dataset's rows over the period. ``kept`` and what follows are None where the warehouse does not tell."""

    dataset: str
    files: int = 0
    not_landed: int = 0
    rows_in: int = 0
    landed: int = 0
    quarantined: int = 0
    not_built: int | None = None
    kept: int | None = None
    duplicates: int | None = None
    conflicts: int | None = None
    superseded: int | None = None
    ends_at_staging: bool = False


@dataclass
class Audit:
    """What an audit found: totals by dataset, findings, and notes on what could not be looked at."""

    totals: list[Total] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def audit(
    settings: Settings,
    first: date | None = None,
    last: date | None = None,
    dataset: str | None = None,
    specs: dict[str, DatasetSpec] | None = None,
) -> Audit:
    """Audit the files of which a batch landed from ``first`` to ``last``, both included, in the organisation's days.

    A file is looked at whole, with all its retries. Nothing is written. Where the warehouse is missing or locked, the
    lake alone is looked at, and a note says so. Raises :class:`TidemarkError` where there is no such dataset.
    """
    specs = load_specs() if specs is None else specs
    if dataset is not None and dataset not in specs:
        raise TidemarkError(f"the contract has no dataset {dataset} (there are {', '.join(sorted(specs))})")
    done = Audit()
    receipts, faults = _read_receipts(settings)
    every = {r.batch_id: r for r in receipts}
    chosen = _in_period(receipts, first, last, dataset)
    done.findings += [f for f in [*faults, *_lost_batches(settings, every)] if dataset in (None, f.dataset)]
    batches = list(_measure_lake(settings, [Batch(r) for r in chosen], every, specs, done.notes))
    days: list[Day] = []
    ends: dict[str, bool] = {}
    try:
        if not settings.warehouse.exists():
            raise TidemarkError("there is no warehouse yet; `tidemark build` makes it")
        with open_warehouse(settings, read_only=True) as db:
            accounted = {*every, *(f.batch_id for f in done.findings)}
            batches, days, invented, ends = _measure_warehouse(settings, db, batches, every, accounted, specs)
            done.findings += [f for f in invented if dataset in (None, f.dataset)]
    except (TidemarkError, duckdb.Error) as error:
        done.notes.append(f"only the lake was looked at: {error}")
    done.findings += judge(batches, days, {name: staging_model(spec) for name, spec in specs.items()})
    done.totals = [total for name in specs if (total := total_of(name, batches, ends.get(name)))]
    return done


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(batches: Iterable[Batch], days: Iterable[Day], staging: dict[str, str]) -> list[Finding]:
    """What was lost or invented, batch by batch and then day by day.

    ``staging`` names each dataset's staging model. Deduplication is not judged for a dataset whose rows differ before
    it: there it would be blamed for what raw or staging lost.
    """
    batches = list(batches)
    found = [finding for batch in batches for finding in _judge_lake(batch)]
    faulty = [batch for batch in batches if batch.receipt.batch_id in {f.batch_id for f in found}]
    found += _judge_retries(batches)
    for dataset in sorted({b.receipt.dataset for b in batches}):
        own = [b for b in batches if b.receipt.dataset == dataset]
        before = [f for b in own for f in _judge_copies(b, staging.get(dataset, ""), is_sound=b not in faulty)]
        found += before
        if not before:
            found += [f for b in own for f in _judge_kept(b)]
            if dataset == EVENTS:
                found += [f for day in days for f in _judge_day(day, own)]
    return found


def _judge_lake(batch: Batch) -> Iterator[Finding]:
    r = batch.receipt
    receipt_path = f"landed/{r.dataset}/{batch_name(r.batch_id)}/{RECEIPT}"
    changed = f"the receipt is not what landing wrote: {RESTORE.format(path=receipt_path)}"
    if r.status is not Status.LANDED:
        if r.rows_landed or r.rows_rejected or batch.data:
            text = f"the receipt says {r.status} and yet holds {r.rows_landed or batch.data or r.rows_rejected:,} rows"
            yield _finding(r, "receipt", text, changed, 0, r.rows_landed)
        return
    if batch.delivered_fault is not None:
        text = f"the file in the inbox would be refused today ({batch.delivered_fault})"
        text += f", so the {r.rows_read:,} rows of its receipt may not be all that it holds"
        yield _finding(r, "inbox", text, "have it mended and delivered again")
    if batch.delivered is not None and batch.delivered != r.rows_read:
        text = f"the file in the inbox holds {batch.delivered:,} rows and its receipt says {r.rows_read:,}"
        yield _finding(r, "inbox", text, changed, batch.delivered, r.rows_read)
    if r.rows_read != r.rows_landed + r.rows_rejected:
        text = f"the receipt reads {r.rows_read:,} rows = {r.rows_landed:,} landed + {r.rows_rejected:,} rejected"
        yield _finding(r, "receipt", text, changed, r.rows_read, r.rows_landed + r.rows_rejected)
    path = r.data_path or f"landed/{r.dataset}/{batch_name(r.batch_id)}/{DATA}"
    yield from _judge_file(r, "landed", path, batch.data, batch.data_fault, r.rows_landed)
    path = r.rejects_path or f"quarantine/{r.dataset}/{batch_name(r.batch_id)}.parquet"
    yield from _judge_file(r, "quarantine", path, batch.quarantine, batch.quarantine_fault, r.rows_rejected)


def _judge_file(
    r: Receipt, step: str, path: str, rows: int | None, fault: str | None, expected: int
) -> Iterator[Finding]:
    if fault:
        yield _finding(r, step, f"{path} {fault}; it held {expected:,} rows", RESTORE.format(path=path), expected, 0)
    elif rows is not None and rows != expected:
        yield _finding(r, step, f"{path} holds {_of(rows, expected)}", RESTORE.format(path=path), expected, rows)


def _judge_retries(batches: list[Batch]) -> Iterator[Finding]:
    for family in _families(batches):
        first = family[0].receipt
        for before, after in pairwise(family):
            r, rejected = after.receipt, before.receipt.rows_rejected
            remedy = (
                f"compare the receipts of the batches {before.receipt.batch_id} and {r.batch_id} below "
                f"landed/{r.dataset}/ with a backup of the lake"
            )
            if r.rows_read != rejected:
                text = f"the retry of batch {first.batch_id} read {_of(r.rows_read, rejected)} in quarantine"
                yield _finding(r, "retry", text, remedy, rejected, r.rows_read)
            elif after.lines_differ:
                text = f"the retry holds other lines than those that batch {before.receipt.batch_id} rejected"
                yield _finding(r, "retry", text, remedy)


def _judge_copies(batch: Batch, staging: str, is_sound: bool) -> Iterator[Finding]:
    """Landings, raw and staging, each against the one before. What the lake lost is not told here again."""
    r = batch.receipt
    remedy = "the warehouse is disposable: delete the folder warehouse/ of TIDEMARK_HOME and run `tidemark build`"
    if batch.entered == MISSING:
        yield _finding(r, "landings", "landed.landings has no row for the batch", remedy, r.rows_landed, 0)
        return
    if is_sound and batch.entered not in (None, (r.rows_landed, r.rows_rejected)):
        text = "landed.landings says {:,} rows landed and {:,} rejected".format(*(batch.entered or ()))
        text += f", the receipt {r.rows_landed:,} and {r.rows_rejected:,}"
        yield _finding(r, "landings", text, remedy, r.rows_landed, (batch.entered or MISSING)[0])
    landed = r.rows_landed if r.status is Status.LANDED else 0
    if batch.raw is not None and batch.raw not in (landed, batch.data):
        text = f"raw_{r.dataset} holds {_of(batch.raw, landed)}"
        yield _finding(r, "raw", text, rebuild(f"raw_{r.dataset}"), landed, batch.raw)
    elif batch.raw is not None and batch.staging is not None and batch.staging != batch.raw:
        text = f"{staging} holds {_of(batch.staging, batch.raw)}"
        yield _finding(r, "staging", text, rebuild(staging), batch.raw, batch.staging)


def _judge_kept(batch: Batch) -> Iterator[Finding]:
    r, model = batch.receipt, deduplicated_model(batch.receipt.dataset) or ""
    if batch.noted is not None and batch.noted != batch.staging:
        text = f"{DAYS} counts {_of(batch.noted, batch.staging or 0)}"
        yield _finding(r, "days", text, rebuild(DAYS), batch.staging, batch.noted)
    if batch.kept is not None and batch.expected is not None and batch.kept != batch.expected:
        text = f"{model} keeps {_of(batch.kept, batch.expected)} that count"
        yield _finding(r, "deduplicated", text, rebuild(model), batch.expected, batch.kept)
    elif batch.kept is not None and batch.staging is not None and batch.kept > batch.staging:
        text = f"{model} keeps {_of(batch.kept, batch.staging)}"
        remedy = rebuild(COPIES if r.dataset == EVENTS else model)
        yield _finding(r, "deduplicated", text, remedy, batch.staging, batch.kept)


def _judge_day(day: Day, batches: list[Batch]) -> Iterator[Finding]:
    model = DEDUPLICATED
    files = sorted({b.receipt.file for b in batches if b.receipt.batch_id in day.batches})
    named = ", ".join(files[:3]) + (f" and {len(files) - 3:,} more" if len(files) > 3 else "")
    where = f"of {day.day} (files {named})" if files else f"of {day.day}"
    if day.counted != day.delivered:
        text = f"{model} accounts for {day.counted:,} of {day.delivered:,} copies {where}"
        yield Finding(EVENTS, "deduplicated", text, rebuild(COPIES), None, named or None, day.delivered, day.counted)
    elif day.kept != day.distinct:
        text = f"{model} keeps {day.kept:,} events where {day.distinct:,} were delivered {where}"
        yield Finding(EVENTS, "deduplicated", text, rebuild(COPIES), None, named or None, day.distinct, day.kept)


def rebuild(model: str) -> str:
    """The command that makes a model, and what follows from it, anew."""
    return f"rebuild: tidemark build -- --full-refresh --select {model}+"


def staging_model(spec: DatasetSpec) -> str:
    """The dataset's staging model."""
    return f"stg_{spec.source}__{spec.name}"


@cache
def deduplicated_model(dataset: str) -> str | None:
    """The model that keeps of the dataset's rows those that count, known by its name; None where there is none, and
    the dataset ends at staging."""
    found = sorted((PROJECT / "models" / "intermediate").glob(f"*/int_*__{dataset}_deduplicated.sql"))
    return found[0].stem if found else None


def _of(rows: int, expected: int) -> str:
    return f"{rows:,} of {expected:,} rows" if rows <= expected else f"{rows:,} rows where {expected:,} are right"


def _finding(
    r: Receipt, step: str, text: str, remedy: str, expected: int | None = None, found: int | None = None
) -> Finding:
    return Finding(r.dataset, step, text, remedy, r.batch_id, r.file, expected, found)


def _families(batches: list[Batch]) -> list[list[Batch]]:
    """The batches of each delivered file: the first, then its retries."""
    families: dict[int, list[Batch]] = {}
    for batch in sorted(batches, key=lambda b: b.receipt.batch_id):
        families.setdefault(batch.receipt.delivery_batch_id, []).append(batch)
    return list(families.values())


def total_of(dataset: str, batches: list[Batch], ends_at_staging: bool | None) -> Total | None:
    """What became of a dataset's rows; None where nothing landed of it. ``ends_at_staging`` where no model deduplicates
    it, None where there is no warehouse to tell."""
    own = [b for b in batches if b.receipt.dataset == dataset]
    if not own:
        return None
    total = Total(dataset, ends_at_staging=bool(ends_at_staging))
    for family in _families(own):
        total.files += 1
        total.not_landed += family[0].receipt.status is not Status.LANDED
        total.rows_in += family[0].receipt.rows_read
        total.quarantined += family[-1].receipt.rows_rejected
    total.landed = sum(b.receipt.rows_landed for b in own)
    if ends_at_staging is None:
        return total
    built = [b for b in own if (b.staging if ends_at_staging else b.kept) is not None]
    total.not_built = total.landed - sum(b.receipt.rows_landed for b in built)
    if not ends_at_staging:
        total.superseded = sum(b.superseded for b in built)
        total.kept = sum(b.kept or 0 for b in built)
        total.conflicts = sum(b.conflicts for b in built)
        total.duplicates = sum(b.staging or 0 for b in built) - total.kept - total.superseded - total.conflicts
    return total


# --- measuring the lake ----------------------------------------------------------------------------------------------


def _read_receipts(settings: Settings) -> tuple[list[Receipt], list[Finding]]:
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


def _lost_batches(settings: Settings, every: dict[int, Receipt]) -> Iterator[Finding]:
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


def _in_period(receipts: list[Receipt], first: date | None, last: date | None, dataset: str | None) -> list[Receipt]:
    """The receipts of every file of which a batch landed in the period."""
    zone = ZoneInfo(yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["timezone"])

    def is_in(receipt: Receipt) -> bool:
        day = receipt.landed_at.astimezone(zone).date()
        return (first is None or day >= first) and (last is None or day <= last)

    chosen = {r.delivery_batch_id for r in receipts if dataset in (None, r.dataset) and is_in(r)}
    return [r for r in receipts if r.delivery_batch_id in chosen]


def _superseded(receipts: Iterable[Receipt], upto: int) -> dict[int, int]:
    """The batches that a later delivery up to a batch superseded, each with that one."""
    return {
        r.supersedes_batch_id: r.batch_id
        for r in receipts
        if r.supersedes_batch_id and r.status is not Status.REFUSED and r.batch_id <= upto
    }


def _measure_lake(
    settings: Settings,
    batches: list[Batch],
    every: dict[int, Receipt],
    specs: dict[str, DatasetSpec],
    notes: list[str],
) -> Iterator[Batch]:
    there = 0
    inbox: dict[str, str] = {}
    before: dict[int, Receipt] = {}
    for batch in batches:
        r = batch.receipt
        data, data_fault = _rows_of(settings, r.data_path or f"landed/{r.dataset}/{batch_name(r.batch_id)}/{DATA}")
        stem = f"quarantine/{r.dataset}/{batch_name(r.batch_id)}.parquet"
        quarantine, quarantine_fault = _rows_of(settings, r.rejects_path or stem)
        measured = replace(
            batch,
            data=data,
            data_fault=data_fault if r.rows_landed else None,
            quarantine=quarantine,
            quarantine_fault=quarantine_fault if r.rows_rejected else None,
        )
        if r.retries_batch_id is None and r.status is Status.LANDED and r.dataset in specs:
            path = settings.inbox / r.file
            if path.is_file():
                inbox[r.file] = inbox.get(r.file) or _sha256(path)
                if inbox[r.file] == r.sha256:
                    rows, fault = _rows_delivered(path, specs[r.dataset])
                    measured = replace(measured, delivered=rows, delivered_fault=fault)
                    there += measured.delivered is not None
        elif r.retries_batch_id is not None and (earlier := before.get(r.delivery_batch_id)):
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


def _rows_of(settings: Settings, path: str) -> tuple[int | None, str | None]:
    """The rows that a Parquet file of the lake holds by its footer, or what is wrong with it."""
    try:
        return int(pq.read_metadata(settings.lake / path).num_rows), None
    except FileNotFoundError:
        return None, "is missing"
    except DAMAGE as error:
        return None, f"is damaged ({str(error).splitlines()[0]})"


def _rows_delivered(path: Path, spec: DatasetSpec) -> tuple[int | None, str | None]:
    """The rows of a delivered file, read once more, or why it cannot be read; neither where the contract of today does
    not take it."""
    try:
        return sum(int(chunk.table.num_rows) + len(chunk.rejects) for chunk in read_chunks(path, spec)), None
    except (OtherColumnsError, OSError):
        return None, None
    except FileRefusedError as error:
        return None, str(error)
    except Exception as error:  # whatever a damaged file makes a library throw
        return None, type(error).__name__


def _lines_differ(settings: Settings, before: Receipt, retry: Receipt) -> bool:
    """Whether a retry's lines, landed and rejected, are not just those that the batch before it rejected."""

    def lines(path: str | None) -> list[int]:
        if path is None:
            return []
        found: list[int] = pq.ParquetFile(settings.lake / path).read(columns=["_line"])["_line"].to_pylist()
        return found

    try:
        taken_up = lines(retry.data_path) + lines(retry.rejects_path)
        return sorted(taken_up) != sorted(lines(before.rejects_path))
    except (*DAMAGE, KeyError):
        return False  # told of the file itself


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- measuring the warehouse -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Models:
    """Which of the models there are, each with the last batch it has seen."""

    there: dict[str, str]
    seen: dict[str, int]

    def upto(self, *names: str) -> int:
        """The last batch that all of these models have seen, 0 where one of them is not there."""
        return min(self.seen.get(name, 0) if name in self.there else 0 for name in names)


def _measure_warehouse(
    settings: Settings,
    db: duckdb.DuckDBPyConnection,
    batches: list[Batch],
    every: dict[int, Receipt],
    accounted: set[int | None],
    specs: dict[str, DatasetSpec],
) -> tuple[list[Batch], list[Day], list[Finding], dict[str, bool]]:
    """The batches with what the warehouse holds of them, the days of events, rows of batches that are not accounted
    for, and which datasets end at staging."""
    models = _models(db)
    if "landings" not in models.there or "model_progress" not in models.there:
        raise TidemarkError("nothing was built yet; `tidemark build` does it")
    batches = _entered(db, batches)
    days: list[Day] = []
    invented: list[Finding] = []
    ends: dict[str, bool] = {}
    for name, spec in specs.items():
        raw, staging = f"raw_{name}", staging_model(spec)
        ends[name] = deduplicated_model(name) is None
        if raw not in models.there:
            continue
        in_raw = _rows_by_batch(db, models, raw)
        in_staging = _rows_by_batch(db, models, staging) if staging in models.there else {}
        invented += [
            Finding(name, "raw", f"{raw} holds {rows:,} rows of batch {batch_id}, which has no receipt", rebuild(raw))
            for batch_id, rows in sorted(in_raw.items())
            if batch_id not in accounted and not _is_committed(settings, name, batch_id)
        ]
        upto = models.upto(raw)
        own = {
            b.receipt.batch_id: replace(
                b,
                raw=in_raw.get(b.receipt.batch_id, 0),
                staging=in_staging.get(b.receipt.batch_id, 0) if staging in models.there else None,
            )
            for b in batches
            if b.receipt.dataset == name and b.receipt.batch_id <= upto
        }
        if deduplicated_model(name) in models.there and staging in models.there:
            own, more = _kept(db, models, spec, own, every)
            days += more
        batches = [own.get(b.receipt.batch_id, b) for b in batches]
    return batches, days, invented, ends


def _models(db: duckdb.DuckDBPyConnection) -> _Models:
    there = {
        name: f'"{schema}"."{name}"'
        for schema, name in db.execute(
            "select schema_name, table_name from duckdb_tables() where not internal "
            "union all select schema_name, view_name from duckdb_views() where not internal"
        ).fetchall()
    }
    seen = {}
    if "model_progress" in there:
        seen = dict(db.execute("select model, batch_id from ops.model_progress").fetchall())
        # A view has seen what the model it reads has.
        seen[DEDUPLICATED] = seen.get(COPIES, 0)
    return _Models(there, seen)


def _entered(db: duckdb.DuckDBPyConnection, batches: list[Batch]) -> list[Batch]:
    """What the warehouse knows of each batch; it enters them in order of number."""
    rows = db.execute("select batch_id, rows_landed, rows_rejected from landed.landings").fetchall()
    known = {batch_id: (landed, rejected) for batch_id, landed, rejected in rows}
    last = max(known, default=0)
    return [
        replace(b, entered=known.get(b.receipt.batch_id, MISSING)) if b.receipt.batch_id <= last else b for b in batches
    ]


def _rows_by_batch(db: duckdb.DuckDBPyConnection, models: _Models, name: str) -> dict[int, int]:
    rows = db.execute(f"select _batch_id, count(*) from {models.there[name]} group by all").fetchall()
    return dict(rows)


def _is_committed(settings: Settings, dataset: str, batch_id: int) -> bool:
    """Whether a batch landed since the receipts were read."""
    return (settings.landed / dataset / batch_name(batch_id) / RECEIPT).exists()


def _kept(
    db: duckdb.DuckDBPyConnection,
    models: _Models,
    spec: DatasetSpec,
    own: dict[int, Batch],
    every: dict[int, Receipt],
) -> tuple[dict[int, Batch], list[Day]]:
    model = deduplicated_model(spec.name) or ""
    upto = models.upto(f"raw_{spec.name}", model)
    seen = {batch_id for batch_id in own if batch_id <= upto}
    kept = _rows_by_batch(db, models, model)
    own = {i: replace(b, kept=kept.get(i, 0)) if i in seen else b for i, b in own.items()}
    if spec.name != EVENTS:
        gone = _superseded(every.values(), upto)
        expected = _rows_that_count(db, models, spec, every, gone, upto)
        for i in seen:
            is_gone = own[i].receipt.delivery_batch_id in gone
            own[i] = replace(own[i], expected=expected.get(i, 0), superseded=(own[i].staging or 0) * is_gone)
        return own, []
    conflicts = dict(
        db.execute(
            f"select _batch_id, count(*) from {models.there[COPIES]} where differs_in <> '' group by all"
        ).fetchall()
    )
    own = {i: replace(b, conflicts=conflicts.get(i, 0)) if i in seen else b for i, b in own.items()}
    if DAYS in models.there:
        noted = dict(
            db.execute(f"select _batch_id, sum(copies_count) from {models.there[DAYS]} group by all").fetchall()
        )
        at = models.upto(DAYS)
        own = {i: replace(b, noted=int(noted.get(i, 0))) if i <= at else b for i, b in own.items()}
    return own, _days(db, models, spec, seen, upto)


def _rows_that_count(
    db: duckdb.DuckDBPyConnection,
    models: _Models,
    spec: DatasetSpec,
    every: dict[int, Receipt],
    gone: dict[int, int],
    upto: int,
) -> dict[int, int]:
    """Of each batch the states it must give: of those delivered under one key and, where the dataset has it,
    updated_at the newest, by the delivery they came in and their line; none of a superseded delivery."""
    rows = [
        {"batch_id": r.batch_id, "delivery": r.delivery_batch_id, "is_gone": r.delivery_batch_id in gone}
        for r in every.values()
        if r.batch_id <= upto
    ]
    schema = pa.schema([("batch_id", pa.int64()), ("delivery", pa.int64()), ("is_gone", pa.bool_())])
    db.register("batches", pa.Table.from_pylist(rows, schema))
    columns = [f.column for f in spec.fields if f.name in (*spec.key, "updated_at")]
    key = ", ".join(f's."{name}"' for name in columns)
    try:
        found = db.execute(
            f"""
            with counting as (
                select s._batch_id
                from {models.there[staging_model(spec)]} as s
                inner join batches on s._batch_id = batches.batch_id
                where not batches.is_gone
                qualify row_number() over (partition by {key} order by batches.delivery desc, s._line desc) = 1
            )
            select _batch_id, count(*) from counting group by all
            """
        ).fetchall()
    finally:
        db.unregister("batches")
    return dict(found)


def _days(db: duckdb.DuckDBPyConnection, models: _Models, spec: DatasetSpec, batches: set[int], upto: int) -> list[Day]:
    """The days that the batches hold events of, and days on which deduplication keeps events of them."""
    staging, deduplicated = models.there[staging_model(spec)], models.there[DEDUPLICATED]
    db.register("chosen", pa.table({"batch_id": pa.array(sorted(batches), pa.int64())}))
    try:
        rows = db.execute(
            f"""
            with touched as (
                select event_date, list(distinct _batch_id) as batches
                from (
                    select event_date, _batch_id from {staging}
                    union all select event_date, _batch_id from {deduplicated}
                )
                where _batch_id in (select batch_id from chosen)
                group by all
            ),
            delivered as (
                select event_date, count(*) as copies, count(distinct event_id) as events
                from {staging}
                where _batch_id <= {upto} and event_date in (select event_date from touched)
                group by all
            ),
            kept as (
                select event_date, sum(copies_count) as copies, count(*) as events
                from {deduplicated}
                where _batch_id <= {upto} and event_date in (select event_date from touched)
                group by all
            )
            select
                touched.event_date, coalesce(delivered.copies, 0), coalesce(kept.copies, 0),
                coalesce(delivered.events, 0), coalesce(kept.events, 0), touched.batches
            from touched
            left join delivered using (event_date)
            left join kept using (event_date)
            order by touched.event_date
            """
        ).fetchall()
    finally:
        db.unregister("chosen")
    return [
        Day(day, copies, int(counted), events, kept, tuple(own)) for day, copies, counted, events, kept, own in rows
    ]
