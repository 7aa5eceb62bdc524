"""What is older than its retention is gone from inbox, landed zone, text and quarantine, and nothing else is."""

import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.audit.audit import audit
from flows.cli import main
from flows.clock import local_day
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land import quarantine, text
from flows.land.day_keys import DayKeys, DestroyedKeyError
from flows.land.quarantine import opened
from flows.land.retry import retry_quarantine
from flows.privacy.retention import Ended, expire, last_day_to_end
from tests.support.contracts import changed_spec
from tests.support.deliveries import event, ndjson
from tests.support.lake import KEY, Lake

CALLS = load_specs()["calls"]
# The organisation's day, which begins before that of UTC ends.
TODAY = local_day(datetime.now(UTC))
# What is in quarantine has no day of its own, and ends by the day of UTC on which it landed.
UTC_TODAY = datetime.now(UTC).date()
DAYS = CALLS.retention_days


def call(number: int, day: date, **more: Any) -> dict[str, Any]:
    return {
        "call_id": f"call-{number}", "advert_id": "advert-1", "started_at": f"{day}T12:00:00Z",
        "duration_seconds": 60, "channel": "phone", "transcript": "Is the red estate still for sale?",
    } | more  # fmt: skip


@pytest.fixture
def aged(lake: Lake) -> Lake:
    """Calls of the day on which text ends, of the one before and the one after, and a row that did not fit."""
    ends = TODAY - timedelta(days=DAYS)
    rows = [call(i, ends + timedelta(days=i - 2)) for i in (1, 2, 3)]
    lake.land_one("telephony/calls/a.ndjson", ndjson([*rows, call(9, TODAY, duration_seconds=-1)]))
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    return lake


def days_of_text(lake: Lake) -> list[date]:
    return sorted(date.fromisoformat(path.name.removeprefix("event_date=")) for path in lake.settings.text.glob("*/*"))


def test_a_day_is_kept_for_as_many_days_as_the_contract_says_and_no_longer() -> None:
    assert last_day_to_end(1, date(2026, 3, 3)) == date(2026, 3, 1)
    assert last_day_to_end(400, date(2026, 3, 3)) == date(2025, 1, 26)
    assert last_day_to_end(0, date(2026, 3, 3)) is None


def test_rows_and_text_end_with_their_day_and_its_key(aged: Lake) -> None:
    before = days_of_text(aged)
    rows = aged.rows("calls")
    assert expire(aged.settings) == [Ended("text", "calls", before[0], 1), Ended("landed", "calls", before[0], 1)]
    assert days_of_text(aged) == before[1:]
    assert sorted(DayKeys(aged.settings).days(text.STORE, "calls")) == before[1:]
    assert len(aged.texts()) == 2
    assert aged.rows("calls") == [row for row in rows if row["event_date"] != before[0]]
    assert audit(aged.settings).findings == []
    assert expire(aged.settings) == []


def test_what_rejected_rows_say_ends_and_why_they_did_not_fit_stays(aged: Lake) -> None:
    (path,) = aged.settings.quarantine.glob("calls/*.parquet")
    ended = expire(aged.settings, today=UTC_TODAY + timedelta(days=DAYS))
    assert {one.store for one in ended} == {"text", "landed"}
    opened(path, DayKeys(aged.settings)).read()
    ended = expire(aged.settings, today=UTC_TODAY + timedelta(days=DAYS + 2))
    assert "quarantine" in {each.store for each in ended}
    with pytest.raises(DestroyedKeyError):
        opened(path, DayKeys(aged.settings)).read()
    assert aged.receipts()[0].rows_rejected == 1
    done = retry_quarantine(aged.settings)
    assert done.receipts == []
    assert done.not_tried == [
        "telephony/calls/a.ndjson, 1 rows: what they said is gone: its time was over; have the rows delivered again"
    ]
    output = CliRunner(env=environment(aged)).invoke(main, ["quarantine"])
    assert output.exit_code == 0
    assert "red estate" not in output.output
    assert audit(aged.settings).findings == []


def environment(lake: Lake) -> dict[str, str]:
    return {"TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_MASTER_KEY": KEY}


