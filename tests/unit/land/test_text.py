"""Free text stands redacted and encrypted in a store of its own, whole with its batch, and nowhere else."""

import shutil
import stat
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit.audit import audit
from flows.contract.spec import Privacy, Treatment, load_specs
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.day_keys import DayKeys
from flows.land.land import land
from flows.land.layout import FILE
from flows.land.quarantine import opened
from flows.land.remove import remove_days, removing
from flows.land.repartition import repartition
from flows.land.retry import retry_quarantine
from flows.land.text import STORE, read_text
from flows.privacy.retention import expire
from tests.support.contracts import changed_spec
from tests.support.deliveries import csv_of, in_format, ndjson
from tests.support.lake import Lake, quarantined

CALLS = load_specs()["calls"]
PHONE = "07700 900123"
SAID = f"Is the red estate still for sale? My number is {PHONE}."


def call(number: int, day: int = 1, transcript: str | None = SAID, **more: Any) -> dict[str, Any]:
    """A call as the telephony delivers it."""
    return {
        "call_id": f"call-{number}", "advert_id": "advert-1", "started_at": f"2026-03-{day:02}T12:00:00Z",
        "duration_seconds": 60, "channel": "phone", "transcript": transcript,
    } | more  # fmt: skip


def in_clear_anywhere(lake: Lake, text: str) -> list[str]:
    """The files outside the inbox that hold a text."""
    paths = [path for path in lake.settings.home.rglob("*") if path.is_file()]
    paths = [path for path in paths if lake.settings.inbox not in path.parents]
    return [str(path) for path in paths if text.encode() in path.read_bytes()]


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "parquet", "pb"])
def test_text_lands_redacted_and_encrypted_with_the_rows_it_belongs_to(lake: Lake, suffix: str) -> None:
    rows = [call(1), call(2, transcript=None), call(3, day=2, transcript="The blue one, please.")]
    receipt = lake.land_one(f"telephony/calls/part.{suffix}", in_format(rows, suffix, "calls"))
    assert "transcript" not in receipt.columns
    texts = lake.texts()
    assert [(row["_batch_id"], row["_line"]) for row in texts] == [
        (row["_batch_id"], row["_line"]) for row in lake.rows("calls") if row["call_id"] != "call-2"
    ]
    assert "red estate" in texts[0]["transcript"]
    assert PHONE not in texts[0]["transcript"]
    assert texts[1]["transcript"] == "The blue one, please."
    assert [file.event_date for file in receipt.text_files] == [date(2026, 3, 1), date(2026, 3, 2)]
    for said in (PHONE, "red estate", "blue one"):
        assert in_clear_anywhere(lake, said) == []
    for path in (lake.settings.text, lake.settings.lake / receipt.text_files[0].path):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077
    lake.assert_whole()


