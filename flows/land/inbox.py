"""Find the files of the inbox: ``<source>/<dataset>/**/*.<format>[.gz|.zst]``."""

import errno
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISFIFO, S_ISREG, S_ISSOCK

from flows.land.feeds import feed_beside, feed_faults, feed_of, load_feeds

FORMATS = ("ndjson", "jsonl", "json", "pb", "parquet", "csv", "tsv")
COMPRESSIONS = ("gz", "zst")
# Times are kept in nanoseconds since 1970 as whole numbers of 64 bits: from 1677 to 2262.
LAST_NS = 2**63 - 1
# A program renames what it writes when it is whole: what lies longer under a temporary name was given up.
STUCK_SECONDS = 3600.0
STUCK = "has a temporary name and has not changed for over an hour; deliver it whole and rename it, or remove it"
# Files of such names are no uploads: programs leave them beside what they have written.
MARKERS = ("_SUCCESS", "_committed_", "_started_", "_metadata", "_common_metadata", ".DS_Store", ".gitkeep", ".keep")
MAY_NOT = "may not be read by this user; give the right to read it, or take it away"


@dataclass(frozen=True)
class Delivery:
    """A file of the inbox: ``name`` is its path there, ``stat`` how it was when found.

    ``dataset`` is '' where the file is not below ``<source>/<dataset>/``. Below ``<source>/<feed>/`` it is the feed's,
    and so it is of a file that ``is_beside`` a feed's: none of its rows lands.
    """

    path: Path
    name: str
    source: str
    dataset: str
    stat: os.stat_result
    is_beside: bool = False


@dataclass(frozen=True)
class LeftAlone:
    """What landing passes over for a reason that a person can fix: its name in the inbox, and the reason.

    ``stuck_since`` is when a file that lies under a temporary name last changed; None for all others.
    """

    name: str
    why: str
    stuck_since: datetime | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def file_format(name: str) -> str | None:
    """The format a file's name promises: ``part-1.NDJSON.gz`` is ndjson; None where it is none of ours."""
    stem, _, suffix = name.lower().rpartition(".")
    if suffix in COMPRESSIONS:
        stem, _, suffix = stem.rpartition(".")
    return suffix if stem and suffix in FORMATS else None


def compression_of(name: str) -> str | None:
    """How a file is compressed by its name: gz, zst, or None where it is not."""
    suffix = name.lower().rpartition(".")[2]
    return suffix if suffix in COMPRESSIONS else None


def is_partial(name: str) -> bool:
    """Whether a file's name says that it is not finished or not meant for us."""
    return name.startswith((".", "_")) or ".tmp" in name


def is_marker(name: str) -> bool:
    """Whether a file of a temporary name is one that programs leave for good."""
    return name.startswith(MARKERS) or name.endswith(".crc")


def is_settled(stat: os.stat_result, now: float, settle_seconds: float) -> bool:
    """Whether nobody is still writing the file.

    A rename into place changes the inode after the last write, so its change time is later than its modification
    time. Otherwise the inode must have been still for ``settle_seconds``; change times come from this machine's own
    clock, whatever modification time a copy carries.
    """
    return stat.st_ctime_ns > stat.st_mtime_ns or abs(now - stat.st_ctime) >= settle_seconds


def deliveries(inbox: Path) -> Iterator[Delivery]:
    """The inbox's files in order of name; left out are partial ones, and those that cannot be looked at."""
    for found in _walk(inbox):
        if isinstance(found, Delivery) and found.dataset and not _fault(found):
            yield found


def new_deliveries(
    inbox: Path,
    datasets: Collection[str],
    is_dealt_with: Callable[[str, os.stat_result], bool],
    on_left_alone: Callable[[LeftAlone], None] = lambda left: None,
    now: float | None = None,
) -> Iterator[Delivery]:
    """The deliveries that landing can take and has not dealt with, settled or not.

    What it passes over for a reason that a person can fix goes to ``on_left_alone``; of what has a temporary name that
    is what ``now`` (seconds since 1970; the clock's where not given) has not changed for ``STUCK_SECONDS``.
    """
    for found in _walk(inbox):
        if isinstance(found, _Unfinished):
            if (time.time() if now is None else now) - found.changed_at >= STUCK_SECONDS:
                since = datetime.fromtimestamp(found.changed_at, UTC)
                on_left_alone(LeftAlone(_as_text(found.name), STUCK, since))
        elif isinstance(found, _PassedOver):
            on_left_alone(LeftAlone(_as_text(found.name), found.why))
        elif fault := _fault(found) or _not_ours(found, datasets):
            on_left_alone(LeftAlone(_as_text(found.name), fault))
        elif is_dealt_with(found.name, found.stat):
            continue
        elif os.access(found.path, os.R_OK, effective_ids=True):
            yield found
        else:
            on_left_alone(LeftAlone(found.name, MAY_NOT))


def wait_for_settling(path: Path, settle_seconds: float, until: float) -> os.stat_result | None:
    """Wait, to ``until`` on the monotonic clock at the most, for a young file to settle; None where it does not."""
    while True:
        try:
            stat = path.stat()
        except OSError:  # taken away, or no longer to be reached
            return None
        if is_settled(stat, time.time(), settle_seconds):
            return stat
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)


