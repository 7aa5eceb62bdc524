"""What every store in SQLite needs: one to only look, whole changes, and moments as text that sorts."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """One change, whole or not at all; no other process changes anything between its questions and its answers."""
    database.execute("begin immediate")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # SQLite has rolled back already where the disk is full
            database.execute("rollback")
        raise
    database.execute("commit")


def text_of(moment: datetime) -> str:
    """A moment as stores hold it: in UTC, in one form, which sorts as time does. ValueError where it has no zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> datetime:
    """The moment that a store holds as text."""
    return datetime.fromisoformat(text)
