"""Which days of events new records of consent change."""

import json
from contextlib import closing
from datetime import date
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from flows.build.consents import days_changed
from flows.contract.spec import load_specs
from flows.land.compact import compact
from flows.land.pseudonyms import Pseudonymiser
from flows.land.receipts import Receipts
from flows.land.remove import remove_rows, removing
from tests.support.consents import make_consent_tables
from tests.support.deliveries import event, ndjson
from tests.support.lake import KEY, Lake, make_warehouse_tables

NAMES = {"d-1": "device_key", "d-2": "device_key", "u-1": "user_key"}


def key(name: str) -> UUID:
    return UUID(bytes=Pseudonymiser(KEY.encode()).one(NAMES[name], name))


def day(number: int) -> date:
    return date(2026, 1, number)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    """On days 10 to 19 the devices d-1 and d-2 had consent to analytics, d-2 on odd days for the user u-1; to nothing
    else but, of d-2, personalisation. d-1 is known to have refused on the 15th. The models have seen batch 1."""
    made = duckdb.connect()
    make_consent_tables(made, seen=1)
    rows = [(day(n), key("d-1"), None, True, False, False) for n in range(10, 20)]
    rows += [(day(n), key("d-2"), key("u-1") if n % 2 else None, True, True, False) for n in range(10, 20)]
    made.executemany("insert into intermediate.int_consents__days_used values (?, ?, ?, ?, ?, ?)", rows)
    made.execute(
        "insert into intermediate.int_consents__persons_settled values (?, null, '2026-01-15 12:00:00', null, null)",
        [key("d-1")],
    )
    return made


def changed(lake: Lake, warehouse: duckdb.DuckDBPyConnection, after: int = 0) -> dict[int, list[date]]:
    """The days that batches after one change, by batch."""
    specs = load_specs()
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        files = {name: receipts.files.in_force(name) for name in specs}
        found = days_changed(warehouse, specs, lake.settings.lake, list(receipts.after(after)), files)
    by_batch: dict[int, list[date]] = {}
    for row in found.to_pylist():
        assert row["dataset"] == "events"
        by_batch.setdefault(row["batch_id"], []).append(row["event_date"])
    return by_batch


def refuse(lake: Lake, device: str, when: str, consent: list[str]) -> None:
    """An event of a device with consent to these purposes, and no others: batch 1, and what it tells batch 2."""
    row = event(1, device_id=device, user_id=None, consent=consent, occurred_at=when, received_at=when)
    lake.deliver("clients/events/a.ndjson", ndjson([row]))
    lake.land()


def declare(lake: Lake, name: str, granted: bool, **said: str) -> int:
    row = {
        "consent_id": "0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c00",
        "purpose": "analytics",
        "is_granted": granted,
        "valid_from": "2026-01-12T00:00:00Z",
        "received_at": "2026-01-12T00:00:00Z",
    }
    return lake.land_one(f"cmp/consents/{name}", json.dumps(row | said).encode()).batch_id


def test_a_refusal_changes_the_days_since_the_one_that_is_known(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection
) -> None:
    refuse(lake, "d-1", "2026-01-17T12:00:00Z", ["personalisation", "advertising"])
    # A day more on either side, since a day of the organisation begins and ends at another moment than one of UTC.
    assert changed(lake, warehouse) == {2: [day(14), day(15), day(16), day(17), day(18)]}


def test_the_first_refusal_of_a_device_changes_all_days_before_it(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection
) -> None:
    refuse(lake, "d-2", "2026-01-12T12:00:00Z", ["personalisation", "advertising"])
    assert changed(lake, warehouse) == {2: [day(10), day(11), day(12), day(13)]}


def test_what_was_never_agreed_to_or_is_known_changes_nothing(lake: Lake, warehouse: duckdb.DuckDBPyConnection) -> None:
    refuse(lake, "d-2", "2026-01-17T12:00:00Z", ["analytics", "personalisation"])
    assert changed(lake, warehouse) == {}
    refuse(lake, "d-1", "2026-01-13T12:00:00Z", ["advertising"])
    assert changed(lake, warehouse, after=2) == {}


