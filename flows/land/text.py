"""The text store: free text of landed rows, redacted and encrypted, in ``lake/text/<dataset>/event_date=<day>/``.

No landed file, warehouse or publication holds it. What reads it is a job that finds topics: it gets the text row by row
with the batch and line by which the row is known everywhere else.
"""

from collections.abc import Iterator
from datetime import date, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.contract.spec import LINEAGE, DatasetSpec
from flows.land.day_keys import DayKeys, DestroyedKeyError
from flows.land.landed_files import LandedFiles
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

    def write(self, rows: pa.Table) -> None:
        """Take in the text of rows; those without any are left out."""
        if not self._texts:
            return
        has_text = reduce(pc.or_, (pc.is_valid(rows[name]) for name in self._texts))
        days = rows["event_date"] if self._spec.is_by_day else pa.repeat(pa.scalar(self._landed_on), rows.num_rows)
        columns = [*self._texts, *LINEAGE]
        kept = pa.table({name: rows[name] for name in columns}).append_column("event_date", days)
        super().write(kept.filter(has_text))

    def _encryption(self, day: date | None, schema: pa.Schema) -> Any:
        assert day is not None
        return self._keys.to_write(STORE, self._spec.name, day, self._texts)


def read_text(settings: Settings, dataset: str, day: date) -> Iterator[pa.Table]:
    """The text of a dataset's rows of a day, a table a file: the fields of free text, ``_batch_id``, ``_line``.

    Rows that a later delivery superseded are among them: who joins by batch and line leaves them out. None where the
    time of the day is over. Raises :class:`~flows.errors.TidemarkError` where a key cannot be read.
    """
    keys = DayKeys(settings)
    for path in sorted((settings.text / dataset / f"event_date={day.isoformat()}").glob("*.parquet")):
        try:
            yield pq.ParquetFile(path, decryption_properties=keys.to_read()).read()
        except DestroyedKeyError:
            return
