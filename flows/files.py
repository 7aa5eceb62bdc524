"""Files: their checksum, and that they are on the disk, and who may read them."""

import hashlib
import os
from pathlib import Path


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Have a file's bytes on the disk, whatever fails after that."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make what was renamed into or out of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path, *below: str) -> None:
    """Make a folder for its owner alone, and folders one below the other in it; what is above it is anybody's."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in below:
        folder /= name
        folder.mkdir(exist_ok=True, mode=0o700)


def replace_private(path: Path, data: bytes) -> None:
    """Put a file for its owner alone in the place of what was there, whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
