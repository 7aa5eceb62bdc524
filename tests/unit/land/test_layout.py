"""A lake is landed into and read by the layout that it has, and one laid out otherwise is refused with its remedy."""

import shutil
from pathlib import Path

import pytest

from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.land.land_file import FileLander
from flows.land.layout import FILE, FORMAT, Layout, check_layout, read_layout, settle_layout, wanted_layout
from flows.land.retry import retry_quarantine
from tests.support.deliveries import contents, event, field_of, ndjson, small_spec
from tests.support.lake import Lake

REMEDY = r"run `tidemark repartition`"
EVENTS = ndjson([event(1)])
CONTENTS = contents(("c-1", "article", "a", "2026-01-15T00:00:00Z"))
AT = [field_of("id", required=True), field_of("at", "timestamp", required=True)]
DAYS = {"calls": "started_at", "events": "occurred_at", "text_topics": "day_begins_at"}


@pytest.fixture(name="lake")
def lake_fixture(lake: Lake) -> Lake:
    """A lake beside which a warehouse may be made."""
    lake.settings.warehouse.parent.mkdir(parents=True)
    return lake


def layout_of(lake: Lake) -> Path:
    return lake.settings.landed / FILE


def with_day(name: str, day_of: str | None) -> dict[str, DatasetSpec]:
    """The contract, with another field of a dataset as its day."""
    specs = load_specs()
    return specs | {name: specs[name].model_copy(update={"day_of": day_of})}


def assert_refused(lake: Lake, words: str, specs: dict[str, DatasetSpec] | None = None) -> None:
    """Neither landing nor the build goes on, both say why, and nothing is changed."""
    landed, inbox = sorted(lake.settings.landed.rglob("*.parquet")), lake.deliver("web/events/more.ndjson", EVENTS)
    before = layout_of(lake).read_bytes() if layout_of(lake).exists() else None
    for work in (lake.land, lambda specs: enter_landings(lake.settings, specs)):
        with pytest.raises(TidemarkError, match=words):
            work(specs)
    with pytest.raises(TidemarkError, match=words):
        retry_quarantine(lake.settings, None, specs)
    assert (layout_of(lake).read_bytes() if layout_of(lake).exists() else None) == before
    assert sorted(lake.settings.landed.rglob("*.parquet")) == landed
    inbox.unlink()


