"""What a retry landed of a file of consents goes with the file, and the days that it changed change again."""

import json
from contextlib import closing
from datetime import date
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from flows.build.consents import days_changed
from flows.build.landings import LANDING
from flows.contract.spec import DatasetSpec, load_specs
from flows.land.pseudonyms import Pseudonymiser
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from flows.land.retry import retry_quarantine
from tests.support.consents import make_consent_tables
from tests.support.lake import KEY, Lake

DAY = date(2026, 1, 15)


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    """The device d-1 had consent to analytics on one day. The models have seen all that landed before."""
    made = duckdb.connect()
    make_consent_tables(made, seen=9)
    device = UUID(bytes=Pseudonymiser(KEY.encode()).one("device_key", "d-1"))
    made.execute(
        "insert into intermediate.int_consents__days_used values (?, ?, null, true, false, false)", [DAY, device]
    )
    return made


def specs_before() -> dict[str, DatasetSpec]:
    """The contract as it was when consent to analytics was nobody's to record."""
    specs = load_specs()
    consents = specs["consents"]
    fields = [
        field.model_copy(update={"accepted_values": ("advertising",)}) if field.name == "purpose" else field
        for field in consents.fields
    ]
    return specs | {"consents": consents.model_copy(update={"fields": tuple(fields)})}


def record(number: int, purpose: str, device: str) -> bytes:
    said = {"consent_id": f"0191f3c2-8a44-7c1e-9d3b-{number:012x}", "purpose": purpose, "device_id": device}
    at = "2026-01-16T00:00:00Z"
    return json.dumps(said | {"is_granted": False, "valid_from": at, "received_at": at}).encode() + b"\n"


def changed(lake: Lake, warehouse: duckdb.DuckDBPyConnection, after: int) -> pa.Table:
    specs = load_specs()
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        files = {name: receipts.files.in_force(name) for name in specs}
        return days_changed(warehouse, specs, lake.settings.lake, list(receipts.after(after)), files)


def enter(warehouse: duckdb.DuckDBPyConnection, receipt: Receipt) -> None:
    known = pa.Table.from_pylist([receipt.model_dump(mode="json", include={*LANDING})])
    warehouse.register("known", known)
    warehouse.execute(
        "insert into landed.landings by name "
        "select * replace (delivered_at::timestamptz as delivered_at, landed_at::timestamptz as landed_at) from known"
    )


@pytest.mark.parametrize("entered", [0, 2])
def test_a_delivery_that_takes_another_s_place_changes_what_its_retries_did(
    tmp_path: Path, warehouse: duckdb.DuckDBPyConnection, entered: int
) -> None:
    """Whether the retry is new to the warehouse too, or is known there."""
    lake = Lake(tmp_path)
    lake.deliver("cmp/consents/a.ndjson", record(1, "advertising", "d-2") + record(2, "analytics", "d-1"))
    (first,) = lake.land(specs_before()).receipts
    (retried,) = retry_quarantine(lake.settings).receipts
    assert (first.rows_rejected, retried.rows_landed, retried.retries_batch_id) == (1, 1, first.batch_id)
    for receipt in [first, retried][:entered]:
        enter(warehouse, receipt)
    again = lake.land_one("cmp/consents/a.ndjson", record(3, "advertising", "d-2"))
    assert again.supersedes_batch_id == first.batch_id
    assert DAY in changed(lake, warehouse, entered)["event_date"].to_pylist()
    assert {*changed(lake, warehouse, entered)["batch_id"].to_pylist()} == {again.batch_id}
