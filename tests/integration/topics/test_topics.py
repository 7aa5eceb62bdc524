"""Topics of calls, from the text store to the marts: found, told, kept from fit to fit, and exact like all else."""

import json
import random
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from flows.build.build import build
from flows.build.warehouse import open_warehouse
from flows.cli import main
from flows.errors import TidemarkError
from flows.land.day_keys import DayKeys
from flows.land.receipt import Status
from flows.land.text import STORE
from flows.topics import delivered as delivery
from flows.topics import label as labelling
from flows.topics import topics as fitting
from flows.topics.declared import Declared
from flows.topics.job import label_what_came
from flows.topics.label import label, label_all
from flows.topics.model import folder_of, load
from flows.topics.topics import Since, fit, show
from tests.support.deliveries import ndjson
from tests.support.lake import Lake

ABOUT = {
    "price": "price discount cheaper offer bargain lower reduce amount",
    "delivery": "deliver transport ship lorry ferry freight arrive parcel",
    "loan": "loan bank interest deposit credit monthly lender rate",
    "tyres": "tyres rust brakes engine belt gearbox scratch mileage",
}
FIRST = date(2026, 1, 14)
DAYS = 3
MARTS = {"fct_call_topics": "call_id", "agg_call_topics_daily": "event_date", "dim_topics": "topic_id"}
SELECTED = ("--select", *(f"+{name}" for name in MARTS), "--exclude-resource-type", "unit_test")

Declare = Callable[[int], None]


