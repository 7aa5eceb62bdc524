"""A copy of what is published, in a PostgreSQL: for tools that speak its wire and cannot read DuckDB's files.

``python -m flows.publish.postgres postgresql://USER@HOST/DATABASE`` copies the tables of the level internal into the
schema ``marts``. It is one transaction that deletes and inserts rows: whoever reads meanwhile sees the publication of
before or that of after, and waits for nothing.
"""

from pathlib import Path

import click
import duckdb

from flows.errors import TidemarkError
from flows.extract.databases.declared import PASSWORD
from flows.extract.databases.postgres import load_client
from flows.land.field_sql import literal
from flows.publish.manifest import CURRENT
from flows.publish.views import DATABASES, VERSION_FOLDER
from flows.rights import Visibility
from flows.settings import Settings

SCHEMA = "marts"
LEVEL = Visibility.INTERNAL


def copy_to_postgres(settings: Settings, url: str) -> list[str]:
    """Make the schema what the current publication has, and return the names of its tables.

    Raises :class:`TidemarkError` where there is no publication, or the database refuses.
    """
    folder = (settings.published / CURRENT).resolve()
    database = folder / DATABASES[LEVEL]
    if not database.exists():
        raise TidemarkError(f"there is no {database} to copy: `tidemark run` publishes, and TIDEMARK_HOME says where")
    with duckdb.connect() as db:
        load_client(db)
        try:
            db.execute(f"attach {literal(str(database))} as published (read_only)")
            db.execute(f"set variable {VERSION_FOLDER} = {literal(str(folder))}")
            db.execute(f"attach {literal(url)} as copy (type postgres)")
            return _copy(db)
        except duckdb.Error as error:
            # Not from the error: its words have the address, and so the password.
            reason = PASSWORD.sub("...", str(error).strip())
            raise TidemarkError(
                f"the database did not take the copy, and is as it was ({reason}); the address is that of a user who "
                f"may create the schema {SCHEMA} or owns it; where a column's type changed, drop the schema and copy "
                "again"
            ) from None


def _copy(db: duckdb.DuckDBPyConnection) -> list[str]:
    db.execute("begin")
    db.execute(f"create schema if not exists copy.{SCHEMA}")
    wanted, there = _columns(db, "published", "main"), _columns(db, "copy", SCHEMA)
    for name in there.keys() - {name for name, columns in wanted.items() if there.get(name) == columns}:
        # Readers wait for this alone, which only a change of columns takes.
        db.execute(f'drop table copy.{SCHEMA}."{name}"')
    for name, columns in wanted.items():
        if there.get(name) == columns:
            db.execute(f'delete from copy.{SCHEMA}."{name}"')
            db.execute(f'insert into copy.{SCHEMA}."{name}" from published."{name}"')
        else:
            db.execute(f'create table copy.{SCHEMA}."{name}" as from published."{name}"')
    db.execute("commit")
    return [*wanted]


def _columns(db: duckdb.DuckDBPyConnection, database: str, schema: str) -> dict[str, list[str]]:
    """The names of the columns of each table and view of a schema."""
    found = db.execute(
        "select table_name, list(column_name order by column_index) from duckdb_columns() "
        "where database_name = ? and schema_name = ? and not internal group by all order by all",
        [database, schema],
    )
    return dict(found.fetchall())


@click.command(help="Copy what is published, of the level internal, into a PostgreSQL.")
@click.argument("url")
def main(url: str) -> None:
    """The command."""
    try:
        settings = Settings()
        names = copy_to_postgres(settings, url)
    except TidemarkError as error:
        raise click.ClickException(str(error)) from error
    version = Path(settings.published / CURRENT).resolve().name
    click.echo(f"copied {len(names)} tables of {version} into the schema {SCHEMA}")


if __name__ == "__main__":
    main()
