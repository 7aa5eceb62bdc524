"""What quarantine keeps lands once the contract is fixed, as if it had been landed so from the start."""

import itertools
import random
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows.build.build import build
from flows.build.warehouse import open_warehouse
from flows.cli import main
from flows.contract.spec import DatasetSpec, FieldSpec, Redelivery, load_specs
from flows.errors import TidemarkError
from flows.land import again
from flows.land.receipt import Status
from flows.land.receipts import Receipts
from flows.land.retry import Retried, retry_quarantine
from flows.settings import Settings
from tests.support.contracts import changed_spec, strict_events
from tests.support.deliveries import (
    compressed,
    contents,
    delimited,
    event,
    field_of,
    in_format,
    ndjson,
    parquet,
    parquet_of,
    protobuf,
    small_spec,
)
from tests.support.lake import KEY, Lake, quarantined
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER

NAME = "web/events/part.ndjson"


def things(redelivery: Redelivery = Redelivery.KEEP_BOTH, **more: Any) -> dict[str, DatasetSpec]:
    fields: list[FieldSpec] = [field_of("name", required=True), field_of("size", "bigint", **more)]
    return small_spec(fields, redelivery=redelivery)


def retry(lake: Lake, specs: dict[str, DatasetSpec] | None = None, dataset: str | None = None) -> Retried:
    """Retry, and hold every file's batches against each other: of each the last one's rejects stand."""
    done = retry_quarantine(lake.settings, dataset, specs)
    lake.assert_whole()
    by_delivery: dict[int, list[Any]] = {}
    for receipt in lake.receipts():
        by_delivery.setdefault(receipt.delivery_batch_id, []).append(receipt)
    for receipts in by_delivery.values():
        landed = sum(r.rows_landed for r in receipts)
        assert receipts[0].rows_read == landed + receipts[-1].rows_rejected
        for before, after in itertools.pairwise(receipts):
            assert after.rows_read == before.rows_rejected
            assert after.file == before.file
    return done


def content(lake: Lake, dataset: str = "events") -> list[dict[str, Any]]:
    """The landed rows without their batch, in order of line."""
    rows = [{k: v for k, v in row.items() if k != "_batch_id"} for row in lake.rows(dataset)]
    return sorted(rows, key=lambda row: int(row["_line"]))


# --- formats ---------------------------------------------------------------------------------------------------------

ROWS = [
    event(1),
    event(2, platform="tv"),
    event(3, platform="fax"),
    event(4, platform="tv", payload="search", body={"query": 'å, "ä"\nö', "results_count": 3}),
    event(5, platform="tv", consent=[], occurred_at="2026-01-15T20:15:04.000001Z", app_version="7,2"),
    event(6),
]


@pytest.mark.parametrize("suffix", ["ndjson", "ndjson.gz", "pb", "pb.zst", "parquet", "parquet.gz", "csv", "csv.zst"])
def test_a_fixed_contract_lands_what_it_had_rejected(lake: Lake, tmp_path: Path, suffix: str) -> None:
    lake.deliver(f"web/events/part.{suffix}", in_format(ROWS, suffix))
    (first,) = lake.land(strict_events()).receipts
    assert (first.rows_landed, first.rows_rejected) == (2, 4)
    (again,) = retry(lake).receipts
    assert (again.rows_read, again.rows_landed, again.rows_rejected) == (4, 3, 1)
    assert (again.retries_batch_id, again.file, again.sha256) == (1, first.file, first.sha256)
    assert [r["reason"] for r in lake.rejects() if r["_batch_id"] == 2] == ["not_accepted"]
    other = Lake(tmp_path / "other")
    other.land_one(f"web/events/part.{suffix}", in_format(ROWS, suffix))
    assert content(lake) == content(other)
    left = {(r["_line"], r["reason"], r["field"], r["raw"]) for r in lake.rejects() if r["_batch_id"] == 2}
    assert left == {(r["_line"], r["reason"], r["field"], r["raw"]) for r in other.rejects()}


