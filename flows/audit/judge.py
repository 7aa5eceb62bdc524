"""What is wrong, from what was measured of each batch and day: pure, and each loss reported once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise

from flows.contract.spec import PROJECT, DatasetSpec
from flows.land.receipt import RECEIPT, Receipt, Status, batch_name

EVENTS = "events"
FILES = "landed.landed_files"
DEDUPLICATED = "int_events__events_deduplicated"
# The deduplicated events are a view; what may be wrong of them is which copies it leaves out.
COPIES = "int_events__copies_compared"
# What `entered` says of a batch that the warehouse lacks.
MISSING = (-1, -1)
DISPOSABLE = "the warehouse is disposable: delete the folder warehouse/ of TIDEMARK_HOME and run `tidemark build`"
RESTORE = "restore {path} from a backup of the lake; without one, docs/guides/landing.md says how to start over"


@dataclass(frozen=True)
class FileCount:
    """A file that holds landed rows of a batch: how many it holds and should hold, or why it could not be counted."""

    path: str
    expected: int
    rows: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Batch:
    """What was measured of a batch: rows at each step, None where that step was not measured or not yet built.

    ``delivered_fault`` says why the delivered file, which landed, would be refused today, and ``quarantine_fault`` why
    that file could not be counted. ``lines_differ`` is True where a retry did not take up
    just the lines that the batch before it had rejected. ``entered`` are the rows landed and rejected by
    landed.landings, both -1 where it lacks the batch and None where it has not come so far. ``noted`` is what
    landed.landed_files counts, ``removed`` the rows that were taken away since it landed, ``removed_built`` those
    of them that the warehouse knows of; ``superseded`` what a later delivery withdrew, ``conflicts`` the copies that
    say something else than the one that counts, and ``expected`` what deduplication must keep, where that is known by
    batch.
    """

    receipt: Receipt
    delivered: int | None = None
    delivered_fault: str | None = None
    files: tuple[FileCount, ...] = ()
    quarantine: int | None = None
    quarantine_fault: str | None = None
    lines_differ: bool = False
    removed: int = 0
    removed_built: int = 0
    entered: tuple[int, int] | None = None
    raw: int | None = None
    staging: int | None = None
    noted: int | None = None
    superseded: int = 0
    conflicts: int = 0
    kept: int | None = None
    expected: int | None = None

    @property
    def data(self) -> int:
        """The rows found in its landed files."""
        return sum(file.rows or 0 for file in self.files)


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
    """A dataset's rows over the period. ``kept`` and what follows are None where the warehouse does not say."""

    dataset: str
    files: int = 0
    not_landed: int = 0
    rows_in: int = 0
    landed: int = 0
    quarantined: int = 0
    removed: int = 0
    not_built: int | None = None
    kept: int | None = None
    duplicates: int | None = None
    conflicts: int | None = None
    superseded: int | None = None
    ends_at_staging: bool = False


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
            yield finding(r, "receipt", text, changed, 0, r.rows_landed)
        return
    if batch.delivered_fault is not None:
        text = f"the file in the inbox would be refused today ({batch.delivered_fault})"
        text += f", so the {r.rows_read:,} rows of its receipt may not be all that it holds"
        yield finding(r, "inbox", text, "have it fixed and delivered again")
    if batch.delivered is not None and batch.delivered != r.rows_read:
        text = f"the file in the inbox holds {batch.delivered:,} rows and its receipt says {r.rows_read:,}"
        yield finding(r, "inbox", text, changed, batch.delivered, r.rows_read)
    if r.rows_read != (accounted := r.rows_landed + r.rows_rejected + r.rows_removed + r.rows_ignored):
        text = f"the receipt reads {r.rows_read:,} rows = {r.rows_landed:,} landed + {r.rows_rejected:,} rejected"
        text += f" + {r.rows_removed:,} removed" if r.rows_removed else ""
        text += f" + {r.rows_ignored:,} ignored" if r.rows_ignored else ""
        yield finding(r, "receipt", text, changed, r.rows_read, accounted)
    in_files = sum(file.rows for file in r.files)
    if in_files != r.rows_landed:
        text = f"the receipt says {r.rows_landed:,} rows landed and names files with {in_files:,}"
        yield finding(r, "receipt", text, changed, r.rows_landed, in_files)
    for file in batch.files:
        yield from _judge_file(r, "landed", file.path, file.rows, file.fault, file.expected)
    path = r.rejects_path or f"quarantine/{r.dataset}/{batch_name(r.batch_id)}.parquet"
    yield from _judge_file(r, "quarantine", path, batch.quarantine, batch.quarantine_fault, r.rows_rejected)


def _judge_file(
    r: Receipt, step: str, path: str, rows: int | None, fault: str | None, expected: int
) -> Iterator[Finding]:
    if fault:
        yield finding(r, step, f"{path} {fault}; it held {expected:,} rows", RESTORE.format(path=path), expected, 0)
    elif rows is not None and rows != expected:
        yield finding(r, step, f"{path} holds {_of(rows, expected)}", RESTORE.format(path=path), expected, rows)


