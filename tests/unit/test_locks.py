"""Whoever waits for a lock says for whom, and continues automatically when the lock goes."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from flows.build import warehouse
from flows.build.warehouse import await_free, in_use_by, lock_file, once_free, open_warehouse
from flows.errors import WarehouseInUseError
from flows.locks import held, holder_of
from flows.processes import command_of, process_mark, started_at
from flows.settings import Settings
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.schedules import utc

READER = "import duckdb, sys; db = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); input()"
TAKER = """
import sys
from pathlib import Path
from flows.locks import held
with held(Path(sys.argv[1]), "building"):
    print(1, flush=True)
    input()
"""


@pytest.fixture(name="settings")
def settings_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with a warehouse, at which those who wait look often."""
    monkeypatch.setattr(warehouse, "LOOK_SECONDS", 0.05)
    made = Settings(home=tmp_path)
    made.warehouse.parent.mkdir(parents=True)
    duckdb.connect(str(made.warehouse)).close()
    return made


@contextmanager
def process(program: str, *given: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has what it is to have, until it is asked to end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, given)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        try:
            assert made.stdout is not None and made.stdout.readline()
            yield made
        finally:
            made.kill()


def end(one: subprocess.Popen[bytes]) -> None:
    assert one.stdin is not None
    one.stdin.write(b"\n")
    one.stdin.flush()


def test_work_that_meets_a_reader_says_who_it_is_and_goes_on_when_the_reader_goes(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    @once_free
    def work(settings: Settings, name: str) -> str:
        tries.append(name)
        with open_warehouse(settings):
            return name

    done: list[str] = []
    with process(READER, settings.warehouse) as reader:
        worker = threading.Thread(target=lambda: done.append(work(settings, "build")))
        worker.start()
        until(lambda: caplog.records)
        assert tries == ["build"] and done == [], "it waits, and is not tried again and again meanwhile"
        (record,) = caplog.records
        assert f"process {reader.pid} (" in record.getMessage() and "import duckdb" in record.getMessage()
        assert ", running since 20" in record.getMessage() and "UTC) has the warehouse" in record.getMessage()
        assert "published/current/marts.duckdb" in record.getMessage()
        end(reader)
        worker.join(PATIENCE_SECONDS)
    assert (tries, done) == (["build", "build"], ["build"])


def test_who_waits_is_shown_each_process_that_it_waits_for(settings: Settings) -> None:
    shown: list[str] = []

    @contextmanager
    def show(held_by: str) -> Iterator[None]:
        shown.append(held_by)
        yield

    await_free(settings, show)
    assert shown == [], "nobody has it"
    with process(READER, settings.warehouse) as reader, process(TAKER, lock_file(settings)) as builder:
        waiting = threading.Thread(target=lambda: await_free(settings, show))
        waiting.start()
        until(lambda: len(shown) >= 1)
        end(builder)
        # Between the two there may be an instant in which the lock is held and its file says no name.
        until(lambda: f"process {reader.pid} (" in shown[-1])
        assert waiting.is_alive(), "the reader still has it"
        end(reader)
        waiting.join(PATIENCE_SECONDS)
        assert not waiting.is_alive()
    assert f"process {builder.pid} (" in shown[0] and "building since" in shown[0]


def test_a_warehouse_that_is_not_there_or_damaged_is_waited_for_by_nobody(settings: Settings) -> None:
    settings.warehouse.write_bytes(b"no database" * 1000)
    assert in_use_by(settings) is None
    settings.warehouse.unlink()
    assert in_use_by(settings) is None and not settings.warehouse.exists()


def test_a_reader_is_in_the_error_by_number_and_command(settings: Settings) -> None:
    with process(READER, settings.warehouse) as reader, pytest.raises(WarehouseInUseError) as raised:
        open_warehouse(settings)
    assert f"process {reader.pid} (" in str(raised.value)


def test_a_lock_says_who_holds_it_until_it_is_given_back_or_its_process_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".lock"
    with held(path, "landing"):
        holder = holder_of(path)
        assert holder is not None and (holder.pid, holder.work) == (os.getpid(), "landing")
        assert ", landing since 20" in str(holder)
    assert holder_of(path) is None
    with process(TAKER, path) as taker:
        found = holder_of(path)
        assert found is not None and found.pid == taker.pid
        os.kill(taker.pid, signal.SIGKILL)
        taker.wait()
        assert path.stat().st_size, "it was killed, and could not empty it"
        assert holder_of(path) is None
    with held(path, "landing"):
        assert holder_of(path) is not None, "and the lock is free"


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"pid": "x"}', "[]"])
def test_a_lock_whose_holder_did_not_say_so_names_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".lock"
    path.write_text(content)
    assert holder_of(path) is None


def test_who_waits_for_a_lock_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / ".lock"
    got: list[bool] = []

    def work() -> None:
        with held(path, "publishing"):
            got.append(True)

    with process(TAKER, path) as taker:
        waiting = threading.Thread(target=work)
        waiting.start()
        until(lambda: caplog.records)
        (record,) = caplog.records
        assert record.getMessage().startswith(f"publishing waits for process {taker.pid} (") and not got
        end(taker)
        waiting.join(PATIENCE_SECONDS)
    assert got == [True]


def test_a_process_is_known_by_its_command_and_its_start() -> None:
    with process("print(1, flush=True); input()", Path("an argument")) as one:
        now = utc("2026-11-22 05:00")
        began = started_at(one.pid, now)
        assert began is not None and 0 <= (now - began).total_seconds() < 120
        said = f"{Path(sys.executable).name} -c 'print(1, flush=True); input()' 'an argument'"
        assert command_of(one.pid) == said, "without the folder of the program"
    with process("print(1, flush=True); input()", "erase", "--account", "k-100") as about:
        said = f"{Path(sys.executable).name} -c 'print(1, flush=True); input()' erase"
        assert command_of(about.pid) == said, "whom it is about is nobody's business who waits for it"
    assert started_at(one.pid, now) is None and command_of(one.pid) is None and process_mark(one.pid) is None
