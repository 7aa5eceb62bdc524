"""What landed is at the object store too: each row once for whoever reads there, at every moment, and never more."""

import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.layout import read_layout, write_layout
from flows.land.receipts import Receipts
from flows.land.remove import remove_rows, remove_unread, removing
from flows.land.repartition import repartition
from flows.land.restore import restore_landed
from flows.land.retry import retry_quarantine
from flows.land.send import remove_sent_rows, send_landed
from flows.land.sent import holds_what_was_removed, read_sent_zone, sent_zone_status, zone_record_path
from flows.object_store import Store
from flows.orchestrate.problems import observe_refused
from flows.privacy.retention import expire
from flows.settings import Settings
from flows.status.describe_lake import describe_lake
from flows.status.lake import read_status
from tests.support.deliveries import event, field_of, ndjson, small_spec
from tests.support.lake import Lake
from tests.support.object_store import SECRET, Asked, ObjectStore, load_httpfs, refusal, served_object_store
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with served_object_store() as served:
        for name, value in served.variables.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def lake(store: ObjectStore, tmp_path: Path) -> Lake:
    """A lake that is sent to the store."""
    return Lake(tmp_path / "home", landed_url=f"{store.url}/lake")


def objects(store: ObjectStore) -> dict[str, bytes]:
    return {key.removeprefix("lake/"): data for key, data in store.objects().items()}


def rows_there(store: ObjectStore) -> Rows:
    """The rows that count for whoever reads by the list."""
    there, found = objects(store), Rows()
    for file in json.loads(there["landed/current.json"])["files"]:
        assert len(there[file["path"]]) == file["bytes"]
        rows = pq.read_table(io.BytesIO(there[file["path"]])).to_pylist()
        found.setdefault(file["dataset"], []).extend(
            row for row in rows if row["_batch_id"] not in file["superseded_batch_ids"]
        )
    return {name: sorted(rows, key=_place) for name, rows in found.items()}


def rows_here(settings: Settings) -> Rows:
    """The rows that count here."""
    found = Rows()
    with closing(Receipts(settings, read_only=True)) as receipts:
        superseded = {*receipts.superseded()}
        for dataset in {dataset for _, dataset, _ in receipts.committed()}:
            for file in receipts.files.in_force(dataset):
                # As the file has them: the day is in its path.
                rows = pq.ParquetFile(settings.lake / file.path).read().to_pylist()
                found.setdefault(dataset, []).extend(row for row in rows if row["_batch_id"] not in superseded)
    return {name: sorted(rows, key=_place) for name, rows in found.items()}


def _place(row: dict[str, Any]) -> tuple[int, int]:
    return row["_batch_id"], row["_line"]


def events(first: int, *days: int) -> bytes:
    return ndjson([event(first + n, occurred_at=f"2026-01-{day:02d}T12:00:00Z") for n, day in enumerate(days)])


def sent(settings: Settings) -> None:
    assert send_landed(settings) is None


# --- what is there ---


def test_what_landed_is_there_by_its_name_and_nothing_that_is_locked(lake: Lake, store: ObjectStore) -> None:
    said = {"call_id": "c-1", "advert_id": "a-1", "started_at": "2026-01-02T12:00:00Z", "duration_seconds": 60}
    said |= {"channel": "phone", "transcript": "Is the red estate still for sale?"}
    lake.land_one("telephony/calls/a.ndjson", ndjson([said, said | {"duration_seconds": -1, "call_id": "secret-id"}]))
    lake.land_one("web/events/a.ndjson", events(1, 1, 2))
    sent(lake.settings)
    folder = "landed/layout-1"
    assert {*objects(store)} == {
        "landed/publisher.json",
        "landed/current.json",
        f"{folder}/calls/batch-000000000001/receipt.json",
        f"{folder}/calls/batch-000000000001/rejects.parquet",
        f"{folder}/calls/event_date=2026-01-02/batch-000000000001.parquet",
        f"{folder}/events/batch-000000000002/receipt.json",
        f"{folder}/events/event_date=2026-01-01/batch-000000000002.parquet",
        f"{folder}/events/event_date=2026-01-02/batch-000000000002.parquet",
    }
    assert [*lake.settings.text.rglob("*.parquet")] and [*lake.settings.day_keys.rglob("*.json")]
    for path in lake.settings.landed.rglob("*"):
        key = f"{folder}/{path.relative_to(lake.settings.landed)}"
        assert key not in objects(store) or objects(store)[key] == path.read_bytes()
    rejects = pq.read_table(io.BytesIO(objects(store)[f"{folder}/calls/batch-000000000001/rejects.parquet"]))
    assert rejects.column_names == ["_batch_id", "_line", "reason", "field"] and rejects.num_rows == 1
    assert not [key for key, data in objects(store).items() if b"red estate" in data or b"secret-id" in data]
    assert rows_there(store) == rows_here(lake.settings)


