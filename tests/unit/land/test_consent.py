"""Consent at landing: what a row may not say without it, and what rows tell of it."""

from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.contract.spec import load_specs
from flows.land.consent import TOLD
from flows.land.pseudonyms import Pseudonymiser
from flows.land.told import NOT_KNOWN
from tests.support.deliveries import event, in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.takeouts import consent

HIDDEN = ("device_key", "user_key", "session_id", "country", "referrer", "depth", "active_ms", "reaction", "channel")
SAID = {"session_id": "s-1", "occurred_at": "2026-01-15T10:00:00Z", "received_at": "2026-01-15T10:00:01Z"}
END_OF_MINUTE = datetime(2026, 1, 15, 10, 0, 59, 999999)
PURPOSES = ("analytics", "personalisation", "advertising")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def key(column: str, value: str) -> bytes:
    return Pseudonymiser(KEY.encode()).one(column, value)


def told(lake: Lake) -> set[tuple[str, bool, datetime]]:
    """What is told of the device d-81f3, or of the user u-204."""
    rows = lake.rows("consents")
    assert {row["device_key"] or row["user_key"] for row in rows} <= {
        key("device_key", "d-81f3"),
        key("user_key", "u-204"),
    }
    return {(row["purpose"], row["is_granted"], row["valid_from"]) for row in rows}


def test_what_needs_consent_is_what_says_something_of_a_person_and_serves_no_operation() -> None:
    assert set(load_specs()["events"].with_consent_alone) == set(HIDDEN)
    assert load_specs()["accounts"].with_consent_alone == {}


def test_a_row_without_consent_lands_without_what_says_something_of_a_person(lake: Lake) -> None:
    body = {"content_id": "c-1", "content_type": "article", "depth": 0.5, "active_ms": 1000}
    receipt = lake.land_one(
        "clients/events/a.ndjson", ndjson([event(1, "content_progress", body, **SAID | {"consent": []})])
    )
    (row,) = lake.rows()
    assert {name for name in HIDDEN if row[name] is not None} == set()
    assert (row["content_id"], row["product"], row["event_type"]) == ("c-1", "news", "content_progress")
    assert (receipt.rows_landed, receipt.rows_withheld) == (1, 1)


def test_each_field_lands_with_consent_to_one_of_its_purposes(lake: Lake) -> None:
    receipt = lake.land_one(
        "clients/events/a.ndjson",
        ndjson(
            [
                event(1, **SAID | {"consent": ["personalisation"]}),
                event(2, **SAID | {"consent": ["analytics"]}),
                event(3, "enquiry", {"advert_id": "a-1", "channel": "call"}, **SAID | {"consent": ["advertising"]}),
            ]
        ),
    )
    personalised, analysed, advertised = lake.rows()
    assert (personalised["device_key"], personalised["session_id"]) == (key("device_key", "d-81f3"), None)
    assert (personalised["country"], personalised["referrer"]) == (None, None)
    assert {name for name in HIDDEN if analysed[name] is not None} == {*HIDDEN} - {
        "depth", "active_ms", "reaction", "channel",
    }  # fmt: skip
    assert {name for name in HIDDEN if advertised[name] is not None} == {"channel"}
    assert receipt.rows_withheld == 2


@pytest.mark.parametrize("rows", [2, 300])
def test_no_word_of_a_row_without_consent_stands_in_the_file(lake: Lake, rows: int) -> None:
    """Few rows take the SQL, many the fast path, whose columns share their words in dictionaries."""
    made = [event(n, **SAID | {"session_id": f"kept-{n % 3}"}) for n in range(1, rows)]
    made.append(event(rows, **SAID | {"session_id": "withheld-word", "consent": [], "country": "XQ"}))
    lake.land_one("clients/events/a.ndjson", ndjson(made))
    assert lake.rows()[-1]["session_id"] is None
    words = set()
    for path in (lake.settings.landed / "events").rglob("*.parquet"):
        column = pq.ParquetFile(path, read_dictionary=["session_id"]).read(["session_id"])["session_id"]
        words |= {word for chunk in column.chunks for word in chunk.dictionary.to_pylist()}
    assert words == {f"kept-{n % 3}" for n in range(1, rows)}


def test_of_what_events_do_not_agree_to_the_latest_of_each_device_is_kept(lake: Lake) -> None:
    lake.deliver(
        "clients/events/a.ndjson",
        ndjson(
            [
                event(1, **SAID | {"consent": ["analytics", "advertising"], "occurred_at": "2026-01-15T09:00:00Z"}),
                event(2, **SAID | {"consent": ["analytics"]}),
                event(3, **SAID | {"consent": ["analytics"], "occurred_at": "2026-01-14T08:00:00Z"}),
            ]
        ),
    )
    lake.land()
    assert told(lake) == {
        ("personalisation", False, END_OF_MINUTE),
        ("advertising", False, END_OF_MINUTE),
    }
    assert {row["received_at"] for row in lake.rows("consents")} == {END_OF_MINUTE}
    assert {row["stated_in"] for row in lake.rows("consents")} == {"events"}
    assert {row["user_key"] for row in lake.rows("consents")} == {None}
    lake.assert_whole()


