"""A version as it stands in an object store: which key a file has, and the DuckDB files that read it there.

What readers attach there is only views: DuckDB has all of them in memory once it is attached, so whoever has a file
open goes on with the whole version when another one is put in its place. Views name the Parquet files one by one: their
names hold their checksum, so none ever means something else, and versions share them.
"""

import re
from pathlib import Path

import duckdb

from flows.errors import TidemarkError
from flows.files import sync_file
from flows.publish.files import escape
from flows.publish.manifest import Manifest, PublishedFile, PublishedTable
from flows.publish.marts import STORAGE_VERSION
from flows.publish.views import DATABASES, MANIFEST, VIEWS_WITH_COMMENTS
from flows.rights import Visibility
from flows.settings import Settings

CURRENT = "current"
VERSIONS = "versions"
PARQUET = "parquet"
# How a view of a version names its files: by the macro, or in versions of before by where they are.
READS = re.compile(r"read_parquet\((\(version_folder\(\) \|\| '(?:[^']|'')*'\)|'(?:[^']|'')*')")
DIGITS = 32


def sent_manifest(manifest: Manifest) -> Manifest:
    """A version's manifest with the keys of its files in the store for their paths."""
    tables = tuple(
        table.model_copy(
            update={"files": tuple(f.model_copy(update={"path": _key(table, f)}) for f in table.files)},
        )
        for table in manifest.tables
    )
    return manifest.model_copy(update={"tables": tables})


def _key(table: PublishedTable, file: PublishedFile) -> str:
    """``internal/parquet/fct_sessions/fct_sessions-2026-01-15-<sha256>.parquet``: a bucket's policy grants by level."""
    stem = f"{table.name}-{file.day}" if file.day else table.name
    return f"{table.visibility}/{PARQUET}/{table.name}/{stem}-{file.sha256[:DIGITS]}.parquet"


def version_key(level: Visibility, version: str, name: str) -> str:
    """The key of a file of a version that is not Parquet."""
    return f"{level}/{VERSIONS}/{version}/{name}"


def manifest_key(version: str) -> str:
    """The key of a version's manifest, which tells of every table. A version is one once it is there."""
    return version_key(Visibility.RESTRICTED, version, MANIFEST)


def make_databases(settings: Settings, manifest: Manifest, url: str, into: Path) -> dict[Visibility, Path]:
    """Make a DuckDB file for each level, whose views read the version where it stands below a URL."""
    there = {table.name: table for table in sent_manifest(manifest).tables}
    here = {table.name: table for table in manifest.tables}
    folder, made = settings.published.absolute() / manifest.version, {}
    for level, name in DATABASES.items():
        if (folder / name).exists():  # versions of before have no other than the last
            made[level] = into / name
            _make(folder, name, made[level], here, there, url)
    return made


def _make(
    folder: Path, name: str, to: Path, here: dict[str, PublishedTable], there: dict[str, PublishedTable], url: str
) -> None:
    statements: list[str] = []
    after: list[str] = []
    with duckdb.connect(str(folder / name), read_only=True) as db:
        comments = db.execute(COMMENTS).fetchall()
        for view, sql, comment in db.execute(f"select view_name, sql, comment from ({VIEWS_WITH_COMMENTS})").fetchall():
            if not READS.search(sql):
                raise TidemarkError(f"{folder / name}: the view {view} reads no files; `tidemark publish --force`")
            files = f'"{view}_files"'
            # Views are bound as they are made: to a file that is here, until all are.
            statements.append(f"create macro {files}() as ['{escape(folder / here[view].files[0].path)}']")
            statements.append(READS.sub(lambda _, files=files: f"read_parquet({files}()", sql, count=1))  # type: ignore[misc]
            urls = ", ".join(f"'{url}/{file.path}'" for file in there[view].files)
            after.append(f"create or replace macro {files}() as [{urls}]")
            after.append(_comment(f'view "{view}"', comment))
        for table, comment in db.execute(TABLES).fetchall():
            statements.append(_as_view(db, table))
            after.append(_comment(f'view "{table}"', comment))
    after += [_comment(f'column "{of}"."{column}"', text) for of, column, text in comments]
    to.unlink(missing_ok=True)
    with duckdb.connect(str(to), config={"storage_compatibility_version": STORAGE_VERSION}) as made:
        for statement in ["begin", *statements, *after, "commit"]:
            made.execute(statement)
    sync_file(to)


def _as_view(db: duckdb.DuckDBPyConnection, table: str) -> str:
    """A small table as a view: rows of a table are read when they are asked for, and may be another version's then."""
    columns = db.execute(f'describe "{table}"').fetchall()
    types = {name: type_ for name, type_, *_ in columns}
    texts = ", ".join(f'cast("{name}" as varchar)' for name in types)
    rows = db.execute(f'select {texts} from "{table}"').fetchall()
    select = ", ".join(f'cast("{name}" as {type_}) as "{name}"' for name, type_ in types.items())
    names = ", ".join(f'"{name}"' for name in types)
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows or [tuple(None for _ in types)])
    return f'create view "{table}" as select {select} from (values {values}) as rows({names})' + (
        "" if rows else " where false"
    )


def _literal(value: str | None) -> str:
    return "null" if value is None else f"'{escape(value)}'"


def _comment(of: str, text: str | None) -> str:
    return f"comment on {of} is {_literal(text)}"


TABLES = "select table_name, comment from duckdb_tables() where not internal"
COMMENTS = """
select table_name, column_name, comment from duckdb_columns() where comment is not null and not internal
"""
