"""Conform many small files together: one statement, or one pass of the fast path, for what would need one each.

What a statement costs before it sees a row is more than twenty lines cost. So files that come one after the other are
read, their rows conformed as one chunk, and each file gets its own back. Nothing else of a file's landing is shared:
whatever cannot be read or conformed here lands by itself, and shows there what is wrong with it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from flows.contract.spec import DatasetSpec
from flows.land.conform import Conformed, Conformer
from flows.land.conformers import Conformers, conformed
from flows.land.feed_mapping import mapped
from flows.land.feeds import feed_of, load_feeds
from flows.land.inbox import Delivery, compression_of, file_format
from flows.land.readers import Chunk, Part, decoded, limits
from flows.land.readers.compression import decompressed
from flows.land.readers.joined import Joined, joined
from flows.land.reading import parts_as_delivered

# Of text. A larger file gains little: what it costs is mostly its rows.
SMALL_BYTES = 1 << 20
# Of text, together. All are read before the first is committed.
GROUP_BYTES = 8 << 20
GROUP_FILES = 500
# A byte of a compressed file or of Parquet becomes about so many of text, and one of CSV, cell by cell, of memory.
EXPANSION = 8
# Decoded, a file that would take more than this part of what may be held at once is no small one.
SMALL_SHARE = 8


def in_groups(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """The deliveries as they come: small ones of one dataset together, each other one alone."""
    group: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        more = _text_bytes(delivery)
        is_full = len(group) == GROUP_FILES or size + more > GROUP_BYTES
        if group and (is_full or more > SMALL_BYTES or delivery.dataset != group[0].dataset):
            yield group
            group, size = [], 0
        if more > SMALL_BYTES:
            yield [delivery]
            continue
        group.append(delivery)
        size += more
    if group:
        yield group


def _text_bytes(delivery: Delivery) -> int:
    """About how much text a file has, or as much memory as its rows take, by its size and name."""
    is_dense = compression_of(delivery.path.name) or file_format(delivery.path.name) in ("csv", "parquet")
    return delivery.stat.st_size * (EXPANSION if is_dense else 1)


def gathered(deliveries: list[Delivery], spec: DatasetSpec, conformers: Conformers) -> dict[str, Conformed]:
    """The conformed rows of files of one dataset, by name; without those that have to land by themselves.

    The rows' batch is still to be filled in: :func:`of_batch`.
    """
    alike: dict[tuple[str, str, bool, pa.Schema], dict[str, Chunk]] = {}
    held = 0.0
    for delivery in deliveries if len(deliveries) > 1 else ():
        chunk = _only_chunk(delivery, spec)
        share = _share_of_memory(chunk) if chunk else 1
        if chunk is None or share > 1 / SMALL_SHARE:
            continue
        held += share
        if held > 1:
            break
        feed = feed_of(delivery.name)
        of = (feed.name, delivery.source) if feed else ("", "")
        kind = (*of, chunk.is_json, chunk.table.schema.remove_metadata())
        alike.setdefault(kind, {})[delivery.name] = chunk
    found: dict[str, Conformed] = {}
    for (name, source, *_), chunks in alike.items():
        try:
            whole = joined(list(chunks.values()))
            part = decoded(whole.chunk)
            if name:
                feed = load_feeds()[name]
                (part,) = mapped(iter([part]), feed, spec, conformers.beside.of(feed, source))
            shares = _conformed_together(whole, part, list(chunks.values()), conformers.of(spec))
            found |= zip(chunks, shares, strict=True)
        except Exception:  # which file's rows it was shows when each lands by itself
            continue
    return found


def of_batch(share: Conformed, batch_id: int) -> Iterator[Conformed]:
    """A file's conformed rows with the number of their batch."""
    at = share.rows.schema.get_field_index("_batch_id")
    numbers = pa.repeat(pa.scalar(batch_id, pa.int64()), share.rows.num_rows)
    yield replace(share, rows=share.rows.set_column(at, "_batch_id", numbers))


def _only_chunk(delivery: Delivery, spec: DatasetSpec) -> Chunk | None:
    """The file's rows as they came, verified to the last byte; None where it is not one chunk, or anything is wrong."""
    try:
        if compression_of(delivery.path.name) and not _unpacks_small(delivery.path):
            return None
        parts = parts_as_delivered(delivery.path, delivery.name, spec)
        first = next(parts, None)
        return first() if first is not None and next(parts, None) is None else None
    except Exception:
        return None


def _unpacks_small(path: Path) -> bool:
    """Whether a compressed file is as small as its size promised: a few bytes may become millions."""
    most = SMALL_BYTES // (EXPANSION if file_format(path.name) == "csv" else 1)
    size = 0
    for piece in decompressed(path):
        size += len(piece)
        if size > most:
            return False
    return True


def _share_of_memory(chunk: Chunk) -> float:
    """How much it is of what is held at once of any file."""
    records = int(chunk.table.num_rows) + len(chunk.rejects) + len(chunk.unknown)
    return max(records / limits.CHUNK_RECORDS, int(chunk.table.nbytes) / limits.CHUNK_BYTES)


def _conformed_together(whole: Joined, part: Part, chunks: list[Chunk], conformers: list[Conformer]) -> list[Conformed]:
    """The conformed rows of each chunk, from one conforming of all, as ``part`` has them."""
    pieces = list(conformed(iter([part]), conformers, batch_id=0))
    rows = pa.concat_tables([_plain(piece.rows) for piece in pieces]).combine_chunks()
    lines = rows["_line"].to_numpy()
    if (np.diff(lines) <= 0).any():
        raise ValueError("conformed rows are out of order: they cannot be told apart by file")
    bounds = np.searchsorted(lines, whole.offsets, side="right")
    own = lines - np.repeat(whole.offsets[:-1], np.diff(bounds))
    rows = rows.set_column(rows.schema.get_field_index("_line"), "_line", pa.array(own, pa.int64()))
    shares = [Conformed(rows.slice(first, last - first)) for first, last in pairwise(bounds.tolist())]
    for piece in pieces:
        for reject in piece.rejects:
            place, line = whole.place_of(reject.line)
            shares[place].rejects.append(replace(reject, line=line))
        for unknown in piece.unknown:
            place, line = whole.place_of(unknown.line)
            shares[place].unknown.append(replace(unknown, line=line))
    # What a file had and has no more, its feed left out.
    had = (chunk.table.num_rows + len(chunk.rejects) for chunk in chunks)
    return [replace(s, ignored=n - s.rows.num_rows - len(s.rejects)) for s, n in zip(shares, had, strict=True)]


def _plain(rows: pa.Table) -> pa.Table:
    """The rows with text in place of dictionaries: no file is to carry the words of others."""
    types = (f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in rows.schema)
    return rows.cast(pa.schema(zip(rows.schema.names, types, strict=True)))
