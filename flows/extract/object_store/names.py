"""What an object is called in the inbox, and which version of it has come."""

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

from flows.files import replace_private
from flows.land.inbox import is_marker, is_partial

# A name has 255 bytes at most, and while it is written it has some more in front and behind.
MOST_BYTES = 230
HEAD, TAIL = 130, 80


def inbox_name(key: str) -> str:
    """A key as the name of one file: what cannot be in a name is written as in a URL, so each key has its own.

    ``web/2026/part 1.ndjson`` is ``web%2F2026%2Fpart 1.ndjson``. Of a long one the middle is left out.
    """
    name = "".join(c if c.isprintable() and c not in "/%" else quote(c, safe="") for c in key)
    if name.startswith((".", "_")):  # of `..` or `.`; landing passes such names over
        name = f"%{ord(name[0]):02X}{name[1:]}"
    encoded = name.encode()
    if len(encoded) <= MOST_BYTES:
        return name
    mark = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{encoded[:HEAD].decode(errors='ignore')}~{mark}~{encoded[-TAIL:].decode(errors='ignore')}"


def is_temporary(key: str) -> bool:
    """Whether an object, or a folder that it is in, has a name that landing passes over."""
    return any(is_partial(part) for part in key.split("/") if part not in (".", ".."))


def is_left_for_good(key: str) -> bool:
    """Whether an object is what a program leaves beside its files."""
    return is_marker(key.rpartition("/")[2])


class Seen:
    """Which version of an object each file of the inbox is: a line each, written once the file is there.

    So it is never ahead. What is lost of it comes again, and is known by its bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._etags: dict[str, str] = {}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []
        for line in lines:
            try:
                name, etag = json.loads(line)
                self._etags[name] = etag
            except (ValueError, TypeError):  # cut off as the process ended
                continue
        if not lines or len(lines) > 2 * len(self._etags) or not lines[-1].endswith("\n"):
            replace_private(path, "".join(map(_line, self._etags.items())).encode())

    def has(self, name: str, etag: str) -> bool:
        """Whether this version is the one that came last."""
        return self._etags.get(name) == etag

    def add(self, name: str, etag: str) -> None:
        """Note that this version stands in the inbox."""
        self._etags[name] = etag
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line((name, etag)))


def _line(seen: tuple[str, str]) -> str:
    return json.dumps(seen) + "\n"
