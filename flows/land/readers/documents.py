"""JSON that is not one object a line: arrays of objects, and objects over several lines.

A file is taken apart by its brackets and quotes alone; whether an element is JSON the engine says, as of any line. So
brackets and quotes must be trustworthy: where they do not match, or something stands outside of strings that no JSON
has there, the file is refused as a whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from flows.errors import FileRefusedError
from flows.land.readers import limits

Places = npt.NDArray[np.int64]
OPENING, CLOSING, ODD, LINE_END = 1, 2, 4, 8
# What each byte is. Outside of strings stand brackets, blanks, numbers and the letters of a few words; a word that is
# none of JSON's (NaN) costs its element and not the file.
KINDS = np.full(256, ODD, np.uint8)
KINDS[np.frombuffer(b' \t,:"0123456789+-.truefalsnNIityE', np.uint8)] = 0
KINDS[np.frombuffer(b"\r\n", np.uint8)] = LINE_END
KINDS[np.frombuffer(b"{[", np.uint8)] = OPENING
KINDS[np.frombuffer(b"}]", np.uint8)] = CLOSING
TOKEN = re.compile(rb'[\[\],]|"(?:[^"\\]|\\.)*"|[^\s\[\],"]+|"')
PUNCTUATION = re.compile(rb"[\s,\[\]]*")
REDELIVER = "deliver it again"


class _State(IntEnum):
    """Where between two elements: outside of arrays, behind an array's bracket, an element, or a comma."""

    OUTSIDE = 0
    OPENED = 1
    ELEMENT = 2
    COMMA = 3


# What may come next in which state, and the state behind it.
FOLLOWS = {
    (_State.OUTSIDE, b"["): _State.OPENED,
    (_State.OPENED, b"]"): _State.OUTSIDE,
    (_State.ELEMENT, b"]"): _State.OUTSIDE,
    (_State.ELEMENT, b","): _State.COMMA,
}


def read_documents(pieces: Iterator[bytes], first_line: int) -> Iterator[tuple[list[bytes], Places]]:
    """The texts of the elements with their numbers from 1, in bounded lists.

    Raises :class:`FileRefusedError` where elements cannot be told apart.
    """
    reader = _Reader(line=first_line)
    number = 1
    texts: list[bytes] = []
    for text in reader.elements(pieces):
        texts.append(text)
        if len(texts) >= limits.CHUNK_RECORDS:
            yield texts, np.arange(number, number + len(texts), dtype=np.int64)
            number, texts = number + len(texts), []
    if texts:
        yield texts, np.arange(number, number + len(texts), dtype=np.int64)


