"""Scores of adverts that grew delivery by delivery, late and out of order, are those of one full build."""

import random
from datetime import date, timedelta
from typing import Any

import pytest

from flows.build.build import Build, build, build_pending
from flows.build.warehouse import open_warehouse
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

FIRST = date(2026, 1, 5)  # a Monday
DAYS = 42
SCORES, SELECTION = "fct_advert_attractiveness", "agg_advert_selection"
MODELS = {
    "int_adverts__places_counted": "intermediate", "int_adverts__places_estimated": "intermediate",
    "int_adverts__adverts_adjusted": "intermediate", "agg_advert_positions": "marts", SCORES: "marts",
    SELECTION: "marts",
}  # fmt: skip


def events_of(day: int, number: int, pages: int = 40) -> list[dict[str, Any]]:
    """Pages of three adverts each; each position is clicked twice as often as the next."""
    chance = random.Random(day * 1000 + number)
    made = []
    for page in range(pages):
        adverts = chance.sample(range(12), 3)
        at = f"{FIRST + timedelta(days=day)}T{8 + page % 12:02}:{page % 60:02}:00Z"
        common: dict[str, Any] = {"occurred_at": at, "sent_at": at, "received_at": at, "product": "market",
                                  "platform": ("web", "ios")[page % 3 == 0], "device_id": f"d-{page}"}  # fmt: skip
        for position, advert in enumerate(adverts, 1):
            body = {"advert_id": f"a-{advert}", "slot": "list", "position": position, "page_type": "search"}
            kinds = ["advert_impression"]
            if chance.random() < 0.7 / 2 ** (position - 1) * (1.4 if advert < 4 else 0.6):
                kinds.append("advert_click")
            for kind in kinds:
                number += 1
                made.append(event(day * 100_000 + number, kind, body, **common))
    return made


def version_of(advert: int, price: int, day: int) -> dict[str, Any]:
    return {
        "advert_id": f"a-{advert}", "seller_id": f"s-{advert % 3}", "make_model": f"Make{advert % 2} X",
        "price": float(price), "photo_count": 1, "listed_at": f"{FIRST}T00:00:00Z", "status": "active",
        "updated_at": f"{FIRST + timedelta(days=day)}T06:00:00Z",
    }  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Five weeks built at once; the days of the third week that are not yet there come later."""
    lake = Lake(tmp_path_factory.mktemp("home"))
    late = {16, 17}
    for day in range(DAYS - 7):
        if day not in late:
            lake.deliver(f"web/events/{FIRST + timedelta(days=day)}/a.ndjson", ndjson(events_of(day, 0)))
    lake.deliver("market/adverts/1.ndjson", ndjson(version_of(advert, 4000, 0) for advert in range(10)))
    good(lake, build_pending)
    return lake


def good(lake: Lake, make: Any, *arguments: Any) -> None:
    lake.land()
    done: Build | None = make(lake.settings, *arguments)
    assert done is not None and not done.failed, done and [(node.name, node.message) for node in done.failed]


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


def days(first: int, last: int) -> list[date]:
    return [FIRST + timedelta(days=day) for day in range(first, last + 1)]


def assert_is_one_full_build(lake: Lake) -> None:
    grown = rows_of(lake.settings)
    good(lake, build, ("--full-refresh", "--select", " ".join(MODELS), "--exclude-resource-type", "test"))
    whole = rows_of(lake.settings)
    for name in MODELS:
        assert grown[name] == whole[name], name
    assert len(whole[SCORES]) > 300


def test_a_day_scores_itself_alone(lake: Lake) -> None:
    since = last_change(lake.settings)
    lake.deliver("web/events/next/b.ndjson", ndjson(events_of(DAYS - 7, 0)))
    good(lake, build_pending)
    assert changed_days(lake.settings, since, SCORES) == days(35, 35)
    assert_is_one_full_build(lake)


def test_days_that_come_late_change_the_curves_of_four_weeks_and_all_scores_since(lake: Lake) -> None:
    since = last_change(lake.settings)
    for day in (16, 17):
        lake.deliver(f"web/events/late/{day}.ndjson", ndjson(events_of(day, 0)))
    good(lake, build_pending)
    # Two Wednesdays' days of the third week: the weeks after it have other curves, as far as there are days.
    weeks = changed_days(lake.settings, since, "int_adverts__places_estimated")
    assert weeks == [FIRST + timedelta(weeks=week) for week in (3, 4, 5, 6)]
    assert changed_days(lake.settings, since, SCORES) == days(16, 35)
    assert_is_one_full_build(lake)


def test_a_version_that_comes_late_changes_the_days_of_its_segment(lake: Lake) -> None:
    """Two adverts get a price of day 20 on: the one as a change of band, the other within its band."""
    before, since = rows_of(lake.settings), last_change(lake.settings)
    lake.deliver("market/adverts/2.ndjson", ndjson([version_of(1, 50_000, 20), version_of(2, 4100, 20)]))
    good(lake, build_pending)
    assert changed_days(lake.settings, since, "int_adverts__adverts_adjusted") == days(20, 35)
    assert changed_days(lake.settings, since, SCORES) == days(20, 35)
    after = rows_of(lake.settings)
    assert before[SCORES] != after[SCORES]
    assert before["int_adverts__places_estimated"] == after["int_adverts__places_estimated"]
    assert_is_one_full_build(lake)


def test_adverts_that_become_known_later_are_in_their_segment_from_the_start(lake: Lake) -> None:
    since = last_change(lake.settings)
    lake.deliver("market/adverts/3.ndjson", ndjson(version_of(advert, 9000, 30) for advert in (10, 11)))
    good(lake, build_pending)
    assert changed_days(lake.settings, since, "int_adverts__adverts_adjusted")[0] == FIRST
    assert_is_one_full_build(lake)


def test_what_is_to_be_shown_is_chosen_by_rank_and_caps_and_could_have_been_otherwise(lake: Lake) -> None:
    with open_warehouse(lake.settings, read_only=True) as db:
        places = db.execute(
            "select event_date, platform, list(selection_rank order by selection_rank), list(distinct advert_id), "
            "max(propensity), min(propensity), bool_and(expected_clicks > 0) "
            f"from marts.{SELECTION} group by all order by all"
        ).fetchall()
        ((most_of_seller,),) = db.execute(
            f"select max(number) from (select count(*) as number from marts.{SELECTION} "
            "where seller_id is not null group by event_date, page_type, slot, platform, seller_id)"
        ).fetchall()
        good_ones = dict(
            db.execute(
                f"select cast(substr(advert_id, 3) as integer) < 4, avg(propensity) from marts.{SELECTION} "
                f"where event_date = (select max(event_date) from marts.{SELECTION}) group by all"
            ).fetchall()
        )
    assert len(places) > 40
    for _, _, ranks, adverts, highest, lowest, has_clicks in places:
        by_score = [rank for rank in ranks if rank <= 18]
        assert by_score == list(range(1, len(by_score) + 1)) and len(adverts) == len(ranks)
        assert 0 < lowest <= highest <= 1 and has_clicks
    assert most_of_seller == 3
    # Adverts that are clicked twice as often are chosen more often.
    assert good_ones[True] > good_ones.get(False, 0)
