"""JSON, one object a line."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from flows.readers.chunks import Chunk, Part, Reject
from flows.readers.compression import blocks
from flows.readers.limits import PADDING, SCAN_BYTES


def read_json(pieces: Iterator[bytes]) -> Iterator[Part]:
    first_line = 1
    for number, whole in enumerate(blocks(pieces, PADDING)):
        block = whole.removeprefix(b"\xef\xbb\xbf") if number == 0 else whole
        ends = _line_ends(block, len(block) - len(PADDING))
        lines = np.arange(first_line, first_line + len(ends), dtype=np.int64)
        first_line += len(ends)
        yield partial(_json_chunk, block, np.concatenate([np.zeros(1, np.int32), ends]), lines)


def _line_ends(block: bytes, size: int) -> np.ndarray:
    """Where each line ends, its line end included; the last may have none."""
    text = np.frombuffer(block, np.uint8, size)
    pieces = [np.flatnonzero(text[at : at + SCAN_BYTES] == ord("\n")) + (at + 1) for at in range(0, size, SCAN_BYTES)]
    ends = np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int32)
    return ends if len(ends) and ends[-1] == size else np.append(ends, np.int32(size))


def _json_chunk(block: bytes, offsets: np.ndarray, lines: np.ndarray) -> Chunk:
    texts = pa.StringArray.from_buffers(len(lines), pa.py_buffer(offsets), pa.py_buffer(block))
    lengths = np.diff(offsets)
    keep = np.ones(len(lines), bool)
    for position in np.flatnonzero(lengths <= 2):
        keep[position] = bool(block[offsets[position] : offsets[position + 1]].rstrip(b"\r\n"))
    rejects: list[Reject] = []
    if not block.isascii() and not _is_utf8(texts):
        for position in np.flatnonzero(keep):
            raw = block[offsets[position] : offsets[position + 1]]
            try:
                raw.decode()
            except UnicodeDecodeError:
                keep[position] = False
                rejects.append(Reject(int(lines[position]), "invalid_utf8", None, raw.rstrip(b"\r\n")))
    if not keep.all():
        texts, lines = _valid(block, offsets, keep), lines[keep]
    table = pa.table({"_line": lines, "raw": texts})
    kept = texts

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [kept[i].as_buffer().to_pybytes().rstrip(b"\r\n") for i in positions]

    return Chunk(table, raw_rows, rejects, is_json=True)


def _is_utf8(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _valid(block: bytes, offsets: np.ndarray, keep: np.ndarray) -> pa.StringArray:
    """The kept lines alone, copied: a line that is no UTF-8 must not reach the engine."""
    every = pa.BinaryArray.from_buffers(pa.binary(), len(keep), [None, pa.py_buffer(offsets), pa.py_buffer(block)])
    return every.filter(pa.array(keep)).cast(pa.string())