@dataclass(frozen=True)
class _PassedOver:
    """Something of the inbox that is no file to be read, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class _Unfinished:
    """A file under a temporary name, or in a folder of one, and when it last changed by this machine's clock."""

    name: str
    changed_at: float


@dataclass(frozen=True)
class _Place:
    """Something to look at: its path, its name in the inbox, the inodes of the folders that it is in, and whether its
    name or that of a folder above it is temporary."""

    path: str
    name: str
    above: frozenset[tuple[int, int]]
    entry: os.DirEntry[str] | None
    is_partial: bool = False


def _walk(inbox: Path) -> Iterator[Delivery | _PassedOver | _Unfinished]:
    """What is in the inbox, in order of name. Of partial names only files are reported, as unfinished, and no faults.

    Links to folders are followed, each folder once by way of a link, so that links cannot lead round for ever.
    """
    linked: dict[tuple[int, int], str] = {}
    waiting = [_Place(str(inbox), "", frozenset(), None)]
    while waiting:
        at = waiting.pop()
        try:
            if at.is_partial and at.entry and not at.entry.is_dir(follow_symlinks=False):
                yield from _unfinished(at.entry, at.name)
                continue
            if at.entry and not at.entry.is_dir():
                yield _file(at.entry, at.name)
                continue
            stat = Path(at.path).stat()
            inode = (stat.st_dev, stat.st_ino)
            if at.entry and at.entry.is_symlink():
                if inode in at.above:
                    yield _PassedOver(at.name, "a link back to a folder that it is in; remove it")
                    continue
                if inode in linked:
                    first = _as_text(linked[inode])
                    yield _PassedOver(at.name, f"a link to the folder that {first} links to; remove one of them")
                    continue
                linked[inode] = at.name
            with os.scandir(at.path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            if not at.is_partial and (why := _why_not(at, error)):
                yield _PassedOver(at.name or str(inbox), why)
            continue
        above, prefix = at.above | {inode}, at.name and f"{at.name}/"
        waiting += [
            _Place(entry.path, prefix + entry.name, above, entry, at.is_partial or is_partial(entry.name))
            for entry in entries
        ]


def _unfinished(entry: os.DirEntry[str], name: str) -> Iterator[_Unfinished]:
    """The file, if it is one that may be an upload."""
    stat = entry.stat(follow_symlinks=False)
    if S_ISREG(stat.st_mode) and not is_marker(entry.name):
        yield _Unfinished(name, stat.st_ctime)


def _file(entry: os.DirEntry[str], name: str) -> Delivery | _PassedOver:
    """A file as it is now; what is none, such as a pipe, is passed over: reading it would wait for ever."""
    stat = entry.stat()
    if not S_ISREG(stat.st_mode):
        return _PassedOver(name, f"a {_kind(stat.st_mode)}, no file; remove it")
    source, *rest = name.split("/")
    folder = rest[0] if len(rest) > 1 else ""
    feed, beside = feed_of(name), feed_beside(name)
    of = feed or beside
    return Delivery(Path(entry.path), name, source, of.dataset if of else folder, stat, is_beside=beside is not None)


def _fault(found: Delivery) -> str | None:
    """Why a file cannot be noted as landed, whatever is in it."""
    if not _is_text(found.name):
        return "the name is not UTF-8"
    if not all(abs(ns) <= LAST_NS for ns in (found.stat.st_mtime_ns, found.stat.st_ctime_ns)):
        return "its modification time is not between 1678 and 2262; `touch` gives it that of now"
    return None


def _not_ours(found: Delivery, datasets: Collection[str]) -> str | None:
    """Why the contract has no place for a file of this path."""
    if not found.dataset:
        return "not below <source>/<dataset>/"
    if found.dataset not in datasets:
        if fault := feed_faults().get(found.dataset):
            return fault
        there = sorted({*datasets, *load_feeds()})
        close = get_close_matches(found.dataset, there, 1)
        hint = f"; did you mean {close[0]}?" if close else f" (there are {', '.join(there)})"
        return f"no dataset {found.dataset} in the contract, and no feed{hint}"
    if file_format(found.path.name) is None:
        return f"not {', '.join(f'.{f}' for f in FORMATS)}, plain, .gz or .zst"
    return None


def _why_not(at: _Place, error: OSError) -> str | None:
    """Why something cannot be looked at; None where that is no fault, since it was taken away meanwhile."""
    if error.errno == errno.ENOENT:
        return "a link to nothing; fix or remove it" if Path(at.path).is_symlink() else None
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself; remove it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return MAY_NOT
    return f"cannot be read ({error.strerror or error}); see to it, or take it away"


def _kind(mode: int) -> str:
    kinds = ((S_ISFIFO, "pipe"), (S_ISSOCK, "socket"), (S_ISCHR, "device"), (S_ISBLK, "device"))
    return next((kind for is_one, kind in kinds if is_one(mode)), "thing of another kind")


def _is_text(name: str) -> bool:
    """Whether the name can be written down: Python keeps other bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")