def puts(store: ObjectStore) -> list[str]:
    return [one.key.removeprefix("lake/landed/") for one in store.asked if one.method == "PUT"]


def test_files_come_before_receipts_and_the_list_comes_last(lake: Lake, store: ObjectStore) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1, 2))
    lake.land_one("web/events/b.ndjson", events(11, 2))
    store.asked.clear()
    sent(lake.settings)
    made = [key for key in puts(store) if key != "publisher.json"]
    assert [key.rpartition("/")[2] for key in made] == [
        "batch-000000000001.parquet",
        "batch-000000000001.parquet",
        "batch-000000000002.parquet",
        "receipt.json",
        "receipt.json",
        "current.json",
    ]
    assert ["batch-000000000001" in key for key in made[3:5]] == [True, False]
    assert all(one.environ.get("HTTP_IF_NONE_MATCH") == "*" for one in store.asked if one.key.endswith(".parquet"))
    compact(lake.settings)
    store.asked.clear()
    sent(lake.settings)
    (swap,) = [one for one in store.asked if one.method == "PUT" and one.key.endswith("current.json")]
    assert swap.environ.get("HTTP_IF_MATCH")
    assert [one.method for one in store.asked if one.key == "" and one.method == "POST"] == ["POST"]


def test_where_nothing_is_new_nothing_is_asked(lake: Lake, store: ObjectStore) -> None:
    store.asked.clear()
    sent(lake.settings)
    assert store.asked == [] and not zone_record_path(lake.settings).exists()
    lake.land_one("web/events/a.ndjson", events(1, 1))
    sent(lake.settings)
    store.asked.clear()
    sent(lake.settings)
    sent(lake.settings.model_copy(update={"landed_url": None}))
    assert store.asked == []


# As docs/guides/object-stores.md has it.
GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "object-stores.md").read_text()


def read_by_the_guide(store: ObjectStore, dataset: str, select: str) -> list[tuple[Any, ...]]:
    """What a query of the view that the guide makes finds."""
    block = GUIDE.partition("## What landed, in a bucket")[2].partition("```sql\n")[2].partition("```")[0]
    secret, *statements = block.replace("s3://company-lake/tidemark", f"{store.url}/lake").strip().split("\ncreate", 1)
    assert secret.startswith("create secret")
    with duckdb.connect() as db:
        load_httpfs(db)
        host = store.endpoint.removeprefix("http://")
        db.execute(
            f"create secret (type s3, key_id 'k', secret 's', region 'us-east-1', endpoint '{host}', use_ssl false, "
            "url_style 'path')"
        )
        db.execute(_but_the_last(f"create{statements[0]}".replace("'events'", f"'{dataset}'")))
        return db.execute(select).fetchall()


def _but_the_last(statements: str) -> str:
    """All statements but the query, which asks for days."""
    return statements.strip().removesuffix(";").rpartition(";")[0]


