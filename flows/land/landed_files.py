"""The Parquet files of a batch: one, or in a dataset laid out by day one for each day that it holds rows of."""

from collections import OrderedDict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec
from flows.land.receipt import DATA, LandedFile, batch_name, day_folder
from flows.rights import BY_UMASK, PRIVATE

# Rows of a day are gathered until they make a row group worth reading.
GROUP_ROWS = 65_536
# Rows held over all days; beyond that the day with the most is written.
HELD_ROWS = 524_288
# Files being written at once, well below what systems let a process open.
OPEN_FILES = 64
# A dictionary of more than a quarter as many values as there are rows may be one of other rows' values.
DICTIONARY_SHARE = 4


class LandedFiles:
    """Writes the rows of a batch below ``made``, laid out as they will stand below the lake.

    Used as a context, whose end finishes the files; ``files`` says after that which there are, ``columns`` what is in
    them. That they are on the disk is up to the commit.
    """

    # The folder of the lake in which the files will stand.
    zone = "landed"

    def __init__(self, spec: DatasetSpec, batch_id: int, made: Path) -> None:
        self.files: list[LandedFile] = []
        self.rows = 0
        self.columns: tuple[str, ...] = ()
        self._spec = spec
        self._is_by_day = spec.is_by_day
        self._batch = batch_name(batch_id)
        self._made = made
        self._held: dict[date | None, list[pa.Table]] = {}
        self._held_rows: dict[date | None, int] = {}
        self._writers: OrderedDict[date | None, _Writer] = OrderedDict()

    def __enter__(self) -> "LandedFiles":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for day in sorted(self._held, key=str):
                self._write(day)
        while self._writers:
            self._finish(next(iter(self._writers)), is_whole=kind is None)
        self.files.sort(key=lambda file: file.path)

    def write(self, rows: pa.Table) -> None:
        """Take rows in; they are written in groups worth reading."""
        self.rows += rows.num_rows
        self.columns = tuple(rows.schema.names)
        for day, some in by_day(rows) if self._is_by_day else ((None, rows),):
            self._held.setdefault(day, []).append(some)
            self._held_rows[day] = self._held_rows.get(day, 0) + some.num_rows
            if self._held_rows[day] >= GROUP_ROWS:
                self._write(day)
        while sum(self._held_rows.values()) > HELD_ROWS:
            self._write(max(self._held_rows, key=lambda day: self._held_rows[day]))

    def _write(self, day: date | None) -> None:
        del self._held_rows[day]
        rows = pa.concat_tables(self._held.pop(day)).unify_dictionaries()
        if not rows.num_rows:
            return
        if day not in self._writers:
            if len(self._writers) >= OPEN_FILES:
                self._finish(next(iter(self._writers)), is_whole=True)
            self._writers[day] = self._begin(day, rows.schema)
        self._writers.move_to_end(day)
        self._writers[day].write(rows)

    def _begin(self, day: date | None, schema: pa.Schema) -> "_Writer":
        name = f"{self.zone}/{self._spec.name}/{self._batch}/{DATA}"
        if day is not None:
            # A file with rows of more days than may be open comes back to a day that was finished.
            before = sum(file.event_date == day for file in self.files)
            more = f"-{before + 1}" if before else ""
            name = f"{day_folder(self._spec.name, day, self.zone)}/{self._batch}{more}.parquet"
        return _Writer(self._made, name, schema, self._encryption(day, schema))

    def _encryption(self, day: date | None, schema: pa.Schema) -> Any:
        """What encrypts a file; None where nothing is to."""
        return None

    def _finish(self, day: date | None, is_whole: bool) -> None:
        writer = self._writers.pop(day)
        writer.close()
        if is_whole:
            size = writer.path.stat().st_size
            self.files.append(LandedFile(path=writer.name, event_date=day, rows=writer.rows, bytes=size))


class _Writer:
    def __init__(self, made: Path, name: str, schema: pa.Schema, encryption: Any) -> None:
        self.name = name
        self.path = made / name
        self.rows = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Made here, or a link to a file of the lake would be written through.
        self.path.touch(mode=BY_UMASK if encryption is None else PRIVATE.file, exist_ok=False)
        options = _parquet_options(schema)
        self._writer = pq.ParquetWriter(self.path, schema, encryption_properties=encryption, **options)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(_own_dictionaries(rows))
        self.rows += rows.num_rows

    def close(self) -> None:
        self._writer.close()


def by_day(rows: pa.Table) -> list[tuple[date | None, pa.Table]]:
    """The rows of each day, in the order they had."""
    days = rows["event_date"].cast(pa.int32()).to_numpy()
    if not len(days):
        return []
    if (days == days[0]).all():
        return [(_date(days[0]), rows)]
    order = np.argsort(days, kind="stable")
    found, starts = np.unique(days[order], return_index=True)
    parts = np.split(order, starts[1:])
    return [(_date(day), rows.take(pa.array(part))) for day, part in zip(found, parts, strict=True)]


def _date(days: np.int32) -> date:
    return date(1970, 1, 1) + timedelta(days=int(days))


def _own_dictionaries(rows: pa.Table) -> pa.Table:
    """The rows with no words but their own: a few rows of a day would carry the words of all days with them, and rows
    that were rejected, or are of people who were erased, would leave theirs behind."""
    for at, name in enumerate(rows.schema.names):
        column = rows.column(at)
        if not pa.types.is_dictionary(column.type):
            continue
        words = max((len(chunk.dictionary) for chunk in column.chunks), default=0)
        if words * DICTIONARY_SHARE > rows.num_rows or any(map(_has_others_words, column.chunks)):
            encoded = pc.dictionary_encode(column.cast(column.type.value_type))
            rows = rows.set_column(at, pa.field(name, column.type), encoded.cast(column.type))
    return rows


def _has_others_words(chunk: pa.DictionaryArray) -> bool:
    return bool(pc.count_distinct(chunk.indices, mode="only_valid").as_py() < len(chunk.dictionary))


def _parquet_options(schema: pa.Schema) -> dict[str, object]:
    """Dictionaries for words, none for what hardly repeats."""
    words = [column.name for column in schema if _is_of_words(column.type)]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": words, "store_schema": False}


def _is_of_words(kind: pa.DataType) -> bool:
    is_kind = (pa.types.is_string, pa.types.is_dictionary, pa.types.is_list, pa.types.is_boolean)
    return any(is_one(kind) for is_one in is_kind)