@pytest.mark.parametrize("granted", [True, False])
def test_what_a_person_declares_changes_all_days_of_that_person(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection, granted: bool
) -> None:
    batch = declare(lake, "a.ndjson", granted, user_id="u-1")
    assert changed(lake, warehouse) == {batch: [day(n) for n in (11, 13, 15, 17, 19)]}


def test_a_delivery_that_takes_another_s_place_changes_what_that_one_did(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection
) -> None:
    first = declare(lake, "a.ndjson", False, user_id="u-1")
    second = declare(lake, "a.ndjson", False, user_id="somebody else")
    assert changed(lake, warehouse, after=first) == {second: [day(n) for n in (11, 13, 15, 17, 19)]}


def test_a_record_that_is_known_changes_nothing_unless_what_told_of_it_counts_no_more(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection
) -> None:
    first = declare(lake, "a.ndjson", False, user_id="u-1")
    known = [key("u-1"), first]
    warehouse.execute(
        "insert into raw.raw_consents values (null, ?, 'analytics', false, '2026-01-12', null, ?, 1)", known
    )
    second = declare(lake, "b.ndjson", False, user_id="u-1", consent_id="0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c01")
    assert changed(lake, warehouse, after=first) == {}
    third = declare(lake, "c.ndjson", True, user_id="u-1")
    assert changed(lake, warehouse, after=second) == {third: [day(n) for n in (11, 13, 15, 17, 19)]}
    # What told of it is replaced: whoever repeats it tells something new.
    fourth = declare(lake, "a.ndjson", False, user_id="u-1", received_at="2026-01-13T00:00:00Z")
    assert changed(lake, warehouse, after=third) == {fourth: [day(n) for n in (11, 13, 15, 17, 19)]}


def test_a_record_that_is_gone_changes_all_days_of_its_person(lake: Lake, warehouse: duckdb.DuckDBPyConnection) -> None:
    first = declare(lake, "a.ndjson", False, user_id="u-1")
    other = declare(lake, "b.ndjson", False, device_id="d-1")
    for name, batch in (("u-1", first), ("d-1", other)):
        keys = [key(name) if NAMES[name] == of else None for of in ("device_key", "user_key")]
        warehouse.execute(
            "insert into raw.raw_consents values (?, ?, 'analytics', false, '2026-01-12', null, ?, 1)", [*keys, batch]
        )
    specs = load_specs()
    with removing(lake.settings, specs, "a test") as receipts:
        gone = remove_rows(receipts, lake.settings, specs["consents"], f"_batch_id = {first}", "a test")
    assert gone is not None
    assert changed(lake, warehouse, after=other) == {gone.batch_id: [day(n) for n in (11, 13, 15, 17, 19)]}


def test_days_of_events_that_are_not_built_yet_are_among_them(lake: Lake, warehouse: duckdb.DuckDBPyConnection) -> None:
    batch = declare(lake, "a.ndjson", False, user_id="nobody")
    warehouse.execute("insert into landed.landed_files values (1, 'events', '2026-02-01', 'a', 1, 1)")
    assert changed(lake, warehouse) == {}
    warehouse.execute("insert into landed.landed_files values (2, 'events', '2026-02-02', 'b', 1, 1)")
    assert changed(lake, warehouse) == {batch: [date(2026, 2, 2)]}


def test_records_are_found_in_the_file_that_took_the_place_of_theirs(
    lake: Lake, warehouse: duckdb.DuckDBPyConnection
) -> None:
    batch = declare(lake, "a.ndjson", False, user_id="u-1")
    declare(lake, "b.ndjson", False, user_id="nobody")
    before = changed(lake, warehouse)
    compact(lake.settings, at_least=1)
    assert changed(lake, warehouse) == before
    assert before[batch]


def test_before_anything_is_built_nothing_changes(lake: Lake) -> None:
    declare(lake, "a.ndjson", False, user_id="u-1")
    with duckdb.connect() as empty:
        make_warehouse_tables(empty)
        assert changed(lake, empty) == {}