def test_duckdb_reads_there_what_counts_here(lake: Lake, store: ObjectStore) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1, 2, 2))
    lake.land_one("web/events/b.ndjson", events(11, 2, 3))
    for content in ("a", "b"):
        accounts = [{"account_id": f"k-{n}{content}", "created_at": "2026-01-01T00:00:00Z"} for n in range(3)]
        rows = [account | {"updated_at": "2026-01-01T00:00:00Z", "user_id": "u"} for account in accounts]
        lake.land_one("crm/accounts/a.ndjson", ndjson(rows))
    lake.land_one("web/events/c.ndjson", events(21, 2))
    for _ in range(2):
        sent(lake.settings)
        here = rows_here(lake.settings)
        assert len(here["events"]) == 6 and len(here["accounts"]) == 3
        assert rows_there(store) == here
        for dataset, rows in here.items():
            read = read_by_the_guide(store, dataset, "select _batch_id, _line from landed order by all")
            assert read == [*map(_place, rows)]
        days = read_by_the_guide(store, "events", "select event_date, count(*) from landed group by all order by all")
        assert days == [(date(2026, 1, 1), 1), (date(2026, 1, 2), 4), (date(2026, 1, 3), 1)]
        compact(lake.settings)


# --- what changes ---


def remove(lake: Lake, is_taken: str, why: str = "a test") -> None:
    """Take rows of events out of the lake, as an erasure does."""
    specs = load_specs()
    with removing(lake.settings, specs, "a test") as receipts:
        assert remove_rows(receipts, lake.settings, specs["events"], is_taken, why)
        remove_unread(receipts, lake.settings, specs)


def lay_out_again(lake: Lake) -> None:
    """Lay the lake out by other days."""
    layout = read_layout(lake.settings.landed)
    assert layout is not None
    write_layout(lake.settings.landed, layout.model_copy(update={"timezone": "Pacific/Auckland"}))
    assert repartition(lake.settings)


CHANGES: dict[str, Callable[[Lake], Any]] = {
    "landed": lambda lake: lake.land_one("web/events/d.ndjson", events(31, 2, 4)),
    "compacted": lambda lake: compact(lake.settings),
    "rows removed": lambda lake: remove(lake, "_batch_id = 1"),
    "a day removed": lambda lake: remove(lake, "event_date <= date '2026-01-02'"),
    "laid out again": lay_out_again,
}


@pytest.fixture
def started(lake: Lake) -> Lake:
    lake.land_one("web/events/a.ndjson", events(1, 1, 2))
    lake.land_one("web/events/b.ndjson", events(11, 2, 3))
    sent(lake.settings)
    return lake


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_here_changes_there(change: str, started: Lake, store: ObjectStore) -> None:
    CHANGES[change](started)
    store.asked.clear()
    sent(started.settings)
    assert rows_there(store) == rows_here(started.settings)
    folder = json.loads(objects(store)["landed/current.json"])["folder"]
    with closing(Receipts(started.settings, read_only=True)) as receipts:
        in_force = {file.path for file in receipts.files.in_force("events")}
        batches = receipts.committed()
    assert {key for key in objects(store) if key.endswith(".parquet")} == {
        path.replace("landed", folder, 1) for path in in_force
    }
    assert sum(key.endswith("receipt.json") for key in objects(store)) == len(batches)
    assert not holds_what_was_removed(started.settings)


def test_what_a_retry_landed_is_sent(lake: Lake, store: ObjectStore) -> None:
    strict = small_spec([field_of("name", required=True), field_of("size", "bigint")], "things")
    row = {"name": "a", "size": "many"}
    lake.land_one("tests/things/a.ndjson", ndjson([{"name": "b", "size": 1}, row]), strict)
    sent(lake.settings)
    assert len(rows_there(store)["things"]) == 1
    loose = small_spec([field_of("name", required=True), field_of("size")], "things")
    assert len(retry_quarantine(lake.settings, None, loose).receipts) == 1
    sent(lake.settings)
    assert len(rows_there(store)["things"]) == 2 and rows_there(store) == rows_here(lake.settings)


