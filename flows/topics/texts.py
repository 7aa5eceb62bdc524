"""The texts that topics are found in: of the text store, redacted, each under the id of its row."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from flows.files import sha256
from flows.land.day_keys import DayKeys
from flows.land.receipt import LandedFile
from flows.land.receipts import Receipts
from flows.land.text import STORE, read_text_file
from flows.settings import Settings


@dataclass(frozen=True)
class Texts:
    """Texts and the ids of their rows: dataset, batch and line."""

    ids: list[str]
    texts: list[str]


class TextStore:
    """The texts of one field of a dataset, as they stand when this is made."""

    def __init__(self, settings: Settings, dataset: str, field: str) -> None:
        self._settings, self._dataset, self._field = settings, dataset, field
        self._keys = DayKeys(settings)
        self._files: dict[date, list[LandedFile]] = {}
        with closing(Receipts(settings, read_only=True)) as receipts:
            for receipt in receipts.in_force(dataset):
                for file in receipt.text_files:
                    if file.event_date:
                        self._files.setdefault(file.event_date, []).append(file)

    def days(self) -> Sequence[date]:
        """The days that there are texts of, in order; none whose time is over."""
        return sorted(day for day in self._files if not self._keys.is_destroyed(STORE, self._dataset, day))

    def mark(self, day: date) -> str:
        """A mark of a day's files, another one where any of them is."""
        made = hashlib.sha256()
        for file in self._files[day]:
            path = self._settings.lake / file.path
            made.update(f"{file.path} {sha256(path) if path.exists() else 'missing'}\n".encode())
        return made.hexdigest()

    def read(self, day: date) -> Texts:
        """The texts of a day, in the order of their batches and lines.

        Raises :class:`~flows.errors.TidemarkError` where a file or its key cannot be read.
        """
        found = Texts([], [])
        for file in self._files[day]:
            for batch, line, text in self._rows(read_text_file(self._settings, self._keys, self._dataset, file)):
                found.ids.append(f"{self._dataset}-{batch}-{line}")
                found.texts.append(text)
        return found

    def _rows(self, table: pa.Table) -> Iterator[tuple[int, int, str]]:
        columns = (table[name].to_pylist() for name in ("_batch_id", "_line", self._field))
        yield from ((batch, line, text) for batch, line, text in zip(*columns, strict=True) if text is not None)