@pytest.mark.parametrize("suffix", ["ndjson", "pb", "parquet", "csv"])
def test_a_retry_of_what_a_retry_left_goes_on_from_there(lake: Lake, suffix: str) -> None:
    rows = [event(i, platform=p) for i, p in enumerate(["web", "tv", "ios", "fax", "tv", "android"])]
    spec = load_specs()["events"]
    lake.deliver(f"web/events/part.{suffix}", in_format(rows, suffix))
    for accepted in (("web",), ("web", "tv"), ("web", "tv"), ("web", "tv", "ios", "android"), ("web",)):
        specs = {"events": changed_spec(spec, "platform", accepted_values=accepted)}
        lake.land(specs)
        retry(lake, specs)
    assert [(r.rows_landed, r.rows_rejected, r.retries_batch_id) for r in lake.receipts()] == [
        (1, 5, None),
        (2, 3, 1),
        (2, 1, 1),
    ]
    header = suffix == "csv"
    assert [r["_line"] - header for r in content(lake)] == [1, 2, 3, 5, 6]


def test_the_reason_is_the_one_found_now(lake: Lake) -> None:
    lake.deliver(NAME, ndjson([event(1, platform="tv", country="sweden"), event(2, platform="tv")]))
    lake.land(strict_events())
    done = retry(lake)
    assert [(left.reason, left.field, left.rows) for left in done.left] == [("pattern_mismatch", "country", 1)]


def test_unknown_keys_are_set_aside_at_the_retry_too(lake: Lake) -> None:
    lake.deliver(NAME, ndjson([event(1), event(2, platform="tv", colour="red")]))
    lake.land(strict_events())
    assert lake.unknown() == []
    assert retry(lake).receipts[0].unknown_keys == 1
    assert [(u["_batch_id"], u["_line"], u["key"]) for u in lake.unknown()] == [(2, 2, "colour")]


def test_json_lines_that_are_no_rows_stay_as_they_are(lake: Lake) -> None:
    mark = b"\xef\xbb\xbf"
    tv = ndjson([event(2, platform="tv")])
    lines = [b"not json\n", b"\r\r\n", mark + ndjson([event(1)]), b"\xff\n", b"5\n", tv, b"   \n"]
    lake.deliver(NAME, mark + b"".join(lines))
    lake.land(strict_events())
    before = {(r["_line"], r["reason"], r["raw"]) for r in lake.rejects()}
    assert len(before) == 7
    assert [r.rows_landed for r in retry(lake).receipts] == [1]
    after = {(r["_line"], r["reason"], r["raw"]) for r in lake.rejects() if r["_batch_id"] == 2}
    assert after == {reject for reject in before if reject[0] != 6}


def test_protobuf_records_that_do_not_decode_stay(lake: Lake) -> None:
    messages = [b"\xff\xff", protobuf(event(1, platform="tv")), b"", b"\x0a", protobuf(event(2, platform="tv"))]
    lake.deliver("web/events/part.pb", delimited(messages))
    lake.land(strict_events())
    retry(lake)
    assert [r["_line"] for r in content(lake)] == [2, 5]
    left = [(r["_line"], r["raw"]) for r in lake.rejects() if r["_batch_id"] == 2]
    assert left == [(1, b"\xff\xff"), (3, b""), (4, b"\x0a")]


def test_csv_records_that_break_out_stay_and_swallow_nothing(lake: Lake) -> None:
    text = b'size,name,extra\n99,a,x\n99,"b\nb",x\n1,2\n99,"c"d,x\n\n 98 , e ,\n99,\xff,x\n97,"y\n96,m,x"w'
    lake.deliver("web/things/part.csv", text)
    (first,) = lake.land(things(max=9)).receipts
    before = {(r["_line"], r["reason"], r["raw"]) for r in lake.rejects("things")}
    retry(lake, things(max=99))
    assert [(r["_line"], r["name"], r["size"]) for r in content(lake, "things")] == [
        (2, "a", 99),
        (3, "b\nb", 99),
        (8, "e", 98),
    ]
    after = {(r["_line"], r["reason"], r["raw"]) for r in lake.rejects("things") if r["_batch_id"] == 2}
    assert after == {reject for reject in before if reject[0] not in (2, 3, 8)}
    # The last line would be a row by itself, and belongs to a record that is none.
    assert {(9, b"99,\xff,x"), (10, b'97,"y'), (11, b'96,m,x"w')} <= {(line, raw) for line, _, raw in after}
    assert len(after) == first.rows_rejected - 3 == 5