def test_days_that_end_end_there(lake: Lake, store: ObjectStore) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1, 2))
    sent(lake.settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flows.privacy.retention.last_day_to_end", lambda days, today: date(2026, 1, 1))
        assert expire(lake.settings)
    assert holds_what_was_removed(lake.settings)
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(TidemarkError, match="SlowDown"):
        remove_sent_rows(lake.settings)
    assert holds_what_was_removed(lake.settings)
    store.heal()
    remove_sent_rows(lake.settings)
    assert not holds_what_was_removed(lake.settings)
    assert not [key for key in objects(store) if "2026-01-01" in key]
    assert rows_there(store) == rows_here(lake.settings) and len(rows_there(store)["events"]) == 1


# --- killed anywhere ---


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


def killed(patched: pytest.MonkeyPatch, change: int, is_before: bool) -> None:
    """Have this process killed as it makes so many changes at the store, before or after that one is made."""
    left = [change]

    def wrapped(made: Callable[..., None]) -> Callable[..., None]:
        def change_or_die(*given: Any, **more: Any) -> None:
            if not is_before:
                made(*given, **more)  # one that is refused is no change
            left[0] -= 1
            if left[0] == 0:
                raise KilledError
            if is_before:
                made(*given, **more)

        return change_or_die

    patched.setattr(Store, "_put", wrapped(Store._put))
    patched.setattr(Store, "delete", wrapped(Store.delete))


def assert_receipts_are_of_files(store: ObjectStore) -> None:
    """Each file of a receipt that is there is there, or one that took its place; batches have no gap in the folder that
    the list names."""
    there = objects(store)
    listed = json.loads(there["landed/current.json"])["folder"] if "landed/current.json" in there else None
    receipts: dict[str, list[dict[str, Any]]] = {}
    for key, data in there.items():
        if key.endswith("receipt.json"):
            receipts.setdefault("/".join(key.split("/")[:2]), []).append(json.loads(data))
    for folder, found in receipts.items():
        numbers = [receipt["batch_id"] for receipt in found]
        assert folder != listed or sorted(numbers) == [*range(1, len(numbers) + 1)]
        for receipt in found:
            for file in receipt["files"]:
                day = file["path"].replace("landed", folder, 1).rpartition("/")[0]
                later = [
                    key for key in there if key.startswith(f"{day}/through-") and _number(key) >= receipt["batch_id"]
                ]
                emptied = [
                    one["batch_id"]
                    for one in found
                    for gone in one["removed"]
                    if gone["event_date"] == file["event_date"] and one["batch_id"] >= receipt["batch_id"]
                ]
                assert key in there or later or emptied, (receipt, sorted(there))


def _number(key: str) -> int:
    return int(key.rpartition("-")[2].removesuffix(".parquet"))


def restored(settings: Settings, home: Path) -> Settings:
    """What a restored home has, which sends nothing."""
    shutil.rmtree(home, ignore_errors=True)
    again = settings.model_copy(update={"home": home})
    restore_landed(again)
    return again


KILLED = ("rows removed", "laid out again")
CASES = [
    pytest.param(change, is_before, marks=() if change in KILLED and not is_before else pytest.mark.long)
    for change in ("first", *CHANGES)
    for is_before in (False, True)
]


@pytest.mark.parametrize(("change", "is_before"), CASES)
def test_killed_at_any_change_it_is_one_state_or_the_other_and_the_next_call_ends_it(
    change: str, is_before: bool, lake: Lake, store: ObjectStore, tmp_path: Path
) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1, 2))
    lake.land_one("web/events/b.ndjson", events(11, 2, 3))
    states: list[Rows] = []
    if change != "first":
        sent(lake.settings)
        states.append(rows_there(store))
        CHANGES[change](lake)
    states.append(rows_here(lake.settings))
    there, kept = store.objects(), tmp_path / "kept"
    shutil.copytree(lake.settings.home, kept)
    for number in range(1, 100):
        with pytest.MonkeyPatch.context() as patched:
            killed(patched, number, is_before)
            try:
                sent(lake.settings)
            except KilledError:
                is_killed = True
            else:
                is_killed = False
        assert_receipts_are_of_files(store)
        known = read_sent_zone(lake.settings)
        assert (known is not None and known.may_hold) or not [key for key in objects(store) if key.count("/") > 1]
        if "landed/current.json" in objects(store):
            assert rows_there(store) in states
            assert rows_here(restored(lake.settings, tmp_path / "restored")) == rows_there(store)
        sent(lake.settings)
        assert rows_there(store) == states[-1]
        assert {key for key in objects(store) if key.endswith(".parquet")} == {
            file["path"] for file in json.loads(objects(store)["landed/current.json"])["files"]
        }
        if not is_killed:
            break
        for key in store.objects():
            store.delete(key)
        for key, data in there.items():
            store.put(key, data)
        shutil.rmtree(lake.settings.home)
        shutil.copytree(kept, lake.settings.home)
    assert number > 3


