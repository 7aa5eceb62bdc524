"""Write a batch: a file's conformed rows, and what does not fit into quarantine."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from traceback import extract_tb
from typing import Any

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import MACHINE_ERRORS, FileRefusedError, TidemarkError
from flows.land.conform import Conformed
from flows.land.consent import without_what_is_withheld
from flows.land.day_keys import DayKeys
from flows.land.hints import LOOKED_AT, Rejected, no_row_fits
from flows.land.landed_files import LandedFiles
from flows.land.linking import EarlierDays, next_columns
from flows.land.quarantine import Quarantine
from flows.land.receipt import Receipt, Status
from flows.land.text import TextFiles
from flows.land.told import ToldFile
from flows.land.tombstones import Tombstones
from flows.settings import Settings

EXAMPLES = 3
PACKAGE = Path(__file__).parents[1]


class BatchFiles:
    """The files of a batch that is made: its rows and their text below ``made``, and what it leaves in quarantine.

    Used as a context, whose end finishes them.
    """

    def __init__(
        self,
        settings: Settings,
        spec: DatasetSpec,
        receipt: Receipt,
        made: Path,
        keys: DayKeys,
        erased: Tombstones,
        earlier_days: EarlierDays,
    ) -> None:
        self.spec = spec
        # Rows that may not be kept: of people who were erased.
        self.removed = 0
        # Rows that a feed left out.
        self.ignored = 0
        # Rows that landed without something that they had no consent for.
        self.withheld = 0
        self._erased = erased
        self._earlier_days = earlier_days
        self.landed = LandedFiles(spec, receipt.batch_id, made)
        self.texts = TextFiles(spec, receipt.batch_id, made, keys, receipt.landed_at)
        self.told = ToldFile(spec, receipt.batch_id, made, receipt.landed_at)
        self.quarantine = Quarantine(settings, keys, receipt)
        self._columns = [column.name for column in spec.columns()]
        self._opened = ExitStack()

    def __enter__(self) -> "BatchFiles":
        for files in (self.quarantine, self.landed, self.texts):
            self._opened.enter_context(files)
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self._opened.__exit__(kind, *error)
        if kind is None:
            self.told.finish()

    def write(self, part: Conformed) -> None:
        """Take in a chunk of the file."""
        self.ignored += part.ignored
        rows, of_devices = self._erased.without_erased(self.spec, part.rows)
        unknown = part.unknown
        if rows.num_rows < part.rows.num_rows:
            self.removed += part.rows.num_rows - rows.num_rows
            kept = {*rows["_line"].to_pylist(), *(reject.line for reject in part.rejects)}
            unknown = [one for one in unknown if one.line in kept]
        self.told.write_of_devices(self._earlier_days.of_days_since(self.spec, of_devices))
        self.told.write(self._earlier_days.of_days_since(self.spec, rows))
        rows, withheld = without_what_is_withheld(self.spec, self._earlier_days.as_if_nobody_agreed(self.spec, rows))
        self.withheld += withheld
        columns = [*self._columns, *next_columns(self.spec, rows.schema.names)]
        self.landed.write(self._earlier_days.of_day(self.spec, rows.select(columns)))
        self.texts.write(rows)
        self.quarantine.write(part.rejects, unknown)


def land_rows(
    files: BatchFiles,
    receipt: Receipt,
    conformed: Iterator[Conformed],
    columns: Callable[[], str | None],
    examples: list[str],
) -> Receipt:
    """Stream a file's conformed rows into the batch being made, and what does not fit into quarantine, with the columns
    that its rows stand in."""
    spec, landed, quarantine = files.spec, files.landed, files.quarantine
    shown = 0
    reasons: Counter[tuple[str, str | None]] = Counter()
    first: list[Rejected] = []
    names: str | None = None
    with files:
        for part in _of_the_file(conformed):
            files.write(part)
            reasons.update((r.reason, r.field) for r in part.rejects)
            first += [Rejected(r.reason, r.field, r.raw) for r in part.rejects[: LOOKED_AT - len(first)]]
            for r in part.rejects[: EXAMPLES - shown]:
                where = f", field {r.field}" if r.field else ""
                examples.append(f"{receipt.file}, line {r.line}{where}: {r.reason.replace('_', ' ')}")
                shown += 1
        if quarantine.rejected and (names := columns()) is not None:
            quarantine.note_columns(names)
    why = None
    if quarantine.rejected and not landed.rows and not files.removed and not files.ignored:
        # Of Parquet the rows, as JSON, say as much.
        header = json.loads(names) if names and receipt.format == "csv" else []
        why = no_row_fits(quarantine.rejected, reasons, first, header, spec, load_specs() | {spec.name: spec})
    return receipt.model_copy(
        update={
            "status": Status.LANDED,
            "reason": why,
            "rows_read": landed.rows + quarantine.rejected + files.removed + files.ignored,
            "rows_landed": landed.rows,
            "rows_rejected": quarantine.rejected,
            "rows_removed": files.removed,
            "rows_ignored": files.ignored,
            "rows_withheld": files.withheld,
            "unknown_keys": quarantine.unknown,
            "files": tuple(landed.files),
            "text_files": tuple(files.texts.files),
            "texts_too_late": files.texts.too_late,
            "told_files": files.told.files,
            "columns": landed.columns if landed.rows else (),
            "rejects_path": quarantine.rejects_path,
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