def test_a_csv_in_another_encoding_lands_once_the_contract_says_so(lake: Lake) -> None:
    lake.deliver("web/things/part.csv", "name,size,größe\nå,1,\nb,2,ü\n".encode("latin-1"))
    specs = things()
    lake.deliver("web/things/part.csv", "name,size\nå,1\nb,2\n".encode("latin-1"))
    (first,) = lake.land(specs).receipts
    assert (first.rows_landed, first.rows_rejected) == (1, 1)
    fixed = specs["things"].model_copy(update={"csv": specs["things"].csv.model_copy(update={"encoding": "latin-1"})})
    retry(lake, {"things": fixed})
    assert [(r["_line"], r["name"]) for r in content(lake, "things")] == [(2, "å"), (3, "b")]


def test_a_headerless_csv_keeps_the_columns_it_was_landed_by(lake: Lake) -> None:
    headerless = {"headerless": True}
    old = things(max=9)["things"]
    old = old.model_copy(update={"csv": old.csv.model_copy(update=headerless)})
    lake.deliver("web/things/part.csv", b"a,5\nb,50\n")
    lake.land({"things": old})
    new = old.model_copy(update={"fields": (field_of("kind"), *things()["things"].fields)})
    retry(lake, {"things": new})
    assert [(r["_line"], r["name"], r["size"]) for r in content(lake, "things")] == [(1, "a", 5), (2, "b", 50)]


def test_parquet_values_come_back_in_their_own_types(lake: Lake, tmp_path: Path) -> None:
    kinds = {"size": "bigint", "price": "double", "day": "date", "at": "timestamp", "text": "string", "ok": "boolean"}
    fields = [field_of(name, kind) for name, kind in kinds.items()]
    strict = small_spec([field_of("name", accepted_values=("x",)), *fields])
    loose = small_spec([field_of("name"), *fields])
    at, moments = datetime(2026, 1, 15, 20, 15, 4, 123456), pa.timestamp("us", "Europe/Stockholm")
    table = pa.table(
        {
            "name": ["a", "b", "c"],
            "size": pa.array([Decimal("3.00"), Decimal("-4.00"), None], pa.decimal128(9, 2)),
            "price": pa.array([0.1, float("nan"), 1e300]),
            "day": pa.array([date(2026, 1, 15), None, date(1999, 12, 31)]),
            "at": pa.array([at, None, at], moments),
            "ok": pa.array([True, False, None]),
            "bytes": pa.array([b"\x00'\xff", b"", None]),
            "uuid": pa.array([bytes(range(16)), None, bytes(16)], pa.binary(16)).cast(pa.uuid()),
            "words": pa.array([["x", None], [], None]),
            "word": pa.array(["w", "w", None]).dictionary_encode(),
            "deep": pa.array([{"a": [{"at": at}]}, None, {"a": None}]),
        }
    )
    for home, first in ((lake, strict), (Lake(tmp_path / "other"), loose)):
        home.deliver("web/things/part.parquet", parquet_of(table))
        home.land(first)
    other = Lake(tmp_path / "other")
    assert len(content(other, "things")) == 2  # NaN fits neither
    retry(lake, loose)
    assert content(lake, "things") == content(other, "things")
    assert {u["key"] for u in lake.unknown("things")} == {"bytes", "uuid", "words", "word", "deep"}


def test_parquet_values_of_another_type_do_not_become_text(lake: Lake) -> None:
    """A date in a string field is of the wrong type, and still is after a retry: quarantine's JSON is no delivery."""
    strict, loose = things(), small_spec([field_of("name"), field_of("size", "bigint")])
    day = pa.table({"name": pa.array([date(2026, 1, 15)]), "size": [1]})
    lake.deliver("web/things/part.parquet", parquet_of(day))
    lake.land(strict)
    assert retry(lake, loose).receipts == []
    assert content(lake, "things") == []


def test_parquet_rows_that_quarantine_cannot_give_back_exactly_stay(lake: Lake) -> None:
    table = pa.table({"name": ["a", "b"], "size": [50, 50], "took": pa.array([None, 1_500], pa.duration("ms"))})
    lake.deliver("web/things/part.parquet", parquet_of(table))
    lake.land(things(max=9))
    retry(lake, things())
    assert [r["name"] for r in content(lake, "things")] == ["a"]
    assert [(r["_line"], r["reason"]) for r in lake.rejects("things") if r["_batch_id"] == 2] == [(2, "out_of_range")]