def _send_in_child(settings: Settings, variables: dict[str, str]) -> None:
    os.environ |= variables
    os._exit(3 if send_landed(settings) else 0)


def test_a_process_that_is_killed_leaves_no_lock(started: Lake, store: ObjectStore) -> None:
    started.land_one("web/events/d.ndjson", events(31, 2, 4))
    child = FORKSERVER.Process(target=_send_in_child, args=(started.settings, store.variables))

    def after(asked: Asked) -> None:
        if asked.method == "PUT":
            os.kill(child.pid or 0, signal.SIGKILL)

    store.after = after
    child.start()
    child.join(PATIENCE_SECONDS)
    assert child.exitcode == -signal.SIGKILL
    store.heal()
    sent(started.settings)
    assert rows_there(store) == rows_here(started.settings)


def replace_files(lake: Lake) -> None:
    """Land more, compact, and have the files of before gone."""
    lake.land_one("web/events/e.ndjson", events(41, 4))
    compact(lake.settings)
    specs = load_specs()
    with removing(lake.settings, specs, "a test") as receipts:
        remove_unread(receipts, lake.settings, specs)


@pytest.mark.parametrize("change", [replace_files, lay_out_again], ids=["replaced", "laid out again"])
def test_what_changes_while_it_is_sent_is_sent_as_it_is_then(
    change: Callable[[Lake], None], started: Lake, store: ObjectStore
) -> None:
    started.land_one("web/events/d.ndjson", events(31, 2, 4, 5))
    done: list[str] = []

    def before(asked: Asked) -> None:
        if asked.method == "PUT" and not done:
            done.append(asked.key)
            change(started)

    store.before = before
    sent(started.settings)
    assert done and rows_there(store) == rows_here(started.settings)
    layout = read_layout(started.settings.landed)
    assert layout is not None
    folders = {key.split("/")[1] for key in objects(store) if key.count("/") > 1}
    assert folders == {f"layout-{layout.number}"}


def test_what_has_landed_in_part_is_left_to_who_lands(started: Lake, store: ObjectStore) -> None:
    started.land_one("web/events/d.ndjson", events(31, 4))
    told = started.settings.lake / "told" / "events" / "consents" / "batch-000000000003.parquet"
    told.parent.mkdir(parents=True)
    told.touch()
    store.asked.clear()
    sent(started.settings)
    assert store.asked == []
    told.unlink()
    sent(started.settings)
    assert rows_there(store) == rows_here(started.settings)


def test_a_record_that_cannot_be_read_is_said_and_nothing_is_taken_for_erased(started: Lake) -> None:
    remove(started, "_batch_id = 1")
    zone_record_path(started.settings).write_text("{")
    assert "put it back from a backup" in (send_landed(started.settings) or "")
    with pytest.raises(TidemarkError, match="put it back from a backup"):
        remove_sent_rows(started.settings)
    assert len(_open(started.settings)) == 1
    assert "NOT SENT" in str(describe_lake(read_status(started.settings, datetime.now(UTC))))


