"""What was enjoyed, grown delivery by delivery and with contents that move, is that of one full build; and it is right
in worlds whose truth is known."""

import random
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from benchmarks.compiled import compiled
from flows.build.build import Build, build, build_pending
from flows.build.warehouse import open_warehouse
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

FIRST = date(2026, 1, 5)
DAYS = 16
WEEK = timedelta(days=7)
MODELS = {
    "agg_content_sections_daily": "marts", "agg_content_enjoyment": "marts", "agg_content_returns_weekly": "marts",
}  # fmt: skip
SELECTED = ("--select", *(f"+{name}" for name in MODELS), "--exclude-resource-type", "unit_test")


def events_of(day: int) -> list[dict[str, Any]]:
    """Thirty devices of many that each read two of eight articles; odd articles are enjoyed by more of them."""
    chance = random.Random(day)
    made, number = [], day * 10_000
    for device in chance.sample(range(200), 30):
        for article in chance.sample(range(8), 2):
            at = f"{FIRST + timedelta(days=day)}T{8 + device % 10:02}:{article:02}:00Z"
            common: dict[str, Any] = {"occurred_at": at, "sent_at": at, "received_at": at, "product": "news",
                                      "platform": "web", "device_id": f"d-{device}"}  # fmt: skip
            content = {"content_id": f"c-{article}", "content_type": "article"}
            number += 2
            made.append(event(number, "content_view", content, **common))
            is_enjoyed = chance.random() < (0.8 if article % 2 else 0.3)
            read = {"depth": 0.9, "active_ms": 90_000 if is_enjoyed else 20_000}
            made.append(event(number + 1, "content_progress", content | read, **common))
    return made


def version_of(article: int, section: str, day: int) -> dict[str, Any]:
    return {
        "content_id": f"c-{article}", "content_type": "article", "product": "news", "title": f"Title {article}",
        "section": section, "published_at": f"{FIRST}T00:00:00Z",
        "updated_at": f"{FIRST + timedelta(days=day)}T06:00:00Z",
    }  # fmt: skip


