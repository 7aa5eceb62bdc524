"""Lakes whose files are held back, and the command on them."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from flows.settings import Settings


def tidemark(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("tidemark")), *arguments]
    return subprocess.run(
        command, env={**os.environ, "TIDEMARK_HOME": str(home)}, capture_output=True, text=True, check=False
    )


def marts_of(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """Every published mart, its rows in order."""
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as db:
        names = db.execute(
            "select table_name from information_schema.tables "
            "where table_name not like 'ops_%' and table_name <> 'published_tables' order by all"
        ).fetchall()
        return {name: db.execute(f"select * from {name} order by all").fetchall() for (name,) in names}


def hold_back(settings: Settings, day: str) -> list[Path]:
    """Hide the files of a day from landing."""
    files = [p for p in settings.inbox.rglob("*") if p.is_file() and day in str(p.relative_to(settings.inbox))]
    for path in files:
        path.rename(path.with_name("." + path.name))
    return files


def release(files: list[Path]) -> None:
    for path in files:
        path.with_name("." + path.name).rename(path)
