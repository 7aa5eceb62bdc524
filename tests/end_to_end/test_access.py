"""Restricted rows are in no byte of what more may see: a file for each level of readers, on the whole sample."""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.build.build import Build
from flows.build.dbt import read_project
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.settings import Settings
from tests.support.processes import as_nobody

Run = tuple[Settings, Landing, Build, Publication]
# How a pseudonym is written: as a UUID, or as the hash that stands for a session.
WRITTEN = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
WIDER = {"public": "public.duckdb", "internal": "internal.duckdb"}


def folder_of(run: Run) -> Path:
    return run[0].published / run[3].manifest.version


@pytest.fixture(scope="module")
def pseudonyms(sample_run: Run) -> set[bytes]:
    """Every value of a column of the class pseudonym in a published table, as it is written."""
    models = read_project(sample_run[0]).models
    found: set[bytes] = set()
    for table in sample_run[3].manifest.tables:
        columns = [name for name, kind in models[table.name].privacy.items() if kind == "pseudonym"]
        assert not columns or table.visibility == "restricted"
        for file in table.files if columns else ():
            for column in pq.read_table(folder_of(sample_run) / file.path, columns=columns):
                found |= {value.encode() for value in column.to_pylist() if value is not None}
    return found


def files_of(run: Run, *levels: str) -> Iterator[Path]:
    """Every file that readers of these levels may open."""
    folder = folder_of(run)
    yield from (folder / WIDER[level] for level in levels)
    yield folder / folder.name / "README.txt"
    for table in run[3].manifest.tables:
        yield from (folder / file.path for file in table.files if table.visibility in levels)


def written_in(path: Path) -> set[bytes]:
    """What in a file may be a pseudonym: in its bytes, and in its values, which its bytes hold compressed."""
    said = path.read_bytes()
    if path.suffix == ".parquet":
        said += repr(pq.read_metadata(path).to_dict()).encode() + repr(pq.read_table(path).to_pydict()).encode()
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as db:
            tables = [name for (name,) in db.execute("select table_name from duckdb_tables()").fetchall()]
            said += repr([db.execute(f"from {name}").fetchall() for name in tables]).encode()
            views = db.execute("select view_name from duckdb_views() where not internal").fetchall()
            said += repr([db.execute(f"from {name}").fetchall() for (name,) in views]).encode()
    return {*WRITTEN.findall(said)}


def as_bytes(pseudonym: bytes) -> Iterator[bytes]:
    """A pseudonym as sixteen bytes, in either order."""
    plain = bytes.fromhex(pseudonym.decode().replace("-", ""))
    yield from (plain, plain[::-1])


@pytest.mark.parametrize("level", WIDER)
def test_no_pseudonym_is_in_any_byte_of_what_more_may_see(sample_run: Run, pseudonyms: set[bytes], level: str) -> None:
    levels = [*WIDER][: [*WIDER].index(level) + 1]
    paths = [*files_of(sample_run, *levels)]
    assert len(paths) > len(levels) + 1 and len(pseudonyms) > 1000
    for path in paths:
        assert not written_in(path) & pseudonyms, path
    some = [form for one in sorted(pseudonyms)[::50] for form in as_bytes(one)]
    for path in paths:
        said = path.read_bytes()
        assert not [form for form in some if form in said], path


def test_what_is_looked_for_is_found_where_it_is(sample_run: Run, pseudonyms: set[bytes], tmp_path: Path) -> None:
    """Or the test before could not fail."""
    restricted = next(folder_of(sample_run).glob("parquet/fct_sessions/*.parquet"))
    assert written_in(restricted) & pseudonyms
    one = next(pseudonym for pseudonym in sorted(pseudonyms) if b"-" in pseudonym)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as db:
        db.execute(f"create table a as select '{one.decode()}'::uuid as device_key from range(9)")
    assert one in written_in(tmp_path / "a.duckdb")
    table = pa.table({"key": [bytes.fromhex(one.decode().replace("-", ""))]})
    pq.write_table(table, tmp_path / "b.parquet", compression="none")
    assert any(form in (tmp_path / "b.parquet").read_bytes() for form in as_bytes(one))


def test_each_file_has_the_tables_that_the_project_says(sample_run: Run) -> None:
    said = {name: model.visibility for name, model in read_project(sample_run[0]).models.items() if model.visibility}
    assert {table.name: table.visibility for table in sample_run[3].manifest.tables} == said
    assert {*said.values()} == {"public", "internal", "restricted"}
    for number, file in enumerate(("public.duckdb", "internal.duckdb", "marts.duckdb"), 1):
        with duckdb.connect(str(folder_of(sample_run) / file), read_only=True) as db:
            tables = {name for (name,) in db.execute("show tables").fetchall()} - {"published_tables"}
            listed = dict(db.execute("select name, visibility from published_tables").fetchall())
            assert all(db.execute(f"select count(*) from {name}").fetchone() for name in tables)
        assert listed == {
            name: level for name, level in said.items() if level in ["public", "internal", "restricted"][:number]
        }
        assert tables == listed.keys()


def test_what_is_not_public_is_its_owners_alone_in_a_fresh_clone(sample_run: Run) -> None:
    home = sample_run[0].home
    public = {*files_of(sample_run, "public")}
    for path in (home / "published").rglob("*"):
        if path.is_file() and path.name != ".publish.lock":
            wanted = 0o444 if path in public else 0o400
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    for folder in ("lake/inbox", "lake/landed", "lake/quarantine", "lake/text", "lake/keys", "warehouse"):
        assert stat.S_IMODE((home / folder).stat().st_mode) == 0o700, folder


@pytest.mark.skipif(bool(os.geteuid()), reason="only root can become a user who is refused something")
def test_another_user_opens_what_is_public_and_is_refused_the_rest(sample_run: Run) -> None:
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    shutil.copytree(sample_run[0].home, home, dirs_exist_ok=True, symlinks=True)
    home.chmod(0o755)

    def work() -> list[str]:
        with duckdb.connect(str(home / "published/current/public.duckdb"), read_only=True) as db:
            said = [str(db.execute("select count(*) > 0 from dim_dates").fetchall()[0][0])]
        for path in (
            "published/current/internal.duckdb",
            "published/current/marts.duckdb",
            "warehouse/tidemark.duckdb",
        ):
            try:
                duckdb.connect(str(home / path), read_only=True).close()
            except duckdb.Error as error:
                said += ["refused"] if "Permission denied" in str(error) else [str(error)]
        return said

    try:
        assert as_nobody(work) == ["True", "refused", "refused", "refused"]
    finally:
        shutil.rmtree(home)
