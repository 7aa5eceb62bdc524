"""Whoever only looks needs no right to write, makes nothing, and gets lines, on whatever terminal."""

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from flows.alerts.incidents import opened
from flows.build.warehouse import warehouse_lock
from flows.cli import main
from flows.cli.render import how_to_query, safe
from flows.land.receipts import Receipts
from flows.orchestrate.journal import Journal
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import KEY, Lake, make_warehouse_tables
from tests.support.processes import NOBODY, as_nobody

READ_ONLY = ("status", "status --json", "rollback", "audit", "publish", "land", "build", "alert --test nobody")


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.lstat().st_mode, p.lstat().st_mtime_ns) for p in folder.rglob("*"))


def run_as_nobody(home: Path, arguments: str) -> tuple[int, str, str]:
    """What a command that is run by somebody without rights exits with, and prints; a traceback where it raised."""

    def work() -> tuple[int, str, str]:
        given = {"TIDEMARK_HOME": str(home), "TIDEMARK_SERVER_PORT": "9", "TIDEMARK_SETTLE_SECONDS": "0"}
        done = CliRunner().invoke(main, shlex.split(arguments), env=given)
        raised = (
            "" if isinstance(done.exception, SystemExit | None) else "".join(traceback.format_exception(done.exception))
        )
        return done.exit_code, done.output, raised

    # What Python imports only then may be in a folder that is closed to nobody.
    for name in ("status", "alert --test nobody"):
        CliRunner().invoke(
            main, shlex.split(name), env={"TIDEMARK_HOME": str(home / "none"), "TIDEMARK_SERVER_PORT": "9"}
        )
    code, output, raised = as_nobody(work)
    return code, output, raised


@pytest.fixture
def their_home(open_lake: Lake) -> Iterator[Path]:
    """The home of another user, which its group may read and nobody else may write: nobody is in that group."""
    lake = open_lake
    home = lake.settings.home
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    lake.deliver("web/events/waits.ndjson", ndjson([event(2)]))
    with Journal(lake.settings):
        pass
    with opened(lake.settings):
        pass
    with duckdb.connect(str(lake.settings.warehouse)) as db:
        make_warehouse_tables(db)
        for number, (command, day) in enumerate((("test", "2099-01-01"), ("build", "2026-01-01"))):
            db.execute(
                f"insert into ops.dbt_runs values ('{number}', '{command}', true, 'p', '{day}', '{day}', 'passed')"
            )
    (lake.settings.warehouse.parent / ".build.lock").touch()
    for path in (home, *home.rglob("*")):
        if lake.settings.inbox not in path.parents:  # a file whose rights changed would be looked at again
            path.chmod(0o750 if path.is_dir() else 0o640)
            if not os.geteuid():
                os.chown(path, -1, NOBODY)
    yield home


@pytest.mark.parametrize("arguments", READ_ONLY)
def test_without_the_right_to_write_every_command_ends_in_lines_and_changes_nothing(
    their_home: Path, arguments: str
) -> None:
    before = snapshot(their_home)
    code, output, raised = run_as_nobody(their_home, arguments)
    assert raised == "" and "Traceback" not in output
    assert snapshot(their_home) == before
    if arguments.startswith("status"):
        assert code == 0, output
    elif arguments != "audit":
        assert code == 1 and output.startswith("error: ")
        assert "delete" not in output


def test_what_is_reported_without_rights_is_all_there_is(their_home: Path) -> None:
    _, output, _ = run_as_nobody(their_home, "status")
    assert "1 file waiting to land" in output
    assert "web/events/one.ndjson (1 row, 0 quarantined)" in output
    assert "last run: build at 2026-01-01" in output, "the last run is the one that was entered last"
    assert "none open, and every message was sent" in output


def test_what_may_not_be_read_is_reported_and_not_taken_for_empty(their_home: Path) -> None:
    (their_home / "lake/landed").chmod(0o710)
    code, output, raised = run_as_nobody(their_home, "status")
    assert (code, raised) == (1, "") and "cannot be read" in output and "lake/landed" in output
    (their_home / "lake/landed").chmod(0o750)
    (their_home / "jobs").chmod(0o700)
    (their_home / "warehouse/tidemark.duckdb").chmod(0o600)
    code, output, raised = run_as_nobody(their_home, "status")
    assert (code, raised) == (1, "") and "delete" not in output


def test_status_makes_nothing(tmp_path: Path) -> None:
    for home in (tmp_path / "none", tmp_path):
        done = CliRunner().invoke(main, ["status"], env={"TIDEMARK_HOME": str(home), "TIDEMARK_SERVER_PORT": "9"})
        assert done.exit_code == 0
        assert [*tmp_path.iterdir()] == []


