"""Whoever asks gets published tables of their level and nothing else, and the machine stays well."""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import anyio
import duckdb
import pytest

from flows.ask.answer import COMMAND, ask, ask_beside, request_of
from flows.ask.connection import Limits, open_locked
from flows.ask.publication import Publication, current_publication
from flows.ask.worker import answer
from flows.errors import TidemarkError
from flows.rights import Visibility
from flows.settings import Settings
from tests.support.hostile_sql import BOMBS, HOSTILE
from tests.support.patience import until

LIMITS = Limits(rows=10, seconds=10.0, memory=300)
TABLE = "agg_whole"


@pytest.fixture
def publication(small: Settings) -> Publication:
    """What the internal level sees."""
    return current_publication(small, Visibility.INTERNAL)


def snapshot(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*"))


def test_no_hostile_statement_gets_anything_or_leaves_anything(publication: Publication) -> None:
    assert (publication.folder / "parquet/fct_days/fct_days-2026-01-10.parquet").exists()
    before = snapshot(publication.folder.parent)
    assert len(HOSTILE) > 100
    for name, sql in HOSTILE.items():
        made = sql.replace("{folder}", str(publication.folder)).replace("{table}", TABLE)
        # In this process, which is quicker; the way to the process that answers is the same for all.
        reply = answer(json.loads(request_of(publication, made, LIMITS)))
        assert reply.keys() == {"error", "is_unknown"}, (name, reply)
    with pytest.raises(TidemarkError, match="only one SELECT is answered"):
        ask(publication, HOSTILE["two statements"], LIMITS)
    assert snapshot(publication.folder.parent) == before
    assert not list(Path("/tmp").glob("stolen*"))


@pytest.mark.parametrize("name", BOMBS)
def test_what_takes_too_much_ends_by_its_limits(publication: Publication, name: str) -> None:
    limits = Limits(rows=10, seconds=3.0, memory=300)
    began = time.monotonic()
    try:
        done = ask(publication, BOMBS[name], limits)
    except TidemarkError as error:
        assert "could not be answered" not in str(error) and "Stack Trace" not in str(error)
        assert len(str(error)) <= 2_000
    else:
        assert len(done.rows) <= 10 and len(str(done.columns)) < 3_000_000
    assert time.monotonic() - began < 30, "it ran on after its time, by far more than a busy machine explains"
    held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert held < 2_500_000, "kB: none of the processes so far held more than its limits allow"


@pytest.mark.parametrize("name", ["request", "sys", "limits", "duckdb", "self"])
def test_a_name_out_of_reach_leads_to_no_variable_of_the_process(publication: Publication, name: str) -> None:
    """DuckDB's client for Python would look for one."""
    sql = f"select * from (with {name} as (select 1) select 1) as x, {name}"
    reply = answer(json.loads(request_of(publication, sql, LIMITS)))
    assert f"Table with name {name} does not exist" in reply["error"]


def test_a_wide_row_fits_into_the_answer(publication: Publication) -> None:
    wide = f"select {', '.join(['repeat(chr(97), 5000)'] * 100)}"
    done = ask(publication, wide, Limits(value=2_000, characters=50_000))
    assert {len(str(value)) for value in done.rows[0]} == {500}


def hostile_on(db: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """What the connection alone answers to a statement that nothing checked: None, where it refuses."""
    try:
        return str(db.execute(sql).fetchall())
    except duckdb.Error:
        return None


def test_the_connection_alone_refuses_other_files_and_settings(publication: Publication) -> None:
    """Should the check of statements let one through, what it wants is out of reach all the same."""
    folder = publication.folder
    with open_locked(publication.database, publication.folders, LIMITS) as db:
        assert db.execute(f"select count(*) from {TABLE}").fetchone() == (9,)
        for sql in (
            f"select * from '{folder}/parquet/fct_days/fct_days-2026-01-10.parquet'",
            f"select * from read_parquet('{folder}/parquet/fct_days/*.parquet')",
            f"select * from read_parquet('{folder}/parquet/{TABLE}/../fct_days/*.parquet')",
            f"select * from read_parquet('{folder}/parquet/*/*.parquet')",
            f"select * from read_text('{folder}/manifest.json')",
            f"select * from read_blob('{folder}/marts.duckdb')",
            f"select * from glob('{folder}/*')",
            f"attach '{folder}/marts.duckdb' as marts (read_only)",
            "select * from read_text('/proc/self/environ')",
            "select * from read_csv('/etc/passwd', sep = ':')",
            "select * from glob('/etc/*')",
            f"copy (select 1) to '{folder}/stolen.csv'",
            "copy (select 1) to '/tmp/stolen.csv'",
            "install httpfs",
            "load httpfs",
            "set enable_external_access = true",
            "set lock_configuration = false",
            "set memory_limit = '100GB'",
            "set allowed_directories = ['/']",
            "reset allowed_directories",
            "create table mine as select 1",
            "export database '/tmp/stolen'",
        ):
            assert hostile_on(db, sql) is None, sql


def test_the_process_writes_no_file_whatever_the_connection_allows(publication: Publication, tmp_path: Path) -> None:
    """DuckDB lets COPY write below the folders that it may read."""
    program = (
        "import sys; from pathlib import Path; from flows.ask.worker import hold; from flows.ask.connection import *; "
        "folder = Path(sys.argv[2]); limits = Limits(); hold(limits); "
        "open_locked(Path(sys.argv[1]), [folder], limits).execute(f\"copy (from range(9)) to '{folder}/stolen.csv'\")"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(publication.database), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode and "stolen.csv" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size]


def test_the_process_has_no_secret_in_its_environment(
    publication: Publication, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIDEMARK_MASTER_KEY", "a secret of the tests, long enough to be taken")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    spy = tmp_path / "spy.py"
    spy.write_text("import json, os, sys; sys.stderr.write(json.dumps(dict(os.environ))); sys.exit(3)")
    monkeypatch.setattr("flows.ask.answer.COMMAND", [sys.executable, str(spy)])
    with pytest.raises(TidemarkError) as said:
        ask(publication, "select 1", LIMITS)
    assert "PATH" in str(said.value)
    assert "secret" not in str(said.value).lower() and "TIDEMARK" not in str(said.value)


def test_a_process_that_dies_costs_an_answer_and_nothing_else(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            "flows.ask.answer.COMMAND",
            [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"],
        )
        with pytest.raises(TidemarkError, match="DuckDB ended without an answer"):
            ask(publication, "select 1", LIMITS)
    assert ask(publication, "select 1", LIMITS).rows == [[1]]


def workers() -> list[str]:
    """The processes that this one started, by what they run."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    lines = [Path(f"/proc/{pid}/cmdline") for path in children for pid in path.read_text().split()]
    return [line.read_text() for line in lines if line.exists() and COMMAND[-1] in line.read_text()]


def test_who_no_longer_waits_ends_the_work(publication: Publication) -> None:
    async def give_up() -> None:
        with anyio.move_on_after(2):
            await ask_beside(publication, BOMBS["rows without end"], Limits(seconds=60))

    anyio.run(give_up)
    until(lambda: not workers(), 20)


def test_the_rows_of_a_level_are_those_of_its_tables(small: Settings) -> None:
    public, internal, restricted = (current_publication(small, level) for level in Visibility)
    assert [table.name for table in public.tables] == ["agg_whole", "published_tables"]
    assert [table.name for table in internal.tables] == ["agg_whole", "fct_none", "published_tables"]
    assert ask(restricted, "select count(*) from fct_days", LIMITS).rows == [[150]]
    for level in (public, internal):
        with pytest.raises(TidemarkError, match="there is no table fct_days here"):
            ask(level, "select count(*) from fct_days", LIMITS)
        assert "fct_days" not in str(asdict(level))
