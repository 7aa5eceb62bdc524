"""Who may read which file: every mode and every group that Tidemark gives is here, and nowhere else.

| what | files | folders | group |
| --- | --- | --- | --- |
| what holds people, text, secrets or work on them: landed zone, warehouse, keys, logs ... | 0600 | 0700 | |
| published, ``public`` | 0444 | 0755 | |
| published, ``internal`` | 0440 | 0750 | ``TIDEMARK_GROUP_INTERNAL``, else that of restricted |
| published, ``restricted`` | 0440 | 0750 | ``TIDEMARK_GROUP_RESTRICTED`` |
| published, and no group is named | 0400 | 0700 | |

Nobody may write what is published, its owner neither, whose careless opening would lock out all readers. Folders stay
writable: their owner may delete a home, and DuckDB keeps temporary files beside what it reads. A level without a group
is its owner's alone: the group that an account has by itself may be everybody's.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from flows.errors import TidemarkError
from flows.settings import Settings


class Visibility(StrEnum):
    """Who may see a published table, from everybody to few: who may see one level may see those before it."""

    PUBLIC = "public"
    INTERNAL = "internal"
    RESTRICTED = "restricted"

    def may_see(self, table: "Visibility") -> bool:
        """Whether readers of this level may see a table of that one."""
        return _ORDER.index(table) <= _ORDER.index(self)


_ORDER = [*Visibility]


def narrower(*levels: Visibility) -> Visibility:
    """The level of these that the fewest may see."""
    return max(levels, key=_ORDER.index)


@dataclass(frozen=True)
class Rights:
    """The modes of files and of folders, and the group they are given to; None leaves them in the one they have."""

    file: int
    folder: int
    group: str | None = None


PRIVATE = Rights(0o600, 0o700)
OF_EVERYBODY = Rights(0o444, 0o755)
# Of a file in a private folder: as the user who runs this wants it.
BY_UMASK = 0o666
NOT_ITS_OWNER = 0o077
OTHERS = 0o007


def published_rights(settings: Settings, level: Visibility) -> Rights:
    """The rights of what is published for a level."""
    group = settings.group_restricted
    if level is Visibility.PUBLIC:
        return OF_EVERYBODY
    if level is Visibility.INTERNAL:
        group = settings.group_internal or group
    return Rights(0o440, 0o750, group) if group else Rights(0o400, 0o700)


def has(path: Path, rights: Rights) -> bool:
    """Whether a file or folder has just these rights."""
    now = path.stat()
    return stat.S_IMODE(now.st_mode) == _mode(now, rights) and _group(rights) in (None, now.st_gid)


def give(path: Path, rights: Rights) -> None:
    """Let a file or folder have these rights. Raises :class:`TidemarkError` where its group cannot be given to it."""
    now, group = path.stat(), _group(rights)
    if group not in (None, now.st_gid):
        try:
            os.chown(path, -1, group or 0)
        except OSError as error:
            user = pwd.getpwuid(os.geteuid()).pw_name
            raise TidemarkError(
                f"{path} cannot be given to the group {rights.group} ({error.strerror}): only members can do that; add "
                f"them (`usermod -aG {rights.group} {user}`), begin a new session or restart the service, and try again"
            ) from error
    if stat.S_IMODE(now.st_mode) != _mode(now, rights):
        with suppress(OSError):  # a file system without modes: `tidemark status` says so
            path.chmod(_mode(now, rights))


def _mode(now: os.stat_result, rights: Rights) -> int:
    return rights.folder if stat.S_ISDIR(now.st_mode) else rights.file


def _group(rights: Rights) -> int | None:
    return None if rights.group is None else _number(rights.group)


@cache
def _number(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise TidemarkError(
            f"there is no group {group}, which TIDEMARK_GROUP_INTERNAL or TIDEMARK_GROUP_RESTRICTED names: make it "
            f"(`groupadd {group}`), or name another"
        ) from None


def make_private(folder: Path, *below: str) -> None:
    """Make a folder for its owner alone, and folders one below the other in it; what is above it is anybody's.

    Of one that is there already, what others may do ends. What its group may do stays: somebody gave it that.
    """
    for depth in range(len(below) + 1):
        each = folder.joinpath(*below[:depth])
        each.mkdir(parents=True, exist_ok=True, mode=PRIVATE.folder)
        if is_open_to_others(each):
            with suppress(OSError):  # another user's, or a file system without modes
                each.chmod(stat.S_IMODE(each.stat().st_mode) & ~OTHERS)


def make_inbox(inbox: Path) -> None:
    """Make the inbox for its owner alone; one that is there keeps its rights, by which others deliver."""
    inbox.mkdir(parents=True, exist_ok=True, mode=PRIVATE.folder)


def make_for_everybody(folder: Path) -> None:
    """Make a folder that everybody may look into; one that is there keeps its rights."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        give(folder, OF_EVERYBODY)


def is_open_to_others(path: Path) -> bool:
    """Whether users who are neither its owner nor in its group may do anything with it."""
    return bool(path.stat().st_mode & OTHERS)


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may do anything with it."""
    return not path.stat().st_mode & NOT_ITS_OWNER


def private_file(path: Path) -> int:
    """The descriptor of a new file for its owner alone, open to be written."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE.file)


@contextmanager
def made_private() -> Iterator[None]:
    """Files and sockets that this process makes within are for its owner alone."""
    before = os.umask(0o777 & ~PRIVATE.file)
    try:
        yield
    finally:
        os.umask(before)
