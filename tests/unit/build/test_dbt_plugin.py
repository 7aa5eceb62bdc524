"""Before dbt, started by hand, opens the warehouse: what landed is entered, builds at work are waited for."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from dbt_common.exceptions import DbtRuntimeError

from flows.build import dbt_plugin
from flows.build.dbt import RUNS_DBT
from flows.build.dbt_plugin import Plugin
from flows.build.warehouse import open_warehouse, warehouse_lock
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER


@pytest.fixture
def begin(lake: Lake, said: list[str]) -> Callable[[], Plugin]:
    """dbt begins in the lake's home."""
    credentials = SimpleNamespace(path=str(lake.settings.warehouse))
    return lambda: Plugin("dbt_plugin", {}, credentials)  # type: ignore[arg-type]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people read."""
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(dbt_plugin.log, level, lines.append)
    return lines


@pytest.fixture
def hold() -> Iterator[Callable[[Path], None]]:
    """Another process opens a database, and has it open until the test ends."""
    ends = FORKSERVER.Event()
    holders = []

    def start(path: Path) -> None:
        begun = FORKSERVER.Event()
        holders.append(FORKSERVER.Process(target=_hold, args=(path, begun, ends)))
        holders[-1].start()
        assert begun.wait(PATIENCE_SECONDS)

    yield start
    ends.set()
    for holder in holders:
        holder.join(PATIENCE_SECONDS)


def _hold(path: Path, begun: "multiprocessing.synchronize.Event", ends: "multiprocessing.synchronize.Event") -> None:
    with duckdb.connect(str(path)):
        begun.set()
        ends.wait(PATIENCE_SECONDS)


def test_what_landed_is_entered_into_a_warehouse_that_is_made(
    lake: Lake, begin: Callable[[], Plugin], said: list[str]
) -> None:
    lake.deliver("web/events/a.ndjson", ndjson(event()))
    lake.land()
    begin()
    assert len(said) == 1 and said[0].startswith("1 new landings entered")
    with open_warehouse(lake.settings) as warehouse:
        assert warehouse.execute("select count(*) from landed.landings").fetchone() == (1,)


def test_a_home_where_nothing_landed_says_what_to_do(lake: Lake, begin: Callable[[], Plugin], said: list[str]) -> None:
    begin()
    assert len(said) == 1 and str(lake.settings.landed) in said[0] and "`make demo`" in said[0]


def test_tidemark_itself_has_done_all_this(
    lake: Lake, begin: Callable[[], Plugin], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUNS_DBT, "1")
    begin()
    assert not lake.settings.warehouse.parent.exists()


def test_a_build_at_work_is_waited_for_and_the_next_one_waits(
    lake: Lake, begin: Callable[[], Plugin], said: list[str]
) -> None:
    held = warehouse_lock(lake.settings)
    held.acquire()
    began: list[Plugin] = []
    waiting = threading.Thread(target=lambda: began.append(begin()))
    waiting.start()
    waiting.join(0.5)
    assert not began and not lake.settings.warehouse.exists()
    held.release()
    waiting.join(PATIENCE_SECONDS)
    assert began and "waiting until it is done" in said[0]
    with pytest.raises(TimeoutError):
        held.acquire(timeout=0)
    began.clear()  # dbt is done
    held.acquire(timeout=0)


def test_a_warehouse_somebody_has_open_is_dbt_s_own_error(
    lake: Lake, begin: Callable[[], Plugin], hold: Callable[[Path], None]
) -> None:
    lake.settings.warehouse.parent.mkdir(parents=True)
    hold(lake.settings.warehouse)
    with pytest.raises(DbtRuntimeError, match=r"process \d+ .*has the warehouse .*published/current"):
        begin()


def test_a_home_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    credentials = SimpleNamespace(path=str(tmp_path / "what?" / "warehouse" / "tidemark.duckdb"))
    with pytest.raises(DbtRuntimeError, match=r"TIDEMARK_HOME is .*what\?"):
        Plugin("dbt_plugin", {}, credentials)  # type: ignore[arg-type]


def test_a_home_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    credentials = SimpleNamespace(path=str(tmp_path / "home" / "warehouse" / "tidemark.duckdb"))
    with pytest.raises(DbtRuntimeError, match=r"home.*fix the cause"):
        Plugin("dbt_plugin", {}, credentials)  # type: ignore[arg-type]