@pytest.fixture(name="declare")
def declare_fixture(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declare how many topics the calls have: three, until a test says another number."""

    def declare(count: int) -> None:
        declared = Declared("calls", "transcript", count, "words")
        for module in (fitting, labelling):
            monkeypatch.setattr(module, "declared_of", lambda dataset: declared)
        monkeypatch.setattr(labelling, "read_declared", lambda: {"calls": declared})

    declare(3)
    return declare


def call(day: int, number: int, about: str, **changes: Any) -> dict[str, Any]:
    chance = random.Random(day * 1000 + number)
    said = " ".join(chance.choices(ABOUT[about].split(), k=6))
    return {
        "call_id": f"c-{day}-{number}", "advert_id": "a-1",
        "started_at": f"{FIRST + timedelta(days=day)}T10:{number % 60:02}:00Z", "duration_seconds": 20 + 10 * number,
        "channel": ("mobile", "landline")[number % 2],
        "transcript": f"Good morning, this is the showroom / {said} / My name is Anna Sundberg / Thanks and goodbye",
    } | changes  # fmt: skip


def calls_of(day: int, about: tuple[str, ...] = ("price", "delivery", "loan")) -> list[dict[str, Any]]:
    return [call(day, number, about[number % len(about)]) for number in range(60)]


def deliver(lake: Lake, day: int, rows: list[dict[str, Any]]) -> None:
    lake.deliver(f"telephony/calls/{FIRST + timedelta(days=day)}.ndjson", ndjson(rows))
    lake.land()


@pytest.fixture(name="lake")
def lake_fixture(lake: Lake, declare: Declare) -> Lake:
    """A lake with three days of calls, their topics found and told."""
    for day in range(DAYS):
        deliver(lake, day, calls_of(day))
    fit(lake.settings, "calls")
    label(lake.settings, "calls")
    lake.land()
    return lake


def told(lake: Lake) -> dict[str, str]:
    """The topic of each call, by the marts."""
    done = build(lake.settings, SELECTED)
    assert not done.failed, [(node.name, node.message) for node in done.failed]
    with open_warehouse(lake.settings, read_only=True) as db:
        return dict(db.execute("select call_id, topic_id from marts.fct_call_topics").fetchall())


def marts(lake: Lake) -> dict[str, list[Any]]:
    with open_warehouse(lake.settings, read_only=True) as db:
        return {name: db.execute(f"select * from marts.{name} order by all").fetchall() for name in MARTS}


def by_about(topics: dict[str, str], rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Which topics the calls about each thing have."""
    found: dict[str, set[str]] = {}
    for row in rows:
        about = next(about for about, words in ABOUT.items() if {*words.split()} & {*row["transcript"].split()})
        found.setdefault(about, set()).add(topics[row["call_id"]])
    return found


def test_calls_have_the_topics_of_what_was_said_and_marts_count_them(lake: Lake) -> None:
    topics = told(lake)
    assert len(topics) == DAYS * 60
    found = by_about(topics, [row for day in range(DAYS) for row in calls_of(day)])
    assert sorted(found.values(), key=str) == [{"calls-1"}, {"calls-2"}, {"calls-3"}]
    with open_warehouse(lake.settings, read_only=True) as db:
        counted = db.execute(
            "select event_date, topic_id, sum(calls_count), sum(day_share) from marts.agg_call_topics_daily "
            "group by all order by all"
        ).fetchall()
        lengths = db.execute(
            "select call_length, channel, sum(calls_count) from marts.agg_call_topics_daily group by all order by all"
        ).fetchall()
        names = db.execute("select topic_id, topic_name, texts_count from marts.dim_topics order by 1").fetchall()
    days = [FIRST + timedelta(days=day) for day in range(DAYS)]
    assert counted == [(day, f"calls-{n}", 20, pytest.approx(1 / 3)) for day in days for n in (1, 2, 3)]
    by_hand = Counter(
        ("under 30 seconds" if s < 30 else "30 seconds to 2 minutes" if s < 120 else "2 to 10 minutes" if s < 600 else
         "10 minutes or more", ("mobile", "landline")[n % 2])
        for n in range(60) for s in [20 + 10 * n]
    )  # fmt: skip
    assert lengths == [(*key, count * DAYS) for key, count in sorted(by_hand.items())]
    assert (
        names[0] == ("calls-0", "unclear", 0)
        and all(name.count(", ") == 2 for _, name, _ in names[1:])
        and [count for _, _, count in names[1:]] == [60, 60, 60]
    )


def test_a_call_that_is_delivered_again_has_the_topic_of_its_new_text(lake: Lake) -> None:
    """Until that is told it has none; and the marts are those of a full build."""
    first = told(lake)
    again = [row | {"transcript": call(1, 0, "loan")["transcript"]} for row in calls_of(1)[:10]] + calls_of(1)[10:]
    deliver(lake, 1, again)
    assert {*told(lake)} == {key for key in first if not key.startswith("c-1-")}
    done = label(lake.settings, "calls")
    assert (done.days_count, done.texts_count) == (1, 60)
    lake.land()
    topics = told(lake)
    loan = topics["c-0-2"]
    assert {topics[row["call_id"]] for row in again[:10]} == {loan}
    assert {key: topic for key, topic in topics.items() if topic != first[key]} == {
        row["call_id"]: loan for row in again[:10] if first[row["call_id"]] != loan
    }
    incremental = marts(lake)
    assert not build(lake.settings, ("--full-refresh", *SELECTED)).failed
    assert marts(lake) == incremental


def test_nothing_is_told_again_where_nothing_changed(lake: Lake) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.settings.inbox.rglob("*.parquet")}
    assert fit(lake.settings, "calls").since is Since.UNCHANGED
    assert [(done.days_count, done.faults) for done in label_all(lake.settings)] == [(0, [])]
    assert {path: path.stat().st_mtime_ns for path in lake.settings.inbox.rglob("*.parquet")} == before
    deliver(lake, 3, calls_of(3))
    assert [(done.days_count, done.texts_count) for done in label_all(lake.settings)] == [(1, 60)]