def _judge_retries(batches: list[Batch]) -> Iterator[Finding]:
    for family in families(batches):
        first = family[0].receipt
        for before, after in pairwise(family):
            r, rejected = after.receipt, before.receipt.rows_rejected
            remedy = (
                f"compare the receipts of the batches {before.receipt.batch_id} and {r.batch_id} below "
                f"landed/{r.dataset}/ with a backup of the lake"
            )
            if r.rows_read != rejected:
                text = f"the retry of batch {first.batch_id} read {_of(r.rows_read, rejected)} in quarantine"
                yield finding(r, "retry", text, remedy, rejected, r.rows_read)
            elif after.lines_differ:
                text = f"the retry holds other lines than those that batch {before.receipt.batch_id} rejected"
                yield finding(r, "retry", text, remedy)


def _judge_copies(batch: Batch, staging: str, is_sound: bool) -> Iterator[Finding]:
    """Landings, raw and staging, each against the one before. What the lake lost is not reported here again."""
    r = batch.receipt
    remedy = DISPOSABLE
    if batch.entered == MISSING:
        yield finding(r, "landings", "landed.landings has no row for the batch", remedy, r.rows_landed, 0)
        return
    if is_sound and batch.entered not in (None, (r.rows_landed, r.rows_rejected)):
        text = "landed.landings says {:,} rows landed and {:,} rejected".format(*(batch.entered or ()))
        text += f", the receipt {r.rows_landed:,} and {r.rows_rejected:,}"
        yield finding(r, "landings", text, remedy, r.rows_landed, (batch.entered or MISSING)[0])
    landed = r.rows_landed - batch.removed_built if r.status is Status.LANDED else 0
    if batch.raw is not None and batch.raw not in (landed, batch.data):
        text = f"raw_{r.dataset} holds {_of(batch.raw, landed)}"
        is_view = any(file.event_date for file in r.files)
        yield finding(r, "raw", text, DISPOSABLE if is_view else rebuild(f"raw_{r.dataset}"), landed, batch.raw)
    elif batch.raw is not None and batch.staging is not None and batch.staging != batch.raw:
        text = f"{staging} holds {_of(batch.staging, batch.raw)}"
        yield finding(r, "staging", text, rebuild(staging), batch.raw, batch.staging)


def _judge_kept(batch: Batch) -> Iterator[Finding]:
    r, model = batch.receipt, deduplicated_model(batch.receipt.dataset) or ""
    if batch.noted is not None and batch.noted != batch.staging:
        text = f"{FILES} counts {_of(batch.noted, batch.staging or 0)}"
        yield finding(r, "files", text, DISPOSABLE, batch.staging, batch.noted)
    if batch.kept is not None and batch.expected is not None and batch.kept != batch.expected:
        text = f"{model} keeps {_of(batch.kept, batch.expected)} that count"
        yield finding(r, "deduplicated", text, rebuild(model), batch.expected, batch.kept)
    elif batch.kept is not None and batch.staging is not None and batch.kept > batch.staging:
        text = f"{model} keeps {_of(batch.kept, batch.staging)}"
        remedy = rebuild(COPIES if r.dataset == EVENTS else model)
        yield finding(r, "deduplicated", text, remedy, batch.staging, batch.kept)


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
    """The command that rebuilds a model and all downstream of it."""
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


def finding(
    r: Receipt, step: str, text: str, remedy: str, expected: int | None = None, found: int | None = None
) -> Finding:
    return Finding(r.dataset, step, text, remedy, r.batch_id, r.file, expected, found)


def families(batches: list[Batch]) -> list[list[Batch]]:
    """The batches of each delivered file: the first, then its retries."""
    families: dict[int, list[Batch]] = {}
    for batch in sorted(batches, key=lambda b: b.receipt.batch_id):
        families.setdefault(batch.receipt.delivery_batch_id, []).append(batch)
    return list(families.values())


def total_of(dataset: str, batches: list[Batch], ends_at_staging: bool | None) -> Total | None:
    """What became of a dataset's rows; None where nothing landed of it. ``ends_at_staging`` where no model deduplicates
    it, None where there is no warehouse to ask."""
    own = [b for b in batches if b.receipt.dataset == dataset]
    if not own:
        return None
    total = Total(dataset, ends_at_staging=bool(ends_at_staging))
    for family in families(own):
        total.files += 1
        total.not_landed += family[0].receipt.status is not Status.LANDED
        total.rows_in += family[0].receipt.rows_read
        total.quarantined += family[-1].receipt.rows_rejected
    total.landed = sum(b.receipt.rows_landed - b.removed for b in own)
    total.removed = sum(b.receipt.rows_removed + b.removed for b in own)
    if ends_at_staging is None:
        return total
    built = [b for b in own if (b.staging if ends_at_staging else b.kept) is not None]
    total.not_built = total.landed - sum(b.receipt.rows_landed - b.removed for b in built)
    if not ends_at_staging:
        total.superseded = sum(b.superseded for b in built)
        total.kept = sum(b.kept or 0 for b in built)
        total.conflicts = sum(b.conflicts for b in built)
        total.duplicates = sum(b.staging or 0 for b in built) - total.kept - total.superseded - total.conflicts
    return total
