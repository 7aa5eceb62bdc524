"""Take lines of JSON apart side by side: what machines write differs in its values, hardly in its form.

Many lines are read at once, key by key. What stands before a value (a bracket or comma, the key, the colon, blanks) is
read from one line and compared with the same place of the others; those that have something else there are read on
separately later. Where a string ends is known from the places of all quotes, found beforehand. A line with an
escape, an unknown or repeated key, or a value of another kind than the contract's is not *regular*, and nothing is said
about it here. The others are JSON, and their values are handed on as text.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.contract.spec import DatasetSpec, FieldSpec
from flows.land.fast_path.columns import Columns, Mask, gather, is_needed
from flows.land.readers.limits import PADDING, SCAN_BYTES

Places = npt.NDArray[Any]
# What is compared may reach beyond the last line.
PAD = len(PADDING)
# Lines taken at once: their text stays in the processor's cache from key to key.
LINES_AT_ONCE = 12_000
# Fewer lines of one form are not worth the fixed cost of some hundred NumPy calls.
LEAST_LINES = 100
MOST_RARE_FORMS = 100
MOST_LISTS = 32
NUMBER_BYTES = 24
KEY = re.compile(rb'[ ]*([{,])[ ]*"([^"\\]*)"[ ]*:[ ]*')
END = re.compile(rb"[ ]*(})")
LIST = re.compile(rb'\[[ ]*(?:"[^"\\]*"(?:[ ]*,[ ]*"[^"\\]*")*[ ]*)?\]')
QUOTE, NEWLINE, RETURN, BACKSLASH, BLANK, NULL = b'"\n\r\\ n'


@dataclass
class _Group:
    """Lines of one form as far as they are read: ``at`` is each line's next byte, ``quote`` its next quote's number."""

    rows: Places
    at: Places
    quote: Places
    seen: frozenset[str] = frozenset()
    payload: str | None = None
    opens: bool = True

    def part(self, which: Mask) -> "_Group":
        return replace(self, rows=self.rows[which], at=self.at[which], quote=self.quote[which])


class Lines:
    """Lines of JSON in ``text``: line i is from bound i to bound i + 1, its line end included."""

    def __init__(self, spec: DatasetSpec, text: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32]) -> None:
        self._spec = spec
        self._fields = {(f.payload, f.name): f for f in spec.fields}
        self._needed = {f.name for f in spec.fields if is_needed(f)}
        self._bounds = bounds
        self._size = len(bounds) - 1
        self._text = text if len(text) >= bounds[-1] + PAD else np.append(text[: bounds[-1]], np.zeros(PAD, np.uint8))
        ends = bounds[1:] - (text[bounds[1:] - 1] == NEWLINE)
        self._ends = ends - ((text[ends - 1] == RETURN) & (ends > bounds[:-1]))
        self._quotes = np.zeros(0, np.int64)
        self._columns = Columns(np.zeros(self._size, bool))
        if spec.payloads:
            self._columns.kind = np.full(self._size, -1, np.int8)
        self._spans: dict[str, tuple[Places, Places]] = {}
        self._lists: dict[str, tuple[Places, dict[bytes, int]]] = {}
        self._rare_forms = 0

    def columns(self) -> Columns:
        """The lines' values by field name, as text or lists of text; what is not regular is not in them."""
        for first in range(0, self._size, LINES_AT_ONCE):
            self._read(first, min(first + LINES_AT_ONCE, self._size))
        for name, (starts, ends) in self._spans.items():
            if name in self._needed:
                self._columns.values[name] = self._strings(starts, ends)
        for name, (codes, texts) in self._lists.items():
            lists = pa.array([json.loads(text) for text in texts], pa.list_(pa.string()))
            self._columns.values[name] = lists.take(pa.array(codes, mask=codes < 0))
        return self._columns

    def _read(self, first: int, last: int) -> None:
        begin, end = int(self._bounds[first]), int(self._bounds[last])
        pieces = [(at, self._text[at : min(at + SCAN_BYTES, end)]) for at in range(begin, end, SCAN_BYTES)]
        # A string that is cut off by the end of the text has no quote after it.
        quotes = [np.flatnonzero(piece == QUOTE) + at for at, piece in pieces]
        self._quotes = np.concatenate([*quotes, np.full(4, end)])
        rows = np.arange(first, last)
        controls = sum(np.count_nonzero(piece < BLANK) for _, piece in pieces)
        line_ends = np.sum(self._bounds[first + 1 : last + 1] - self._ends[first:last])
        if controls != line_ends or any(b"\\" in piece.tobytes() for _, piece in pieces):
            irregular = np.concatenate([np.flatnonzero((p < BLANK) | (p == BACKSLASH)) + at for at, p in pieces])
            lines = first + np.searchsorted(self._bounds[first : last + 1], irregular, side="right") - 1
            rows = np.setdiff1d(rows, lines[irregular < self._ends[lines]])
        starts = self._bounds[rows].astype(np.int64)
        groups = [_Group(rows, starts, np.searchsorted(self._quotes, starts))]
        while groups:
            group: _Group | None = groups.pop()
            while group is not None and len(group.rows) >= LEAST_LINES and self._rare_forms < MOST_RARE_FORMS:
                group = self._step(group, groups)

    def _step(self, group: _Group, groups: list[_Group]) -> _Group | None:
        """Read the next key and its value, or an object's end; lines of another form join ``groups``."""
        start = group.at[0]
        sample = self._text[start : min(start + PAD - 8, self._ends[group.rows[0]])].tobytes()
        found = KEY.match(sample) or END.match(sample)
        if found is None or (found[1] == b"{") is not group.opens:
            self._rare_forms += 1
            return group.part(np.arange(len(group.rows)) > 0)
        same, after = self._compared(group.at, found[0])
        if not same.all():
            groups.append(group.part(~same))
            group, after = group.part(same), after[same]
        group.at = group.at + len(found[0])
        if found.re is KEY:
            group.quote = group.quote + 2
            group.opens = False
            return self._value(group, found[2].decode(), after, groups)
        if group.payload is not None:
            group.payload = None
            return group
        self._columns.regular[group.rows[group.at == self._ends[group.rows]]] = True
        return None

    def _value(self, group: _Group, key: str, first: npt.NDArray[np.uint8], groups: list[_Group]) -> _Group | None:
        """Read a value, given the first byte of each line's."""
        f = self._fields.get((group.payload, key))
        is_payload = group.payload is None and key in self._spec.payloads
        if key in group.seen or not (f or is_payload):
            return None
        group.seen |= {key}
        null = first == NULL
        if null.any():
            null &= self._compared(group.at, b"null")[0]
        if f is not None:
            return self._field_value(group, f, first, null)
        if null.any():
            absent = group.part(null)
            groups.append(replace(absent, at=absent.at + 4))
        kind = self._columns.kind
        assert kind is not None
        group = group.part((first == ord("{")) & (kind[group.rows] < 0))
        kind[group.rows] = self._spec.payloads.index(key)
        return replace(group, payload=key, opens=True)

    def _field_value(self, group: _Group, f: FieldSpec, first: npt.NDArray[np.uint8], null: Mask) -> _Group:
        if f.type in ("string", "uuid", "timestamp", "date"):
            fits = first == QUOTE
            starts, ends = group.at + 1, self._quotes[group.quote + 1]
            after, quotes = ends + 1, 2
        elif f.type in ("double", "bigint", "integer"):
            letters = gather(self._text, group.at, NUMBER_BYTES)
            length = ((letters - ord("0") > 9) & (letters != ord("."))).argmax(axis=1)
            fits = length > 0
            starts = group.at
            after, ends, quotes = starts + length, starts + length, 0
        elif f.type == "string[]":
            return self._list_value(group, f, null)
        else:
            return group.part(null & False)
        if f.name not in self._spans:
            self._spans[f.name] = np.full(self._size, -1, np.int32), np.full(self._size, -1, np.int32)
        from_, to = self._spans[f.name]
        if fits.all():
            from_[group.rows], to[group.rows] = starts, ends
            return replace(group, at=after, quote=group.quote + quotes)
        from_[group.rows], to[group.rows] = np.where(fits, starts, -1), np.where(fits, ends, -1)
        group = replace(group, at=np.where(fits, after, group.at + 4), quote=group.quote + quotes * fits)
        fits |= null
        return group if fits.all() else group.part(fits)

    def _list_value(self, group: _Group, f: FieldSpec, null: Mask) -> _Group:
        """Read a list of strings: few different ones occur, so each is compared as a whole."""
        codes, texts = self._lists.setdefault(f.name, (np.full(self._size, -1, np.int32), {}))
        at, quote, fits = group.at + 4 * null, group.quote.copy(), null.copy()
        left = np.flatnonzero(~null)
        for _ in range(MOST_LISTS):
            if not len(left):
                break
            start = group.at[left[0]]
            found = LIST.match(self._text[start : start + PAD - 8].tobytes())
            if found is None:
                left = left[1:]
                continue
            same = self._compared(group.at[left], found[0])[0]
            these = left[same]
            codes[group.rows[these]] = texts.setdefault(found[0], len(texts))
            at[these] += len(found[0])
            quote[these] += found[0].count(b'"')
            fits[these] = True
            left = left[~same]
        group = replace(group, at=at, quote=quote)
        return group if fits.all() else group.part(fits)

    def _compared(self, at: Places, literal: bytes) -> tuple[Mask, npt.NDArray[np.uint8]]:
        """At which places the literal stands, and the byte after it."""
        size = (len(literal) // 8 + 1) * 8
        letters = gather(self._text, at, size)
        words = letters.view("<u8")
        expected = np.frombuffer(literal.ljust(size, b"\0"), "<u8")
        masks = np.frombuffer((b"\xff" * len(literal)).ljust(size, b"\0"), "<u8")
        same = (words[:, 0] & masks[0]) == expected[0]
        for i in range(1, size // 8):
            if masks[i]:
                same &= (words[:, i] & masks[i]) == expected[i]
        return same, letters[:, len(literal)]

    def _strings(self, starts: Places, ends: Places) -> pa.StringArray:
        """The text between these bounds, NULL where there are none."""
        absent = starts < 0
        length = int(ends[0] - starts[0])
        if 0 < length < PAD and not absent.any() and ((ends - starts) == length).all():
            data = np.ascontiguousarray(gather(self._text, starts, length))
            bounds = np.arange(0, length * (self._size + 1), length, dtype=np.int32)
            return pa.StringArray.from_buffers(self._size, pa.py_buffer(bounds), pa.py_buffer(data))
        # Arrow's strings lie end to end: what is between two of these becomes every second one, and is not taken.
        bounds = np.empty(2 * self._size + 1, np.int32)
        bounds[0:-1:2] = np.where(absent, self._bounds[:-1], starts)
        bounds[1::2] = np.where(absent, self._bounds[:-1], ends)
        bounds[-1] = bounds[-2]
        both = pa.StringArray.from_buffers(2 * self._size, pa.py_buffer(bounds), pa.py_buffer(self._text))
        return both.take(pa.array(np.arange(0, 2 * self._size, 2), mask=absent))