@pytest.mark.parametrize("killed_at", ["topics", "text_topics"])
def test_killed_before_it_delivered_the_next_call_does(
    lake: Lake, declare: Declare, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    deliver_really = delivery._deliver

    def killed(settings: Any, dataset: str, *rest: Any) -> None:
        if dataset == killed_at:
            raise KeyboardInterrupt
        deliver_really(settings, dataset, *rest)

    deliver(lake, 3, calls_of(3, ("tyres",)))
    declare(4)
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_deliver", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(lake.settings, "calls")
            label(lake.settings, "calls")
    fit(lake.settings, "calls")
    label(lake.settings, "calls")
    landed = {receipt.dataset for receipt in lake.land().receipts if receipt.status is Status.LANDED}
    assert landed == {"topics", "text_topics"}
    assert len({*told(lake).values()}) == 4


def test_topics_keep_their_numbers_from_fit_to_fit(lake: Lake, declare: Declare) -> None:
    """New texts about a fourth thing get a new topic; a topic that is gone leaves its number unused for ever."""
    first = told(lake)
    deliver(lake, 3, calls_of(3, ("tyres",)))
    declare(4)
    done = fit(lake.settings, "calls")
    assert (done.since, done.new, done.gone) == (Since.CHANGED, [4], [])
    label(lake.settings, "calls")
    lake.land()
    second = told(lake)
    assert {key: second[key] for key in first} == first
    assert {topic for key, topic in second.items() if key not in first} == {"calls-4"}
    for day in range(DAYS):  # no call is about loans any more
        deliver(lake, day, [row for row in calls_of(day) if int(row["call_id"].split("-")[2]) % 3 != 2])
    declare(3)
    done = fit(lake.settings, "calls")
    gone = int(first["c-0-2"].removeprefix("calls-"))
    assert (done.new, done.gone, done.model.last_number) == ([], [gone], 4)
    deliver(lake, 4, calls_of(4, ("loan",)))
    declare(4)
    assert fit(lake.settings, "calls").new == [5]


def test_what_is_kept_has_no_word_of_few_texts_and_nothing_that_runs(lake: Lake) -> None:
    (folder,) = folder_of(lake.settings, "calls").glob("2*Z")
    said = json.loads((folder / "topics.json").read_text())
    texts = [row["transcript"].lower().split() for row in lake.texts()]
    assert said["words"] and all(sum(word in text for text in texts) >= 10 for word in said["words"])
    assert "sundberg" not in (folder / "topics.json").read_text().lower()
    assert b"pickle" not in (folder / "topics.npz").read_bytes()
    for path in (folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    model = load(lake.settings, "calls")
    assert model is not None and len(model.numbers) == 3
    vectors = model.embedder.embed([row["transcript"] for row in lake.texts()])
    assert model.topics.weights(vectors).max(axis=1).mean() > 0.9


def test_a_day_that_cannot_be_read_stops_no_other_and_says_so(lake: Lake) -> None:
    for day in (0, 1, 2):
        deliver(lake, day, [row | {"duration_seconds": 7} for row in calls_of(day)])
    (path, *_) = sorted(lake.settings.text.glob(f"calls/event_date={FIRST}/*"))[-1:]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    done = label(lake.settings, "calls")
    assert done.days_count == 2 and len(done.faults) == 1 and "damaged" in done.faults[0]
    with pytest.raises(TidemarkError, match=r"the texts of 1 day could not be read; .*restore it from a backup"):
        label_what_came(lake.settings, lambda line: None)
    path.write_bytes(whole)
    assert [(done.days_count, done.faults) for done in label_all(lake.settings)] == [(1, [])]


def test_a_damaged_fit_says_what_to_do(lake: Lake) -> None:
    (folder,) = folder_of(lake.settings, "calls").glob("2*Z")
    (folder / "topics.npz").write_bytes(b"no archive")
    what = r"is damaged .*remove that folder.*tidemark topics fit calls"
    with pytest.raises(TidemarkError, match=what):
        label(lake.settings, "calls")
    (done,) = label_all(lake.settings)  # of all: others would be labelled
    assert re.search(what, done.faults[0])
    shutil.rmtree(folder)
    with pytest.raises(TidemarkError, match=r"no topics of calls were found yet; run `tidemark topics fit calls`"):
        show(lake.settings, "calls")
    assert label_all(lake.settings) == []


def test_texts_whose_time_is_over_are_told_no_more(lake: Lake) -> None:
    DayKeys(lake.settings).destroy(STORE, "calls", FIRST)
    done = fit(lake.settings, "calls")
    assert (done.texts_count, done.days_count) == (120, 2)


def test_people_see_topics_by_their_words(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
    monkeypatch.setenv("COLUMNS", "140")
    runner = CliRunner()
    shown = runner.invoke(main, ["topics", "show", "calls"])
    assert shown.exit_code == 0, shown.output
    for words in ABOUT.values():
        assert ({*words.split()} & {*shown.output.replace(",", " ").split()}) or "tyres" in words
    assert "100%" in shown.output and "33%" in shown.output
    compared = runner.invoke(main, ["topics", "compare", "calls", "--to", "4"])
    assert compared.exit_code == 0 and "fits agree" in compared.output
    unchanged = runner.invoke(main, ["topics", "label"])
    assert unchanged.exit_code == 0 and "0 texts of 0 days" in unchanged.output
