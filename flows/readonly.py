"""Open a SQLite file only to look: for those who may have no right to write, and must change nothing."""

import sqlite3
from pathlib import Path


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing and makes no file. Raises :class:`sqlite3.Error` where it cannot be read.

    Beside a write-ahead log SQLite wants files of its own, even to read. So where there is no log, which is while
    nobody has the file open, it is read as one that nobody changes.
    """
    if path.with_name(f"{path.name}-wal").exists():
        database = _connect(path, "mode=ro")
        try:
            database.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.OperationalError:  # the files beside it are missing, and may not be made
            database.close()
        else:
            return database
    return _connect(path, "immutable=1")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=30, isolation_level=None)
