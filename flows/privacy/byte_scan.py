"""Look for pseudonyms and ids in the bytes of files, whatever wrote them.

It finds what stands there as it is: in the databases, logs, receipts and other plain files. In Parquet, whose columns
are compressed, and in compressed blocks of a database it may miss what a query finds: it is the second proof, beside
the count of rows in every table.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import numpy as np

CHUNK = 1 << 20
PREFIX = 3
TOP_BIT = 0x80


def forms_of(key: UUID) -> tuple[bytes, ...]:
    """How a pseudonym may stand in a file: as sixteen bytes, as DuckDB has a UUID (a whole number of 128 bits, the
    highest bit turned, its lowest byte first), as text, and as text without hyphens."""
    number = bytearray(reversed(key.bytes))
    number[-1] ^= TOP_BIT
    return (key.bytes, bytes(number), str(key).encode(), key.hex.encode())


class Patterns:
    """Byte strings to look for, all at once. Those shorter than three bytes would be found anywhere, and are left out.

    ``words`` are found only where they stand for themselves: account-1 is not in account-12.

    At each place of a file the next two bytes say, by one look into a small table, whether any of them may begin there;
    of the few places left, so do the next three.
    """

    def __init__(self, patterns: Iterable[bytes], words: Iterable[bytes] = ()) -> None:
        self._words = frozenset(words)
        # By how they begin, then by how long they are: however many are alike, one look for each length.
        self._by_prefix: dict[bytes, dict[int, set[bytes]]] = {}
        for pattern in {*patterns} | self._words:
            if len(pattern) >= PREFIX:
                self._by_prefix.setdefault(pattern[:PREFIX], {}).setdefault(len(pattern), set()).add(pattern)
        self._longest = max((length for lengths in self._by_prefix.values() for length in lengths), default=0)
        self._begins = np.zeros(1 << 8 * PREFIX, bool)
        for prefix in self._by_prefix:
            self._begins[int.from_bytes(prefix)] = True
        # By two bytes as a number whose lower byte comes first, as numpy reads them.
        self._may_begin = self._begins.reshape(1 << 8, 1 << 8, 1 << 8).any(axis=2).T.ravel()

    def are_in(self, path: Path) -> bool:
        """Whether any of them stands in a file."""
        data, at = b"", 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                # What was looked at, as far as something may begin in it, with the byte before that.
                kept = data[-self._longest - 2 :]
                at += len(data) - len(kept)
                data = kept + chunk
                if self._found_in(data, is_first=not at, is_last=False):
                    return True
        return self._found_in(
            data[-self._longest - 2 :], is_first=not at and len(data) <= self._longest + 2, is_last=True
        )

    def _found_in(self, data: bytes, is_first: bool, is_last: bool) -> bool:
        if len(data) < PREFIX:
            return False
        pairs = [np.frombuffer(data, "<u2", (len(data) - start) // 2, start) for start in (0, 1)]
        places = np.concatenate([np.flatnonzero(self._may_begin.take(of)) * 2 + at for at, of in enumerate(pairs)])
        places = places[places < len(data) - 2]
        first, second, third = (np.frombuffer(data, np.uint8)[places + by].astype(np.uint32) for by in range(PREFIX))
        places = places[self._begins[(first << 16) | (second << 8) | third]]
        # At the first byte nobody knows what was before it, and it was looked at together with that.
        return any(self._stands_at(data, place, is_last) for place in places.tolist() if place or is_first)

    def _stands_at(self, data: bytes, place: int, is_last: bool) -> bool:
        for length, patterns in self._by_prefix[data[place : place + PREFIX]].items():
            found = data[place : place + length]
            if found not in patterns:
                continue
            if found not in self._words:
                return True
            after = data[place + length : place + length + 1]
            if (after or is_last) and not (_goes_on(data[place - 1 : place]) or _goes_on(after)):
                return True
        return False


def _goes_on(byte: bytes) -> bool:
    return byte.isalnum() or byte in (b"_", b"-")


def files_with(patterns: Patterns, folder: Path) -> Iterator[Path]:
    """The files below a folder in which any of the patterns stands. What goes meanwhile holds nothing."""
    seen: set[tuple[int, int]] = set()
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_symlink() or not path.is_file():
                continue
            stat = path.stat()
            if (stat.st_dev, stat.st_ino) in seen:  # linked: looked at under another name
                continue
            seen.add((stat.st_dev, stat.st_ino))
            if patterns.are_in(path):
                yield path
