"""What of the inbox is taken, what waits, and what is reported as in the wrong place."""

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.land.inbox import (
    MAY_NOT,
    STUCK_SECONDS,
    LeftAlone,
    deliveries,
    is_partial,
    is_settled,
    new_deliveries,
    wait_for_settling,
)
from flows.land.receipt import Status
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake
from tests.support.processes import NOBODY, as_nobody

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
def test_partial_names_are_never_taken_nor_reported(lake: Lake, name: str) -> None:
    put(lake.settings.inbox, name)
    done = lake.land()
    assert (done.receipts, done.left_alone, done.unsettled) == ([], [], [])


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
def test_what_is_left_alone_is_reported_with_the_reason(lake: Lake, name: str, words: str) -> None:
    path = put(lake.settings.inbox, name)
    done = lake.land()
    assert done.receipts == []
    (reported,) = done.left_alone
    assert reported.startswith(f"{name}: ")
    assert words in reported
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
    lake = Lake(tmp_path, settle_seconds=2)
    path = put(lake.settings.inbox, "web/events/part.ndjson")

    def write(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        sleep(seconds)
        with path.open("ab") as file:
            file.write(DATA)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.land.inbox.time.sleep", write)  # each time that landing looks again, there is more
        done = lake.land()
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


def test_a_name_that_is_no_text_is_reported_and_stops_nothing(lake: Lake) -> None:
    good = put(lake.settings.inbox, "web/events/part.ndjson")
    Path(os.fsdecode(os.fsencode(good.parent) + b"/p\xff.ndjson")).write_bytes(DATA)
    done = lake.land()
    assert [r.file for r in done.receipts] == ["web/events/part.ndjson"]
    (reported,) = done.left_alone
    reported.encode()
    assert "UTF-8" in reported


def test_a_linked_file_lands_like_any_other(lake: Lake, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.ndjson"
    elsewhere.write_bytes(DATA)
    (lake.settings.inbox / "web/events").mkdir(parents=True)
    (lake.settings.inbox / "web/events/link.ndjson").symlink_to(elsewhere)
    assert [r.rows_landed for r in lake.land().receipts] == [1]


def left_alone(inbox: Path) -> list[LeftAlone]:
    left: list[LeftAlone] = []
    assert list(new_deliveries(inbox, {"events"}, lambda name, stat: False, left.append)) == []
    return left


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(deliveries(tmp_path / "none")) == []
    assert left_alone(tmp_path / "none") == []


def landed_by_nobody(lake: Lake) -> tuple[list[str], list[str]]:
    """What landed, and what was left alone."""

    def work() -> tuple[list[str], list[str]]:
        done = lake.land()
        return [r.file for r in done.receipts], done.left_alone

    landed, alone = as_nobody(work)
    return landed, alone


def test_what_may_not_be_read_is_reported_and_the_rest_lands(open_lake: Lake) -> None:
    inbox = open_lake.settings.inbox
    put(inbox, "web/events/a-good.ndjson")
    secret = put(inbox, "web/events/b-secret.ndjson")
    put(inbox, "web/events/locked/part.ndjson")
    put(inbox, "web/events/listed/part.ndjson")
    put(inbox, "sealed/events/part.ndjson")
    last = put(inbox, "web/events/z-good.ndjson")
    last.write_bytes(ndjson([event(2)]))
    for path, mode in ((secret, 0), (inbox / "web/events/locked", 0), (inbox / "sealed", 0o300)):
        path.chmod(mode)
    (inbox / "web/events/listed").chmod(0o444)  # its names can be read, its files not reached
    landed, alone = landed_by_nobody(open_lake)
    assert landed == ["web/events/a-good.ndjson", "web/events/z-good.ndjson"]
    reported = [line.partition(": ") for line in alone]
    assert [name for name, _, _ in reported] == [
        "sealed", "web/events/b-secret.ndjson", "web/events/listed/part.ndjson", "web/events/locked",
    ]  # fmt: skip
    assert {why for _, _, why in reported} == {MAY_NOT}


def test_what_may_be_read_again_lands(open_lake: Lake) -> None:
    secret = put(open_lake.settings.inbox, "web/events/part.ndjson")
    secret.chmod(0)
    assert landed_by_nobody(open_lake)[0] == []
    secret.chmod(0o644)
    assert landed_by_nobody(open_lake) == (["web/events/part.ndjson"], [])


def test_an_inbox_that_may_not_be_read_is_reported(open_lake: Lake) -> None:
    put(open_lake.settings.inbox, "web/events/part.ndjson")
    open_lake.settings.inbox.chmod(0)
    assert landed_by_nobody(open_lake) == ([], [f"{open_lake.settings.inbox}: {MAY_NOT}"])


def test_a_file_that_can_no_longer_be_read_when_it_is_to_land_stops_no_other(
    open_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rights were taken away after it was listed: the first file's landing does it here."""
    inbox = open_lake.settings.inbox
    for number, name in enumerate("abc"):
        put(inbox, f"web/events/{name}.ndjson").write_bytes(ndjson([event(number)]))
    if not os.geteuid():
        os.chown(inbox / "web/events/b.ndjson", NOBODY, NOBODY)
    found = list(new_deliveries(inbox, {"events"}, lambda name, stat: False))
    monkeypatch.setattr("flows.land.land.new_deliveries", lambda *_: iter(found))

    def work() -> tuple[list[str], list[str]]:
        (inbox / "web/events/b.ndjson").chmod(0)
        done = open_lake.land()
        return [r.file for r in done.receipts], done.left_alone

    landed, alone = as_nobody(work)
    assert landed == ["web/events/a.ndjson", "web/events/c.ndjson"]
    assert len(alone) == 1 and alone[0].startswith("web/events/b.ndjson: cannot be read (Permission denied)")


@pytest.fixture
def lake_of_all_times(tmp_path: Path) -> Iterator[Lake]:
    """A lake in memory where there is such a place: disks keep times of some centuries only."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as home:
        yield Lake(Path(home))


@pytest.mark.parametrize("seconds", [9_300_000_000, 16_000_000_000, -9_300_000_000, 2**40])
def test_a_time_that_no_receipt_can_hold_is_reported_and_the_rest_lands(lake_of_all_times: Lake, seconds: int) -> None:
    path = put(lake_of_all_times.settings.inbox, "web/events/a.ndjson")
    put(lake_of_all_times.settings.inbox, "web/events/b.ndjson")
    os.utime(path, ns=(0, seconds * 10**9))
    if int(path.stat().st_mtime) != seconds:
        pytest.skip("this file system keeps no such time")
    done = lake_of_all_times.land()
    assert [r.file for r in done.receipts] == ["web/events/b.ndjson"]
    (reported,) = done.left_alone
    assert reported.startswith("web/events/a.ndjson: its modification time is not between 1678 and 2262")


@pytest.mark.parametrize("seconds", [-1, -(2**31), -9_000_000_000, 9_200_000_000])
def test_an_odd_time_that_a_receipt_can_hold_lands(lake_of_all_times: Lake, seconds: int) -> None:
    path = put(lake_of_all_times.settings.inbox, "web/events/a.ndjson")
    os.utime(path, ns=(0, seconds * 10**9 + 123))
    if int(path.stat().st_mtime_ns) != seconds * 10**9 + 123:
        pytest.skip("this file system keeps no such time")
    (receipt,) = lake_of_all_times.land().receipts
    assert receipt.delivered_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert lake_of_all_times.land().receipts == []


def test_what_is_no_file_is_reported_and_stops_nothing(lake: Lake) -> None:
    inbox = lake.settings.inbox
    good = put(inbox, "web/events/part.ndjson")
    good.with_name("dangling.ndjson").symlink_to("nowhere")
    good.with_name("itself.ndjson").symlink_to("itself.ndjson")
    good.with_name("ping.ndjson").symlink_to("pong.ndjson")
    good.with_name("pong.ndjson").symlink_to("ping.ndjson")
    good.with_name("null.ndjson").symlink_to("/dev/null")
    os.mkfifo(good.with_name("pipe.ndjson"))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(good.with_name("s")))
        done = lake.land()
    assert [r.file for r in done.receipts] == ["web/events/part.ndjson"]
    assert done.left_alone == [
        "web/events/dangling.ndjson: a link to nothing; fix or remove it",
        "web/events/itself.ndjson: a link that leads back to itself; remove it",
        "web/events/null.ndjson: a device, no file; remove it",
        "web/events/ping.ndjson: a link that leads back to itself; remove it",
        "web/events/pipe.ndjson: a pipe, no file; remove it",
        "web/events/pong.ndjson: a link that leads back to itself; remove it",
        "web/events/s: a socket, no file; remove it",
    ]


def test_linked_folders_are_followed_once_and_loops_are_reported(lake: Lake, tmp_path: Path) -> None:
    inbox = lake.settings.inbox
    for number, name in enumerate(("one.ndjson", "two.ndjson")):
        put(tmp_path / "elsewhere", f"deep/{name}").write_bytes(ndjson([event(number)]))
    put(inbox, "web/events/part.ndjson").write_bytes(ndjson([event(9)]))
    (inbox / "web/events/elsewhere").symlink_to(tmp_path / "elsewhere")
    (inbox / "web/events/once-more").symlink_to(tmp_path / "elsewhere")
    (inbox / "web/events/up").symlink_to("..")
    (inbox / "web/events/here").symlink_to(".")
    (tmp_path / "elsewhere/deep/back").symlink_to(inbox / "web")
    (inbox / "other").symlink_to("/does/not/exist")
    done = lake.land()
    assert [r.file for r in done.receipts] == [
        "web/events/elsewhere/deep/one.ndjson", "web/events/elsewhere/deep/two.ndjson", "web/events/part.ndjson",
    ]  # fmt: skip
    assert done.left_alone == [
        "other: a link to nothing; fix or remove it",
        "web/events/elsewhere/deep/back: a link back to a folder that it is in; remove it",
        "web/events/here: a link back to a folder that it is in; remove it",
        "web/events/once-more: a link to the folder that web/events/elsewhere links to; remove one of them",
        "web/events/up: a link back to a folder that it is in; remove it",
    ]


def test_links_among_folders_cannot_multiply_them(lake: Lake) -> None:
    """Thirty folders, each with two links to the next, have a billion paths to the last."""
    inbox = lake.settings.inbox / "web/events"
    for number in range(30):
        folder = inbox / f"f{number:02}"
        folder.mkdir(parents=True)
        for link in ("left", "right"):
            (folder / link).symlink_to(inbox / f"f{number + 1:02}")
    put(inbox, "f30/part.ndjson")
    assert {r.rows_landed for r in lake.land().receipts if r.status is Status.LANDED} == {1}


def test_a_linked_inbox_is_the_inbox(tmp_path: Path) -> None:
    put(tmp_path / "delivered", "web/events/part.ndjson")
    lake = Lake(tmp_path / "home")
    lake.settings.lake.mkdir(parents=True)
    lake.settings.inbox.symlink_to(tmp_path / "delivered")
    assert [r.file for r in lake.land().receipts] == ["web/events/part.ndjson"]


def test_two_links_to_one_file_are_one_file_twice(lake: Lake, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere.ndjson")
    (lake.settings.inbox / "web/events").mkdir(parents=True)
    for name in ("a.ndjson", "b.ndjson"):
        (lake.settings.inbox / "web/events" / name).symlink_to(tmp_path / "elsewhere.ndjson")
    assert [r.status for r in lake.land().receipts] == [Status.LANDED, Status.DUPLICATE]


def test_a_path_that_is_too_long_is_reported_and_stops_nothing(lake: Lake) -> None:
    inbox = lake.settings.inbox
    put(inbox, "web/events/part.ndjson")
    here = os.open(inbox / "web/events", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    done = lake.land()
    assert [r.file for r in done.receipts] == ["web/events/part.ndjson"]
    (reported,) = done.left_alone
    assert reported.endswith("cannot be read (File name too long); see to it, or take it away")


def test_a_folder_named_like_a_file_is_a_folder(lake: Lake) -> None:
    put(lake.settings.inbox, "web/events/day.ndjson/part-0000.ndjson")
    done = lake.land()
    assert [r.file for r in done.receipts] == ["web/events/day.ndjson/part-0000.ndjson"]
    assert done.left_alone == []


def test_what_programs_leave_for_good_is_no_stuck_upload(tmp_path: Path) -> None:
    for name in ("_SUCCESS", ".DS_Store", ".gitkeep", ".part.parquet.crc", ".old.ndjson", "_tmp/b.ndjson"):
        put(tmp_path, f"web/events/{name}")
    (tmp_path / "web/events/.link").symlink_to(tmp_path)
    left: list[LeftAlone] = []
    later = time.time() + STUCK_SECONDS + 1
    assert list(new_deliveries(tmp_path, {"events"}, lambda name, stat: False, left.append, later)) == []
    assert [one.name for one in left] == ["web/events/.old.ndjson", "web/events/_tmp/b.ndjson"]
    assert left_alone(tmp_path) == [], "not before an hour"
