"""Look for pseudonyms and ids in the bytes of files, whatever wrote them.

It finds what stands there as it is: in the databases, logs, receipts and other plain files. In Parquet, whose columns
are compressed, and in compressed blocks of a database it may miss what a query finds: it is the second proof, beside
the count of rows in every table.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

import numpy as np

CHUNK = 1 << 24
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

    At each place of a file the next three bytes say, by one look into a table, whether any of them may begin there.
    """

    def __init__(self, patterns: Iterable[bytes]) -> None:
        self._by_prefix: dict[bytes, list[bytes]] = {}
        for pattern in {*patterns}:
            if len(pattern) >= PREFIX:
                self._by_prefix.setdefault(pattern[:PREFIX], []).append(pattern)
        self._longest = max((len(each) for some in self._by_prefix.values() for each in some), default=0)
        self._begins = np.zeros(1 << 8 * PREFIX, bool)
        for prefix in self._by_prefix:
            self._begins[int.from_bytes(prefix)] = True

    def are_in(self, path: Path) -> bool:
        """Whether any of them stands in a file."""
        before = b""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                data = before + chunk
                if self._found_in(data):
                    return True
                before = data[-self._longest :] if self._longest else b""
        return False

    def _found_in(self, data: bytes) -> bool:
        if len(data) < PREFIX:
            return False
        each = np.frombuffer(data, np.uint8).astype(np.uint32)
        places = np.flatnonzero(self._begins[(each[:-2] << 16) | (each[1:-1] << 8) | each[2:]])
        return any(
            data.startswith(pattern, place)
            for place in places.tolist()
            for pattern in self._by_prefix[data[place : place + PREFIX]]
        )


def files_with(patterns: Patterns, folders: Iterable[Path], passed_over: Iterable[Path] = ()) -> Iterator[Path]:
    """The files below these folders in which any of the patterns stands. What goes meanwhile holds nothing."""
    left_out = {path.resolve() for path in passed_over}
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                if path.is_symlink() or not path.is_file() or path.resolve() in left_out:
                    continue
                stat = path.stat()
                if (stat.st_dev, stat.st_ino) in seen:  # linked: looked at under another name
                    continue
                seen.add((stat.st_dev, stat.st_ino))
                if patterns.are_in(path):
                    yield path
            except FileNotFoundError:
                continue