def test_after_a_longer_time_nothing_of_it_is_left_and_what_is_kept_longer_is(aged: Lake) -> None:
    later = TODAY + timedelta(days=DAYS + 2)
    new = aged.deliver("telephony/calls/not-landed-yet.ndjson", ndjson([call(7, TODAY)]))
    expire(aged.settings, today=later)
    assert days_of_text(aged) == []
    keys = DayKeys(aged.settings)
    assert [*keys.days(text.STORE, "calls"), *keys.days(quarantine.STORE, "calls")] == []
    left = [path for path in aged.settings.inbox.rglob("*") if path.is_file()]
    assert sorted(left) == sorted([new, aged.settings.inbox / "web/events/a.ndjson"])
    assert aged.texts() == []
    assert len(aged.land().receipts) == 1  # and it can go on
    assert audit(aged.settings).findings == []


def test_a_file_that_changed_since_it_landed_waits_to_land(lake: Lake) -> None:
    lake.land_one("telephony/calls/a.ndjson", ndjson([call(1, TODAY)]))
    lake.deliver("telephony/calls/a.ndjson", ndjson([call(2, TODAY)]))
    expire(lake.settings, today=TODAY + timedelta(days=5000))
    assert len(lake.land().receipts) == 1


def test_what_may_be_kept_for_ever_and_what_the_contract_has_no_more_is_left(aged: Lake) -> None:
    forever = CALLS.model_copy(update={"retention_days": 0})
    far = TODAY + timedelta(days=99_999)
    assert expire(aged.settings, {"calls": forever}, today=far) == []
    assert expire(aged.settings, {}, today=far) == []
    sooner = changed_spec(CALLS, "transcript", retention_days=1)
    assert {ended.store for ended in expire(aged.settings, {"calls": sooner})} == {"text", "landed"}
    assert days_of_text(aged) == []
    assert len(aged.rows("calls")) == 2


def test_killed_after_the_key_it_goes_on_and_files_of_others_are_left(aged: Lake) -> None:
    day = days_of_text(aged)[0]
    (aged.settings.text / "calls" / "notes").mkdir()
    DayKeys(aged.settings).destroy(text.STORE, "calls", day)
    assert {ended.day for ended in expire(aged.settings)} == {day}
    assert (aged.settings.text / "calls" / "notes").exists()
    assert [*DayKeys(aged.settings).days(quarantine.STORE, "calls")] == [aged.receipts()[0].landed_at.date()]


def test_what_cannot_be_removed_is_an_error_and_what_ended_before_has(
    aged: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> int:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("flows.privacy.retention._remove_all", refuse)
    with pytest.raises(TidemarkError, match=r"Permission denied.*run `tidemark expire` again"):
        expire(aged.settings)
    assert DayKeys(aged.settings).is_destroyed(text.STORE, "calls", days_of_text(aged)[0])


def test_the_command_says_what_ended(aged: Lake) -> None:
    done = CliRunner(env=environment(aged)).invoke(main, ["expire"])
    assert done.exit_code == 0, done.output
    assert "1 day of text" in done.output
    again = CliRunner(env=environment(aged)).invoke(main, ["expire"])
    assert "nothing is older" in again.output
    empty = CliRunner(env=environment(aged) | {"TIDEMARK_HOME": str(aged.settings.home / "none")}).invoke(
        main, ["expire"]
    )
    assert empty.exit_code == 0, empty.output
    assert not stat.S_IMODE(aged.settings.day_keys.stat().st_mode) & 0o077


def test_text_that_comes_after_its_time_is_not_kept_and_is_counted(aged: Lake) -> None:
    before = days_of_text(aged)
    expire(aged.settings)
    receipt = aged.land_one("telephony/calls/late.ndjson", ndjson([call(50, before[0]), call(51, before[1])]))
    assert (receipt.rows_landed, receipt.texts_too_late) == (2, 1)
    assert [file.event_date for file in receipt.text_files] == [before[1]]
    assert days_of_text(aged) == before[1:]
    assert len(aged.texts()) == 3
    assert audit(aged.settings).findings == []
