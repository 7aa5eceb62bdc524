"""What of the inbox is taken, what waits, and what is told to be in the wrong place."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.inbox import deliveries, is_partial, is_settled, strays, wait_for_settling
from tests.conftest import Lake, event, ndjson

DATA = ndjson([event(1)])


def put(inbox: Path, name: str) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    return path


def stat_of(ctime: float, mtime: float) -> Any:
    """A file's times, in seconds."""

    class Stat:
        st_ctime, st_mtime = ctime, mtime
        st_ctime_ns, st_mtime_ns = int(ctime * 1e9), int(mtime * 1e9)

    return Stat()


@pytest.mark.parametrize(
    "name",
    [
        "web/events/.part.ndjson", "web/events/_part.ndjson", "web/events/part.ndjson.tmp",
        "web/events/part.tmp.ndjson",
        "web/events/_attempt/part.ndjson", "web/events/.day/part.ndjson", "web/events/day.tmp/part.ndjson",
        "_web/events/part.ndjson", "web/_events/part.ndjson", "web/events/a/_b/c/part.ndjson",
    ],
)  # fmt: skip
def test_partial_names_are_never_taken_nor_told(lake: Lake, name: str) -> None:
    put(lake.settings.inbox, name)
    done = lake.land()
    assert (done.receipts, done.strays, done.unsettled) == ([], [], [])


@pytest.mark.parametrize("name", ["part.ndjson", "tmp.ndjson", "a_b.ndjson", "2026-01-15.ndjson", "template.ndjson"])
def test_whole_names_are_taken(lake: Lake, name: str) -> None:
    assert not is_partial(name)
    put(lake.settings.inbox, f"web/events/2026-01-15/deep/er/{name}")
    assert [r.file for r in lake.land().receipts] == [f"web/events/2026-01-15/deep/er/{name}"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("part.ndjson", "not below <source>/<dataset>/"),
        ("web/part.ndjson", "not below <source>/<dataset>/"),
        ("web/evnts/part.ndjson", "no dataset evnts"),
        ("web/events/part.xlsx", "not .ndjson"),
        ("web/events/README", "not .ndjson"),
    ],
)
def test_strays_are_told_with_the_reason_and_left_alone(lake: Lake, name: str, words: str) -> None:
    path = put(lake.settings.inbox, name)
    done = lake.land()
    assert done.receipts == []
    (told,) = done.strays
    assert told.startswith(f"{name}: ")
    assert words in told
    assert path.exists()


def test_files_come_in_order_of_name(tmp_path: Path) -> None:
    names = ["web/events/b/1.ndjson", "web/events/a.ndjson", "app/events/z.ndjson", "web/events/b.ndjson"]
    for name in names:
        put(tmp_path, name)
    assert [d.path for d in deliveries(tmp_path)] == sorted(tmp_path / name for name in names)


@pytest.mark.parametrize(
    ("ctime", "mtime", "settled"),
    [
        (100, 100, False),  # just written
        (96, 96, False),  # four seconds still
        (94, 94, True),  # still for six
        (100, 99, True),  # renamed after the last write
        (100, 200, False),  # a modification time in the future proves nothing
        (94, 200, True),  # but a change time of this machine does
        (100, 0, True),  # copied with its old time, set after the last write
        (200, 200, True),  # the clock was set back since
    ],
)
def test_a_file_settles_by_its_rename_or_its_age(ctime: float, mtime: float, settled: bool) -> None:
    assert is_settled(stat_of(ctime, mtime), now=100, settle_seconds=5) is settled


def test_a_file_being_written_waits_and_lands_later(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settle_seconds=0.4)
    path = put(lake.settings.inbox, "web/events/part.ndjson")
    written = threading.Event()

    def write() -> None:
        while not written.wait(0.05):
            with path.open("ab") as file:
                file.write(DATA)

    writer = threading.Thread(target=write)
    writer.start()
    done = lake.land()
    written.set()
    writer.join()
    assert (done.receipts, done.unsettled) == ([], ["web/events/part.ndjson"])
    (receipt,) = lake.land().receipts
    assert receipt.rows_read == path.read_bytes().count(b"\n") > 1


def test_a_young_file_that_is_whole_is_waited_for(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settle_seconds=0.3)
    put(lake.settings.inbox, "web/events/part.ndjson")
    assert [r.rows_landed for r in lake.land().receipts] == [1]


def test_a_file_renamed_into_place_lands_at_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settle_seconds=3600)
    partial = put(lake.settings.inbox, "web/events/.part")
    time.sleep(0.02)
    partial.rename(partial.with_name("part.ndjson"))
    assert len(lake.land().receipts) == 1


def test_a_modification_time_in_the_future_does_not_keep_a_file_out(lake: Lake) -> None:
    path = put(lake.settings.inbox, "web/events/part.ndjson")
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))
    assert lake.land().receipts[0].rows_landed == 1
    assert lake.land().receipts == []


def test_waiting_gives_up_on_a_file_that_goes_away(tmp_path: Path) -> None:
    assert wait_for_settling(tmp_path / "gone", 1, time.monotonic() + 5) is None


def test_links_to_nowhere_folders_and_pipes_stop_nothing(lake: Lake) -> None:
    good = put(lake.settings.inbox, "web/events/part.ndjson")
    good.with_name("dangling.ndjson").symlink_to("nowhere")
    good.with_name("folder.ndjson").mkdir()
    os.mkfifo(good.with_name("pipe.ndjson"))
    assert [r.file for r in lake.land().receipts] == ["web/events/part.ndjson"]


def test_a_name_that_is_no_text_is_told_and_stops_nothing(lake: Lake) -> None:
    good = put(lake.settings.inbox, "web/events/part.ndjson")
    Path(os.fsdecode(os.fsencode(good.parent) + b"/p\xff.ndjson")).write_bytes(DATA)
    done = lake.land()
    assert [r.file for r in done.receipts] == ["web/events/part.ndjson"]
    (told,) = done.strays
    told.encode()
    assert "UTF-8" in told


def test_a_linked_file_lands_like_any_other(lake: Lake, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.ndjson"
    elsewhere.write_bytes(DATA)
    (lake.settings.inbox / "web/events").mkdir(parents=True)
    (lake.settings.inbox / "web/events/link.ndjson").symlink_to(elsewhere)
    assert [r.rows_landed for r in lake.land().receipts] == [1]


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(deliveries(tmp_path / "none")) == []
    assert strays(tmp_path / "none", {"events"}) == []
