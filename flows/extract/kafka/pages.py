"""Cut what is read of a partition into pages, each of which becomes one file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from flows.extract.kafka.client import Batch
from flows.extract.kafka.messages import HIDDEN, TOO_LONG, Encoder, Seen
from flows.extract.kafka.spans import Span
from flows.land.readers.limits import MAX_RECORD_BYTES

# So much of messages is held until it is written; it ends a page, as their number does.
PAGE_BYTES = 64 << 20


@dataclass
class Page:
    """What becomes a file: records of the messages in a span of offsets. There may be fewer than offsets, or none."""

    first: int
    end: int
    pieces: list[bytes] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, records: bytes, rows: int) -> None:
        """Take records of messages up to its end."""
        self.pieces.append(records)
        self.rows += rows
        self.size += len(records)

    @property
    def span(self) -> Span:
        """The offsets that were read for it."""
        return Span(self.first, self.end)


def pages(batches: Iterable[Batch], first: int, encode: Encoder, page_rows: int, seen: Seen) -> Iterator[Page]:
    """Pages of all that is read, from an offset on; the last may have no records.

    Each begins where the one before ends. A record that is longer than landing takes has a page of its own, so that it
    costs no other.
    """
    page = Page(first, first)
    try:
        for batch in batches:
            values = [message.value() for message in batch.messages]
            records = encode.plain(values)
            is_room = page.rows + len(values) < page_rows and page.size + len(records or b"") < PAGE_BYTES
            if records is not None and is_room and len(records) <= MAX_RECORD_BYTES:
                page.add(records, len(values))
                page.end = batch.end
                continue
            for message, value in zip(batch.messages, values, strict=True):
                offset = message.offset()
                assert offset is not None
                record = encode.one(value, offset)
                is_long = len(record) > MAX_RECORD_BYTES
                if is_long:
                    seen.note(TOO_LONG, offset)
                if is_long and page.rows:
                    page.end = offset
                    yield page
                    page = Page(offset, offset)
                if record:
                    page.add(record, 1)
                page.end = offset + 1
                if is_long or page.size >= PAGE_BYTES or page.rows >= page_rows:
                    yield page
                    page = Page(page.end, page.end)
            page.end = max(page.end, batch.end)
            if batch.hidden:
                seen.note(HIDDEN, batch.end, batch.hidden)
    except Exception:
        if page.rows:  # they may be gone before another try
            yield page
        raise
    if page.end > page.first:
        yield page
