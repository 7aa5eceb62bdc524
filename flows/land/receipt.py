"""The receipt of a delivered file: what it was, what became of it, and which files of the landed zone hold its rows."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

RECEIPT = "receipt.json"
DATA = "data.parquet"
# How the name of a compacted file begins.
THROUGH = "through-"
# What fixes a file that was refused, or of which no row fits: nearly always the source, and seldom a command of ours.
FILE_REMEDY = (
    "have it delivered again, corrected; only where the contract or a reader was at fault: fix that, then "
    "`tidemark land --retry-quarantine`"
)


class Status(StrEnum):
    """What became of a delivered file, or that a batch is none."""

    LANDED = "landed"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    # No delivery: rows that landed before were taken out of the lake (flows/land/remove.py).
    REMOVED = "removed"


class LandedBatch(NamedTuple):
    """A batch in which rows landed: its number, when they did, and whether they came in a file. What rows tell of
    consent lands without one (flows/land/told.py)."""

    batch_id: int
    landed_at: datetime
    is_file: bool = True


class Removed(BaseModel):
    """Rows of a batch and day that a removal took out of the landed zone."""

    model_config = ConfigDict(frozen=True)

    batch_id: int
    event_date: date | None = None
    rows: int


class LandedFile(BaseModel):
    """A Parquet file of the landed zone: where below the lake, whose day it holds, how many rows and bytes.

    ``event_date`` is None in a dataset that is not laid out by day.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    event_date: date | None = None
    rows: int
    bytes: int


class Receipt(BaseModel):
    """One delivered file and what became of it. Paths are relative: ``file`` to the inbox, others to the lake.

    ``text_files`` are those in which the free text of these rows stands, redacted and encrypted; ``texts_too_late``
    rows had text that may not be kept any more, as the time of their day was over.

    ``reason`` says why it was refused, of which batch it is a duplicate, or why no row of it fits. ``files`` are those
    in which its rows landed, ``columns`` the columns that these have.

    ``rows_withheld`` are rows that landed without something that they had no consent for. ``told_files`` are those in
    which stood, as the batch landed, what its rows tell of consent (flows/land/told.py).

    ``rows_removed`` are rows of the file that never landed, since a person of whom they speak was erased before, and
    those that the lake was laid out again without. ``rows_ignored`` are those that a feed's SQL leaves out.

    A removal (flows/land/remove.py) has a receipt, too, which says what it ``removed``; its ``files`` are those in
    which the rows stand that are left of the days it touched, of all batches up to it, and ``file`` names why it was
    made. A change of the pseudonym key is a removal of no rows: all are left, with other pseudonyms
    (flows/land/rekey.py).

    ``key_check`` is the check value of the key that made the pseudonyms, ``next_key_check`` that of the later one,
    which made those that stand beside them while the key was changed.

    A retry has a receipt too: ``retries_batch_id`` names the batch in which the file landed first. Its ``rows_read``
    are the rows that the file's batch before it (that one, or an earlier retry) had rejected, and its own rejects take
    the place of those.
    """

    model_config = ConfigDict(frozen=True)

    batch_id: int
    dataset: str
    source: str
    file: str
    sha256: str
    bytes: int
    format: str
    status: Status
    reason: str | None = None
    rows_read: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    rows_removed: int = 0
    rows_ignored: int = 0
    rows_withheld: int = 0
    unknown_keys: int = 0
    files: tuple[LandedFile, ...] = ()
    text_files: tuple[LandedFile, ...] = ()
    texts_too_late: int = 0
    told_files: tuple[LandedFile, ...] = ()
    columns: tuple[str, ...] = ()
    removed: tuple[Removed, ...] = ()
    rejects_path: str | None = None
    supersedes_batch_id: int | None = None
    retries_batch_id: int | None = None
    contract: str
    key_check: str
    next_key_check: str | None = None
    delivered_at: datetime
    landed_at: datetime

    @property
    def has_no_fit(self) -> bool:
        """Whether rows were read and none of them landed: the file is likely no extract of this dataset."""
        return self.status is Status.LANDED and 0 < self.rows_read == self.rows_rejected

    @property
    def delivery_batch_id(self) -> int:
        """The batch in which the file landed first: for a retry not its own."""
        return self.retries_batch_id or self.batch_id

    @property
    def all_files(self) -> tuple[LandedFile, ...]:
        """The files of its rows, of their text, and of what they tell of consent."""
        return (*self.files, *self.text_files, *self.told_files)

    @property
    def rows_by_day(self) -> Counter[date | None]:
        """The rows that it landed of each day."""
        rows: Counter[date | None] = Counter()
        for file in self.files:
            rows[file.event_date] += file.rows
        return rows

    @property
    def folder(self) -> str:
        """Its batch's folder below the lake."""
        return f"landed/{self.dataset}/{batch_name(self.batch_id)}"


def removed_rows(receipts: Iterable[Receipt]) -> Counter[tuple[int, date | None]]:
    """The rows of each batch and day that the removals among these took away."""
    gone: Counter[tuple[int, date | None]] = Counter()
    for receipt in receipts:
        for rows in receipt.removed:
            gone[rows.batch_id, rows.event_date] += rows.rows
    return gone


def batch_name(batch_id: int) -> str:
    """The folder of a batch: names sort as numbers do."""
    return f"batch-{batch_id:012d}"


def day_folder(dataset: str, day: date | None, zone: str = "landed") -> str:
    """Where the rows of a day stand, below the lake, or in the zone ``text`` their text: a partition in Hive's way.

    What is of all days stands above them.
    """
    return f"{zone}/{dataset}/event_date={day.isoformat()}" if day else f"{zone}/{dataset}"


def day_in(folder: Path) -> date | None:
    """The day of such a folder, None of the folder of a dataset."""
    day = folder.name.removeprefix("event_date=")
    return date.fromisoformat(day) if day != folder.name else None


def compacted_path(dataset: str, day: date | None, through: int) -> str:
    """The file of a day, below the lake, that took the place of those of all its batches up to one."""
    return f"{day_folder(dataset, day)}/{THROUGH}{through:012d}.parquet"


def through_of(path: Path) -> int:
    """The last batch whose rows such a file holds."""
    return int(path.stem.removeprefix(THROUGH))
