"""What boards say in sentences and verdicts is what the rows of the marts give, counted by hand."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.contract.spec import PROJECT
from flows.site.boards import Board, Filter, View, read_boards, views

CALLS = """
    create table dim_topics as
    from (values ('t-0', 0, 'unclear', null, null), ('t-1', 1, 'price', 0.9, 'price, offer'),
        ('t-2', 2, 'delivery', 0.8, 'ferry, lorry')) as t (topic_id, topic_number, topic_name, stability, keywords);
    create table agg_call_topics_daily as
    select
        event_date, topic_id, channel, '2 to 10 minutes' as call_length, seller_type, calls_count, 0.9 as mean_weight
    from (values
        -- The week before, 200 calls: 20 % price, 70 % delivery.
        (date '2026-01-05', 't-1', 'mobile', 'franchise', 40), (date '2026-01-05', 't-2', 'mobile', 'franchise', 140),
        (date '2026-01-05', 't-0', 'mobile', 'franchise', 20),
        -- This week, 400 calls: 30 % price, 65 % delivery.
        (date '2026-01-15', 't-1', 'mobile', 'independent', 120), (date '2026-01-15', 't-2', 'mobile', null, 200),
        (date '2026-01-15', 't-2', 'landline', 'independent', 60), (date '2026-01-15', 't-0', 'landline', null, 20)
    ) as t (event_date, topic_id, channel, seller_type, calls_count)
"""
ADVERTS = """
    create table dim_adverts as
    select 'a-' || number as advert_id, 'Volvo V60' as make_model, 1000.0 * number as price, true as is_current
    from range(1, 5) as t (number);
    create table fct_advert_attractiveness as
    select
        day as event_date, advert_id, 's-1' as seller_id, 'Volvo, new, franchise' as segment,
        score is not null as is_scored, score, score - 0.2 as score_low, score + 0.2 as score_high,
        against as against_average, 1.0 as segment_score,
        0.9 as evidence_share, 100 as impressions_count
    from (values ('a-1', 1.5::double, 'above'), ('a-2', 1.6, 'above'),
        ('a-3', 0.5, 'below'), ('a-4', null, null)
    ) as t (advert_id, score, against), (values (date '2026-01-14'), (date '2026-01-15')) as days (day)
    where day = date '2026-01-15' or advert_id = 'a-1';
    create table agg_advert_positions as
    select
        week as week_start_date, 'search' as page_type, 'list' as slot, 'web' as platform, position,
        ratio as position_ratio, true as is_connected, true as is_reference, true as is_told_apart,
        100 as impressions_count
    from (values (date '2026-01-12', 1, 1.0::double), (date '2026-01-12', 2, 0.4), (date '2026-01-19', 2, 0.1)
    ) as t (week, position, ratio)
"""


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def view_of(name: str, database: duckdb.DuckDBPyConnection, *filters: Filter) -> View:
    problems: list[str] = []
    boards: dict[str, Board] = {board.name: board for board in read_boards(Path(PROJECT / "boards"), (), problems)}
    assert not problems
    found = next(views(boards[name], filters, database))
    assert not [rows.error for rows in found.rows.values() if rows.error]
    return found


def column(view: View, query: str, *names: str) -> list[Any]:
    return list(zip(*(view.rows[query].values(name) for name in names), strict=True))


def test_calls_are_told_by_share_and_by_a_change_that_is_no_chance(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(CALLS)
    view = view_of("calls_about", database, Filter("channel", "Channel", ("all", "landline"), "all"))
    assert view.rows["findings"].values("finding") == [
        "65 % of calls, about as in the week before: delivery",
        "30 % of calls, up 10 points: price",
    ]
    assert column(view, "by_length", "topic", "calls", "long") == [
        ("delivery", 400, 1), ("price", 160, 1), ("unclear", 40, 1),
    ]  # fmt: skip
    # Of calls whose seller is known: 40 of 200 against 120 of 180, 140 of 200 against 60 of 180.
    assert [(*row[:3], round(row[3], 3), row[4]) for row in column(
        view, "by_seller", "topic", "seller", "calls", "share", "verdict"
    )] == [
        ("delivery", "franchise", 140, 0.7, "more often"), ("delivery", "independent", 60, 0.333, "less often"),
        ("price", "franchise", 40, 0.2, "less often"), ("price", "independent", 120, 0.667, "more often"),
    ]  # fmt: skip


def test_adverts_are_told_of_the_newest_day_and_by_the_curve_of_its_week(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(ADVERTS)
    view = view_of("attractive_adverts", database)
    assert view.rows["findings"].values("finding") == [
        "Of 4 adverts that were shown in the last 28 days, 2 are clicked more often than the average advert at the "
        "same place and 1 less often.",
        "1 have no score: they were shown only where nothing can be compared.",
        "On search pages (web) the same advert is clicked 2.5 times as often at the first position as at position 2.",
    ]
    assert column(view, "best", "advert", "score", "price") == [("a-2", 1.6, 2000), ("a-1", 1.5, 1000)]
    assert column(view, "worst", "advert") == [("a-3",)]
    assert column(view, "curves", "position", "clicks") == [(1, 1), (2, 0.4)]
