"""The clock of a sample lake is moved: nothing is anywhere that is older than the contract lets it be."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from flows.audit.audit import audit
from flows.build.backfill import Request, backfill
from flows.build.build import Build
from flows.build.warehouse import open_warehouse
from flows.contract.spec import load_specs
from flows.land.day_keys import DayKeys
from flows.land.inbox import deliveries
from flows.land.land import Landing
from flows.land.receipt import Status
from flows.land.repartition import repartition
from flows.privacy.renew import renew
from flows.privacy.retention import expire, last_day_to_end
from flows.publish.publish import MANIFEST, Publication, publish
from flows.publish.views import versions
from flows.run import run
from flows.settings import Settings
from tests.support.erased import copied, deliver_all_again, without_what_is_built
from tests.support.lake import Lake
from tests.support.lakes import marts_of

Run = tuple[Settings, Landing, Build, Publication]
SPECS = load_specs()
# The sample's events are of the first four days of 2026. On this day the first two are over, and all that lasts 400
# days: calls, and what was known of accounts when they were delivered.
LAST_DAY = date(2026, 1, 2)
TODAY = LAST_DAY + timedelta(days=SPECS["events"].retention_days + 1)
# What work leaves where it was killed.
LEFT_BEHIND = re.compile(r"^\.(work|erasing)|spill|\.tmp|\.partial|^\..*db\.rewritten")


def days_in_folders(zone: Path, dataset: str) -> set[date]:
    paths = (path for path in (zone / dataset).glob("event_date=*/*") if path.is_file())
    return {date.fromisoformat(path.parent.name.removeprefix("event_date=")) for path in paths}


def too_old(settings: Settings, today: date) -> Iterator[str]:
    """All that is older than the contract lets it be, wherever it is."""
    keys = DayKeys(settings)
    landed_on = {receipt.batch_id: receipt.landed_at.date() for receipt in Lake(settings.home).receipts()}
    for name, spec in SPECS.items():
        last = last_day_to_end(spec.retention_days, today)
        of_text = [days for field in spec.texts if (days := field.retention_days or spec.retention_days)]
        last_text = last_day_to_end(min(of_text, default=0), today)
        if last_text:
            yield from (f"text of {name}, {day}" for day in days_in_folders(settings.text, name) if day <= last_text)
            yield from (f"key of text of {name}, {day}" for day in keys.days("text", name) if day <= last_text)
        if last is None:
            continue
        yield from (f"landed {name}, {day}" for day in days_in_folders(settings.landed, name) if day <= last)
        yield from (f"key of quarantine of {name}, {day}" for day in keys.days("quarantine", name) if day <= last)
        rows = Lake(settings.home).rows(name)
        yield from (f"row of {name}, {row}" for row in rows if spec.is_by_day and row["event_date"] <= last)
        if not spec.is_by_day:
            over = {batch for batch, day in landed_on.items() if day <= last}
            yield from (f"row of {name}, batch {row['_batch_id']}" for row in rows if row["_batch_id"] in over)
            files = (settings.landed / name).glob("batch-*/*.parquet")
            yield from (str(path) for path in files if int(path.parent.name.removeprefix("batch-")) in over)
        delivered = (found.name for found in deliveries(settings.inbox) if found.dataset == name)
        yield from (f"inbox, {file}" for file in delivered if _is_over(file, settings, last))
    yield from _in_databases(settings, today)
    yield from (str(path) for path in settings.home.rglob("*") if LEFT_BEHIND.search(path.name))


def _is_over(name: str, settings: Settings, last: date) -> bool:
    receipts = [receipt for receipt in Lake(settings.home).receipts() if receipt.file == name]
    return bool(receipts) and receipts[-1].landed_at.date() <= last


def _in_databases(settings: Settings, today: date) -> Iterator[str]:
    """Rows of days that are over, in tables of the warehouse and in what readers see."""
    last_event = last_day_to_end(SPECS["events"].retention_days, today)
    last_call = last_day_to_end(SPECS["calls"].retention_days, today)
    published = [*settings.published.glob("[0-9]*/marts.duckdb")]
    assert published
    for path in (settings.warehouse, *published):
        with duckdb.connect(str(path), read_only=True) as database:
            columns = database.execute(
                "select schema_name, table_name, column_name from duckdb_columns() where not internal "
                "and column_name in ('event_date', 'started_date', 'ended_date') and schema_name <> 'landed' "
                "and data_type = 'DATE'"
            ).fetchall()
            assert columns
            for schema, table, column in columns:
                last = last_call if "calls" in table else last_event
                ((many,),) = database.execute(
                    f'select count(*) from "{schema}"."{table}" where "{column}" <= ?', [last]
                ).fetchall()
                if many:
                    yield f"{many} rows of {table} by {column} in {path}"
    for path in settings.published.rglob("*-20*.parquet"):
        day = date.fromisoformat(path.stem[-10:])
        # Weeks and months end after the days they are made of; and how runs went is of nobody.
        if last_event and day <= last_event and not path.name.startswith("ops_"):
            yield f"{path}"


@pytest.fixture(scope="module")
def expired(sample_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = copied(sample_run[0], tmp_path_factory.mktemp("expired") / "home")
    publish(settings, force=True)
    assert [*too_old(settings, TODAY)]  # or the tests could not fail
    expire(settings, today=TODAY)
    assert renew(settings) is not None
    return settings


def test_nothing_is_older_than_the_contract_allows(expired: Settings) -> None:
    assert [*too_old(expired, TODAY)] == []
    assert len(versions(expired)) == 1
    assert audit(expired).findings == []
    assert {receipt.dataset for receipt in Lake(expired.home).receipts() if receipt.status is Status.REMOVED} == {
        "account_keys", "accounts", "calls", "events"
    }  # fmt: skip
    assert Lake(expired.home).rows("accounts") == Lake(expired.home).rows("calls") == []


def test_the_marts_are_those_of_a_new_warehouse(expired: Settings, tmp_path: Path) -> None:
    again = without_what_is_built(copied(expired, tmp_path / "again"))
    assert run(again).is_good
    marts = marts_of(again)
    assert marts == marts_of(expired)
    assert marts["fct_sessions"] and marts["dim_contents"]
    assert marts["dim_accounts"] == marts["fct_calls"] == marts["agg_calls_daily"] == []


@pytest.mark.long
def test_what_comes_late_ends_again_also_of_a_lake_that_is_laid_out_again(
    expired: Settings, sample_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied(expired, tmp_path / "home")
    marts = marts_of(settings)
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
        assert repartition(settings) is not None
    assert repartition(settings) is not None
    assert run(settings).is_good
    assert marts_of(settings) == marts
    assert audit(settings).findings == []
    shutil.rmtree(settings.inbox / "crm")
    deliver_all_again(settings, sample_run[0].inbox, "late")
    shutil.rmtree(settings.inbox / "crm")  # what is known of accounts ends by its delivery: these are new
    assert run(settings).is_good
    assert [*too_old(settings, TODAY)]
    expire(settings, today=TODAY)
    assert renew(settings) is not None
    assert [*too_old(settings, TODAY)] == []
    assert audit(settings).findings == []
    assert marts_of(settings) == marts


@pytest.mark.long
def test_days_that_ended_are_rebuilt_as_nothing(expired: Settings, tmp_path: Path) -> None:
    settings = copied(expired, tmp_path / "home")
    marts = marts_of(settings)
    backfill(settings, Request(LAST_DAY - timedelta(days=1), LAST_DAY + timedelta(days=2), "", 2))
    publish(settings, force=True)
    assert marts_of(settings) == marts
    assert audit(settings).findings == []


def test_a_lake_without_a_warehouse_has_nothing_older(sample_run: Run, tmp_path: Path) -> None:
    settings = without_what_is_built(copied(sample_run[0], tmp_path / "home"))
    expire(settings, today=TODAY)
    assert not renew(settings)
    assert days_in_folders(settings.landed, "events") == {date(2026, 1, day) for day in (3, 4)}
    assert days_in_folders(settings.landed, "calls") == set()
    assert [*(settings.landed / "accounts").rglob("*.parquet")] == []


def test_a_warehouse_that_was_never_rewritten_is_found_though_old_versions_went(
    sample_run: Run, tmp_path: Path
) -> None:
    """Versions go by themselves in time: that must not be taken for a renewal that was killed before its end."""
    settings = copied(sample_run[0], tmp_path / "home")
    expire(settings, today=TODAY)
    run(settings)
    *older, newest = versions(settings)
    for version in older:
        shutil.rmtree(settings.published / version)
    before = settings.warehouse.stat().st_ino
    assert renew(settings) is not None
    assert settings.warehouse.stat().st_ino != before
    assert renew(settings) is None
    left = settings.published / older[0]  # killed as it was removed, after its manifest
    shutil.copytree(settings.published / versions(settings)[0], left)
    (left / MANIFEST).unlink()
    assert renew(settings) is not None
    assert not left.exists()
    assert renew(settings) is None
    with open_warehouse(settings, read_only=True) as warehouse:
        assert warehouse.execute("select count(*) from ops.changes").fetchall() != [(0,)]
    assert newest < versions(settings)[0]
    assert datetime.now(UTC).date() < TODAY