# --- what goes wrong ---

AWAY: dict[str, Callable[[Asked], Any]] = {
    "slow": lambda asked: refusal("503 Slow Down", "SlowDown"),
    "wrong keys": lambda asked: refusal("403 Forbidden", "InvalidAccessKeyId"),
    "no right to write": lambda asked: refusal("403 Forbidden", "AccessDenied") if asked.method == "PUT" else None,
}


@pytest.mark.parametrize("wrong", AWAY)
def test_a_store_that_is_away_stops_no_landing(wrong: str, started: Lake, store: ObjectStore) -> None:
    settings = started.settings
    store.before = AWAY[wrong]
    started.land_one("web/events/d.ndjson", events(31, 4))
    why = send_landed(settings)
    assert why and SECRET not in why and SECRET not in zone_record_path(settings).read_text()
    status = read_status(settings, datetime.now(UTC))
    assert status.needs_a_person and f"NOT SENT: {why}" in str(describe_lake(status))
    assert [one.problem.title for one in _open(settings)] == ["what landed could not be sent to the object store"]
    store.heal()
    sent(settings)
    assert _open(settings) == []
    assert "up to batch 3, sent" in str(describe_lake(read_status(settings, datetime.now(UTC))))
    assert rows_there(store) == rows_here(settings)


def _open(settings: Settings) -> list[Any]:
    from flows.alerts.incidents import open_incidents  # noqa: PLC0415

    observe_refused(settings)
    return open_incidents(settings)


def test_what_is_not_there_for_long_is_said(started: Lake) -> None:
    started.land_one("web/events/d.ndjson", events(31, 4))
    with closing(Receipts(started.settings, read_only=True)) as receipts:
        soon, later = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=2)
        assert sent_zone_status(started.settings, receipts, soon).not_there is None
        assert "batch 3" in (sent_zone_status(started.settings, receipts, later).not_there or "")


def test_where_nothing_is_set_what_was_sent_is_shown(started: Lake) -> None:
    here_only = started.settings.model_copy(update={"landed_url": None})
    status = read_status(here_only, datetime.now(UTC))
    assert "is there still, and TIDEMARK_LANDED_URL is not set" in str(describe_lake(status))


def test_rows_that_were_removed_are_not_forgotten_where_the_address_is_another(
    started: Lake, store: ObjectStore
) -> None:
    remove(started, "_batch_id = 1")
    with pytest.raises(TidemarkError, match="TIDEMARK_LANDED_URL is not set"):
        remove_sent_rows(started.settings.model_copy(update={"landed_url": None}))
    elsewhere = started.settings.model_copy(update={"landed_url": f"{store.url}/other"})
    with pytest.raises(TidemarkError, match="was sent to"):
        remove_sent_rows(elsewhere)
    assert "not at" in (read_status(elsewhere, datetime.now(UTC)).landed_sent.not_there or "")
    assert holds_what_was_removed(started.settings)
    remove_sent_rows(started.settings)
    assert not holds_what_was_removed(started.settings)
    assert {row["_batch_id"] for row in rows_there(store)["events"]} == {2}


def test_an_address_that_was_wrong_may_be_set_right(lake: Lake, store: ObjectStore) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1))
    wrong = lake.settings.model_copy(update={"landed_url": "s3://no-such-bucket/lake"})
    assert "there is no such bucket" in (send_landed(wrong) or "")
    sent(lake.settings)
    assert rows_there(store) == rows_here(lake.settings)


def test_a_store_that_heeds_no_conditions_is_refused(lake: Lake, store: ObjectStore) -> None:
    def before(asked: Asked) -> None:
        asked.environ.pop("HTTP_IF_NONE_MATCH", None)
        asked.environ.pop("HTTP_IF_MATCH", None)

    lake.land_one("web/events/a.ndjson", events(1, 1))
    store.before = before
    assert "pays no heed to If-None-Match" in (send_landed(lake.settings) or "")
    assert objects(store) == {}


