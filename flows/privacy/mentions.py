"""Where an id stands in clear: in files of the inbox as they were delivered, and in what quarantine keeps, decrypted.

Neither has pseudonyms to search by. A mention says where the id stands and not what else stands there, since a line may
speak of others too. An id is found where it stands for itself, not as a part of a longer word.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec
from flows.errors import FileRefusedError
from flows.land.inbox import Delivery, deliveries
from flows.land.quarantine import read_rejects, read_unknown
from flows.land.readers import Chunk
from flows.land.reading import chunks_as_delivered
from flows.land.receipts import Receipts
from flows.privacy.ids import Ids
from flows.settings import Settings


@dataclass(frozen=True)
class Mention:
    """A line or record in which an id stands; ``batch_id`` is that of what is in quarantine."""

    store: Literal["inbox", "quarantine"]
    dataset: str
    file: str
    line: int
    batch_id: int | None = None


@dataclass(frozen=True)
class Unsearched:
    """A file that could not be searched to its end, and why."""

    file: str
    why: str


def mentions(settings: Settings, specs: dict[str, DatasetSpec], ids: Iterable[str]) -> Iterator[Mention | Unsearched]:
    """Every mention of these ids, and every file that could not be searched."""
    wanted = Ids(ids)
    yield from _in_inbox(settings, specs, wanted)
    yield from _in_quarantine(settings, wanted)


def _in_inbox(settings: Settings, specs: dict[str, DatasetSpec], ids: Ids) -> Iterator[Mention | Unsearched]:
    for delivery in deliveries(settings.inbox):
        spec = specs.get(delivery.dataset)
        if spec is None:
            yield Unsearched(delivery.name, f"the contract has no dataset {delivery.dataset}")
            continue
        try:
            for line in _lines_in(delivery, spec, ids):
                yield Mention("inbox", delivery.dataset, delivery.name, line)
        except (FileRefusedError, OSError) as error:
            yield Unsearched(delivery.name, str(error))


def _lines_in(delivery: Delivery, spec: DatasetSpec, ids: Ids) -> Iterator[int]:
    for chunk in chunks_as_delivered(delivery.path, delivery.name, spec):
        lines = {int(line) for line in _rows_with(chunk, ids)}
        lines |= {reject.line for reject in chunk.rejects if ids.are_in(reject.raw.decode(errors="replace"))}
        lines |= {unknown.line for unknown in chunk.unknown if ids.are_in(unknown.value)}
        yield from sorted(lines)


def _rows_with(chunk: Chunk, ids: Ids) -> list[int]:
    """The lines of a chunk's rows in which any text matches."""
    found = pa.array([False] * chunk.table.num_rows)
    for column in chunk.table.columns:
        words = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(words) or pa.types.is_large_string(words):
            values = column.cast(pa.large_string())
            for pattern in ids.patterns:
                matching = pc.match_substring_regex(values, pattern)
                found = pc.or_(found, pc.fill_null(_whole(matching), False))
    lines: list[int] = chunk.table["_line"].filter(found).to_pylist()
    return lines


def _whole(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _in_quarantine(settings: Settings, ids: Ids) -> Iterator[Mention | Unsearched]:
    with closing(Receipts(settings, read_only=True)) as receipts:
        left = [receipt for receipt in receipts.after(0) if receipt.rows_rejected or receipt.unknown_keys]
    for receipt in left:
        for read, has_any in ((read_rejects, receipt.rows_rejected), (read_unknown, receipt.unknown_keys)):
            for row in read(settings, [receipt]) if has_any else ():
                if row.text is None:
                    yield Unsearched(receipt.file, row.fault)
                elif ids.are_in(row.text):
                    yield Mention("quarantine", receipt.dataset, receipt.file, row.line, receipt.batch_id)
