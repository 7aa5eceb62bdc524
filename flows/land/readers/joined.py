"""The chunks of several small files as one, with their lines numbered through."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.land.readers.chunks import Chunk, RawRows
from flows.land.readers.limits import PADDING

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """Chunks as one: ``offsets`` says what was added to the lines of each, and last to those of one more."""

    chunk: Chunk
    offsets: Places

    def place_of(self, line: int) -> tuple[int, int]:
        """The chunk that a line of the whole is of, and the line that it is there."""
        place = int(np.searchsorted(self.offsets, line)) - 1
        return place, line - int(self.offsets[place])


def joined(chunks: Sequence[Chunk]) -> Joined:
    """Chunks whose tables have the same columns of the same types as one. Each is of another file, from its line 1."""
    offsets = np.cumsum([0, *map(_last_line, chunks)])
    is_json = chunks[0].is_json
    table, raw = _texts_joined(chunks) if is_json else _tables_joined(chunks)
    lines = [chunk.table["_line"].to_numpy() + offset for chunk, offset in zip(chunks, offsets, strict=False)]
    at = table.schema.get_field_index("_line")
    table = table.set_column(at, "_line", pa.array(np.concatenate(lines), pa.int64()))
    moved = list(zip(chunks, offsets.tolist(), strict=False))
    rejects = [replace(r, line=r.line + offset) for chunk, offset in moved for r in chunk.rejects]
    unknown = [replace(u, line=u.line + offset) for chunk, offset in moved for u in chunk.unknown]
    return Joined(Chunk(table, raw, rejects, unknown, is_json), offsets)


def _last_line(chunk: Chunk) -> int:
    """The greatest line that the chunk says anything of."""
    read = int(chunk.table["_line"].to_numpy().max(initial=0))
    return max([read, *(reject.line for reject in chunk.rejects), *(unknown.line for unknown in chunk.unknown)])


def _texts_joined(chunks: Sequence[Chunk]) -> tuple[pa.Table, RawRows]:
    """Lines of JSON one after the other in one text, as a file of them has them, with the padding behind."""
    pieces: list[bytes | memoryview[int]] = []
    bounds = [np.zeros(1, np.int64)]
    size = 0
    for chunk in chunks:
        for raw in chunk.table["raw"].chunks:
            if not len(raw):
                continue
            _, offsets, data = raw.buffers()
            own = np.frombuffer(offsets, np.int32, len(raw) + 1, raw.offset * 4).astype(np.int64)
            text = memoryview(data)[own[0] : own[-1]]
            ends = own[1:] - own[0] + size
            pieces.append(text)
            if not len(text) or text[-1] != ord("\n"):  # or the line would go on with the next file's first
                pieces.append(b"\n")
                ends[-1] += 1
            bounds.append(ends)
            size = int(ends[-1])
    block = pa.py_buffer(b"".join([*pieces, PADDING]))
    every = pa.py_buffer(np.concatenate(bounds).astype(np.int32))
    texts = pa.StringArray.from_buffers(sum(map(len, bounds)) - 1, every, block)

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [texts[i].as_buffer().to_pybytes().rstrip(b"\r\n") for i in positions]

    return pa.table({"_line": pa.nulls(len(texts), pa.int64()), "raw": texts}), raw_rows


def _tables_joined(chunks: Sequence[Chunk]) -> tuple[pa.Table, RawRows]:
    table = pa.concat_tables([chunk.table.replace_schema_metadata(None) for chunk in chunks])
    firsts = np.cumsum([0, *(chunk.table.num_rows for chunk in chunks)])

    def raw_rows(positions: list[int]) -> list[bytes]:
        of = (np.searchsorted(firsts, positions, side="right") - 1).tolist()
        rows: list[bytes] = []
        for place, some in groupby(zip(of, positions, strict=True), key=lambda pair: pair[0]):
            rows += chunks[place].raw([position - int(firsts[place]) for _, position in some])
        return rows

    return table.unify_dictionaries().combine_chunks(), raw_rows
