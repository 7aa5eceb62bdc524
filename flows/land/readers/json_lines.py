"""JSON, one object a line. Arrays and objects over lines are taken apart by :mod:`flows.land.readers.documents`."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.land.readers import limits
from flows.land.readers.chunks import Chunk, Part, Reject
from flows.land.readers.compression import blocks, cut
from flows.land.readers.documents import read_documents
from flows.land.readers.limits import PADDING, SCAN_BYTES

Places = npt.NDArray[np.int64]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n"
HEAD_BYTES = 1 << 16
# An array that holds an object, or an object whose first line is not its last.
SCALAR = rb'(?:null|true|false|[-+.0-9eE]+|"(?:[^"\\\n]|\\.)*")'
DOCUMENT = re.compile(
    rb"[ \t]*(?:\[\s*(?:" + SCALAR + rb"\s*,\s*)*\{"
    rb'|\{(?:[^\n]*[,{\[:])?[ \t]*\r?\n\s*")'
)


EMPTY_ARRAY = re.compile(rb"\s*\[\s*\]\s*\Z")


def read_json(pieces: Iterator[bytes], is_document: bool) -> Iterator[Part]:
    """The rows of a file, each on a line of its own, or those of an array or of objects over several lines.

    An empty array alone is no row where the name promises a document, and one that does not fit where it promises
    lines.
    """
    blank_lines, head, rest = _begun(pieces)
    pieces = chain(cut(head), rest)
    if DOCUMENT.match(head) or (is_document and EMPTY_ARRAY.match(head)):
        yield from (partial(chunk_of, texts, rows) for texts, rows in read_documents(pieces, blank_lines + 1))
        return
    first = blank_lines + 1
    for block in blocks(pieces, PADDING):
        size = len(block) - len(PADDING)
        is_ascii = block.isascii()
        for starts, ends, lines in _lines(block, size, first):
            yield partial(_chunk, block, starts, ends, lines, is_ascii)
        first += block.count(b"\n")


def chunk_of(texts: list[bytes], lines: Places) -> Chunk:
    """Texts of JSON that stand in no file one after the other, each with the line it is to have."""
    block = b"\n".join([*texts, PADDING])
    ends = np.cumsum(np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts)))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    return _chunk(block, starts, ends, lines, block.isascii())


def _begun(pieces: Iterator[bytes]) -> tuple[int, bytes, Iterator[bytes]]:
    """How many blank lines the file begins with, what comes then, and the rest of it."""
    head, lines, is_first = b"", 0, True
    for piece in pieces:
        head += piece
        if is_first and len(head) < len(BYTE_ORDER_MARK):
            continue
        head, is_first = head.removeprefix(BYTE_ORDER_MARK) if is_first else head, False
        # Whole lines only: the blanks that a line begins with are its own.
        text = head.lstrip(BLANKS)
        cut = head.rfind(b"\n", 0, len(head) - len(text)) + 1
        lines += head.count(b"\n", 0, cut)
        head = head[cut:]
        if len(text) >= HEAD_BYTES:
            break
    return lines, head.removeprefix(BYTE_ORDER_MARK) if is_first else head, pieces


def _lines(block: bytes, size: int, first: int) -> Iterator[tuple[Places, Places, Places]]:
    """Where lines that are not blank begin and end, their line ends included, and their numbers; some at a time."""
    text = np.frombuffer(block, np.uint8, size)
    found: list[tuple[Places, Places, Places]] = []
    held = end = 0
    for at in range(0, size, SCAN_BYTES):
        ends = np.flatnonzero(text[at : at + SCAN_BYTES] == ord("\n")) + (at + 1)
        if at + SCAN_BYTES >= size and block[size - 1] != ord("\n"):
            ends = np.append(ends, size)
        if not len(ends):
            continue
        starts = np.concatenate([np.array([end], np.int64), ends[:-1]])
        lines = np.arange(first, first + len(ends), dtype=np.int64)
        first, end = first + len(ends), int(ends[-1])
        if (short := ends - starts <= 2).any():
            # A line end alone, or a carriage return before it.
            begin, last = text[starts], text[ends - 1]
            keep = ~(
                short & ((begin == ord("\n")) | (begin == ord("\r"))) & ((last == ord("\n")) | (last == ord("\r")))
            )
            starts, ends, lines = starts[keep], ends[keep], lines[keep]
        found.append((starts, ends, lines))
        held += len(lines)
        if held >= limits.CHUNK_RECORDS:
            yield _joined(found)
            found, held = [], 0
    if held:
        yield _joined(found)


def _joined(found: list[tuple[Places, Places, Places]]) -> tuple[Places, Places, Places]:
    starts, ends, lines = zip(*found, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(lines)


def _chunk(block: bytes, starts: Places, ends: Places, lines: Places, is_ascii: bool) -> Chunk:
    texts = _texts(block, starts, ends)
    rejects: list[Reject] = []
    if not is_ascii and not _is_utf8(texts):
        keep = np.ones(len(lines), bool)
        for position, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            raw = block[start:end]
            try:
                raw.decode()
            except UnicodeDecodeError:
                keep[position] = False
                rejects.append(Reject(int(lines[position]), "invalid_utf8", None, raw.rstrip(b"\r\n")))
        # Copied: a line that is no UTF-8 must not reach the engine.
        texts, lines = texts.view(pa.binary()).filter(pa.array(keep)).cast(pa.string()), lines[keep]
    table = pa.table({"_line": lines, "raw": texts})
    kept = texts

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [kept[i].as_buffer().to_pybytes().rstrip(b"\r\n") for i in positions]

    return Chunk(table, raw_rows, rejects, is_json=True)


def _texts(block: bytes, starts: Places, ends: Places) -> pa.StringArray:
    """The text between these bounds, not copied where one ends as the next begins."""
    count = len(starts)
    if (starts[1:] == ends[:-1]).all():
        bounds = np.append(starts, ends[-1:]).astype(np.int32)
        return pa.StringArray.from_buffers(count, pa.py_buffer(bounds), pa.py_buffer(block))
    bounds = np.append(np.column_stack([starts, ends]).ravel(), ends[-1:]).astype(np.int32)
    every = pa.BinaryArray.from_buffers(pa.binary(), 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(block)])
    return every.take(pa.array(np.arange(0, 2 * count, 2))).view(pa.string())


def _is_utf8(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
