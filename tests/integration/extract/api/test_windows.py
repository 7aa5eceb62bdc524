"""Rows by a cursor: the next run goes on from the last file, after a kill as well, and all of it lands."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from flows.errors import TidemarkError
from flows.extract.run import extract
from tests.support.apis import Api, Handler, answers
from tests.support.lake import Lake
from tests.support.telephony import BEGAN, BY_CURSOR, CALLS, Declared, all_of, call


def delivered_spans(declared: Declared) -> list[tuple[str, str]]:
    return [tuple(path.stem.split("_")) for path in declared.files()]  # type: ignore[misc]


def test_files_end_between_two_values_and_the_next_run_goes_on(api: Api, declared: Declared) -> None:
    api.sort = lambda row: (row["updated_at"], row["id"])
    api.lists["calls"] = [call(number // 3, id=f"c-{number}") for number in range(25)]
    declared.write(calls=CALLS | BY_CURSOR | {"order": "ascending", "file_rows": 5, "overlap": "0 s"})
    done = declared.run()
    assert [file.rows for file in done] == [6, 6, 6, 6, 1]
    assert declared.ids() == all_of(api)
    spans = delivered_spans(declared)
    assert {after for after, _ in spans} - {up_to for _, up_to in spans} == {"beginning"}
    api.asked.clear()
    api.lists["calls"].append(call(60))
    declared.run()
    assert api.asked[0][1]["updated_since"] == "2026-01-15T10:08:00Z"
    assert "c-60" in declared.ids()
    assert declared.run()[0].rows == 1, "what has the very moment of the last one may have come since"
    assert declared.run() == []


@pytest.mark.parametrize("order", [None, "ascending"])
def test_a_run_that_breaks_off_goes_on_from_its_last_file(api: Api, declared: Declared, order: str | None) -> None:
    api.sort = lambda row: (row["updated_at"], row["id"])
    api.lists["calls"] = [call(number) for number in range(40)]
    by = BY_CURSOR | ({"order": order} if order else {})
    declared.write(calls=CALLS | by | {"file_rows": 6})
    api.faults = {8: answers(403)}
    with pytest.raises(TidemarkError, match="page 8: answered 403"):
        declared.run()
    assert len(declared.files()) == (3 if order else 0) and declared.leftovers() == []
    api.asked.clear()
    api.faults = {}
    declared.run()
    assert ("updated_since" in api.asked[0][1]) == bool(order)
    assert declared.ids().keys() == all_of(api).keys()


def test_rows_out_of_the_declared_order_are_an_error(api: Api, declared: Declared) -> None:
    api.lists["calls"] = [call(number) for number in (1, 2, 3, 5, 4, 6)]
    for order in ("ascending", "descending"):
        with pytest.raises(TidemarkError, match=f"rows are not in {order} order of updated_at"):
            declared.write(calls=CALLS | BY_CURSOR | {"order": order}).run()
    declared.write(calls=CALLS | BY_CURSOR).run()
    assert declared.ids() == all_of(api)


def test_what_changes_while_a_long_list_is_read_comes_with_the_next_run(api: Api, declared: Declared) -> None:
    """A list in no order: a row that was read changes, and then one comes that is later still."""
    now = datetime.now(UTC)
    early = (now - timedelta(days=1)).isoformat()
    api.lists["calls"] = [call(number, updated_at=early) for number in range(9)]

    def change(number: int) -> None:
        if number == 2:
            api.lists["calls"][0] |= {"updated_at": (now + timedelta(minutes=5)).isoformat(), "seconds": 77}
            api.lists["calls"][8] |= {"updated_at": (now + timedelta(minutes=50)).isoformat()}

    api.before = change
    declared.write(calls=CALLS | BY_CURSOR).run()
    api.before = lambda number: None
    declared.run()
    assert {row["duration_seconds"] for row in declared.rows() if row["call_id"] == "c-0"} == {"60", "77"}


def test_no_window_ends_later_than_it_is_at_a_server_whose_clock_is_behind(
    api: Api, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(Handler, "date_time_string", lambda self: format_datetime(there, usegmt=True))
    api.lists["calls"] = [
        call(number, updated_at=(there + timedelta(minutes=number)).isoformat()) for number in range(9)
    ]
    declared.write(calls=CALLS | BY_CURSOR).run()
    ((_, end),) = delivered_spans(declared)
    assert end <= f"{there:%Y%m%dT%H%M%S}" and len(declared.ids()) == 9


def test_days_and_numbers_are_cursors_too(api: Api, declared: Declared) -> None:
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=back)).isoformat() for back in (3, 2, 1, 0)]
    api.lists["calls"] = [call(at, updated_at=day) for at, day in enumerate(days)]
    declared.write(calls=CALLS | BY_CURSOR | {"overlap": "1 d"}).run()
    assert delivered_spans(declared) == [("beginning", days[2].replace("-", ""))], "of today there will be more"
    api.asked.clear()
    declared.run()
    assert api.asked[0][1]["updated_since"] == days[1]
    columns = {**CALLS["columns"], "updated_at": {"type": "integer", "to": "channel"}}
    api.lists["calls"] = [call(at, updated_at=at) for at in range(-2, 7)]
    by_number = CALLS | BY_CURSOR | {"columns": columns, "order": "ascending", "overlap": 0, "file_rows": 4}
    assert [file.rows for file in declared.write(calls=by_number).run()] == [4, 4, 1]
    api.lists["calls"].append(call(7, updated_at=7))
    assert sum(file.rows for file in declared.run()) == 2
    api.lists["calls"].append(call(8, updated_at=2**70))
    with pytest.raises(TidemarkError, match="updated_at is no number of up to 19 digits"):
        declared.run()


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "has no value"), ("yesterday", "is no moment or day"), ("2026-01-15", "a moment, and of others a day")],
)
def test_a_cursor_that_is_none_is_said(api: Api, declared: Declared, value: Any, words: str) -> None:
    api.lists["calls"][5]["updated_at"] = value
    with pytest.raises(TidemarkError, match=words) as raised:
        declared.write(calls=CALLS | BY_CURSOR).run()
    assert "yesterday" not in str(raised.value) and declared.files() == []


def test_transcripts_land_redacted_in_the_text_store(api: Api, declared: Declared, lake: Lake) -> None:
    texts = ["Hello, my number is +46 70 123 45 67.", "I am 🎉 sold", None, ""]
    api.lists["calls"] = [call(number, text=text) for number, text in enumerate(texts)]
    columns = {name: column for name, column in CALLS["columns"].items() if name != "updated_at"}
    api.lists["calls"][3]["about"]["advert"] = 77
    ignored = ["links", "updated_at"]
    done = extract(declared.write(calls=CALLS | {"columns": columns, "ignored": ignored}).settings, "telephony")
    assert (done.rows, done.notes) == (4, ())
    lake.land()
    rows = lake.rows("calls")
    assert [(r["call_id"], r["advert_id"], r["duration_seconds"]) for r in rows] == [
        ("c-0", "a-0", 60), ("c-1", "a-1", 60), ("c-2", "a-2", 60), ("c-3", "77", 60),
    ]  # fmt: skip
    assert rows[0]["started_at"] == BEGAN.replace(tzinfo=None)
    assert [row["transcript"] for row in lake.texts()][:2] == ["Hello, my number is <PHONE>.", "I am 🎉 sold"]


def running_extract() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.cli", "extract", "telephony"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_anywhere_it_goes_on(api: Api, declared: Declared) -> None:
    api.sort = lambda row: (row["updated_at"], row["id"])
    api.lists["calls"] = [call(number) for number in range(300)]
    api.before = lambda number: time.sleep(0.004)
    declared.write(calls=CALLS | BY_CURSOR | {"order": "ascending", "file_rows": 10, "overlap": "0 s"})
    for number in (5, 40):
        api.asked.clear()
        process = running_extract()
        while len(api.asked) < number and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    both = [running_extract() for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    found = declared.ids()
    assert found.keys() == all_of(api).keys()
    assert sum(found.values()) <= 300 + 12, "each run begins with the last row of the one before"
    assert declared.leftovers() == []
