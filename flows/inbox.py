"""Find the files of the inbox: ``<source>/<dataset>/**/*.<format>[.gz|.zst]``."""

import os
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

FORMATS = ("ndjson", "jsonl", "json", "pb", "parquet", "csv", "tsv")
COMPRESSIONS = ("gz", "zst")


@dataclass(frozen=True)
class Delivery:
    """A file of the inbox: ``name`` is its path there, ``stat`` how it was when found."""

    path: Path
    name: str
    source: str
    dataset: str
    stat: os.stat_result


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


def is_settled(stat: os.stat_result, now: float, settle_seconds: float) -> bool:
    """Whether nobody is still writing the file.

    A rename into place changes the inode after the last write, so its change time is later than its modification
    time. Otherwise the inode must have been still for ``settle_seconds``; change times come from this machine's own
    clock, whatever modification time a copy carries.
    """
    return stat.st_ctime_ns > stat.st_mtime_ns or abs(now - stat.st_ctime) >= settle_seconds


def deliveries(inbox: Path) -> Iterator[Delivery]:
    """The inbox's files in order of name, partial ones left out."""
    for path in sorted(_files(inbox)):
        parts = path.relative_to(inbox).parts
        if len(parts) < 3 or any(is_partial(part) for part in parts) or not _is_text(path):
            continue
        try:
            stat = path.stat()
        except FileNotFoundError:  # taken away or renamed since the listing
            continue
        if not S_ISREG(stat.st_mode):  # reading a pipe would wait for ever
            continue
        yield Delivery(path, "/".join(parts), parts[0], parts[1], stat)


def new_deliveries(
    inbox: Path, datasets: Container[str], is_dealt_with: Callable[[str, os.stat_result], bool]
) -> Iterator[Delivery]:
    """The deliveries that landing can take and has not dealt with, settled or not."""
    for delivery in deliveries(inbox):
        is_ours = delivery.dataset in datasets and file_format(delivery.path.name) is not None
        if is_ours and not is_dealt_with(delivery.name, delivery.stat):
            yield delivery


def strays(inbox: Path, datasets: set[str]) -> list[str]:
    """Files that can never be taken, each with the reason: a wrong place, dataset, format or name."""
    found = []
    for path in sorted(_files(inbox)):
        parts = path.relative_to(inbox).parts
        if any(is_partial(part) for part in parts):
            continue
        name = "/".join(parts)
        if not _is_text(path):
            name = os.fsencode(name).decode(errors="replace")
            found.append(f"{name}: the name is not UTF-8")
        elif len(parts) < 3:
            found.append(f"{name}: not below <source>/<dataset>/")
        elif parts[1] not in datasets:
            found.append(f"{name}: no dataset {parts[1]} in the contract (there are {', '.join(sorted(datasets))})")
        elif file_format(path.name) is None:
            found.append(f"{name}: not {', '.join(f'.{f}' for f in FORMATS)}, plain, .gz or .zst")
    return found


def wait_for_settling(path: Path, settle_seconds: float, until: float) -> os.stat_result | None:
    """Wait, to ``until`` on the monotonic clock at the most, for a young file to settle; None where it does not."""
    while True:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        if is_settled(stat, time.time(), settle_seconds):
            return stat
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)


def _is_text(path: Path) -> bool:
    """Whether the name can be written down: Python keeps other bytes as lone surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "_"))]
        yield from (Path(parent) / name for name in names)
