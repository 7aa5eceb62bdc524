"""Every delivered file lands exactly once, whatever is delivered twice, damaged, killed or full."""

import itertools
import random
import resource
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flows.errors import TidemarkError
from flows.land import gather, land_file
from flows.land.land import Landing, land
from flows.land.receipt import Receipt, Status
from flows.settings import Settings
from tests.support.deliveries import event, in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER

NAME = "web/events/part.ndjson"
A, B = ndjson([event(1), event(2)]), ndjson([event(3)])
TABLE = "cms/contents/2026-01-15.csv"


def contents(*titles: str) -> bytes:
    rows = [f"c-{i},article,news,{title},2026-01-15T00:00:00Z" for i, title in enumerate(titles)]
    return "\n".join(["content_id,content_type,product,title,updated_at", *rows]).encode()


def standing(lake: Lake) -> list[str]:
    """The titles of the contents that still count: in landed batches that no later receipt supersedes."""
    gone = {r.supersedes_batch_id for r in lake.receipts()}
    return sorted(row["title"] for row in lake.rows("contents") if row["_batch_id"] not in gone)


# --- delivered again -------------------------------------------------------------------------------------------------


def test_the_same_bytes_under_another_name_are_a_duplicate(lake: Lake) -> None:
    lake.land_one(NAME, A)
    again = lake.land_one("app/events/other.ndjson", A)
    assert (again.status, again.rows_read, again.files) == (Status.DUPLICATE, 0, ())
    assert NAME in (again.reason or "")
    assert len(lake.rows()) == 2
    lake.assert_whole()


def test_the_same_bytes_in_another_dataset_are_none(lake: Lake) -> None:
    lake.land_one(TABLE, contents("x"))
    assert lake.land_one("market/adverts/a.csv", contents("x")).status is not Status.DUPLICATE


def test_events_of_one_name_with_other_bytes_are_both_kept(lake: Lake) -> None:
    lake.land_one(NAME, A)
    again = lake.land_one(NAME, B)
    assert (again.status, again.supersedes_batch_id) == (Status.LANDED, None)
    assert len(lake.rows()) == 3
    assert lake.land_one(NAME, A).status is Status.DUPLICATE
    assert len(lake.rows()) == 3


def test_a_table_delivered_again_takes_the_place_of_the_earlier_one(lake: Lake) -> None:
    lake.land_one(TABLE, contents("a", "b"))
    assert lake.land_one(TABLE, contents("c")).supersedes_batch_id == 1
    assert standing(lake) == ["c"]


def test_a_table_corrected_and_corrected_back_stands_as_it_was_first(lake: Lake) -> None:
    for titles in (["a"], ["b"], ["a"]):
        lake.land_one(TABLE, contents(*titles))
        assert standing(lake) == titles
    lake.assert_whole()


def test_a_damaged_redelivery_takes_no_place_and_the_first_bytes_come_back(lake: Lake) -> None:
    lake.land_one(TABLE, contents("a"))
    assert lake.land_one(TABLE, b"").status is Status.REFUSED
    assert standing(lake) == ["a"]
    lake.land_one(TABLE, contents("a"))
    assert standing(lake) == ["a"]
    lake.land_one(TABLE, contents("b"))
    assert standing(lake) == ["b"]


X, Y, Z = "cms/contents/x.csv", "cms/contents/y.csv", "web/contents/z.csv"


