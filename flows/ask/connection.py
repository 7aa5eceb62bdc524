"""A connection that can read the tables of one level of one publication, and do nothing else.

In this order, since each step forbids what the one before needed: open read-only, name the folders that may be read,
end the reach to anything else, and lock the settings. The folders are those of the level's own tables: the files of
others lie beside them, and are out of reach also for a question that the check of statements let through.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True)
class Limits:
    """How much a question may take: rows of the answer, seconds, memory in MB, threads, and characters of one value and
    of the whole answer."""

    rows: int = 100
    seconds: float = 60.0
    memory: int = 1000
    threads: int = 2
    value: int = 100_000
    characters: int = 50_000_000


def open_locked(database: Path, folders: list[Path], limits: Limits) -> duckdb.DuckDBPyConnection:
    """Open a publication's DuckDB file so that it answers from these folders alone."""
    db = duckdb.connect(str(database), read_only=True)
    listed = ", ".join(f"'{_escaped(str(folder))}/'" for folder in folders)
    for setting in (
        f"allowed_directories = [{listed}]",
        "enable_external_access = false",
        f"memory_limit = '{limits.memory}MB'",
        f"threads = {limits.threads}",
        "max_temp_directory_size = '0KB'",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",
        "enable_progress_bar = false",
        "TimeZone = 'UTC'",
        "lock_configuration = true",
    ):
        db.execute(f"set {setting}")
    return db


def _escaped(text: str) -> str:
    return text.replace("'", "''")
