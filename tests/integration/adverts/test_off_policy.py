"""What another policy would have been worth, from logs whose truth is known and from two real logs."""

import os
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import numpy as np
import pyarrow as pa
import pytest

from flows.contract.spec import PROJECT

LOGS = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "open_bandit"
MACROS = jinja2.Environment().from_string((PROJECT / "macros/statistics/off_policy.sql").read_text()).module
RATES = np.array([0.02, 0.05, 0.1, 0.2])
LOGGING = np.array([0.5, 0.3, 0.15, 0.05])
JUDGED = np.array([0.1, 0.2, 0.3, 0.4])
TRUTH = float(JUDGED @ RATES)

here = pytest.mark.skipif(
    not LOGS.exists(), reason="the logs are not here: TIDEMARK_REAL_DATA does not name their folder"
)


def value(db: duckdb.DuckDBPyConnection, log: str) -> dict[str, dict[str, Any]]:
    """What the macro's query gives, by estimator."""
    found = db.execute(MACROS.off_policy_value(log))  # type: ignore[attr-defined]
    names = [column[0] for column in found.description or []]
    return {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}


def drawn_log(db: duckdb.DuckDBPyConnection, seed: int, size: int, logging: Any = LOGGING) -> None:
    """A log of four adverts shown as ``logging`` says, with a prediction that is half as high as the truth."""
    chance = np.random.default_rng(seed)
    shown = chance.choice(4, size, p=logging)
    columns = {
        "reward": (chance.random(size) < RATES[shown]).astype(int), "propensity": np.asarray(logging)[shown],
        "probability": JUDGED[shown], "predicted_reward": RATES[shown] / 2, "predicted_value": np.full(size, TRUTH / 2),
    }  # fmt: skip
    db.register("log", pa.table(columns))


def test_intervals_hold_a_truth_that_is_known() -> None:
    db = duckdb.connect()
    held = dict.fromkeys(("IPS", "SNIPS", "DR"), 0)
    for seed in range(200):
        drawn_log(db, seed, 3000)
        for estimator, row in value(db, "log").items():
            held[estimator] += row["value_low"] <= TRUTH <= row["value_high"]
            assert row["largest_weight"] == 8 and row["why_withheld"] is None
    assert all(170 <= count <= 192 for count in held.values()), held


def test_of_the_own_policy_the_value_is_the_mean() -> None:
    db = duckdb.connect()
    drawn_log(db, 1, 2000, logging=JUDGED)
    ((mean,),) = db.execute("select avg(reward) from log").fetchall()
    found = value(db, "log")
    assert found["IPS"]["value"] == pytest.approx(mean) == found["SNIPS"]["value"]
    assert found["IPS"]["effective_sample"] == pytest.approx(2000)


@pytest.mark.parametrize("size", [0, 40])
def test_a_small_effective_sample_is_withheld_and_says_so(size: int) -> None:
    db = duckdb.connect()
    drawn_log(db, 2, size)
    for row in value(db, "log").values():
        assert row["is_withheld"] and row["why_withheld"] == "the effective sample is under 30"
        assert row["value"] is None and row["value_low"] is None and row["value_high"] is None


@here
@pytest.mark.parametrize(("shown", "judged"), [("bts", "random"), ("random", "bts")])
def test_a_real_log_says_what_the_other_policy_was_worth(shown: str, judged: str) -> None:
    """Uniform is 1/34. The bandit's probabilities are the shares in which it showed each item at a position; rewards
    are predicted by the mean of the position."""
    db = duckdb.connect()
    for name in ("random", "bts"):
        db.execute(f"create view {name} as from read_csv('{LOGS}/obd_{name}_men.csv.gz')")
    db.execute(
        f"""
        create table log as
        with shares as (
            select item_id, position, count(*) / sum(count(*)) over (partition by position) as share
            from bts group by item_id, position
        )
        select
            logged.click as reward,
            logged.propensity_score as propensity,
            {"1 / 34" if judged == "random" else "coalesce(shares.share, 0)"} as probability,
            avg(logged.click) over (partition by logged.position) as predicted_reward,
            avg(logged.click) over (partition by logged.position) as predicted_value
        from {shown} as logged
        left join shares on logged.item_id = shares.item_id and logged.position = shares.position
        """
    )
    ((mean, error),) = db.execute(f"select avg(click), stddev(click) / sqrt(count(*)) from {judged}").fetchall()
    found = value(db, "log")
    for row in found.values():
        if row["is_withheld"]:
            assert row["effective_sample"] < 30 and row["value"] is None
        else:
            spread = (row["value_high"] - row["value_low"]) / 2 / 1.645
            assert abs(row["value"] - mean) < 2.576 * np.hypot(spread, error)
    assert all(row["choices_count"] == 10_000 for row in found.values())