def test_json_that_reads_back_as_another_value_does_not_stand_for_the_row() -> None:
    """The text of bytes is no bytes, though a binary column would take it."""
    schema = pa.schema([("odd", pa.binary_view())])
    assert again._restored([b'{"odd": null}'], schema) is not None
    assert again._restored([b'{"odd": "b\'x\'"}'], schema) is None


def test_more_rejects_than_fit_one_piece(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "PIECE_ROWS", 7)
    rows = [event(i, platform="tv" if i % 3 else "fax") for i in range(100)]
    for suffix in ("ndjson", "csv", "pb", "parquet"):
        lake.deliver(f"web/events/part.{suffix}", in_format(rows, suffix))
    lake.land(strict_events())
    assert [r.rows_landed for r in retry(lake).receipts] == [66] * 4
    fits = {i + 1 for i in range(100) if i % 3}
    of = {r.batch_id: r.format for r in lake.receipts() if r.retries_batch_id}
    for batch, kind in of.items():
        lines = {r["_line"] - (kind == "csv") for r in lake.rows() if r["_batch_id"] == batch}
        assert lines == fits, kind


# --- what must not be retried ----------------------------------------------------------------------------------------


def test_where_nothing_fits_nothing_is_left_behind(lake: Lake) -> None:
    lake.land_one(NAME, ndjson([event(1, platform="fax"), 5]))
    before = lake.receipts()
    done = retry(lake)
    assert done.receipts == []
    assert {(left.file, left.reason, left.rows) for left in done.left} == {
        (NAME, "not_accepted", 1),
        (NAME, "not_an_object", 1),
    }
    assert lake.receipts() == before


def test_a_second_retry_lands_nothing_twice(lake: Lake) -> None:
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    retry(lake)
    before = content(lake)
    assert retry(lake).receipts == []
    assert content(lake) == before


@pytest.mark.parametrize("forget", [[], ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]])
def test_landing_after_a_retry_finds_nothing_new(lake: Lake, forget: list[str]) -> None:
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    lake.deliver(NAME, in_format(ROWS[:1], "ndjson"))  # both count, in events
    lake.land(strict_events())
    assert [r.retries_batch_id for r in retry(lake).receipts] == [1]
    for name in forget:
        (lake.settings.landed / name).unlink(missing_ok=True)
    for path in lake.settings.inbox.rglob("*.ndjson"):
        path.touch()
    assert lake.land().receipts == []
    assert retry(lake).receipts == []


def test_rows_of_a_superseded_file_are_not_retried(lake: Lake) -> None:
    name, wins = "web/things/part.ndjson", Redelivery.NEWEST_WINS
    lake.land_one(name, ndjson([{"name": "a", "size": 50}]), things(wins, max=9))
    lake.land_one(name, ndjson([{"name": "b", "size": 5}]), things(wins, max=9))
    done = retry(lake, things(wins))
    assert done.receipts == []
    assert "batch 2" in done.not_tried[0]
    assert [r["name"] for r in content(lake, "things")] == ["b"]


def test_a_new_delivery_takes_the_place_of_the_first_batch_and_so_of_its_retries(lake: Lake) -> None:
    name, wins = "web/things/part.ndjson", Redelivery.NEWEST_WINS
    rows = [{"name": "a", "size": 5}, {"name": "b", "size": 50}, {"name": "c", "size": 500}]
    lake.land_one(name, ndjson(rows), things(wins, max=9))
    retry(lake, things(wins, max=99))
    (newer,) = [lake.land_one(name, ndjson([{"name": "d", "size": 5}]), things(wins, max=99))]
    assert newer.supersedes_batch_id == 1
    done = retry(lake, things(wins))
    assert done.receipts == []
    assert "batch 3" in done.not_tried[0]


def test_the_bytes_of_a_superseded_file_land_under_another_name_though_they_were_retried(lake: Lake) -> None:
    wins, rows = Redelivery.NEWEST_WINS, ndjson([{"name": "a", "size": 5}, {"name": "b", "size": 50}])
    lake.land_one("web/things/part.ndjson", rows, things(wins, max=9))
    retry(lake, things(wins))
    lake.land_one("web/things/part.ndjson", ndjson([{"name": "c", "size": 5}]), things(wins))
    other = lake.land_one("web/things/other.ndjson", rows, things(wins))
    assert (other.status, other.rows_landed) == (Status.LANDED, 2)


