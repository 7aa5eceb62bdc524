"""Scores of adverts in worlds whose truth is known, and in a real log in which nothing differs."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.adverts import TWO_SLOTS, World, calibrate, judge, new_database, score, simulate

LOGS = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "open_bandit"


def test_scores_find_the_truth_and_their_intervals_hold_it() -> None:
    db = new_database()
    truth = simulate(db, World(seed=1))
    score(db)
    judged = judge(db, truth)
    (everybody, new), raw, average = map(judged.rank_agreement, (judged.score, judged.raw, judged.over_average))
    assert everybody >= 0.75 and new >= 0.60
    assert everybody > max(raw[0], average[0]) and new > max(raw[1], average[1])
    assert 0.85 <= judged.coverage <= 0.95
    assert judged.new_move <= 0.1
    assert judged.curve_error <= 0.1
    # What is said to be better or worse than the average is, but for as many as the intervals allow.
    above, below = (np.array([said == text for said in judged.against]) for text in ("above", "below"))
    assert above.sum() > 100 and below.sum() > 100
    assert (judged.quality[above] > 1).mean() > 0.95 and (judged.quality[below] < 1).mean() > 0.95


@pytest.mark.parametrize("seed", [1, 2])
def test_clicks_of_a_later_day_are_as_many_as_predicted(seed: int) -> None:
    """All together within 10 %, and of each slot and decile of the predicted rate within a fifth, but for chance."""
    db = new_database()
    simulate(db, World(seed=seed, slots=TWO_SLOTS))
    score(db)
    deciles = calibrate(db)
    assert [(slot, decile) for slot, decile, _, _ in deciles] == [
        (slot, decile) for slot, _ in TWO_SLOTS for decile in range(1, 11)
    ]
    predicted, counted = (np.array([row[at] for row in deciles], dtype=float) for at in (2, 3))
    assert counted.sum() / predicted.sum() == pytest.approx(1, abs=0.1)
    assert (np.abs(counted - predicted) <= 0.2 * predicted + 2.576 * np.sqrt(predicted)).all(), deciles


@pytest.mark.parametrize("seed", [1, 2])
def test_few_clicks_tell_adverts_apart_though_places_are_known_roughly(seed: int) -> None:
    """With a seventeenth of the impressions the curve has an error of a third; most of it all adverts share."""
    db = new_database()
    truth = simulate(db, World(seed=seed, adverts=400, impressions=60_000))
    score(db)
    judged = judge(db, truth)
    everybody, new = judged.rank_agreement(judged.score)
    assert everybody >= 0.65 and new >= 0.5 and everybody >= judged.rank_agreement(judged.raw)[0]
    assert 0.85 <= judged.coverage <= 0.97
    assert sum(said != "not told apart" for said in judged.against) > 100


@pytest.mark.parametrize("adverts, impressions", [(1000, 200_000), (400, 60_000)])
@pytest.mark.parametrize("seed", [1, 2])
def test_where_all_are_alike_no_difference_is_claimed(seed: int, adverts: int, impressions: int) -> None:
    db = new_database()
    alike = World(seed=seed, spread=0, segment_spread=0, adverts=adverts, impressions=impressions)
    truth = simulate(db, alike)
    score(db)
    judged = judge(db, truth)
    assert len(judged.against) > 0.9 * adverts and {*judged.against} == {"not told apart"}
    assert judged.score == pytest.approx(1)


@pytest.mark.skipif(not LOGS.exists(), reason="the logs are not here: TIDEMARK_REAL_DATA does not name their folder")
@pytest.mark.parametrize("is_said", [False, True])
def test_of_a_log_of_random_items_nothing_is_claimed(is_said: bool) -> None:
    """Three positions and 34 items, shown at random: neither differs by more than chance. The log stands for two
    weeks, of which the first makes the curve and the second is scored."""
    db = new_database()
    db.execute(
        """
        insert into tidemark.intermediate.int_adverts__places_counted
        select day, 'i-' || item_id, 'list', position, 'shop', 'web', $is_said, count(*), sum(click)
        from read_csv($log), (values (date '2026-01-05'), (date '2026-01-12')) as days(day)
        group by all
        """,
        {"log": str(LOGS / "obd_random_men.csv.gz"), "is_said": is_said},
    )
    score(db)
    positions = db.execute(
        "select position, is_connected, is_told_apart, position_ratio, position_ratio_low "
        "from int_adverts__places_estimated where week_start_date = date '2026-01-12' order by 1"
    ).fetchall()
    assert positions == [(position, True, False, 1.0, None) for position in (1, 2, 3)]
    items = db.execute(
        "select count(*), count(*) filter (where against_average = 'not told apart') "
        "from fct_advert_attractiveness where event_date = date '2026-01-12'"
    ).fetchone()
    assert items == (34, 34)
