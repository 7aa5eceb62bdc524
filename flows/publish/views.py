"""Where the views of published versions find their files.

DuckDB looks for relative paths where the reader stands, so views name files by absolute path. Where a DuckDB file of
a version is opened, and not attached to another file, they follow it to wherever it was copied or mounted. Attached
files, and views of versions that an earlier Tidemark made, go on naming the files where they were when a home is moved:
they fail, or show what is published there now, until they are healed.
"""

import re
from pathlib import Path

import duckdb

from flows.errors import TidemarkError
from flows.files import sync_file
from flows.rights import PRIVATE, Rights, Visibility, give, published_rights
from flows.settings import Settings

# The DuckDB files of a version, by who may see them: each has the tables of its level and of those before it.
DATABASES = {
    Visibility.PUBLIC: "public.duckdb",
    Visibility.INTERNAL: "internal.duckdb",
    Visibility.RESTRICTED: "marts.duckdb",
}
# The one with every table; versions of before have no other.
MARTS = DATABASES[Visibility.RESTRICTED]
MANIFEST = "manifest.json"
# The pages of a version, which are made after it; beside the versions, the link to those of the current one.
SITE = "site"
VERSION_FOLDER = "version_folder"
# How a view of a version made before there was the macro names its files.
FILES = re.compile(r"read_parquet\('((?:[^']|'')*)/parquet/")
# What the macro falls back to, as DuckDB spells the macro.
FALLBACK = re.compile(r"ELSE '((?:[^']|'')*)' END")


def version_folder_macro(folder: Path) -> list[str]:
    """The statements that make the macro by which a version's views find its folder.

    DuckDB lets a query know nothing of the file that it is asked of but where its temporary files go: beside the file
    that was opened, unless the reader set that. So, in this order:

    - what the reader set: ``set variable version_folder = '/path'``, for a copy attached to another database;
    - where a version was opened under the name of a version, or as ``current``: this version beside it. It is the same
      one, but where two versions are attached to each other, or where DuckDB 1.4 leaves a link as it is: by the link a
      reader would see the next version's files;
    - where it was opened under another name: that folder, if it is of this version, which the folder in it says;
    - where the version was made.
    """
    opened = "current_setting('temp_directory')"
    names = "|".join(re.escape(name) for name in DATABASES.values())
    file = rf"/({names})\.tmp$"
    here = _escaped(f"/{folder.name}/..")
    return [
        f"""
        create or replace macro {VERSION_FOLDER}() as case
            when getvariable('{VERSION_FOLDER}') is not null then getvariable('{VERSION_FOLDER}') || '{here}'
            when regexp_matches({opened}, '^/(.*/)?(current|[0-9]{{8}}T[0-9]{{6}}[.][^/]*){file}')
                then regexp_replace({opened}, '[^/]+{file}', '{folder.name}')
            when regexp_matches({opened}, '^/.*{file}') then regexp_replace({opened}, '{file}', '{here}')
            else '{_escaped(str(folder))}' end
        """,
        f"comment on macro {VERSION_FOLDER} is '{MACRO_DESCRIPTION}'",
    ]


MACRO_DESCRIPTION = "The folder of this version, whose files the views read."


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
            found = (
                [FALLBACK.search(sql) for (sql,) in db.execute(MACRO).fetchall()]
                or [FILES.search(sql) for (sql,) in db.execute(VIEWS).fetchall()]
            )  # fmt: skip
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
        if not _is_moved(folder):
            continue
        for level, name in DATABASES.items():  # the last is the one that is looked at
            if (folder / name).exists():
                _rename_files(folder.absolute(), name, published_rights(settings, level))


def _is_moved(folder: Path) -> bool:
    try:
        return moved_from(folder) is not None
    except TidemarkError:  # status reports a damaged one, which holds up no other
        return False


def _rename_files(folder: Path, name: str, rights: Rights) -> None:
    """Put a copy of a version's DuckDB file with new views in its place: a reader has the old one or the new."""
    partial = folder / f".{name}.partial"
    partial.unlink(missing_ok=True)
    partial.touch(mode=PRIVATE.file)
    partial.write_bytes((folder / name).read_bytes())
    with duckdb.connect(str(partial)) as db:
        columns = db.execute(COLUMNS).fetchall()
        statements = version_folder_macro(folder) if db.execute(MACRO).fetchall() else []
        for view, sql, comment in db.execute(f"select view_name, sql, comment from ({VIEWS_WITH_COMMENTS})").fetchall():
            if not FILES.search(sql):
                continue
            statements.append(FILES.sub(lambda _: f"read_parquet('{_escaped(str(folder))}/parquet/", sql, count=1))
            statements.append(_comment(f'view "{view}"', comment))
            statements += [_comment(f'column "{view}"."{column}"', text) for of, column, text in columns if of == view]
        db.execute("begin")
        for statement in statements:
            db.execute(statement.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        db.execute("commit")
    give(partial, rights)
    sync_file(partial)
    partial.replace(folder / name)


def _comment(of: str, text: str | None) -> str:
    return f"comment on {of} is " + ("null" if text is None else f"'{_escaped(text)}'")


def _escaped(text: str) -> str:
    return text.replace("'", "''")


MACRO = f"select macro_definition from duckdb_functions() where function_name = '{VERSION_FOLDER}' and not internal"
VIEWS = "select sql from duckdb_views() where not internal"
VIEWS_WITH_COMMENTS = "select view_name, sql, comment from duckdb_views() where not internal"
COLUMNS = """
select table_name, column_name, comment from duckdb_columns()
where comment is not null and table_name in (select view_name from duckdb_views() where not internal)
"""
