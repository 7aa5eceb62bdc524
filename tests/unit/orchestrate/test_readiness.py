"""A day is present when its rows came and it is over, as far as names and times of files say."""

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from flows.orchestrate.readiness import Presence, days_named

ZONE = "Europe/Stockholm"
DAY = date(2026, 11, 21)


def at(text: str) -> datetime:
    """A local moment, as in 21 23:59."""
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=ZoneInfo(ZONE))


def days_present(files: Iterable[tuple[str, datetime]], timezone: str) -> frozenset[date]:
    presence = Presence(timezone)
    presence.add(files)
    return presence.days()


@pytest.mark.parametrize(
    "file",
    [
        "web/events/2026-11-21/part-1.ndjson.gz",
        "web/events/dt=2026-11-21/part-1.parquet",
        "web/events/20261121/part.pb",
        "web/events/2026/11/21/part.pb",
        "cms/contents/2026-11-21.csv",
        "cms/contents/contents-2026-11-21.csv.gz",
        "cms/contents/contents_20261121.csv",
        "cms/contents/contents_20261121T0500.csv",
        "cms/contents/2026-11-21_2.csv",
        "web/events/news/2026-11-21T05:00:00Z.ndjson",
    ],
)
def test_a_day_is_read_from_a_path(file: str) -> None:
    assert days_named(file) == {DAY}


@pytest.mark.parametrize(
    "file",
    [
        "web/events/part-1.ndjson",
        "web/events/2026-11/part.pb",
        "web/events/2026-13-21/part.pb",
        "web/events/2026-02-30.pb",
        "web/events/20261121050000.pb",
        "web/events/120261121.pb",
        "web/events/a20261121f.pb",
        "web/events/2026/11/part.pb",
        "web/events/0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c00.pb",
        "web/events/2026/11/21.pb",
    ],
)
def test_what_names_no_day_is_not_read_as_one(file: str) -> None:
    assert days_named(file) == frozenset()


def test_a_path_may_name_several_days() -> None:
    assert days_named("a/events/2026-11-21/to-2026-11-22.pb") == {DAY, date(2026, 11, 22)}


def test_a_named_day_is_present_once_something_was_written_after_it() -> None:
    half = [("w/events/2026-11-21/1.pb", at("21 00:10")), ("w/events/2026-11-21/2.pb", at("21 23:59:59"))]
    assert days_present(half, ZONE) == frozenset()
    assert days_present([*half, ("w/events/2026-11-21/3.pb", at("22 00:00"))], ZONE) == {DAY}
    assert days_present([*half, ("w/events/2026-11-22/1.pb", at("22 00:05"))], ZONE) == {DAY}


def test_a_file_after_the_day_says_nothing_of_a_day_that_nothing_named() -> None:
    assert days_present([("w/events/2026-11-20.pb", at("23 05:00"))], ZONE) == {date(2026, 11, 20)}


def test_a_file_that_names_no_day_stands_for_the_day_before_it_was_written() -> None:
    assert days_present([("w/events/dump.csv", at("22 00:00"))], ZONE) == {DAY}
    assert days_present([("w/events/dump.csv", at("21 23:59:59"))], ZONE) == {date(2026, 11, 20)}


def test_days_are_those_of_the_time_zone() -> None:
    written = datetime.fromisoformat("2026-11-21T23:30:00+00:00")
    assert days_present([("w/events/dump.csv", written)], ZONE) == {DAY}
    assert days_present([("w/events/dump.csv", written)], "UTC") == {date(2026, 11, 20)}


def test_nothing_delivered_is_nothing_present() -> None:
    assert days_present([], ZONE) == frozenset()


def test_files_may_be_added_as_they_come() -> None:
    presence = Presence(ZONE)
    presence.add([("w/events/2026-11-21/1.pb", at("21 00:10"))])
    assert presence.days() == frozenset()
    presence.add([("w/events/2026-11-22/1.pb", at("22 00:05"))])
    assert presence.days() == {DAY}
