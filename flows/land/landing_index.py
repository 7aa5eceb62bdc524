"""The landing index, ``landed/index.sqlite``: its tables, and how it is opened by who only looks."""

import os
import sqlite3
from pathlib import Path

from flows.land import file_index
from flows.sqlite import open_to_read

INDEX = "index.sqlite"
TABLES = f"""{file_index.TABLES}
create table if not exists receipts (
    batch_id integer primary key, dataset text not null, file text not null, sha256 text not null,
    status text not null, rejected integer not null, superseded_by integer, receipt text not null,
    retries integer
);
create index if not exists receipts_by_file on receipts (file, batch_id);
create index if not exists receipts_by_content on receipts (dataset, sha256);
create index if not exists receipts_by_retries on receipts (retries, batch_id);
create table if not exists seen (
    file text primary key, bytes integer not null, mtime_ns integer not null, ctime_ns integer not null
);
"""


def opened_to_read(index: Path) -> sqlite3.Connection:
    """A connection that changes nothing; to an empty database where there is no index yet."""
    if index.parent.exists():
        os.scandir(index.parent).close()  # or what may not be read would look empty
    if not index.exists():
        return sqlite3.connect(":memory:")
    return open_to_read(index)


def is_as_now(database: sqlite3.Connection) -> bool:
    """Whether the index has the tables of today."""
    return bool(database.execute("select 1 from sqlite_master where type = 'table' and name = 'removals'").fetchone())
