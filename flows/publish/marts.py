"""The DuckDB files that readers open, one for each level: a view of each of its tables, and how fresh they are."""

from pathlib import Path

import duckdb
import pyarrow as pa

from flows.build.project import Project
from flows.catalogue.marts import first_sentence
from flows.files import sync_file
from flows.publish.definitions import SEMANTIC_MANIFEST, definitions_of
from flows.publish.files import PARQUET, Columns, escape, stored_as
from flows.publish.manifest import Manifest, PublishedTable, describe_causes
from flows.publish.views import DATABASES, MARTS, VERSION_FOLDER, version_folder_macro
from flows.settings import Settings

# The table that says how fresh the others are.
PUBLISHED_TABLES = "published_tables"
# The newest storage format that DuckDB 1.4 clients still open.
STORAGE_VERSION = "v1.4.0"


def make_views(
    settings: Settings, version: str, project: Project, tables: list[PublishedTable], columns: Columns
) -> None:
    """Make the DuckDB files that readers open: a view of each table that readers of the file's level may see, with what
    the project says of it and its columns, and the table that says how fresh they are. Of any other table a file has no
    word of its own; what is stale may wait for one, and is said to.

    All are in a file's default schema: one called like the file would be ambiguous to name. The columns of a stale
    table are those that it had: what the warehouse has of it may be changed, or gone.
    """
    folder = (settings.published / version).absolute()
    for level, name in DATABASES.items():
        _make_file(folder, name, project, [table for table in tables if level.may_see(table.visibility)], columns)
    readme = folder / version / "README.txt"
    readme.parent.mkdir()
    readme.write_text(README.format(version=version), encoding="utf-8")
    sync_file(readme)


def _make_file(folder: Path, name: str, project: Project, tables: list[PublishedTable], columns: Columns) -> None:
    statements = [*version_folder_macro(folder)]
    for table in tables:
        model = project.models[table.name]
        has = columns["version_before" if table.is_stale else model.schema, model.name]
        kind = "view" if table.files else "table"
        statements.append(_view(table, has) if table.files else _empty_table(table, has))
        statements.append(f"comment on {kind} \"{table.name}\" is '{escape(_stale_mark(table) + model.description)}'")
        for column, text in model.columns.items():
            if column in has:
                statements.append(f'comment on column "{table.name}"."{column}" is \'{escape(text)}\'')
    if metrics := definitions_of(project.semantic_manifest, [table.name for table in tables]):
        statements.append(f"create macro {SEMANTIC_MANIFEST}() as '{escape(metrics)}'")
    statements.append(f"create table {PUBLISHED_TABLES} as select * from freshness order by name")
    statements.append(f"comment on table {PUBLISHED_TABLES} is '{FRESHNESS_DESCRIPTION}'")
    for field in FRESHNESS:
        text = escape(field.metadata[b"description"].decode())
        statements.append(f"comment on column {PUBLISHED_TABLES}.{field.name} is '{text}'")
    # A connection of its own: views of an attached file would name that file's functions by the name it is attached as.
    with duckdb.connect(str(folder / name), config={"storage_compatibility_version": STORAGE_VERSION}) as marts:
        marts.register("freshness", _freshness(folder.name, tables, project))
        marts.execute(";\n".join(["begin", *statements, "commit"]))
        marts.unregister("freshness")
    sync_file(folder / name)


def read_columns(settings: Settings, warehouse: duckdb.DuckDBPyConnection, before: Manifest | None) -> Columns:
    """The columns of each schema's tables with their types; those of the version before are in ``version_before``."""
    if before is not None:
        path = settings.published.absolute() / before.version / MARTS
        warehouse.execute(f"attach '{escape(path)}' as version_before (read_only)")
    columns: Columns = {}
    for schema, name, column, type_ in warehouse.execute(
        """
        select if(database_name = 'version_before', 'version_before', schema_name), table_name, column_name, data_type
        from duckdb_columns()
        where not internal and database_name in ('version_before', current_database())
        order by column_index
        """
    ).fetchall():
        columns.setdefault((schema, name), {})[column] = type_
    if before is not None:
        warehouse.execute("detach version_before")
    return columns