def test_receipts_are_read_without_their_index_and_where_it_is_behind(lake: Lake) -> None:
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    index = lake.settings.landed / "index.sqlite"
    shutil.copy(index, index.with_name("kept"))
    lake.land_one("web/events/two.ndjson", ndjson([event(2)]))
    kept = index.with_name("kept")
    for make in (lambda: kept.replace(index), index.unlink):
        make()
        before = snapshot(lake.settings.landed)
        with closing(Receipts(lake.settings, read_only=True)) as receipts:
            assert [r.file for r in receipts.after(0)] == ["web/events/one.ndjson", "web/events/two.ndjson"]
        assert snapshot(lake.settings.landed) == before


def test_an_index_of_an_earlier_tidemark_is_read(lake: Lake) -> None:
    lake.land_one("web/events/one.ndjson", ndjson([event(1)]))
    with closing(sqlite3.connect(lake.settings.landed / "index.sqlite")) as db:
        db.executescript(
            "drop table files; drop table compactions; drop table removals; drop index receipts_by_retries;"
        )
        db.executescript("alter table receipts drop column retries;")
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        assert receipts.last_of_file("web/events/one.ndjson") is not None


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_names_that_a_terminal_cannot_show_stop_no_command(tmp_path: Path, encoding: str) -> None:
    lake = Lake(tmp_path / "home")
    lake.deliver("web/events/día-☃.ndjson", b"x\n")
    lake.deliver("web/events/färg.xlsx", b"x\n")
    environment = os.environ | {
        "TIDEMARK_HOME": str(lake.settings.home), "PYTHONIOENCODING": encoding, "LC_ALL": "C",
        "TIDEMARK_SETTLE_SECONDS": "0", "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_SERVER_PORT": "9",
    }  # fmt: skip
    for command, code in (("land", 0), ("status", 1)):
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", command], env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (code, b"")
        assert b"no row fits" in done.stdout and b"rg.xlsx" in done.stdout


def test_the_line_between_build_and_result_is_one_on_every_terminal(tmp_path: Path) -> None:
    program = "from flows.cli import rule; rule()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert set(done.stdout.strip()) == {ord("-")}


def test_names_cannot_command_the_terminal() -> None:
    assert safe("a\x1b[31m\nb\r[bold]\u202e") == "a\\x1b[31m\\nb\\r\\[bold]\\u202e"


def test_a_name_with_line_breaks_lands_and_is_reported_in_one_line(lake: Lake) -> None:
    lake.deliver("web/events/a\nb\x1b[2J.ndjson", ndjson([event(1)]))
    done = CliRunner().invoke(
        main, ["land"], env={"TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_SETTLE_SECONDS": "0"}
    )
    assert done.exit_code == 0 and "\x1b" not in done.output
    assert "land     web/events/a\\nb\\x1b[2J.ndjson  1 row\n" in done.output


@pytest.mark.parametrize("name", ["a b", "it's", 'say "x"', "$HOME", "a;b", "`x`", "a&b", "å"])
def test_the_printed_query_runs_in_a_shell(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    marts = settings.published / "current" / "marts.duckdb"
    marts.parent.mkdir(parents=True)
    with duckdb.connect(str(marts)) as db:
        db.execute("create table agg_audience_daily as select 'news' as product, 42 as sessions_count")
    command = how_to_query(settings)[0].removeprefix("query:").strip()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "42" in done.stdout, done.stderr


def test_a_lock_that_is_held_is_seen_without_the_right_to_take_it(their_home: Path) -> None:
    with warehouse_lock(Settings(home=their_home)):
        _, output, _ = run_as_nobody(their_home, "status")
    assert "in use by a build" in output


def as_json(home: Path) -> Any:
    done = CliRunner().invoke(main, ["status", "--json"], env={"TIDEMARK_HOME": str(home), "TIDEMARK_SERVER_PORT": "9"})
    return json.loads(done.output)


def test_what_is_left_alone_is_counted_and_needs_a_person(lake: Lake) -> None:
    (lake.settings.inbox / "web/events").mkdir(parents=True)
    (lake.settings.inbox / "web/events/itself.ndjson").symlink_to("itself.ndjson")
    reported = as_json(lake.settings.home)
    assert reported["needs_a_person"] and reported["left_alone"] == [
        "web/events/itself.ndjson: a link that leads back to itself; remove it"
    ]
    done = CliRunner().invoke(main, ["status"], env={"TIDEMARK_HOME": str(lake.settings.home)})
    assert "1 left alone" in done.output