def test_the_layout_is_noted_before_the_first_batch(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_yet(*arguments: object) -> None:
        assert read_layout(lake.settings.landed) == wanted_layout(load_specs())
        assert list(lake.settings.landed.glob("*/batch-*")) == []
        raise TidemarkError("stopped before the first batch")

    lake.deliver("web/events/a.ndjson", EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr(FileLander, "look_at", nothing_yet)
        with pytest.raises(TidemarkError, match="stopped before the first batch"):
            lake.land()
    noted = layout_of(lake).read_bytes()
    assert [r.rows_landed for r in lake.land().receipts] == [1]
    assert layout_of(lake).read_bytes() == noted
    assert read_layout(lake.settings.landed) == Layout(
        format=FORMAT,
        number=1,
        timezone="Europe/Stockholm",
        day_of=DAYS,
        texts={"calls": ("transcript",), "events": ("query",)},
        truncated={"accounts": ("address", "birth_date")},
        with_consent={
            "events": (
                "active_ms",
                "channel",
                "country",
                "depth",
                "device_key",
                "reaction",
                "referrer",
                "session_id",
                "user_key",
            )
        },
    )


def test_a_layout_is_written_whole(lake: Lake) -> None:
    lake.land()
    assert [path.name for path in lake.settings.landed.glob("*layout*")] == [FILE]


def test_an_old_lake_is_refused(lake: Lake) -> None:
    lake.land_one("cms/contents/a.csv", CONTENTS)
    layout_of(lake).unlink()
    assert_refused(lake, rf"was landed by an earlier Tidemark, which did not lay it out by day; {REMEDY}")
    assert not layout_of(lake).exists()


def test_a_lake_where_only_the_inbox_was_ever_filled_is_none_of_an_earlier_tidemark(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", EVENTS)
    shutil.rmtree(lake.settings.landed)
    assert [r.rows_landed for r in lake.land().receipts] == [1]
    assert enter_landings(lake.settings) == 1


def test_another_timezone_is_refused_until_it_is_put_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land_one("web/events/a.ndjson", EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.layout.organisation_timezone", lambda: "Asia/Kathmandu")
        assert_refused(
            lake,
            r"by the days of Europe/Stockholm, and the variable timezone in dbt_project\.yml says Asia/Kathmandu: "
            rf"put it back, or {REMEDY}",
        )
    lake.land_one("web/events/b.ndjson", ndjson([event(2)]))
    assert enter_landings(lake.settings) == 2


@pytest.mark.parametrize(
    ("name", "data", "before", "after", "words"),
    [
        ("contents", CONTENTS, None, "updated_at", "holds contents not by day, and the contract wants them by the day"),
        ("events", EVENTS, "occurred_at", None, "holds events by the day of occurred_at, and .* wants them not by day"),
        ("events", EVENTS, "occurred_at", "received_at", "by the day of occurred_at, and .* by the day of received_at"),
    ],
)
def test_a_dataset_that_landed_keeps_its_day(
    lake: Lake, name: str, data: bytes, before: str | None, after: str | None, words: str
) -> None:
    assert load_specs()[name].day_of == before
    lake.land_one("web/events/a.ndjson" if name == "events" else "cms/contents/a.csv", data)
    assert_refused(lake, rf"{words}.*; {REMEDY}", with_day(name, after))
    assert [r.rows_landed for r in lake.land().receipts] == []  # by the contract as it was, it goes on


def test_a_dataset_that_never_landed_may_gain_change_and_lose_its_day(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", EVENTS)
    for day_of in ("updated_at", "published_at", None):
        specs = with_day("contents", day_of)
        lake.land(specs)
        noted = read_layout(lake.settings.landed)
        wanted = DAYS | ({"contents": day_of} if day_of else {})
        assert noted is not None and (noted.number, noted.day_of) == (1, wanted)
        assert enter_landings(lake.settings, specs) == (day_of == "updated_at")
    lake.land(with_day("contents", "updated_at"))
    (receipt,) = [lake.land_one("cms/contents/a.csv", CONTENTS, with_day("contents", "updated_at"))]
    assert [file.path.split("/")[2] for file in receipt.files] == ["event_date=2026-01-15"]


def test_a_dataset_no_longer_in_the_contract_stays_in_the_layout(lake: Lake) -> None:
    specs = small_spec(AT, day_of="at")
    lake.land_one("x/things/a.csv", b"id,at\n1,2026-01-15T23:30:00Z\n", specs)
    lake.land()
    assert check_layout(lake.settings, load_specs()).day_of == DAYS | {"things": "at"}
    lake.land_one("x/things/b.csv", b"id,at\n2,2026-01-15T22:30:00Z\n", specs)
    assert [str(row["event_date"]) for row in lake.rows("things")] == ["2026-01-16", "2026-01-15"]
    with pytest.raises(TidemarkError, match="holds things by the day of at, and the contract wants them not by day"):
        lake.land(small_spec(AT))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"format": 2, "timezone": "UTC", "day_of": {}, "later": 1}', "\xff"]
)
def test_a_damaged_layout_says_so(lake: Lake, text: str) -> None:
    lake.land_one("web/events/a.ndjson", EVENTS)
    layout_of(lake).write_text(text, encoding="latin-1")
    assert_refused(lake, r"layout\.json is damaged or was written by a later Tidemark.*restore the file from a backup")


def test_a_lake_laid_out_again_is_built_next(lake: Lake) -> None:
    """What the warehouse noted of its files, and how far each model had come, was of other files."""
    lake.land_one("web/events/a.ndjson", EVENTS)
    assert (enter_landings(lake.settings), enter_landings(lake.settings)) == (1, 0)
    with open_warehouse(lake.settings) as db:
        db.execute("insert into ops.model_progress values ('fct', 1, ['events'], '', 0, now())")
        before = db.execute("from landed.landed_files").fetchall()
    layout = settle_layout(lake.settings, load_specs())
    layout_of(lake).write_text(layout.model_copy(update={"number": 2}).model_dump_json())
    assert (enter_landings(lake.settings), enter_landings(lake.settings)) == (1, 0)
    with open_warehouse(lake.settings) as db:
        assert db.execute("select number, timezone from landed.layout").fetchall() == [(2, "Europe/Stockholm")]
        assert db.execute("from ops.model_progress").fetchall() == []
        assert db.execute("from landed.landed_files").fetchall() == before