def good(lake: Lake, make: Any, *arguments: Any) -> None:
    lake.land()
    done: Build | None = make(lake.settings, *arguments)
    assert done is not None and not done.failed, done and [(node.name, node.message) for node in done.failed]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Sixteen days but for the fifth, which comes late."""
    lake = Lake(tmp_path_factory.mktemp("home"))
    for day in range(DAYS):
        if day != 4:
            lake.deliver(f"web/events/{FIRST + timedelta(days=day)}/a.ndjson", ndjson(events_of(day)))
    lake.deliver("cms/contents/1.ndjson", ndjson(version_of(n, ("sport", "culture")[n % 2], 0) for n in range(6)))
    good(lake, build_pending)
    return lake


def rows_of(settings: Settings) -> dict[str, list[Any]]:
    with open_warehouse(settings, read_only=True) as db:
        return {name: db.execute(f"from {schema}.{name} order by all").fetchall() for name, schema in MODELS.items()}


def changed_days(settings: Settings, since: int, model: str) -> list[date]:
    with open_warehouse(settings, read_only=True) as db:
        found = db.execute("select day from ops.changes where model = ? and change > ? order by 1", [model, since])
        return [day for (day,) in found.fetchall()]


def last_change(settings: Settings) -> int:
    with open_warehouse(settings, read_only=True) as db:
        return int((db.execute("select max(change) from ops.changes").fetchone() or (0,))[0])


def assert_is_one_full_build(lake: Lake) -> None:
    grown = rows_of(lake.settings)
    good(lake, build, ("--full-refresh", *SELECTED))
    assert rows_of(lake.settings) == grown
    assert len(grown["agg_content_enjoyment"]) > 50


def test_a_day_that_comes_late_changes_the_days_after_it(lake: Lake) -> None:
    since = last_change(lake.settings)
    lake.deliver("web/events/late/4.ndjson", ndjson(events_of(4)))
    good(lake, build_pending)
    days = [FIRST + timedelta(days=day) for day in range(DAYS)]
    assert changed_days(lake.settings, since, "agg_content_sections_daily") == days[4:5]
    assert changed_days(lake.settings, since, "agg_content_enjoyment") == days[4:]
    assert changed_days(lake.settings, since, "agg_content_returns_weekly") == [FIRST - 2 * WEEK, FIRST - WEEK, FIRST]
    assert_is_one_full_build(lake)


def test_a_content_that_moves_counts_for_its_section_from_then_on(lake: Lake) -> None:
    since = last_change(lake.settings)
    lake.deliver("cms/contents/2.ndjson", ndjson([version_of(0, "economy", 6), version_of(2, "sport", 3)]))
    good(lake, build_pending)
    days = [FIRST + timedelta(days=day) for day in range(DAYS)]
    assert changed_days(lake.settings, since, "agg_content_enjoyment") == days[6:]
    with open_warehouse(lake.settings, read_only=True) as db:
        sections = db.execute(
            "select distinct event_date >= date '2026-01-11', section from marts.agg_content_sections_daily "
            "where content_id = 'c-0' order by all"
        ).fetchall()
    assert sections == [(False, "sport"), (True, "economy")]
    assert_is_one_full_build(lake)


def test_what_is_published_counts_the_readers_of_the_day_and_of_seven(lake: Lake) -> None:
    with open_warehouse(lake.settings, read_only=True) as db:
        day = FIRST + timedelta(days=DAYS - 1)
        wanted = db.execute(
            "select content_id, coalesce(sum(readers_count) filter (where event_date = $day), 0), sum(readers_count), "
            "sum(enjoyers_count) from marts.agg_content_daily where event_date > $day - 7 and readers_count > 0 "
            "group by all order by all",
            {"day": day},
        ).fetchall()
        found = db.execute(
            "select content_id, readers_count, week_readers_count, week_enjoyers_count "
            "from marts.agg_content_enjoyment where event_date = ? order by all",
            [day],
        ).fetchall()
        rates = db.execute(
            "select content_id, enjoyed_rate from marts.agg_content_enjoyment where event_date = ?", [day]
        ).fetchall()
    assert found == wanted and len(found) == 8
    odd, even = ([rate for content, rate in rates if int(content[2:]) % 2 == rest] for rest in (1, 0))
    assert min(odd) > max(even)


def section_on(article: int, day: int) -> str:
    """As the versions delivered above say; two articles have none."""
    if article >= 6:
        return "no section"
    return "economy" if article == 0 and day >= 6 else ("sport", "culture")[article % 2]


def test_who_came_back_after_enjoying_is_who_has_events_on_one_of_seven_days_after(lake: Lake) -> None:
    days_of: dict[str, set[int]] = {}
    reads: dict[tuple[str, str], list[tuple[int, bool]]] = {}
    for day in range(DAYS):
        for made in events_of(day):
            days_of.setdefault(made["device_id"], set()).add(day)
            if day < 7 and (read := made.get("content_progress")):
                section = section_on(int(read["content_id"][2:]), day)
                reads.setdefault((section, made["device_id"]), []).append((day, read["active_ms"] >= 60_000))
    counts: dict[str, dict[bool, list[bool]]] = {}
    for (section, device), found in reads.items():
        enjoyed = [day for day, is_enjoyed in found if is_enjoyed]
        began = min(enjoyed or [day for day, _ in found])
        is_back = any(began < day <= began + 7 for day in days_of[device])
        counts.setdefault(section, {True: [], False: []})[bool(enjoyed)].append(is_back)

    def shown(of: list[bool]) -> tuple[int, int | None]:
        return len(of), sum(of) if min(sum(of), len(of) - sum(of)) >= 10 else None

    wanted = [
        (FIRST, section, *shown(of[True]), *shown(of[False]))
        for section, of in sorted(counts.items())
        if min(map(len, of.values())) >= 10
    ]
    with open_warehouse(lake.settings, read_only=True) as db:
        # The second week has not had its seven days.
        found_rows = db.execute(
            "select week_start_date, section, enjoyers_count, enjoyers_returned_count, others_count, "
            "others_returned_count from marts.agg_content_returns_weekly order by section"
        ).fetchall()
    assert found_rows == wanted
    assert {row[1] for row in wanted} == {"no section", "sport"} and any(row[3] and row[5] for row in wanted)
    assert counts.keys() > {row[1] for row in wanted}


def judged(contents: list[tuple[str, int, int]]) -> list[Any]:
    """What the mart says of contents of one day, in one section each: section, readers, enjoyers."""
    sql = compiled("agg_content_enjoyment")["agg_content_enjoyment"]
    with duckdb.connect() as db:
        db.execute("create schema marts")
        db.execute(
            "create table marts.agg_content_sections_daily (event_date date, product varchar, "
            "content_type varchar, content_id varchar, section varchar, readers_count bigint, enjoyers_count bigint)"
        )
        db.executemany(
            "insert into marts.agg_content_sections_daily values (date '2026-01-15', 'news', 'article', ?, ?, ?, ?)",
            [(f"c-{number:05}", *content) for number, content in enumerate(contents)],
        )
        return db.execute(
            "select enjoyed_rate, enjoyed_rate_low, enjoyed_rate_high, against_section "
            f"from ({sql}) order by content_id"
        ).fetchall()


def test_intervals_hold_the_truth_and_the_shares_are_nearer_to_it_than_those_of_readers() -> None:
    chance = np.random.default_rng(1)
    usual = chance.beta(8, 8, 10).repeat(150)
    truth = np.clip(usual * chance.gamma(25, 1 / 25, len(usual)), 0.01, 0.97)
    readers = chance.integers(2, 300, len(usual))
    enjoyers = chance.binomial(readers, truth)
    sections = [f"section {number // 150}" for number in range(len(usual))]
    found = judged(list(zip(sections, readers.tolist(), enjoyers.tolist(), strict=True)))
    rate, low, high = (np.array([row[column] for row in found]) for column in range(3))
    assert 0.85 <= ((low <= truth) & (truth <= high)).mean() <= 0.96
    assert np.abs(rate - truth).mean() < 0.95 * np.abs(enjoyers / readers - truth).mean()


def test_where_all_are_alike_no_difference_is_claimed() -> None:
    chance = np.random.default_rng(2)
    readers = chance.integers(2, 300, 1000)
    enjoyers = chance.binomial(readers, 0.4)
    sections = [f"section {number % 8}" for number in range(1000)]
    found = judged(list(zip(sections, readers.tolist(), enjoyers.tolist(), strict=True)))
    assert {row[3] for row in found} == {"not told apart"}