def test_a_retry_does_not_hide_that_the_last_delivery_was_refused(lake: Lake) -> None:
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    lake.land_one(NAME, b"")
    assert [r.retries_batch_id for r in retry(lake).receipts] == [1]
    assert [r.file for r in retry(lake).still_refused] == [NAME]


def test_only_the_dataset_asked_for_is_retried(lake: Lake) -> None:
    both = {**strict_events(), **things(max=9)}
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.deliver("web/things/part.ndjson", ndjson([{"name": "a", "size": 50}]))
    lake.land(both)
    loose = {**load_specs(), **things()}
    assert [r.dataset for r in retry(lake, loose, "things").receipts] == ["things"]
    assert [r.dataset for r in retry(lake, loose).receipts] == ["events"]
    with pytest.raises(TidemarkError, match="no dataset nothing"):
        retry(lake, loose, "nothing")


# --- quarantine that is not as it was --------------------------------------------------------------------------------


def quarantine_file(lake: Lake) -> Path:
    (path,) = lake.settings.quarantine.rglob("batch-*[0-9].parquet")
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def shorten(path: Path) -> None:
    pq.write_table(quarantined(path).slice(1), path)


@pytest.mark.parametrize(("damage", "word"), [(Path.unlink, "missing"), (cut, "damaged"), (shorten, "gave 3 rows")])
def test_a_damaged_quarantine_file_is_reported_and_nothing_of_it_lands(
    lake: Lake, damage: Callable[[Path], None], word: str
) -> None:
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    damage(quarantine_file(lake))
    done = retry_quarantine(lake.settings)
    assert done.receipts == []
    assert word in done.not_tried[0]
    assert len(lake.receipts()) == 1
    assert not list(lake.settings.quarantine.rglob("*000002*"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_quarantine_file_without_columns_says_so(lake: Lake, suffix: str) -> None:
    lake.deliver(f"web/events/part.{suffix}", in_format(ROWS, suffix))
    lake.land(strict_events())
    path = quarantine_file(lake)
    pq.write_table(quarantined(path).replace_schema_metadata(None), path)
    done = retry_quarantine(lake.settings)
    assert done.receipts == []
    assert "columns" in done.not_tried[0]


def test_a_csv_whose_columns_the_contract_no_longer_has(lake: Lake) -> None:
    lake.deliver("web/things/part.csv", b"name,size\na,x\n")
    lake.land(things())
    done = retry(lake, small_spec([field_of("title", required=True)]))
    assert done.receipts == []
    assert "none of the 2 columns" in done.not_tried[0]


# --- refused files ---------------------------------------------------------------------------------------------------


def test_a_refused_file_lands_where_the_contract_takes_it_by_now(lake: Lake) -> None:
    lake.deliver("web/things/part.csv", b"title\nx\n")
    lake.land(things())
    lake.deliver("web/things/cut.csv.gz", compressed(b"name\nx\n", "csv.gz")[:-3])
    lake.deliver("web/things/gone.csv", b"")
    lake.land(things())
    (lake.settings.inbox / "web/things/gone.csv").unlink()
    assert [r.status for r in lake.receipts()] == [Status.REFUSED] * 3
    loose = small_spec([field_of("title", required=True)])
    done = retry(lake, loose)
    assert [(r.file, r.rows_landed, r.retries_batch_id) for r in done.receipts] == [("web/things/part.csv", 1, None)]
    assert [r.file for r in done.still_refused] == ["web/things/cut.csv.gz"]
    assert done.not_tried == ["web/things/gone.csv: refused, and no longer in the inbox; have it delivered again"]
    assert len(lake.receipts()) == 4
    again = retry(lake, loose)
    assert (again.receipts, len(lake.receipts())) == ([], 4)
    assert lake.land(loose).receipts == []


def test_a_refused_redelivery_that_is_accepted_now_supersedes(lake: Lake) -> None:
    name, wins = "web/things/part.csv", Redelivery.NEWEST_WINS
    lake.land_one(name, b"name\na\n", things(wins))
    assert lake.land_one(name, b"title\nb\n", things(wins)).status is Status.REFUSED
    fixed = small_spec([field_of("title"), *things()["things"].fields[1:]], redelivery=wins)
    assert [r.supersedes_batch_id for r in retry(lake, fixed).receipts] == [1]


# --- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


FILES = 4


def deliver_rejects(lake: Lake) -> None:
    for i, suffix in zip(range(FILES), ["ndjson", "csv", "pb", "parquet"], strict=True):
        rows = [event(100 * i + k, platform=p, colour="red") for k, p in enumerate(["web", "tv", "fax"] * 5)]
        for row in rows if suffix == "pb" else []:
            del row["colour"]
        lake.deliver(f"web/events/part.{suffix}", in_format(rows, suffix) if suffix != "parquet" else parquet(rows))
    lake.land(strict_events())


def assert_retried_once(lake: Lake) -> None:
    retry(lake)
    retries = [r for r in lake.receipts() if r.retries_batch_id]
    assert sorted(r.retries_batch_id or 0 for r in retries) == [1, 2, 3, 4]
    assert {(r.rows_read, r.rows_landed, r.rows_rejected) for r in retries} == {(10, 5, 5)}
    delivered = {r.batch_id: r.delivery_batch_id for r in lake.receipts()}
    lines = [(delivered[row["_batch_id"]], row["_line"]) for row in lake.rows()]
    assert len(lines) == len(set(lines)) == FILES * 10


@pytest.mark.parametrize("step", ["sync_folder", "sync_file"])
@pytest.mark.parametrize("occasion", range(1, 12))
def test_a_retry_stopped_before_any_sync_heals(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, occasion: int
) -> None:
    deliver_rejects(lake)
    calls = itertools.count(1)
    for name in ("batch", "commit", "layout"):
        module = import_module(f"flows.land.{name}")
        if not hasattr(module, step):
            continue
        original = getattr(module, step)

        def stop(path: Path, original: Callable[[Path], None] = original) -> None:
            if next(calls) == occasion:
                raise Killed
            original(path)

        monkeypatch.setattr(module, step, stop)
    with suppress(Killed):
        retry_quarantine(lake.settings)
    monkeypatch.undo()
    lake.land()
    lake.assert_whole()
    assert_retried_once(lake)


def _retry(home: Path, ready: Any) -> None:
    ready.set()
    retry_quarantine(Settings(home=home, settle_seconds=0, pseudonym_key=KEY))  # type: ignore[arg-type]


def test_a_retry_killed_at_any_moment_heals(tmp_path: Path) -> None:
    chance, killed, lakes = random.Random(3), 0, []
    for number in range(6):
        lake = Lake(tmp_path / str(number))
        deliver_rejects(lake)
        ready = FORKSERVER.Event()
        process = FORKSERVER.Process(target=_retry, args=(lake.settings.home, ready))
        process.start()
        assert ready.wait(PATIENCE_SECONDS)
        process.join(chance.uniform(0.02, 0.4))
        killed += process.is_alive()
        process.kill()
        process.join()
        lakes.append(lake)
    assert killed >= 2
    for lake in lakes:
        assert_retried_once(lake)


# --- the index and the command ---------------------------------------------------------------------------------------


def test_an_index_from_before_files_were_listed_is_made_again_from_the_receipts(lake: Lake) -> None:
    """As one is that knows of no retries either. Only what was seen in the inbox is in no receipt, and stays."""
    path = lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    with closing(Receipts(lake.settings)) as index:
        files = index.files.in_force("events")
        index._database.executescript(
            "drop table files; drop table compactions; drop table removals;"
            "drop index receipts_by_retries; alter table receipts drop column retries;"
            "update receipts set file = 'what only the old index says'"
        )
    with closing(Receipts(lake.settings)) as index:
        assert list(index.after(0)) == lake.receipts()
        assert index.files.in_force("events") == files != []
        assert index.is_unchanged(NAME, path.stat())
    assert [r.rows_landed for r in retry(lake).receipts] == [3]


def test_the_command_says_what_landed_and_what_did_not(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
    monkeypatch.setenv("TIDEMARK_SETTLE_SECONDS", "0")
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", KEY)
    lake.deliver(NAME, in_format(ROWS, "ndjson"))
    lake.land(strict_events())
    lake.deliver("web/events/new.ndjson", ndjson([event(9)]))
    lake.deliver("web/events/cut.ndjson", b"")
    result = CliRunner().invoke(main, ["land", "--retry-quarantine", "--dataset", "events"])
    assert result.exit_code == 0, result.output
    assert "1 row from 1 file" in result.output
    assert "3 rows landed from 1 file · 1 row still quarantined" in result.output
    assert "still quarantined 1 row: not accepted, field platform" in result.output
    assert "still refused web/events/cut.ndjson: the file is empty" in result.output
    assert "1 file refused again" in result.output
    assert CliRunner().invoke(main, ["land", "--dataset", "events"]).exit_code == 2


def test_the_command_names_only_what_it_tried(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
    monkeypatch.setenv("TIDEMARK_SETTLE_SECONDS", "0")
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", KEY)
    result = CliRunner().invoke(main, ["land", "--retry-quarantine"])
    assert result.exit_code == 0 and "retried  nothing: no row or file can be retried" in result.output
    lake.deliver("web/events/cut.ndjson", b"")
    result = CliRunner().invoke(main, ["land", "--retry-quarantine"])
    assert result.exit_code == 0 and "retried  1 file refused again" in result.output
    assert "0 rows landed" not in result.output and "have these delivered again, corrected" in result.output


# --- built -----------------------------------------------------------------------------------------------------------


def marts(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    with open_warehouse(settings, read_only=True) as db:
        names = db.execute("select table_name from duckdb_tables() where schema_name = 'marts' order by 1").fetchall()
        return {name: db.execute(f"select * from marts.{name} order by all").fetchall() for (name,) in names}


def deliver_step(lake: Lake, step: int) -> None:
    """Three rounds of deliveries, in which files come again and other files speak of the same states."""
    day = "2026-01-15T00:00:00Z"
    if step == 0:
        rows = [event(i, platform="tv" if i % 4 == 0 else "ios", device_id=f"d-{i % 7}") for i in range(60)]
        lake.deliver(NAME, ndjson([*rows, 5]))
        lake.deliver("cms/contents/a.csv", contents(("c-1", "Article", "old", day), ("c-2", "video", "v", day)))
        lake.deliver("cms/contents/b.csv", contents(("c-3", "Article", "replaced", day), ("c-4", "video", "w", day)))
        lake.deliver("cms/contents/c.csv", contents(("c-1", "article", "newer", day), ("c-5", "Video", "z", day)))
    if step == 1:
        lake.deliver("apps/events/more.pb", in_format([event(i, platform="tv") for i in range(50, 80)], "pb"))
        lake.deliver("cms/contents/d.csv", contents(("c-5", "video", "later", day), ("c-6", "Live", "l", day)))
    if step == 2:
        lake.deliver("cms/contents/b.csv", contents(("c-4", "video", "w2", day)))


def test_the_marts_are_those_of_a_contract_that_was_right_from_the_start(tmp_path: Path) -> None:
    right = load_specs()
    right = right | {"contents": changed_spec(right["contents"], "content_type", pattern="[A-Za-z]+")}
    wrong = {**load_specs(), **strict_events()}
    fixed, straight = Lake(tmp_path / "fixed"), Lake(tmp_path / "straight")
    for step in range(3):
        deliver_step(fixed, step)
        fixed.land(wrong if step < 2 else right)
        if step:
            done = retry(fixed, right)
            assert sum(r.rows_landed for r in done.receipts) == (0 if step == 2 else 15 + 30 + 4)
        failed = build(fixed.settings).failed
        assert not failed, [(n.name, n.message) for n in failed]
        deliver_step(straight, step)
        straight.land(right)
    assert not build(straight.settings).failed
    assert marts(fixed.settings) == marts(straight.settings)
    with open_warehouse(fixed.settings, read_only=True) as db:
        titles = db.execute("select content_id, title from marts.dim_contents where is_current order by 1").fetchall()
        open_rows = db.execute(
            "select sum(rows_rejected) from ops.ops_landings where retried_by_batch_id is null"
        ).fetchone()
        families = db.execute(
            "select file, superseded_by_batch_id is not null from ops.ops_landings "
            "where retries_batch_id is not null order by 1"
        ).fetchall()
    assert titles == [
        ("c-1", "newer"), ("c-2", "v"), ("c-4", "w2"), ("c-5", "later"), ("c-6", "l"),
    ]  # fmt: skip
    assert open_rows == (1,)
    assert ("cms/contents/b.csv", True) in families and ("cms/contents/a.csv", False) in families