def test_a_bucket_that_keeps_versions_is_refused(lake: Lake, store: ObjectStore) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1))
    enabled = {"Status": "Enabled"}
    store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration=enabled)
    assert "keeps versions of its objects (Enabled)" in (send_landed(lake.settings) or "")
    assert objects(store) == {}


def test_a_file_that_is_too_large_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land_one("web/events/a.ndjson", events(1, 1))
    monkeypatch.setattr("flows.object_store.MOST_BYTES", 1000)
    assert "has more bytes than one PUT takes" in (send_landed(lake.settings) or "")


def test_two_homes_do_not_send_to_one_place(started: Lake, store: ObjectStore, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other", landed_url=started.settings.landed_url)
    other.land_one("web/events/a.ndjson", events(1, 1))
    assert "another home publishes there" in (send_landed(other.settings) or "")
    shutil.copytree(started.settings.home, tmp_path / "copy")
    copy = Lake(tmp_path / "copy", landed_url=started.settings.landed_url)
    started.land_one("web/events/d.ndjson", events(31, 4))
    sent(started.settings)
    there = objects(store)
    assert "the lake here ends with" not in (send_landed(copy.settings) or "")  # nothing is new to it
    copy.land_one("web/events/e.ndjson", events(41, 5))
    assert "a copy of this home published there" in (send_landed(copy.settings) or "")
    assert objects(store) == there


def test_an_older_copy_removes_nothing(started: Lake, store: ObjectStore) -> None:
    there = objects(store)
    shutil.rmtree(started.settings.lake)
    assert "the lake here ends with batch 0" in (send_landed(started.settings) or "")
    started.land_one("web/events/z.ndjson", events(1, 1))
    assert "the lake here ends with batch 1" in (send_landed(started.settings) or "")
    assert objects(store) == there


def test_a_publication_may_have_the_same_address(started: Lake, store: ObjectStore) -> None:
    store.put("lake/publisher.json", b"{}")
    store.put("lake/current/marts.duckdb", b"x")
    started.land_one("web/events/d.ndjson", events(31, 4))
    compact(started.settings)
    sent(started.settings)
    assert {"publisher.json", "current/marts.duckdb"} <= {*objects(store)}


# --- brought back ---


def test_a_restored_home_has_what_landed_and_goes_on(started: Lake, store: ObjectStore, tmp_path: Path) -> None:
    started.land_one("web/events/d.ndjson", ndjson([event(50), {"event_id": "no event"}]))
    remove(started, "_batch_id = 1")
    sent(started.settings)
    again = Lake(tmp_path / "again", landed_url=started.settings.landed_url)
    said = CliRunner().invoke(main, ["restore"], env=_environment(again.settings))
    assert said.exit_code == 0 and "restored 4 batches with 3 rows" in said.output, said.output
    assert rows_here(again.settings) == rows_here(started.settings)
    assert [row["raw"] for row in again.rejects()] == [b""]
    assert [row["reason"] for row in again.rejects()] == [row["reason"] for row in started.rejects()]
    # What was delivered before is known, and what comes now is the next batch.
    again.deliver("web/events/same.ndjson", events(11, 2, 3))
    assert [receipt.status for receipt in again.land().receipts] == ["duplicate"]
    again.land_one("web/events/f.ndjson", events(61, 6))
    sent(again.settings)
    assert rows_there(store) == rows_here(again.settings)
    # The former home learns that another goes on in its place.
    started.land_one("web/events/g.ndjson", events(71, 6))
    assert "a copy of this home published there" in (send_landed(started.settings) or "")
    with pytest.raises(TidemarkError, match="has a landed zone"):
        restore_landed(again.settings)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "TIDEMARK_HOME": str(settings.home),
        "TIDEMARK_LANDED_URL": settings.landed_url or "",
        "TIDEMARK_PSEUDONYM_KEY": "a secret of the tests, long enough to be taken",
        "COLUMNS": "200",
    }