@pytest.mark.parametrize(
    "deliveries",
    [
        [(X, "a"), (Y, "a"), (X, "b")],
        [(X, "a"), (X, "b"), (Y, "a")],
        [(Y, "a"), (X, "a"), (X, "b")],
        [(X, "a"), (Y, "b"), (Y, "a"), (X, "b")],
        [(X, "b"), (Y, "a"), (X, "a"), (X, "b")],
        [(X, "a"), (Y, "a"), (X, ""), (X, "b")],
        [(X, "a"), (Y, "a"), (X, "b"), (X, "a"), (X, "b")],
        [(X, "a"), (Y, "a"), (X, "b"), (Y, "c"), (Y, "a")],
        [(X, "b"), (Y, "c"), (X, "c"), (X, "b"), (Y, "a")],
        [(X, "a"), (Y, "a"), (Y, "b"), (X, "b"), (Y, "a")],
        [(X, "a"), (Y, "b"), (Y, "a"), (Z, "a"), (X, "c"), (Y, "d"), (Z, "e")],
        [(X, "a"), (Y, "a"), (Z, "a"), (Y, "b"), (X, ""), (X, "c"), (Z, "d")],
    ],
)
def test_tables_stand_for_the_last_good_bytes_of_every_name(lake: Lake, deliveries: list[tuple[str, str]]) -> None:
    last: dict[str, str] = {}
    for name, title in deliveries:
        lake.land_one(name, contents(title) if title else b"")
        last |= {name: title} if title else {}
        assert sorted(set(standing(lake))) == sorted(set(last.values())), (name, title)
    lake.assert_whole()


def test_a_refused_file_lands_when_a_good_one_comes(lake: Lake) -> None:
    bad = lake.land_one(NAME, b"")
    assert bad.status is Status.REFUSED
    assert lake.land().receipts == []
    good = lake.land_one(NAME, A)
    assert (good.status, good.rows_landed, good.batch_id) == (Status.LANDED, 2, 2)


@pytest.mark.parametrize("forget", [[], ["index.sqlite"], ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]])
@pytest.mark.parametrize("touch", [False, True])
def test_landing_again_does_nothing(lake: Lake, forget: list[str], touch: bool) -> None:
    for name, data in {NAME: A, "web/events/b.pb": in_format([event(4)], "pb"), TABLE: contents("a")}.items():
        lake.deliver(name, data)
    lake.deliver("web/events/copy.ndjson", A)
    lake.deliver("web/events/empty.ndjson", b"")
    assert len(lake.land().receipts) == 5
    before = lake.receipts()
    for name in forget:
        (lake.settings.landed / name).unlink(missing_ok=True)
    for path in lake.settings.inbox.rglob("*.*") if touch else []:
        path.touch()
    assert lake.land().receipts == []
    assert lake.receipts() == before
    lake.assert_whole()


