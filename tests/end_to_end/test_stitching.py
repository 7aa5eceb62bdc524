"""Whom anonymous sessions are stitched to, run by run: written back over earlier days, and taken back, row by row."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from flows.build.backfill import Request, backfill
from flows.build.build import build
from flows.build.warehouse import open_warehouse
from flows.land.pseudonyms import Kind
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.requests import Queue, State
from flows.run import run
from flows.settings import Settings
from tests.support.deliveries import ndjson
from tests.support.lake import Lake
from tests.support.takeouts import Row, consent, key_of, seen

MARCH = [date(2026, 3, day) for day in range(1, 32)]
NO_TESTS = ("--exclude-resource-type", "test")


class Feed:
    """Delivers events of days of March 2026, and looks at what became of their sessions."""

    def __init__(self, home: Path) -> None:
        self.lake = Lake(home)
        self.settings: Settings = self.lake.settings
        self._number = 0

    def deliver(self, *visits: tuple[int, str, str | None]) -> None:
        rows = [self._visit(*visit) for visit in visits]
        self.lake.deliver(f"web/events/{self._number}.ndjson", ndjson(rows))

    def _visit(self, day: int, device: str, user: str | None) -> Row:
        self._number += 1
        moments = dict.fromkeys(("occurred_at", "sent_at", "received_at"), f"2026-03-{day:02}T12:00:00Z")
        return seen(self._number, device, user, **moments)

    def run(self) -> set[date]:
        """The days of sessions that a run changed. What is published is what a build from nothing makes."""
        before = self._files()
        assert run(self.settings).is_good
        return {day for day, file in self._files().items() if before.get(day) != file}

    def _files(self) -> dict[date, int]:
        """Which file each day of sessions is published in: one that did not change is the same one."""
        folder = self.settings.published / "current" / "parquet" / "fct_sessions"
        return {date.fromisoformat(path.stem[-10:]): path.stat().st_ino for path in folder.glob("*.parquet")}

    def stitched(self, device: str) -> list[str | None]:
        """Whom the sessions of a device are stitched to, in order."""
        names = {key_of("user", name): name for name in ("u-anna", "u-bo")}
        with duckdb.connect(str(self.settings.published / "current" / "marts.duckdb"), read_only=True) as marts:
            rows = marts.execute(
                "select stitched_user_key from fct_sessions where device_key = ? order by started_at",
                [key_of("device", device)],
            ).fetchall()
        return [key and names[key] for (key,) in rows]

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        with open_warehouse(self.settings, read_only=True) as warehouse:
            return {
                name: warehouse.execute(f"from {name} order by all").fetchall()
                for name in ("marts.fct_sessions", "intermediate.int_audience__devices_stitched")
            }

    def assert_is_one_full_build(self) -> None:
        rows = self.rows()
        assert not build(self.settings, ("--full-refresh", *NO_TESTS)).failed
        assert self.rows() == rows


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    """A tablet that Anna and Bo will use, and a telephone of nobody, built once."""
    made = Feed(tmp_path_factory.mktemp("stitching"))
    made.deliver((1, "d-tablet", None), (1, "d-phone", None), (6, "d-phone", None), (11, "d-tablet", None))
    made.run()
    return made


def test_users_are_written_back_and_taken_back(feed: Feed) -> None:
    """One after the other in one lake, as a run takes seconds."""
    assert feed.stitched("d-tablet") == [None, None]
    # Anna logs in: the tablet's days are written again, and no others.
    feed.deliver((21, "d-tablet", "u-anna"))
    assert feed.run() == {MARCH[0], MARCH[10], MARCH[20]}
    assert feed.stitched("d-tablet") == ["u-anna"] * 3
    # Bo was there before, and what tells of it comes late: nothing of hers changes.
    feed.deliver((16, "d-tablet", "u-bo"))
    assert feed.run() == {MARCH[15]}
    assert feed.stitched("d-tablet") == ["u-anna", "u-anna", "u-bo", "u-anna"]
    # Bo logs in after her, and withdraws.
    feed.deliver((28, "d-tablet", "u-bo"), (28, "d-phone", None))
    assert feed.run() == {MARCH[0], MARCH[10], MARCH[27]}
    assert feed.stitched("d-tablet") == ["u-bo", "u-bo", "u-bo", "u-anna", "u-bo"]
    refusal = consent(1, user_id="u-bo", purpose="personalisation", valid_from="2026-03-30T00:00:00Z")
    feed.lake.deliver("cmp/consents/a.ndjson", ndjson([refusal]))
    assert feed.run() == {MARCH[0], MARCH[10], MARCH[15], MARCH[27]}
    assert feed.stitched("d-tablet") == ["u-anna", "u-anna", "u-bo", "u-anna", "u-bo"]
    assert feed.stitched("d-phone") == [None] * 3
    feed.assert_is_one_full_build()


@pytest.mark.long
def test_days_are_rebuilt_and_nothing_changes(feed: Feed) -> None:
    assert run(feed.settings).is_good
    rows = feed.rows()
    assert not backfill(feed.settings, Request(MARCH[20], MARCH[27], "", 4)).failed
    assert feed.rows() == rows


def test_whoever_is_erased_is_no_guess_any_more(feed: Feed) -> None:
    """Anna's rows go; the tablet is Bo's too, so what names nobody stays on it, and is of nobody who agreed."""
    Queue(feed.settings).receive([(Given(Kind.USER, "u-anna"),)], with_shared=False)
    (done,) = erase(feed.settings)
    assert done.state is State.PROVEN, done
    assert feed.stitched("d-tablet") == [None, None, "u-bo", "u-bo"]
    feed.assert_is_one_full_build()
