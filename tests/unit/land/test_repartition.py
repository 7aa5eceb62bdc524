"""A lake laid out again: from one that was not by day, by other days, killed anywhere."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit.audit import audit
from flows.build.landings import enter_landings
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land import layout
from flows.land import repartition as module
from flows.land.compact import compact
from flows.land.land import land
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from flows.land.remove import remove_rows, removing
from flows.land.repartition import repartition
from flows.settings import Settings
from tests.support.deliveries import contents, event, ndjson
from tests.support.lake import Lake

KIRITIMATI = "Pacific/Kiritimati"
CONSENT = {"has_analytics_consent": "analytics", "has_personalisation_consent": "personalisation",
           "has_advertising_consent": "advertising"}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Events of three days in two files and what they tell of consent, a file refused whole, and contents."""
    made = Lake(tmp_path)
    for number in range(2):
        rows = [
            event(
                100 * number + i,
                occurred_at=f"2026-01-{15 + i % 2}T{i % 24:02}:30:00Z",
                consent=[["analytics", "advertising"], [], ["analytics"]][i % 3],
            )
            for i in range(30)
        ]
        made.land_one(f"web/events/{number}.ndjson", ndjson(rows))
    made.land_one("web/events/2.ndjson.gz", b"no gzip at all")
    made.land_one("cms/contents/a.csv", contents(("c-1", "article", "One", "2026-01-15T10:00:00Z")))
    return made


def as_before_there_was_a_layout(lake: Lake) -> None:
    """The same lake as an earlier Tidemark landed it: a file a batch that its receipt names, consent as a list."""
    landed = lake.settings.landed
    for path in sorted(landed.glob("*/batch-*/receipt.json")):
        receipt = Receipt.model_validate_json(path.read_text())
        said = json.loads(path.read_text())
        del said["files"], said["columns"], said["told_files"]
        said["data_path"] = f"{receipt.folder}/data.parquet" if receipt.files else None
        if receipt.files and receipt.dataset == "events":
            table = pa.concat_tables(pq.ParquetFile(lake.settings.lake / f.path).read() for f in receipt.files)
            rows = sorted(table.to_pylist(), key=lambda row: row["_line"])
            consent = [[v for c, v in CONSENT.items() if row[c]] or None for row in rows]
            old = pa.Table.from_pylist(rows, table.schema).drop_columns(["event_date", *CONSENT])
            old = old.append_column("consent", pa.array(consent, pa.list_(pa.string())))
            pq.write_table(old, path.with_name("data.parquet"), store_schema=False)
        path.write_text(json.dumps(said))
    for folder in landed.glob("events/event_date=*"):
        shutil.rmtree(folder)
    for path in (*landed.glob("index.sqlite*"), landed / "layout.json"):
        path.unlink()


def events_of(lake: Lake) -> list[dict[str, Any]]:
    return lake.rows("events")


def test_a_lake_of_before_is_refused_and_laid_out_again_with_every_row(lake: Lake) -> None:
    rows, receipts = events_of(lake), lake.receipts()
    as_before_there_was_a_layout(lake)
    for refused in (lambda: land(lake.settings), lambda: enter_landings(lake.settings), lambda: compact(lake.settings)):
        with pytest.raises(TidemarkError, match="tidemark repartition"):
            refused()
    done = repartition(lake.settings)
    assert done is not None
    # Of events, of what the first of the two files tells of three purposes, and of contents. The second tells the same.
    assert (done.batches, done.rows, done.files) == (2 + 1 + 2, 60 + 3 + 1, 6 + 1 + 1)
    assert events_of(lake) == rows
    lake.assert_whole()
    files: dict[str, Any] = {"files": (), "told_files": ()}
    assert [r.model_copy(update=files) for r in lake.receipts()] == [r.model_copy(update=files) for r in receipts]
    assert repartition(lake.settings) is None
    assert land(lake.settings).receipts == [], "what the inbox holds is known still"


def test_what_landed_before_consent_was_asked_is_withheld_and_told(tmp_path: Path) -> None:
    """With the rows goes what says something of a person; that they refused is kept, as if they landed now."""
    specs = load_specs()
    before = {**specs, "events": specs["events"].model_copy(update={"consent": None})}
    made, now = Lake(tmp_path / "before"), Lake(tmp_path / "now")
    for each in (made, now):
        each.deliver("web/events/a.ndjson", ndjson([event(1, consent=[]), event(2, consent=["analytics"]), event(3)]))
    made.land(before)
    now.land()
    assert all(row["device_key"] for row in made.rows())
    with pytest.raises(TidemarkError, match=r"holds events\.\w+ of rows without consent too.*tidemark repartition"):
        made.land()
    assert repartition(made.settings) is not None
    assert made.rows() == now.rows()
    told = [[row | {"consent_id": None, "_line": 0} for row in lake.rows("consents")] for lake in (made, now)]
    assert sorted(told[0], key=str) == sorted(told[1], key=str)
    assert len(told[0]) == 3
    assert [r.rows_withheld for r in made.receipts()] == [r.rows_withheld for r in now.receipts()] == [1, 0]
    made.assert_whole()
    assert repartition(made.settings) is None