def test_nothing_told_of_an_event_that_came_late_says_when_it_came(lake: Lake) -> None:
    late = event(1, **SAID | {"consent": [], "received_at": "2026-01-20T11:11:11Z"})
    lake.land_one("clients/events/a.ndjson", ndjson([late]))
    assert {(row["valid_from"], row["received_at"]) for row in lake.rows("consents")} == {(END_OF_MINUTE,) * 2}


def test_a_clock_that_is_days_ahead_does_not_say_since_when(lake: Lake) -> None:
    lake.land_one(
        "clients/events/a.ndjson", ndjson([event(1, **SAID | {"consent": [], "occurred_at": "2030-01-01T00:00:00Z"})])
    )
    assert {since for _, _, since in told(lake)} == {END_OF_MINUTE}


def test_accounts_tell_what_is_given_and_what_is_withdrawn(lake: Lake) -> None:
    lake.deliver(
        "crm/accounts/a.ndjson",
        ndjson(
            [
                {
                    "account_id": "a-1",
                    "user_id": "u-204",
                    "updated_at": "2026-01-15T12:00:00Z",
                    "consent": ["analytics"],
                    "consent_updated_at": "2026-01-14T12:00:00Z",
                },
                {"account_id": "a-2", "user_id": "u-205", "updated_at": "2026-01-15T12:00:00Z", "consent": []},
            ]
        ),
    )
    lake.land()
    assert told(lake) == {(purpose, purpose == "analytics", datetime(2026, 1, 14, 12)) for purpose in PURPOSES}
    assert {row["stated_in"] for row in lake.rows("consents")} == {"accounts"}


def test_what_every_extract_of_accounts_repeats_is_kept_once(lake: Lake) -> None:
    account = {
        "account_id": "a-1",
        "user_id": "u-204",
        "updated_at": "2026-01-15T12:00:00Z",
        "consent": ["analytics"],
        "consent_updated_at": "2026-01-14T12:00:00Z",
    }
    for name, updated_at in (("a", "2026-01-15T12:00:00Z"), ("b", "2026-01-16T12:00:00Z")):
        rows = [account | {"updated_at": updated_at}] * 2
        lake.deliver(f"crm/accounts/{name}.ndjson", ndjson(rows))
        lake.land()
    assert len(lake.rows("consents")) == len(PURPOSES)
    later = account | {"consent": [], "consent_updated_at": "2026-01-17T12:00:00Z"}
    lake.deliver("crm/accounts/c.ndjson", ndjson([later]))
    lake.land()
    assert len(lake.rows("consents")) == 2 * len(PURPOSES)
    lake.assert_whole()


def test_what_is_told_is_not_compared_with_each_record_that_is_known() -> None:
    with duckdb.connect() as engine:
        engine.register("told", TOLD.empty_table())
        engine.register("told_before", pa.table({"batch_id": pa.array([], pa.int64())}))
        keys = "cast(device_key as uuid) as device_key, cast(user_key as uuid) as user_key"
        known = f"select 1 as _batch_id, * replace ({keys}) from told"
        query = NOT_KNOWN.format(known=known, of_rows=["events"], since=END_OF_MINUTE)
        engine.execute("set explain_output = 'all'")
        plan = str(engine.execute(f"explain {query}").fetchall())
    assert "HASH_JOIN" in plan and "NL_JOIN" not in plan and "CROSS" not in plan


@pytest.mark.parametrize("rows", [1, 300])  # the fast path takes lines of JSON from 100 rows on
@pytest.mark.parametrize("suffix", ["ndjson", "pb", "parquet", "csv"])
def test_a_record_of_nobody_is_quarantined(lake: Lake, suffix: str, rows: int) -> None:
    whose: list[dict[str, str]] = [{"device_id": "d-81f3"}, {}, {"user_id": "u-204"}, {"user_id": ""}]
    records = [consent(n, **whose[n % len(whose)]) for n in range(rows * len(whose))]
    receipt = lake.land_one(f"cmp/consents/a.{suffix}", in_format(records, suffix, "consents"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (2 * rows, 2 * rows)
    assert {(row["reason"], row["field"]) for row in lake.rejects("consents")} == {("missing", "device_id or user_id")}
    assert all(row["device_key"] or row["user_key"] for row in lake.rows("consents"))


def test_what_a_killed_landing_left_to_be_told_is_told_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver("clients/events/a.ndjson", ndjson([event(1, **SAID | {"consent": []})]))
    with monkeypatch.context() as patched:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("flows.land.told.with_ids", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.land()
    assert [receipt.dataset for receipt in lake.receipts()] == ["events"]
    assert [*(lake.settings.lake / "told").rglob("*.parquet")]
    lake.land()
    assert {purpose for purpose, _, _ in told(lake)} == {*PURPOSES}
    lake.assert_whole()
