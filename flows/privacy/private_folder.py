"""A folder for its owner's eyes alone, which is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.rights import PRIVATE, private_file


class PrivateFolder:
    """What is written to it gets its name with :meth:`finish`; where that is never called it goes again."""

    def __init__(self, target: Path) -> None:
        self._target = target
        # Beside it, so that a rename is atomic; the same name each time, so that what a killed process left goes.
        self.path = target.with_name(f".{target.name}.partial")
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(mode=PRIVATE.folder)

    def file(self, name: str) -> TextIO:
        """A new text file in it."""
        return os.fdopen(private_file(self.path / name), "w", encoding="utf-8", newline="")

    def finish(self) -> None:
        """Have it on the disk, and under its name."""
        for path in self.path.iterdir():
            sync_file(path)
        sync_folder(self.path)
        self.path.rename(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        """Take away what was written and not finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def check_target(target: Path, home: Path) -> Path:
    """The folder to be written, as an absolute path. Raises :class:`TidemarkError` where it is no place for one."""
    target = target.absolute()
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TidemarkError(f"{target} is no folder; give one that is not there yet")
    if target.is_dir() and next(target.iterdir(), None) is not None:
        raise TidemarkError(f"the folder {target} is not empty; give one that is not there yet, or empty it")
    if not target.parent.is_dir():
        raise TidemarkError(f"there is no folder {target.parent} to write {target.name} in; make it first")
    if target.resolve().is_relative_to(home.resolve()):
        raise TidemarkError(
            f"{target} is in the home {home}, which is backed up and published from; give a folder elsewhere"
        )
    return target


@contextmanager
def private_folder(target: Path) -> Iterator[PrivateFolder]:
    """A folder to write to, of which nothing stays unless it is finished."""
    folder = PrivateFolder(target)
    try:
        yield folder
    finally:
        folder.discard()
