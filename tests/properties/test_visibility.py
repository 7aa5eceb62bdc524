"""However tables are spread over the levels, each file has those of its level and the ones before, and no word more."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from flows.build.project import Model
from flows.publish.access import give_rights
from flows.publish.manifest import PublishedFile, PublishedTable
from flows.publish.marts import make_views
from flows.rights import Visibility
from flows.settings import Settings
from tests.support.examples import Examples
from tests.support.small_marts import NO_METRICS

VERSION = "20260115T201504.123456Z"
NAMES = ("aggregates", "buildings", "customers", "deliveries", "engagements")
# Who opens a file may see these levels.
SEES = {
    "public.duckdb": {"public"},
    "internal.duckdb": {"public", "internal"},
    "marts.duckdb": {"public", "internal", "restricted"},
}
Assignment = dict[str, tuple[Visibility, bool]]
EXAMPLES = Examples(few=8, many=75, is_derandomized=False)
assignments = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.sampled_from([*Visibility]), st.booleans()))


def word_of(name: str) -> str:
    """A word that only what says something of a table holds."""
    return f"secret{name}"


def published(home: Path, assignment: Assignment) -> Settings:
    """A version with these tables: the level of each, and whether it has rows."""
    made = Settings(home=home)
    tables = []
    for name, (level, has_rows) in assignment.items():
        folder = made.published / VERSION / "parquet" / name
        if has_rows:
            folder.mkdir(parents=True)
            pq.write_table(pa.table({"number": [1, 2], word_of(name): ["a", "b"]}), folder / f"{name}.parquet")
        path = f"parquet/{name}/{name}.parquet"
        file = PublishedFile(path=path, day=None, change=1, rows=2, bytes=1, sha256="")
        files = (file,) if has_rows else ()
        now = datetime.now(UTC)
        owner = f"owner of {word_of(name)}"
        table = PublishedTable(name=name, day_column=None, files=files, owner=owner, as_of=now, visibility=level)
        tables.append(table)
    (made.published / VERSION).mkdir(parents=True, exist_ok=True)
    models = {
        name: Model(name, "marts", "table", None, f"One row per {word_of(name)}.", {word_of(name): "A."}, frozenset())
        for name in assignment
    }
    columns = {("marts", name): {"number": "BIGINT", word_of(name): "VARCHAR"} for name in assignment}
    project: Any = SimpleNamespace(models=models, semantic_manifest=NO_METRICS)
    make_views(made, VERSION, project, tables, columns)
    give_rights(made, made.published / VERSION, {name: level for name, (level, _) in assignment.items()})
    return made


def said_in(path: Path) -> tuple[set[str], str]:
    """The tables of a DuckDB file, and all that it says of anything."""
    with duckdb.connect(str(path), read_only=True) as db:
        tables = {name for (name,) in db.execute("show tables").fetchall()}
        catalogue = [
            db.execute(f"from duckdb_{kind}() where not internal").fetchall()
            for kind in ("tables", "views", "columns", "functions", "types", "schemas")
        ]
        rows = [db.execute(f"from {name}").fetchall() for name in tables]
    return tables - {"published_tables"}, repr((catalogue, rows)) + path.read_bytes().decode("latin-1")


@EXAMPLES.of(assignment=assignments)
def test_a_file_has_the_tables_of_its_level_and_no_word_of_another(assignment: Assignment) -> None:
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    try:
        made = published(home, assignment)
        found = {file: said_in(made.published / VERSION / file) for file in SEES}
    finally:
        shutil.rmtree(home)
    for file, (tables, said) in found.items():
        seen = {name for name, (level, _) in assignment.items() if level in SEES[file]}
        assert tables == seen, file
        assert {name for name in NAMES if word_of(name) in said} == seen, file


@EXAMPLES.of(assignment=assignments)
def test_others_reach_the_rows_of_what_is_public_and_of_nothing_else(assignment: Assignment) -> None:
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    try:
        made = published(home, assignment)
        folder = made.published / VERSION
        reached = {
            path.parent.name
            for path in folder.glob("parquet/*/*")
            if all(each.stat().st_mode & 0o005 == 0o005 for each in (folder, folder / "parquet", path.parent))
            and path.stat().st_mode & 0o004
        }
        closed = {path.parent.name for path in folder.glob("parquet/*/*") if not path.stat().st_mode & 0o004}
    finally:
        shutil.rmtree(home)
    with_rows = {name: level for name, (level, has_rows) in assignment.items() if has_rows}
    assert reached == {name for name, level in with_rows.items() if level == "public"}
    assert closed == with_rows.keys() - reached