def in_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setattr(layout, "organisation_timezone", lambda: zone)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_another_time_zone_gives_other_days_and_the_same_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, is_compacted: bool
) -> None:
    rows = events_of(lake)
    if is_compacted:
        compact(lake.settings)
        enter(lake.settings)
    in_zone(monkeypatch, KIRITIMATI)
    with pytest.raises(TidemarkError, match=r"days of Europe/Stockholm, and .* says Pacific/Kiritimati"):
        land(lake.settings)
    assert repartition(lake.settings) is not None
    lake.assert_whole()
    for before, now in zip(rows, events_of(lake), strict=True):
        local = before["occurred_at"].replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(KIRITIMATI)).date()
        assert now == before | {"event_date": local}
    assert shown(lake.settings) == [(row["_batch_id"], row["_line"], row["event_date"]) for row in events_of(lake)]


def enter(settings: Settings) -> None:
    settings.warehouse.parent.mkdir(exist_ok=True)
    enter_landings(settings)


def shown(settings: Settings) -> list[tuple[Any, ...]]:
    enter(settings)
    with duckdb.connect(str(settings.warehouse)) as warehouse:
        return warehouse.execute(
            "select _batch_id, _line, event_date from landed.events order by _batch_id, _line"
        ).fetchall()


def test_a_warehouse_forgets_what_it_knew_of_the_lake_before(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(lake.settings)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        warehouse.execute("insert into ops.model_progress values ('m', 4, ['events'], 'mark', 1, now()::timestamp)")
    in_zone(monkeypatch, KIRITIMATI)
    repartition(lake.settings)
    enter(lake.settings)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        assert warehouse.execute("select * from ops.model_progress").fetchall() == []
        assert warehouse.execute("select count(*), count(distinct batch_id) from landed.landings").fetchone() == (5, 5)
        assert warehouse.execute("select timezone from landed.layout").fetchone() == (KIRITIMATI,)


class Killed(BaseException):
    """As a kill: nothing of ours goes on."""


KILLS = [
    *((Receipts, "commit", call) for call in (1, 2, 4)),
    *((module, "_lay_out_batch", call) for call in (1, 2)),
    *((Path, "rename", call) for call in (1, 2, 3, 7)),
    (module, "_copy_seen", 1),
]


@pytest.mark.parametrize(("owner", "step", "call"), KILLS)
def test_killed_anywhere_it_goes_on_where_it_stopped(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, call: int
) -> None:
    rows = events_of(lake)
    as_before_there_was_a_layout(lake)
    real: Callable[..., Any] = getattr(owner, step)
    calls = iter(range(1, 1000))

    def killed(*arguments: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killed)
        with pytest.raises(Killed):
            repartition(lake.settings)
    assert repartition(lake.settings) is not None
    assert events_of(lake) == rows
    lake.assert_whole()


@pytest.mark.parametrize("call", [1, 2])
def test_killed_as_the_new_one_takes_the_place_of_the_old_it_is_refused_until_it_is_ended(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    rows = events_of(lake)
    as_before_there_was_a_layout(lake)
    real, calls = Path.rename, iter(range(1, 3))

    def killed(path: Path, target: Path) -> Path:
        if path.name == "landed" and next(calls) == call:
            raise Killed
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            repartition(lake.settings)
    for refused in (land, enter_landings):
        with pytest.raises(TidemarkError, match="tidemark repartition"):
            refused(lake.settings)
    repartition(lake.settings)
    assert events_of(lake) == rows
    lake.assert_whole()
    assert {path.name for path in lake.settings.lake.iterdir() if path.name.startswith(".") and path.is_dir()} == set()


def test_what_is_left_of_one_is_never_taken_for_another(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        in_zone(patch, KIRITIMATI)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        repartition(lake.settings)
    rows, real = events_of(lake), Receipts.commit

    def killed(receipts: Receipts, receipt: Receipt, made: Path) -> None:
        if receipt.batch_id == 2:
            raise Killed
        real(receipts, receipt, made)

    with monkeypatch.context() as patch:
        patch.setattr(Receipts, "commit", killed)
        with pytest.raises(Killed):
            repartition(lake.settings)
    assert events_of(lake) == rows
    assert repartition(lake.settings) is not None
    assert [(row["_batch_id"], row["_line"]) for row in events_of(lake)] == [
        (row["_batch_id"], row["_line"]) for row in rows
    ]
    lake.assert_whole()


def test_a_dataset_that_is_new_to_the_contract_moves_nothing(lake: Lake) -> None:
    specs = dict(load_specs())
    specs["visits"] = specs["calls"].model_copy(update={"name": "visits"})
    assert repartition(lake.settings, specs) is None
    lake.deliver("web/events/9.ndjson", ndjson([event(900)]))
    assert [receipt.rows_landed for receipt in land(lake.settings, specs).receipts] == [1]


def test_the_audit_of_a_lake_of_before_says_what_to_do_and_not_that_rows_are_lost(lake: Lake) -> None:
    as_before_there_was_a_layout(lake)
    with pytest.raises(TidemarkError, match="tidemark repartition"):
        audit(lake.settings)


def test_a_damaged_file_stops_it_naming_the_file_and_changes_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (receipt, *_) = lake.receipts()
    path = lake.settings.lake / receipt.files[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    in_zone(monkeypatch, KIRITIMATI)
    with pytest.raises(TidemarkError, match=r"1 of its batches cannot be read: batch 1 of events \(web/events/0"):
        repartition(lake.settings)
    path.write_bytes(whole)
    lake.assert_whole()
    assert repartition(lake.settings) is not None
    lake.assert_whole()


def test_a_dataset_that_comes_to_be_laid_out_by_day_is(lake: Lake) -> None:
    specs = dict(load_specs())
    specs["contents"] = specs["contents"].model_copy(update={"day_of": "updated_at"})
    with pytest.raises(TidemarkError, match=r"holds contents not by day, and the contract wants them by the day of"):
        land(lake.settings, specs)
    repartition(lake.settings, specs)
    with closing(Receipts(lake.settings)) as receipts:
        (file,) = receipts.files.in_force("contents")
    assert file.path == "landed/contents/event_date=2026-01-15/batch-000000000005.parquet"
    (row,) = lake.rows("contents")
    assert (row["content_id"], str(row["event_date"])) == ("c-1", "2026-01-15")
    assert repartition(lake.settings) is not None, "and back"
    (row,) = lake.rows("contents")
    assert "event_date" not in row


def test_what_the_contract_has_no_more_is_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = dict(load_specs())
    fields = tuple(f for f in specs["events"].fields if f.name != "country")
    specs["events"] = specs["events"].model_copy(update={"fields": fields})
    countries = [row["country"] for row in events_of(lake)]
    assert {*countries} == {"SE", None}
    in_zone(monkeypatch, KIRITIMATI)
    repartition(lake.settings, specs)
    assert [row["country"] for row in events_of(lake)] == countries
    with pytest.raises(TidemarkError, match=r"events\.country of rows without consent too"):
        enter(lake.settings)  # for all that is known, since that contract did not ask
    repartition(lake.settings)
    enter(lake.settings)
    with duckdb.connect(str(lake.settings.warehouse)) as warehouse:
        found = warehouse.execute("select country from landed.events order by _batch_id, _line").fetchall()
    assert [country for (country,) in found] == countries


def test_it_waits_until_nobody_reads(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    in_zone(monkeypatch, KIRITIMATI)

    class Busy:
        def __enter__(self) -> None:
            raise TidemarkError("somebody reads")

        def __exit__(self, *_: object) -> None: ...

    rows = events_of(lake)
    with pytest.raises(TidemarkError, match="somebody reads"):
        repartition(lake.settings, nobody_reads=Busy)
    assert events_of(lake) == rows
    assert repartition(lake.settings) is not None


@pytest.mark.parametrize("is_known", [True, False], ids=["of the contract", "of an earlier contract"])
def test_batches_whose_files_others_took_the_place_of_are_laid_out_from_these(
    lake: Lake, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal leaves one file of a dataset without days: batches that lost no row have none of their own then."""
    lake.land_one("cms/contents/b.csv", contents(("c-2", "article", "Two", "2026-01-16T10:00:00Z")))
    lake.land_one("cms/contents/c.csv", contents(("c-3", "article", "Three", "2026-01-17T10:00:00Z")))
    specs = load_specs()
    first = min(row["_batch_id"] for row in lake.rows("contents"))
    is_taken = f"_batch_id = {first}"
    with removing(lake.settings, specs, "a test") as receipts:
        assert remove_rows(receipts, lake.settings, specs["contents"], is_taken, "a test") is not None
        in_force = {file.path for file in receipts.files.in_force("contents")}
        receipts.files.remove_replaced("contents", in_force)
    rows = lake.rows("contents")
    assert len(rows) == 2
    monkeypatch.setattr(layout, "organisation_timezone", lambda: KIRITIMATI)
    known = {name: spec for name, spec in specs.items() if is_known or name != "contents"}
    assert repartition(lake.settings, known) is not None
    assert lake.rows("contents") == rows
    assert {file.rows for receipt in lake.receipts() for file in receipt.files if receipt.dataset == "contents"} == {1}
