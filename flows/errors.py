"""Errors that are for people: what is wrong, where, and what to do."""

import errno

# No file is at fault for these.
MACHINE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO})


class TidemarkError(Exception):
    """Something a person must see and can act on; its text says what, where and what to do."""


class FileRefusedError(TidemarkError):
    """A delivered file cannot be landed at all; its text says why, without the file's name."""


class UnreadableFileError(TidemarkError):
    """A delivered file that cannot be opened or read now; its text says why, without the file's name."""


class WarehouseInUseError(TidemarkError):
    """Another process has the warehouse open, as a reader or a shell does; nothing is wrong with it."""