@dataclass
class _Reader:
    """Where the reading is: the line and the element that come next, and what is read and not yet whole.

    ``is_between`` says whether no list or object is open there.
    """

    line: int
    element: int = 1
    state: _State = _State.OUTSIDE
    rest: bytes = b""
    is_between: bool = True

    def elements(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The elements' texts, one after the other."""
        held: list[bytes] = []
        size, wanted = 0, limits.DOCUMENT_BYTES
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= wanted:
                yield from self._take(b"".join(held))
                held, size = [self.rest], len(self.rest)
                # An element longer than that is not looked through again at every piece.
                wanted = max(limits.DOCUMENT_BYTES, 2 * size)
        yield from self._take(b"".join(held))
        yield from self._between(self.rest, 0, len(self.rest) if self.is_between else 0)
        if not self.is_between or self.state is not _State.OUTSIDE:
            what = "within an array," if self.is_between else f"within element {self.element}, which begins"
            raise FileRefusedError(f"it ends {what} on line {self.line}: truncated; {REDELIVER}")

    def _take(self, data: bytes) -> Iterator[bytes]:
        """The elements that are whole in the data, which goes on where ``rest`` began."""
        starts, ends, unfinished = self._rows(data)
        at = 0
        for start, end in zip(starts, ends, strict=True):
            if self.state is _State.ELEMENT and data[at:start].strip() == b",":
                self.state = _State.COMMA
            else:
                yield from self._between(data, at, start)
            self._enter(data, start)
            yield data[start:end]
            at = end
        self.is_between = unfinished is None
        if unfinished is None:
            # Words and numbers may go on in what follows.
            found = PUNCTUATION.match(data, at)
            unfinished = found.end() if found else at
        yield from self._between(data, at, unfinished)
        self.line += data.count(b"\n", 0, unfinished)
        self.rest = data[unfinished:]
        if len(self.rest) > limits.MAX_RECORD_BYTES:
            raise self._refused(b"", 0, f"longer than {limits.MAX_RECORD_BYTES >> 20} MiB, or not closed")

    def _rows(self, data: bytes) -> tuple[list[int], list[int], int | None]:
        """Where elements that are lists or objects begin and end, and where one begins that is not whole."""
        places, opens = self._brackets(data)
        within = self.state is not _State.OUTSIDE
        depth = np.cumsum(np.where(opens, 1, -1), dtype=np.int32) + np.int32(within)
        if len(depth) and depth.min() < 0:
            raise self._broken(data, int(places[int(np.argmax(depth < 0))]), "a bracket closes that was not opened")
        # Each bracket's outermost one: an array's elements are rows, an object outside of arrays is one itself.
        tops = np.flatnonzero(opens & (depth == 1))
        text = np.frombuffer(data, np.uint8)
        kinds = np.append(text[places[tops]] == ord("["), within)
        in_array = kinds[np.cumsum(opens & (depth == 1), dtype=np.int32) - 1]
        starts = places[opens & (depth == 1 + in_array)]
        ends = places[~opens & (depth == 0 + in_array)] + 1
        self._check_pairs(data, places, opens, depth)
        unfinished = int(starts[-1]) if len(starts) > len(ends) else None
        return starts[: len(ends)].tolist(), ends.tolist(), unfinished

    def _check_pairs(self, data: bytes, places: Places, opens: npt.NDArray[np.bool_], depth: Places) -> None:
        """Refuse what opens with one kind of bracket and closes with the other."""
        level = np.where(opens, depth, depth + 1)
        order = np.argsort(level, kind="stable")
        kinds = np.frombuffer(data, np.uint8)[places[order]] >= ord("{")
        follows = ~opens[order][1:] & opens[order][:-1] & (level[order][1:] == level[order][:-1])
        wrong = np.flatnonzero(follows & (kinds[1:] != kinds[:-1]))
        if len(wrong):
            raise self._broken(data, int(places[order[wrong + 1]].min()), "a bracket closes another kind of bracket")

    def _brackets(self, data: bytes) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The places of brackets outside of strings, and which of them open."""
        text = np.frombuffer(data, np.uint8)
        is_quote = text == ord('"')
        if b"\\" in data:
            is_quote[_escaped(text)] = False
        found, opens, inside = [], [], 0
        for at in range(0, len(data), limits.SCAN_BYTES):
            part = text[at : at + limits.SCAN_BYTES]
            strings = np.cumsum(is_quote[at : at + limits.SCAN_BYTES], dtype=np.uint8) + np.uint8(inside) & 1
            inside = int(strings[-1])
            kinds = KINDS[part]
            # Outside of strings a line end is a blank; within, it says that a quote is missing.
            faults = np.where(strings, kinds & LINE_END, kinds & ODD)
            if faults.any():
                place = int(faults.argmax())
                what = "a string goes over the end of its line" if strings[place] else "text stands outside of strings"
                raise self._broken(data, at + place, f"{what}, so a quote is missing or too much before it")
            places = np.flatnonzero(np.where(strings, 0, kinds & (OPENING | CLOSING)))
            found.append(places + at)
            opens.append(kinds[places] == OPENING)
        return np.concatenate([np.zeros(0, np.int64), *found]), np.concatenate([np.zeros(0, bool), *opens])

    def _between(self, data: bytes, start: int, end: int) -> Iterator[bytes]:
        """Go over what stands between two elements; those that are neither lists nor objects are given back."""
        for found in TOKEN.finditer(data, start, end):
            token = found[0]
            if (follows := FOLLOWS.get((self.state, token))) is not None:
                self.state = follows
            elif token in (b"[", b"]", b","):
                raise self._refused(data, found.start(), f"{token.decode()} stands where none can be")
            else:
                self._enter(data, found.start())
                yield token

    def _enter(self, data: bytes, start: int) -> None:
        """An element comes."""
        if self.state is _State.ELEMENT:
            raise self._refused(data, start, "a comma is missing before it")
        if self.state is not _State.OUTSIDE:
            self.state = _State.ELEMENT
        self.element += 1

    def _broken(self, data: bytes, at: int, what: str) -> FileRefusedError:
        """The first place where brackets or quotes do not match: the elements before it are counted first."""
        self.element += len(self._rows(data[:at])[1])
        return self._refused(data, at, what)

    def _refused(self, data: bytes, at: int, what: str) -> FileRefusedError:
        line = self.line + data.count(b"\n", 0, at)
        return FileRefusedError(
            f"the JSON is broken on line {line}, after element {self.element - 1}: {what}; {REDELIVER}"
        )


def _escaped(text: npt.NDArray[np.uint8]) -> Places:
    """The places behind an odd number of backslashes."""
    slashes = np.flatnonzero(text == ord("\\"))
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    lengths = np.diff(np.append(begins, len(slashes)))
    after = slashes[begins] + lengths
    found: Places = after[(lengths % 2 == 1) & (after < len(text))]
    return found