def test_what_a_backup_has_of_quarantine_stays(started: Lake, tmp_path: Path) -> None:
    started.land_one("web/events/d.ndjson", ndjson([event(50), {"event_id": "no event"}]))
    sent(started.settings)
    again = Lake(tmp_path / "again", landed_url=started.settings.landed_url)
    for folder in ("quarantine", "keys"):
        shutil.copytree(started.settings.lake / folder, again.settings.lake / folder)
    restore_landed(again.settings)
    assert again.rejects() == started.rejects() and again.rejects()[0]["raw"]


def test_restoring_goes_on_where_it_was_killed(started: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = started.settings.model_copy(update={"home": tmp_path / "again"})
    opened, left, died = Store.opened, [0], 0

    def dies(self: Store, key: str) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        return opened(self, key)

    monkeypatch.setattr(Store, "opened", dies)
    for _ in range(30):
        left[0] = 4
        try:
            restore_landed(again)
        except KilledError:
            assert not [*again.landed.glob("*/batch-*")]
            died += 1
        else:
            break
    assert 1 < died < 30
    assert rows_here(again) == rows_here(started.settings)
    assert not [*again.lake.glob(".restored/*")]


@pytest.mark.parametrize("wrong", ["missing", "cut", "no receipt", "another receipt", "nothing"])
def test_what_is_not_whole_is_not_restored(wrong: str, started: Lake, store: ObjectStore, tmp_path: Path) -> None:
    folder = "lake/landed/layout-1/events"
    first, receipt = f"{folder}/event_date=2026-01-02/batch-000000000001.parquet", f"{folder}/batch-000000000001"
    match wrong:
        case "missing":
            store.delete(first)
        case "cut":
            store.put(first, b"PAR1")
        case "no receipt":
            store.delete(f"{receipt}/receipt.json")
        case "another receipt":
            body = store.objects()[f"{receipt}/receipt.json"]
            store.put(
                f"{receipt}/receipt.json", body.replace(b'"event_date": "2026-01-02"', b'"event_date": "2026-01-03"')
            )
        case "nothing":
            store.delete("lake/landed/current.json")
    again = started.settings.model_copy(update={"home": tmp_path / "again"})
    with pytest.raises(TidemarkError):
        restore_landed(again)
    assert not again.landed.exists() or not [*again.landed.glob("*/batch-*")]
    with pytest.raises(TidemarkError, match="set TIDEMARK_LANDED_URL"):
        restore_landed(again.model_copy(update={"landed_url": None}))


# --- the commands ---


def test_the_commands_send_and_say_so(lake: Lake, store: ObjectStore) -> None:
    lake.deliver("web/events/a.ndjson", events(1, 1, 2))
    lake.deliver("web/events/b.ndjson", events(11, 2))
    environment = _environment(lake.settings) | {"TIDEMARK_SETTLE_SECONDS": "0"}
    said = CliRunner().invoke(main, ["land"], env=environment)
    assert said.exit_code == 0 and f"what landed up to batch 2 is at {store.url}/lake" in said.output
    assert rows_there(store) == rows_here(lake.settings)
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    said = CliRunner().invoke(main, ["compact"], env=environment)
    assert said.exit_code == 1 and "1 day, which stood in 2 files" in said.output and "not sent" in said.output
    store.heal()
    assert CliRunner().invoke(main, ["compact"], env=environment).exit_code == 0
    assert sum(key.endswith(".parquet") for key in objects(store)) == 2


def test_the_service_sends_what_landed(started: Lake, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestrate.service import launch  # noqa: PLC0415 (it brings Prefect)

    for name, value in _environment(started.settings).items():
        monkeypatch.setenv(name, value)
    started.land_one("web/events/d.ndjson", events(31, 4))
    launch.main(["send"])
    assert rows_there(store) == rows_here(started.settings)
    started.land_one("web/events/e.ndjson", events(41, 4))
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(SystemExit):
        launch.main(["send"])
