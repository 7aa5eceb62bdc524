"""What does not come in is reported to its owner, and no longer once it does: files, and sources."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from flows.alerts.notify import deliver, open_incidents
from flows.contract.spec import load_specs
from flows.orchestrate import intake
from flows.orchestrate.intake import LEFT_FOR, TAKEN_WITHIN, Intake
from flows.orchestrate.job import OPERATOR
from flows.orchestrate.journal import Journal
from flows.settings import Settings
from tests.support.alerts import Hook
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
OWNER = load_specs()["events"].owner
DATA = ndjson([event(1)])


class Desk:
    """Who is alerted to what of an inbox."""

    def __init__(self, home: Path, hook: Hook) -> None:
        self.settings = Settings(home=home, settle_seconds=3_600)
        self.settings.channels.parent.mkdir(parents=True)
        self.settings.channels.write_text(yaml.safe_dump({"default": [f"slack+http://{hook.at}/hook"]}))
        self.settings.channels.chmod(0o600)
        self.lake = Lake(home)
        self.hook = hook
        self.journal = Journal(self.settings)
        self.intake = Intake(self.settings, self.journal)

    def look(self, after: timedelta = timedelta(), may_call_silent: bool = True) -> list[str]:
        """Look some time from now, and return what is sent of it."""
        reported = len(self.hook.texts)
        self.intake.observe(NOW + after, may_call_silent)
        deliver(self.settings, NOW + after)
        return [text.removeprefix("[tidemark] ") for text in self.hook.texts[reported:]]

    def put(self, name: str, data: bytes = DATA) -> Path:
        """Write in place, so that a file settles by its age."""
        path = self.settings.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (NOW.timestamp() + 86_400,) * 2)  # no rename after the last write
        return path


@pytest.fixture(name="hook")
def hook_fixture() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.stop()


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path, hook: Hook) -> Iterator[Desk]:
    made = Desk(tmp_path / "home", hook)
    yield made
    made.journal.close()


@pytest.mark.parametrize(
    ("name", "owner", "why"),
    [
        ("part.ndjson", OPERATOR, "not below <source>/<dataset>/"),
        ("web/part.ndjson", OPERATOR, "not below <source>/<dataset>/"),
        ("web/evnts/part.ndjson", OPERATOR, "no dataset evnts in the contract"),
        ("web/events/part.xlsx", OWNER, "not .ndjson"),
    ],
)
def test_a_file_that_cannot_be_taken_is_reported_after_a_while_with_the_reason(
    desk: Desk, name: str, owner: str, why: str
) -> None:
    path = desk.put(name)
    assert desk.look() == [], "it may be given its name yet"
    assert desk.look(LEFT_FOR) == [f"file {name} cannot be taken"]
    (reported,) = open_incidents(desk.settings)
    assert reported.problem.owner == owner and why in reported.problem.detail and reported.problem.since == NOW
    assert desk.look(2 * LEFT_FOR) == [], "once"
    path.unlink()
    assert desk.look(3 * LEFT_FOR) == [f"recovered after 30 min: file {name} cannot be taken"]


def test_many_in_one_folder_are_one_message_and_folders_are_apart(desk: Desk) -> None:
    for number in range(5):
        desk.put(f"web/evnts/day={number}/part.ndjson")
    desk.put("app/evnts/part.ndjson")
    desk.look()
    assert sorted(desk.look(LEFT_FOR)) == [
        "5 files below web/evnts cannot be taken",
        "file app/evnts/part.ndjson cannot be taken",
    ]
    (many,) = (i.problem for i in open_incidents(desk.settings) if i.problem.key == "left:web/evnts")
    assert "web/evnts/day=2/part.ndjson: no dataset" in many.detail and many.detail.endswith(" and 2 more")


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("web/events/stays.ndjson.tmp", OWNER),
        ("web/events/.part.ndjson", OWNER),
        ("web/events/.day/part.ndjson", OWNER),
        ("cms/contents/late.csv.tmp", load_specs()["contents"].owner),
        ("web/.part.ndjson", OPERATOR),
        ("_stage/part.ndjson", OPERATOR),
    ],
)
def test_an_upload_stuck_under_a_temporary_name_is_reported_after_an_hour(desk: Desk, name: str, owner: str) -> None:
    changed = datetime.fromtimestamp((path := desk.put(name)).stat().st_ctime, UTC)
    soon = changed - NOW + HOUR
    assert desk.look() == [] and desk.look(soon - timedelta(minutes=1)) == [], "it may be written yet"
    assert desk.look(soon + timedelta(seconds=1)) == [f"file {name} with a temporary name: a stuck upload"]
    (reported,) = open_incidents(desk.settings)
    assert reported.problem.owner == owner and "not changed for over an hour" in reported.problem.detail
    assert reported.problem.since == changed
    path.unlink()
    (again,) = desk.look(soon + HOUR)
    assert again.startswith("recovered after 2 h")


def test_stuck_uploads_of_one_folder_are_one_message(desk: Desk) -> None:
    for name in ("a.ndjson.tmp", ".b.ndjson", ".day/c.ndjson"):
        desk.put(f"web/events/{name}")
    assert desk.look(2 * HOUR) == ["3 files below web/events with a temporary name: a stuck upload"]


def test_a_file_that_never_settles_is_reported_to_the_owner_of_its_dataset_until_it_lands(desk: Desk) -> None:
    path = desk.put("web/events/endless.ndjson")
    assert desk.look() == [] and desk.look(TAKEN_WITHIN - timedelta(minutes=1)) == []
    assert desk.look(TAKEN_WITHIN) == ["file web/events/endless.ndjson never settled"]
    (reported,) = open_incidents(desk.settings)
    assert reported.problem.owner == OWNER and "rename it when it is whole" in reported.problem.detail
    desk.lake.land()
    assert path.exists()
    (again,) = desk.look(TAKEN_WITHIN + HOUR)
    assert again.startswith("recovered")


def test_a_file_that_settled_and_is_not_taken_is_reported_to_the_operator(desk: Desk) -> None:
    for name in ("a", "b"):
        os.utime(desk.lake.deliver(f"web/events/{name}.ndjson", DATA), (0, 0))
    took = datetime.now(UTC) - NOW  # a busy machine delivers late
    assert desk.look() == [] and desk.look(TAKEN_WITHIN - timedelta(minutes=1)) == []
    assert desk.look(took + TAKEN_WITHIN) == ["2 files of events not taken for over an hour"]
    (reported,) = open_incidents(desk.settings)
    assert reported.problem.owner == OPERATOR and reported.problem.reproduce == "tidemark land"
    desk.lake.land()
    (again,) = desk.look(took + TAKEN_WITHIN + HOUR)
    assert again.startswith("recovered")


def deliver_hourly(desk: Desk, source: str, until: timedelta, weeks: int = 3) -> None:
    """Deliveries of each hour of some weeks before ``until`` from now, as receipts say of when they were written."""
    last = NOW + until
    for number in range(weeks * 7 * 24):
        moment = last - number * HOUR
        desk.intake._rhythms.add([(source, "events", moment)])


def test_a_source_gone_silent_is_reported_to_the_owner_of_the_dataset_until_it_comes_again(desk: Desk) -> None:
    deliver_hourly(desk, "web", -10 * HOUR)
    deliver_hourly(desk, "app", timedelta())
    assert desk.look(may_call_silent=False) == [], "who has just begun has heard nobody"
    assert desk.look() == ["source web/events is silent"]
    (reported,) = open_incidents(desk.settings)
    assert reported.problem.owner == OWNER and "RETIRED_SOURCES" in reported.problem.detail
    assert desk.look(may_call_silent=False) == [], "what was reported goes on after a restart"
    desk.lake.land_one("web/events/a.ndjson", DATA)
    (again,) = desk.look()
    assert again.startswith("recovered after 10 h") and again.endswith("source web/events is silent")


def test_a_source_whose_files_wait_in_the_inbox_is_not_silent(desk: Desk) -> None:
    deliver_hourly(desk, "web", -10 * HOUR)
    desk.lake.deliver("web/events/a.ndjson", DATA)
    assert desk.look() == []


def test_a_source_that_has_ended_for_good_is_reported_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver_hourly(desk, "web", -10 * HOUR)
    monkeypatch.setattr(intake, "RETIRED_SOURCES", frozenset({"web/events"}))
    assert desk.look() == []


def test_a_rhythm_is_learned_from_receipts_by_when_files_were_written_and_once(desk: Desk) -> None:
    for number in range(3 * 7 * 4):
        path = desk.lake.deliver(f"web/events/{number}.ndjson", ndjson([event(number)]))
        written = (NOW - 10 * HOUR - number * 6 * HOUR).timestamp()
        os.utime(path, (written, written))
        path.rename(path.with_suffix(".json"))  # settled at once, whatever time it carries
    desk.lake.land()
    assert desk.look(10 * HOUR) == ["source web/events is silent"]
    assert len(desk.intake._rhythms._hours["web", "events"]) == 3 * 7 * 4
    desk.look(11 * HOUR)
    assert desk.intake._read == 3 * 7 * 4


def test_another_lake_in_its_place_is_heard_from_its_beginning(desk: Desk) -> None:
    desk.lake.land_one("web/events/a.ndjson", DATA)
    desk.look()
    shutil.rmtree(desk.settings.lake)
    desk.settings.inbox.mkdir(parents=True)
    desk.look()
    assert desk.intake._rhythms._hours == {}
