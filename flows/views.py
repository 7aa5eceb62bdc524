"""The views of published versions, which name their files by absolute path: whether they do so still, and if not, anew.

A home that was moved or copied takes its versions along, and their views go on naming the files where they were: they
fail, or show what is published there now.
"""

import os
import re
from pathlib import Path

import duckdb

from flows.errors import TidemarkError
from flows.settings import Settings

MARTS = "marts.duckdb"
MANIFEST = "manifest.json"
FILES = re.compile(r"read_parquet\('((?:[^']|'')*)/parquet/")


def versions(settings: Settings) -> list[str]:
    """The versions kept, oldest first."""
    if not settings.published.exists():
        return []
    return sorted(p.parent.name for p in settings.published.glob(f"[0-9]*/{MANIFEST}"))


def moved_from(folder: Path) -> Path | None:
    """The folder where the views of a version look for its files, if that is not where the version is.

    Raises :class:`TidemarkError` where its DuckDB file cannot be read.
    """
    try:
        with duckdb.connect(str(folder / MARTS), read_only=True) as db:
            found = (FILES.search(sql) for (sql,) in db.execute(VIEWS).fetchall())
            named = next((Path(match[1].replace("''", "'")) for match in found if match), None)
    except duckdb.Error as error:
        raise TidemarkError(
            f"{folder / MARTS} cannot be read ({error}); publish again: `tidemark publish --force`"
        ) from error
    # By another path or link it is the same folder, as long as that leads there.
    return None if named is None or named.resolve() == folder.resolve() else named


def heal_views(settings: Settings) -> None:
    """Let the views of every kept version name its files where they are now. The caller holds the publication's lock.

    The newest version is healed last, so where it is well, all are.
    """
    kept = versions(settings)
    if not kept or not _is_moved(settings.published / kept[-1]):
        return
    for version in kept:
        folder = settings.published / version
        if _is_moved(folder):
            _name_anew(folder.absolute())


def _is_moved(folder: Path) -> bool:
    try:
        return moved_from(folder) is not None
    except TidemarkError:  # a damaged one is told by status, and holds up no other
        return False


def _name_anew(folder: Path) -> None:
    """Put a copy of the version's DuckDB file with new views in its place: a reader has the old one or the new."""
    partial = folder / f".{MARTS}.partial"
    partial.unlink(missing_ok=True)
    partial.write_bytes((folder / MARTS).read_bytes())
    with duckdb.connect(str(partial)) as db:
        columns = db.execute(COLUMNS).fetchall()
        statements = []
        for name, sql, comment in db.execute(f"select view_name, sql, comment from ({VIEWS_WITH_COMMENTS})").fetchall():
            statements.append(FILES.sub(lambda _: f"read_parquet('{_escaped(str(folder))}/parquet/", sql, count=1))
            statements.append(_comment(f'view "{name}"', comment))
            statements += [_comment(f'column "{name}"."{column}"', text) for of, column, text in columns if of == name]
        db.execute("begin")
        for statement in statements:
            db.execute(statement.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        db.execute("commit")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(folder / MARTS)


def _comment(of: str, text: str | None) -> str:
    return f"comment on {of} is " + ("null" if text is None else f"'{_escaped(text)}'")


def _escaped(text: str) -> str:
    return text.replace("'", "''")


VIEWS = "select sql from duckdb_views() where not internal"
VIEWS_WITH_COMMENTS = "select view_name, sql, comment from duckdb_views() where not internal"
COLUMNS = """
select table_name, column_name, comment from duckdb_columns()
where comment is not null and table_name in (select view_name from duckdb_views() where not internal)
"""