def test_an_unchanged_file_is_not_even_read_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land_one(NAME, A)

    def read(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr(land_file, "_checksum", read)
    assert lake.land().receipts == []


def test_one_run_lands_many_files_in_order_and_counts_them(lake: Lake) -> None:
    for i in range(5):
        lake.deliver(f"web/events/{i}.ndjson", ndjson([event(i), i]))
    lake.deliver("web/events/9.ndjson", ndjson([event(0), 0]))
    done = lake.land()
    assert [r.batch_id for r in done.receipts] == [1, 2, 3, 4, 5, 6]
    assert [r.file for r in done.receipts] == sorted(r.file for r in done.receipts)
    assert (done.count(Status.LANDED), done.count(Status.DUPLICATE)) == (5, 1)
    assert (done.rows("rows_landed"), done.rows("rows_rejected")) == (5, 5)
    assert [r.batch_id for r in lake.receipts()] == [1, 2, 3, 4, 5, 6]


def test_progress_is_reported_file_by_file(lake: Lake) -> None:
    lake.deliver(NAME, A)
    reported: list[Receipt] = []
    land(lake.settings, progress=reported.append)
    assert [(r.file, r.rows_landed) for r in reported] == [(NAME, 2)]


# --- files that move under our hands ---------------------------------------------------------------------------------


def before(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, act: Callable[[], object]) -> None:
    """Do something just before landing first calls one of its steps."""
    original, done = getattr(module, name), []

    def step(*arguments: Any, **more: Any) -> Any:
        if not done:
            done.append(act())
        return original(*arguments, **more)

    monkeypatch.setattr(module, name, step)


STEPS = [(land_file, "_checksum"), (gather, "parts_as_delivered"), (gather, "joined"), (land_file, "land_rows")]


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_a_file_taken_away_while_it_lands_stops_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    first = lake.deliver("web/events/a.ndjson", ndjson([event(7, colour="red"), 6]))
    lake.deliver("web/events/b.ndjson", B)
    before(monkeypatch, module, step, first.unlink)
    assert [r.file for r in lake.land().receipts] == ["web/events/b.ndjson"]
    lake.assert_whole()


@pytest.mark.parametrize("replacement", [B + b"5\n", A + b"5\n"])
def test_a_file_replaced_while_it_lands_never_lands_under_another_checksum(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, replacement: bytes
) -> None:
    lake.deliver(NAME, A + b"6\n")
    with monkeypatch.context() as patch:
        before(patch, land_file, "parts_of", lambda: lake.deliver(NAME, replacement))
        done = lake.land()
    assert (done.receipts, done.unsettled) == ([], [NAME])
    lake.assert_whole()
    (receipt,) = lake.land().receipts
    assert receipt.rows_read == replacement.count(b"\n")
    lake.assert_whole()


@pytest.mark.parametrize(("module", "step"), STEPS[1:])
def test_a_small_file_replaced_while_others_land_with_it_is_left_as_unsettled(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    names = [f"web/events/{name}.ndjson" for name in "abc"]
    for number, name in enumerate(names):
        lake.deliver(name, ndjson([event(number), number]))
    replaced = names[0] if module is land_file else names[1]
    with monkeypatch.context() as patch:
        before(patch, module, step, lambda: lake.deliver(replaced, ndjson([event(8), event(9, colour="red")])))
        done = lake.land()
    others = [name for name in names if name != replaced]
    assert ([r.file for r in done.receipts], done.unsettled) == (others, [replaced])
    lake.assert_whole()
    (receipt,) = lake.land().receipts
    assert (receipt.batch_id, receipt.file, receipt.rows_landed, receipt.unknown_keys) == (3, replaced, 2, 1)
    lake.assert_whole()


# --- killed ----------------------------------------------------------------------------------------------------------


def _land(home: Path, ready: Any) -> None:
    ready.set()
    land(Settings(home=home, settle_seconds=0, pseudonym_key=KEY))  # type: ignore[arg-type]


def start_landing(lake: Lake) -> BaseProcess:
    ready = FORKSERVER.Event()
    process = FORKSERVER.Process(target=_land, args=(lake.settings.home, ready))
    process.start()
    assert ready.wait(PATIENCE_SECONDS)
    return process


def deliver_many(lake: Lake, files: int) -> None:
    numbers = itertools.count()
    for i in range(files):
        rows: list[Any] = [
            event(next(numbers), colour="red"),
            event(next(numbers)),
            i,
            event(next(numbers), platform="x"),
        ]
        lake.deliver(f"web/events/{i:03}.ndjson", ndjson(rows * 20))


def assert_all_landed_once(lake: Lake, files: int) -> None:
    assert Counter(r.file for r in lake.receipts()) == {f"web/events/{i:03}.ndjson": 1 for i in range(files)}
    assert {(r.status, r.rows_landed, r.rows_rejected) for r in lake.receipts()} == {(Status.LANDED, 40, 40)}
    lake.assert_whole()


def test_a_landing_killed_at_any_moment_heals(tmp_path: Path) -> None:
    lake, files, chance = Lake(tmp_path), 40, random.Random(4)
    deliver_many(lake, files)
    killed = 0
    for _ in range(15):
        process = start_landing(lake)
        process.join(chance.uniform(0.03, 0.35))
        killed += process.is_alive()
        process.kill()
        process.join()
        numbers = [r.batch_id for r in lake.receipts()]
        assert numbers == list(range(1, len(numbers) + 1))
    assert killed >= 5
    lake.land()
    assert_all_landed_once(lake, files)
    assert lake.land().receipts == []


def test_two_landings_at_once_land_no_file_twice(tmp_path: Path) -> None:
    lake, files = Lake(tmp_path), 20
    deliver_many(lake, files)
    processes = [start_landing(lake) for _ in range(3)]
    for process in processes:
        process.join(PATIENCE_SECONDS)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert_all_landed_once(lake, files)


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


@pytest.mark.parametrize("step", ["sync_folder", "sync_file"])
@pytest.mark.parametrize("occasion", range(1, 12))
def test_a_landing_stopped_before_any_sync_heals(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, occasion: int
) -> None:
    deliver_many(lake, 2)
    calls = itertools.count(1)
    for name in ("batch", "commit", "layout"):
        module = import_module(f"flows.land.{name}")
        if not hasattr(module, step):
            continue
        original = getattr(module, step)

        def stop(path: Path, original: Callable[[Path], None] = original) -> None:
            if next(calls) == occasion:
                raise Killed
            original(path)

        monkeypatch.setattr(module, step, stop)
    with suppress(Killed):
        lake.land()
    monkeypatch.undo()
    lake.land()
    assert_all_landed_once(lake, 2)


# --- full disk -------------------------------------------------------------------------------------------------------


def _land_limited(home: Path, limit: int, reported: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        land(Settings(home=home, settle_seconds=0, pseudonym_key=KEY))  # type: ignore[arg-type]
    except TidemarkError as error:
        reported.put(str(error))
    else:
        reported.put(None)


@pytest.mark.parametrize("limit", [0, 1_000, 60_000, 200_000])
def test_a_full_disk_is_reported_and_leaves_nothing_half_landed(lake: Lake, limit: int) -> None:
    noise = random.Random(1)
    rows: list[Any] = [
        event(i, body={"content_id": noise.randbytes(40).hex(), "content_type": "a"}) for i in range(20_000)
    ]
    lake.land_one("web/events/a.ndjson", A)
    lake.deliver("web/events/b.ndjson", ndjson(rows))
    reported = FORKSERVER.Queue()
    process = FORKSERVER.Process(target=_land_limited, args=(lake.settings.home, limit, reported))
    process.start()
    message = reported.get(timeout=PATIENCE_SECONDS)
    process.join()
    assert message is not None
    assert "tidemark land" in message
    assert [r.rows_landed for r in lake.receipts()] == [2]
    assert [r.rows_landed for r in lake.land().receipts] == [20_000]
    lake.assert_whole()


def test_a_disk_too_full_for_quarantine_is_reported_too(lake: Lake) -> None:
    noise = random.Random(1)
    lake.deliver("web/events/b.ndjson", ndjson([noise.randbytes(40).hex() for _ in range(20_000)]))
    reported = FORKSERVER.Queue()
    process = FORKSERVER.Process(target=_land_limited, args=(lake.settings.home, 100_000, reported))
    process.start()
    message = reported.get(timeout=PATIENCE_SECONDS)
    process.join()
    assert message is not None
    assert lake.receipts() == []
    assert [r.rows_rejected for r in lake.land().receipts] == [20_000]
    lake.assert_whole()


# --- large -----------------------------------------------------------------------------------------------------------


def test_memory_stays_bounded_while_a_large_file_lands(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    line = ndjson([event(1)])
    lake.deliver("web/events/a.ndjson", line * 300_000)
    reported = FORKSERVER.Queue()
    process = FORKSERVER.Process(target=_peak, args=(lake.settings.home, reported))
    process.start()
    rows, peak = reported.get(timeout=PATIENCE_SECONDS)
    process.join()
    assert rows == 300_000
    assert peak < 2 << 30


def _peak(home: Path, reported: Any) -> None:
    done: Landing = land(Settings(home=home, settle_seconds=0, pseudonym_key=KEY))  # type: ignore[arg-type]
    reported.put((done.rows("rows_landed"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def test_an_empty_lake_lands_nothing_and_is_made(lake: Lake) -> None:
    done = lake.land()
    assert (done.receipts, done.left_alone, done.unsettled) == ([], [], [])
    assert lake.settings.inbox.is_dir()
    assert not lake.settings.key_file("pseudonym").exists()