def _view(table: PublishedTable, columns: dict[str, str]) -> str:
    """A view of a table's files, with the types of its model. The day is read from the files' names, so that a question
    about days opens theirs alone."""
    select = {
        column: f'"{column}"'
        if stored_as(column, type_) == f'"{column}"'
        else f'cast("{column}" as {type_}) as "{column}"'
        for column, type_ in columns.items()
    }
    files, options = f"{table.name}.parquet", ""
    if table.day_column is not None:
        files = f"{table.name}-????-??-??*.parquet"
        # DuckDB leaves files out by their names only where their column has the name that it gives it.
        if "filename" not in map(str.lower, columns):
            day = f"cast(substr(parse_filename(filename), {len(table.name) + 2}, 10) as date)"
            select[table.day_column] = f'{day} as "{table.day_column}"'
            options = ", filename = true"
    return (
        f'create view "{table.name}" as select {", ".join(select.values())} '
        f"from read_parquet({VERSION_FOLDER}() || '/{PARQUET}/{table.name}/{files}'{options})"
    )


def _empty_table(table: PublishedTable, columns: dict[str, str]) -> str:
    """What stands for a table without rows, which has no files."""
    return f'create table "{table.name}" (' + ", ".join(f'"{name}" {type_}' for name, type_ in columns.items()) + ")"


README = """\
This is version {version} of the published tables.

Open one of these read-only with DuckDB 1.4 or newer, or read the folder of a table below parquet/ with pandas, Polars,
Arrow or Spark: by the path of this folder, and not through `current`, which moves when the next version is published.

    public.duckdb    what everybody may see
    internal.duckdb  that, and what the organisation may see
    marts.duckdb     every table, rows of single people and devices too

Who may not open a file is in no group that may: ask whoever runs Tidemark. The table published_tables says what each
table is, who may see it, and how fresh it is.

The version may be copied or mounted anywhere, under any name but `current`, with all that is in it. This folder has to
stay: by it the DuckDB files know what belongs to them. Whoever attaches a copy to another database has to say where
it is: set variable version_folder = '/path/of/the/copy';
"""


def _stale_mark(table: PublishedTable) -> str:
    """What the description of a stale table begins with."""
    return f"STALE since {table.stale_since:%Y-%m-%d %H:%M} UTC. " if table.is_stale else ""


FRESHNESS_DESCRIPTION = "One row per table of this version: whether its rows are up to date, and if not, why."
FRESHNESS = pa.schema(
    [
        pa.field(name, kind, metadata={"description": description})
        for name, kind, description in [
            ("name", pa.string(), "The table."),
            ("is_stale", pa.bool_(), "Whether its rows are those of an earlier version: what it depends on failed."),
            ("as_of", pa.timestamp("us"), "When the version was made in which its rows were last good; UTC."),
            ("stale_since", pa.timestamp("us"), "When the first version was made in which it was stale; UTC."),
            ("stale_because", pa.string(), "What it waits for, with owners; NULL where it is not stale."),
            ("owner", pa.string(), "Who is to be asked about the table; NULL where nobody is named."),
            ("first_day", pa.date32(), "The oldest day it has rows of; of periods, the first end; or NULL."),
            ("last_day", pa.date32(), "The newest day it has rows of; of periods, the last end; or NULL."),
            ("version", pa.string(), "The version of this publication."),
            ("description", pa.string(), "What a row of it is, in one sentence."),
            ("visibility", pa.string(), "Who may see it: public, internal or restricted."),
        ]
    ]
)


def _freshness(version: str, tables: list[PublishedTable], project: Project) -> pa.Table:
    """How fresh each table is, as readers see it: moments are plain UTC."""
    rows = [
        {
            "name": table.name,
            "is_stale": table.is_stale,
            "as_of": table.as_of and table.as_of.replace(tzinfo=None),
            "stale_since": table.stale_since and table.stale_since.replace(tzinfo=None),
            "stale_because": describe_causes(table.stale_because) or None,
            "owner": table.owner or None,
            "first_day": min((file.day for file in table.files if file.day), default=None),
            "last_day": max((file.day for file in table.files if file.day), default=None),
            "version": version,
            "description": first_sentence(project.models[table.name].description) or None,
            "visibility": table.visibility,
        }
        for table in tables
    ]
    return pa.Table.from_pylist(rows, FRESHNESS)