def test_many_small_files_keep_their_own_text(lake: Lake) -> None:
    for number in range(30):
        rows = [call(number * 10 + i, transcript="red " * number + "blue " * i if i else None) for i in range(3)]
        lake.deliver(f"telephony/calls/part-{number:02}.ndjson", ndjson(rows))
    lake.land()
    of = {(row["_batch_id"], row["_line"]): row["call_id"] for row in lake.rows("calls")}
    assert len(lake.texts()) == 60
    for row in lake.texts():
        number = int(of[row["_batch_id"], row["_line"]].removeprefix("call-"))
        assert row["transcript"] == "red " * (number // 10) + "blue " * (number % 10)
    lake.assert_whole()


def test_rejected_text_is_encrypted_and_lands_when_it_fits(lake: Lake) -> None:
    lake.land_one("telephony/calls/part.ndjson", ndjson([call(1, duration_seconds=-5), call(2, transcript="fine")]))
    assert in_clear_anywhere(lake, PHONE) == []
    loose = {"calls": changed_spec(CALLS, "duration_seconds", min=None)}
    (receipt,) = retry_quarantine(lake.settings, specs=load_specs() | loose).receipts
    assert receipt.text_files
    first, second = lake.texts()
    assert (first["transcript"], second["_line"]) == ("fine", 1)
    assert PHONE not in second["transcript"]
    assert in_clear_anywhere(lake, PHONE) == []
    lake.assert_whole()


def test_text_of_a_file_that_is_refused_half_way_is_taken_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver("telephony/calls/part.ndjson", ndjson([call(1)]))
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.batch.no_row_fits", lambda *_: "never")
        patch.setattr("flows.land.landed_files.LandedFiles._finish", _fail)
        with pytest.raises((TidemarkError, OSError)):
            lake.land()
    assert list(lake.settings.text.rglob("*.parquet")) == []
    assert lake.land().receipts[0].text_files
    lake.assert_whole()


def _fail(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_compaction_and_another_time_zone_leave_text_where_its_rows_are(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        lake.land_one(f"telephony/calls/part-{number}.ndjson", ndjson([call(number)]))
    texts = lake.texts()
    compact(lake.settings)
    monkeypatch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
    assert repartition(lake.settings) is not None
    assert lake.texts() == texts
    assert not (lake.settings.lake / ".repartitioned").exists()
    lake.assert_whole()


@pytest.mark.parametrize("is_over", [True, False])
def test_a_lake_is_laid_out_again_though_all_rows_of_a_text_were_removed(
    lake: Lake, is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land_one("telephony/calls/a.ndjson", ndjson([call(1), call(2, day=2)]))
    day = lake.rows("calls")[0]["event_date"]
    with removing(lake.settings, load_specs(), "a test") as receipts:
        assert remove_days(receipts, lake.settings, CALLS, day + timedelta(days=1), "a test") is not None
    if is_over:
        expire(lake.settings, today=day + timedelta(days=CALLS.retention_days + 3))
    texts = lake.texts()
    monkeypatch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
    assert repartition(lake.settings) is not None
    assert lake.rows("calls") == []
    assert lake.texts() == texts
    assert bool(texts) is not is_over
    assert audit(lake.settings).findings == []


def test_a_lake_that_landed_text_in_clear_is_refused_and_redacted_by_one_command(lake: Lake) -> None:
    kept = changed_spec(CALLS, "transcript", treatment=Treatment.KEEP)
    for number in range(2):
        lake.land_one(f"telephony/calls/part-{number}.ndjson", ndjson([call(number)]), load_specs() | {"calls": kept})
    assert PHONE in lake.rows("calls")[0]["transcript"]
    lake.deliver("telephony/calls/later.ndjson", ndjson([call(9)]))
    with pytest.raises(TidemarkError, match=r"holds calls\.transcript in clear.*run `tidemark repartition`"):
        lake.land()
    compact(lake.settings, load_specs() | {"calls": kept})
    done = repartition(lake.settings)
    assert done is not None
    assert done.rows == 2
    assert "transcript" not in lake.rows("calls")[0]
    assert ["red estate" in row["transcript"] for row in lake.texts()] == [True, True]
    assert in_clear_anywhere(lake, PHONE) == []
    assert repartition(lake.settings) is None
    assert len(lake.land().receipts) == 1
    lake.assert_whole()


def test_a_field_of_text_that_is_new_needs_nothing_of_a_lake(lake: Lake) -> None:
    without = CALLS.model_copy(update={"fields": tuple(f for f in CALLS.fields if f.name != "transcript")})
    lake.land_one("telephony/calls/a.csv", csv_of([call(1)], without), load_specs() | {"calls": without})
    assert b"transcript" not in (lake.settings.landed / FILE).read_bytes()
    lake.land_one("telephony/calls/b.ndjson", ndjson([call(2)]))
    assert len(lake.texts()) == 1


DAY = date(2026, 3, 1)


def end(lake: Lake) -> None:
    DayKeys(lake.settings).destroy(STORE, "calls", DAY)


def lose_key(lake: Lake) -> None:
    (lake.settings.day_keys / STORE / "calls" / f"{DAY}.json").unlink()


def damage_key(lake: Lake) -> None:
    (lake.settings.day_keys / STORE / "calls" / f"{DAY}.json").write_bytes(b"")


def lose_file(lake: Lake) -> None:
    next(lake.settings.text.rglob("*.parquet")).unlink()


def lose_all(lake: Lake) -> None:
    shutil.rmtree(lake.settings.text)
    shutil.rmtree(lake.settings.day_keys)


def forge(lake: Lake) -> None:
    path = next(lake.settings.text.rglob("*.parquet"))
    pq.write_table(pa.table({"transcript": ["forged"], "_batch_id": [1], "_line": [1]}), path)


def leave_a_note(lake: Lake) -> None:
    (lake.settings.text / "calls" / "note.txt").write_text("clear")


@pytest.mark.parametrize(
    ("act", "found", "is_read"),
    [
        (end, 0, True), (lose_key, 1, False), (damage_key, 1, False), (lose_file, 1, False), (lose_all, 1, False),
        (forge, 0, False), (leave_a_note, 1, True),
    ],
)  # fmt: skip
def test_text_that_ended_is_no_fault_and_text_that_is_lost_is(
    lake: Lake, act: Callable[[Lake], None], found: int, is_read: bool
) -> None:
    lake.land_one("telephony/calls/part.ndjson", ndjson([call(1)]))
    assert not audit(lake.settings).findings
    act(lake)
    assert len(audit(lake.settings).findings) == found
    if is_read:
        assert len(list(read_text(lake.settings, "calls", DAY))) == (act is not end)
        return
    with pytest.raises(TidemarkError, match=r"missing|damaged|not encrypted"):
        list(read_text(lake.settings, "calls", DAY))


def test_text_that_was_superseded_or_not_committed_is_not_read(lake: Lake) -> None:
    lake.land_one("telephony/calls/part.ndjson", ndjson([call(1, transcript="the first one")]))
    lake.land_one("telephony/calls/part.ndjson", ndjson([call(1, transcript="the second one")]))
    stray = next(lake.settings.text.rglob("*.parquet"))
    shutil.copy(stray, stray.with_name("batch-000000000099.parquet"))
    (table,) = read_text(lake.settings, "calls", DAY)
    assert table["transcript"].to_pylist() == ["the second one"]


def test_a_second_field_of_text_leaves_the_first_where_it_is(lake: Lake) -> None:
    """A kept string of a dataset that has text already becomes free text, as the contract gets stricter."""
    rows = [call(1, channel="phone_of_07700900123"), call(2, transcript=None, channel="web")]
    lake.land_one("telephony/calls/part.ndjson", ndjson(rows))
    before = {row["_line"]: row["transcript"] for row in lake.texts()}
    stricter = changed_spec(CALLS, "channel", privacy=Privacy.FREE_TEXT, treatment=Treatment.REDACT, pattern=None)
    assert repartition(lake.settings, load_specs() | {"calls": stricter}) is not None
    texts = {row["_line"]: row for row in lake.texts()}
    assert {line: texts[line]["transcript"] for line in before} == before
    assert (texts[1]["channel"] != "phone_of_07700900123", texts[2]["channel"]) == (True, "web")
    assert "channel" not in lake.rows("calls")[0]
    assert repartition(lake.settings, load_specs() | {"calls": stricter}) is None
    lake.assert_whole()


def test_text_that_is_dropped_from_now_on_goes_from_what_landed_before(lake: Lake) -> None:
    kept = changed_spec(CALLS, "transcript", treatment=Treatment.KEEP)
    lake.land_one("telephony/calls/a.ndjson", ndjson([call(1)]), load_specs() | {"calls": kept})
    dropped = load_specs() | {"calls": changed_spec(CALLS, "transcript", treatment=Treatment.DROP)}
    with pytest.raises(TidemarkError, match="in clear"):
        lake.land(dropped)
    assert repartition(lake.settings, dropped) is not None
    assert in_clear_anywhere(lake, "red estate") == []
    assert lake.texts() == []
    lake.assert_whole()


def test_a_zone_that_was_left_behind_goes_with_the_next_landing(lake: Lake) -> None:
    lake.land_one("telephony/calls/a.ndjson", ndjson([call(1)]))
    before = lake.settings.lake / ".landed-before" / "calls"
    before.mkdir(parents=True)
    (before / "old.parquet").write_bytes(SAID.encode())
    lake.land()
    assert not before.parent.exists()


def test_quarantine_of_before_is_encrypted_where_the_lake_is_laid_out_again(lake: Lake) -> None:
    lake.land_one("telephony/calls/a.csv", csv_of([call(1, duration_seconds=-5)], CALLS))
    lake.land_one("telephony/calls/b.ndjson", ndjson([call(2, anna="anna@example.org")]))
    rejects, unknown = lake.rejects("calls"), lake.unknown("calls")
    for path in lake.settings.quarantine.rglob("*.parquet"):
        names = opened(path, DayKeys(lake.settings)).metadata.metadata
        pq.write_table(quarantined(path).replace_schema_metadata(names), path)
    assert in_clear_anywhere(lake, "anna@example.org")
    repartition(lake.settings)
    assert in_clear_anywhere(lake, "anna@example.org") == in_clear_anywhere(lake, PHONE) == []
    assert (lake.rejects("calls"), lake.unknown("calls")) == (rejects, unknown)
    loose = {"calls": changed_spec(CALLS, "duration_seconds", min=None)}
    assert len(retry_quarantine(lake.settings, specs=load_specs() | loose).receipts) == 1


def test_no_sql_reads_text(lake: Lake) -> None:
    receipt = lake.land_one("telephony/calls/part.ndjson", ndjson([call(1)]))
    path = lake.settings.lake / receipt.text_files[0].path
    assert pq.read_metadata(path).num_rows == 1
    with pytest.raises(OSError, match="decrypt"):
        pq.read_table(path)
    assert land(lake.settings).receipts == []


def test_what_holds_people_in_clear_or_encrypted_is_for_its_owner_alone(lake: Lake) -> None:
    lake.land()
    settings = lake.settings
    for folder in (settings.inbox, settings.landed, settings.quarantine, settings.text, settings.day_keys):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for folder in (settings.home, settings.lake):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o055  # what is published below it can be reached
