"""The text store: free text of landed rows, redacted and encrypted, in ``lake/text/<dataset>/event_date=<day>/``.

No landed file, warehouse or publication holds it. What reads it is a job that finds topics: it gets the text row by row
with the batch and line by which the row is known everywhere else.
"""

from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import date, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.contract.spec import LINEAGE, DatasetSpec
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.day_keys import DayKeys, name_of
from flows.land.landed_files import LandedFiles
from flows.land.receipt import LandedFile
from flows.land.receipts import Receipts
from flows.rights import PRIVATE
from flows.settings import Settings

STORE = "text"


class TextFiles(LandedFiles):
    """Writes the free text of a batch's rows, those that have any, as :class:`LandedFiles` does the others.

    In a dataset without days, the day is that on which the batch landed.
    """

    zone = STORE

    def __init__(self, spec: DatasetSpec, batch_id: int, made: Path, keys: DayKeys, landed_at: datetime) -> None:
        super().__init__(spec, batch_id, made)
        self._is_by_day = True
        self._keys = keys
        self._landed_on = landed_at.date()
        self._texts = [field.name for field in spec.texts]
        # Rows whose text came when the time of their day was over.
        self.too_late = 0

    def write(self, rows: pa.Table) -> None:
        """Take in the text of rows; those without any are left out."""
        if not self._texts:
            return
        has_text = reduce(pc.or_, (pc.is_valid(rows[name]) for name in self._texts))
        days = rows["event_date"] if self._spec.is_by_day else pa.repeat(pa.scalar(self._landed_on), rows.num_rows)
        columns = [*self._texts, *LINEAGE]
        kept = pa.table({name: rows[name] for name in columns}).append_column("event_date", days).filter(has_text)
        for day in pc.unique(kept["event_date"]).to_pylist():
            if self._keys.is_destroyed(STORE, self._spec.name, day):
                # It came after its time: it may not be kept.
                before = kept.num_rows
                kept = kept.filter(pc.not_equal(kept["event_date"], pa.scalar(day)))
                self.too_late += before - kept.num_rows
        super().write(kept)

    def _encryption(self, day: date | None, schema: pa.Schema) -> Any:
        assert day is not None
        return self._keys.to_write(STORE, self._spec.name, day, self._texts)


def read_text(settings: Settings, dataset: str, day: date) -> Iterator[pa.Table]:
    """The text of a dataset's rows of a day, a table a batch: the fields of free text, ``_batch_id``, ``_line``.

    Only of batches that are committed and were not superseded; nothing where the time of the day is over. The day is
    that by which a row landed: another time zone of the lake does not move text. Raises
    :class:`~flows.errors.TidemarkError` where a file or key cannot be read.
    """
    keys = DayKeys(settings)
    if keys.is_destroyed(STORE, dataset, day):
        return
    with closing(Receipts(settings, read_only=True)) as receipts:
        files = [
            file for receipt in receipts.in_force(dataset) for file in receipt.text_files if file.event_date == day
        ]
    for file in files:
        yield read_text_file(settings, keys, dataset, file)


def blank_text(settings: Settings, keys: DayKeys, dataset: str, file: LandedFile, lines: Collection[int]) -> bool:
    """Take away the text of these lines of a file, in one step; False where they have none. The rows stay, empty."""
    table = read_text_file(settings, keys, dataset, file)
    gone = pc.is_in(table["_line"], pa.array(sorted(lines), pa.int64()))
    texts = [name for name in table.schema.names if name not in (*LINEAGE, "event_date")]
    if not any(pc.any(pc.and_(gone, pc.is_valid(table[name]))).as_py() for name in texts):
        return False
    for name in texts:
        left = pc.if_else(gone, pa.scalar(None, table[name].type), table[name])
        table = table.set_column(table.schema.get_field_index(name), name, left)
    path = settings.lake / file.path
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    beside.touch(mode=PRIVATE.file)
    assert file.event_date is not None
    encryption = keys.to_write(STORE, dataset, file.event_date, texts)
    pq.write_table(table, beside, compression="zstd", store_schema=False, encryption_properties=encryption)
    sync_file(beside)
    beside.replace(path)
    sync_folder(path.parent)
    return True


def read_text_file(settings: Settings, keys: DayKeys, dataset: str, file: LandedFile) -> pa.Table:
    """A file of the store, decrypted. Raises :class:`~flows.errors.TidemarkError` where it is not what it should be."""
    path = settings.lake / file.path
    assert file.event_date is not None
    only = name_of(STORE, dataset, file.event_date)
    try:
        pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise TidemarkError(f"{file.path} is missing; restore it from a backup of the lake") from error
    except (
        OSError,
        pa.ArrowException,
    ):  # as it should be: nobody reads it without the key; or it is damaged, see below
        pass
    else:
        raise TidemarkError(f"{file.path} is not encrypted: it is not what landing wrote; restore it from a backup")
    try:
        return pq.ParquetFile(path, decryption_properties=keys.to_read(only)).read()
    except (OSError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise TidemarkError(f"{file.path} is damaged ({why}); restore it from a backup of the lake") from error
