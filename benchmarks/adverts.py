"""How well scores of adverts find a truth that is known, beside simpler ways and a fit by maximum likelihood.

The models' own SQL, as dbt compiles it, runs on simulated counts: adverts whose quality scatters between and within
segments, some of them new with a tenth of the exposure, on pages of twenty positions where quality leads the rank
weakly or strongly and a few pages are shuffled; and a world in which all are alike.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from rich.table import Table

from benchmarks.compiled import compiled
from flows.contract.spec import PROJECT

Numbers = np.ndarray[Any, np.dtype[np.float64]]
MODELS = ("int_adverts__places_estimated", "int_adverts__adverts_adjusted", "fct_advert_attractiveness")
# Of the inputs that the SQL reads, the columns that a world fills.
VERSIONS = """
    create table tidemark.intermediate.int_adverts__adverts_versioned (
        advert_id varchar, seller_id varchar, seller_type varchar, make_model varchar, price double,
        listed_at timestamp, valid_from timestamp, valid_to timestamp, version_number bigint
    )
"""
COUNTS = """
    create table tidemark.intermediate.int_adverts__places_counted (
        event_date date, advert_id varchar, slot varchar, position integer, page_type varchar, platform varchar,
        is_random_order boolean, impressions_count bigint, clicks_count bigint
    )
"""
FIRST_DAY = "2026-01-05"
TWO_SLOTS = (("list", 1.0), ("side", 0.4))


@dataclass(frozen=True)
class World:
    """Adverts and the pages they are shown on. ``spread`` and ``segment_spread`` are how the logarithm of quality
    scatters, ``lead`` how far quality leads the rank (0 to 1), ``shuffled`` the share of pages in random order, and
    ``is_shuffling_said`` whether their requests say so; ``slots`` are the places on pages, by how often adverts are
    clicked there."""

    seed: int = 1
    adverts: int = 4000
    positions: int = 20
    impressions: int = 1_040_000
    days: int = 35
    segments: int = 12
    spread: float = 0.5
    segment_spread: float = 0.5
    new_share: float = 0.15
    lead: float = 0.3
    shuffled: float = 0.05
    is_shuffling_said: bool = True
    slots: tuple[tuple[str, float], ...] = (("list", 1.0),)
    base_rate: float = 0.05


@dataclass(frozen=True)
class Truth:
    """What was drawn: the quality of each advert by its number, which are new, and what each position does."""

    quality: Numbers
    segment: np.ndarray[Any, np.dtype[np.int64]]
    is_new: np.ndarray[Any, np.dtype[np.bool_]]
    curve: Numbers


def new_database() -> duckdb.DuckDBPyConnection:
    """A database in memory with the inputs of the models, empty, and the segments of the seed."""
    db = duckdb.connect(config={"threads": 2})
    db.execute("attach ':memory:' as tidemark")
    for schema in ("intermediate", "marts", "seeds"):
        db.execute(f"create schema tidemark.{schema}")
    db.execute(COUNTS)
    db.execute(VERSIONS)
    seed = PROJECT / "seeds/advert_segments.csv"
    db.execute("create table tidemark.seeds.advert_segments as from read_csv($path)", {"path": str(seed)})
    return db


def score(db: duckdb.DuckDBPyConnection) -> None:
    """Run the models on what is in the database; their tables can be read by their names."""
    for name in MODELS:
        sql = re.sub(r"\b(intermediate|marts|seeds)\.", r"tidemark.\1.", compiled(*MODELS)[name])
        schema = "marts" if name.startswith("fct_") else "intermediate"
        db.execute(f"create or replace table tidemark.{schema}.{name} as {sql}")
        db.execute(f"create or replace view {name} as from tidemark.{schema}.{name}")


def simulate(db: duckdb.DuckDBPyConnection, world: World) -> Truth:
    """Fill the inputs with what a world shows and clicks."""
    chance = np.random.default_rng(world.seed)
    segment = chance.integers(0, world.segments, world.adverts)
    logs = chance.normal(0, world.segment_spread, world.segments)[segment]
    logs = logs + chance.normal(0, world.spread, world.adverts)
    is_new = chance.random(world.adverts) < world.new_share
    truth = Truth(np.exp(logs), segment, is_new, np.exp(-0.12 * np.arange(world.positions)))
    liked = chance.normal(0, 1, world.adverts)
    weight = np.log(np.where(is_new, 0.1, 1.0))
    pages = world.impressions // world.positions // world.days
    for day in range(world.days):
        candidates = chance.integers(0, world.adverts, (pages, 3 * world.positions))
        keys = weight[candidates] + chance.gumbel(size=candidates.shape)
        chosen = np.argpartition(-keys, world.positions, axis=1)[:, : world.positions]
        shown = np.take_along_axis(candidates, chosen, 1)
        standing = world.lead * logs[shown] / (logs.std() or 1) + (1 - world.lead) * liked[shown]
        standing = standing + chance.normal(0, 0.7, shown.shape)
        shuffled = chance.random(pages) < world.shuffled
        standing[shuffled] = chance.random((int(shuffled.sum()), world.positions))
        shown = np.take_along_axis(shown, np.argsort(-standing, 1), 1)
        slot = chance.integers(0, len(world.slots), pages) if len(world.slots) > 1 else np.zeros(pages, dtype=int)
        factor = np.array([factor for _, factor in world.slots])[slot][:, None]
        clicked = chance.random(shown.shape) < world.base_rate * factor * truth.quality[shown] * truth.curve
        positions = np.tile(np.arange(1, world.positions + 1), pages)
        is_said = np.repeat(shuffled & world.is_shuffling_said, world.positions)
        slots = np.repeat(np.array([name for name, _ in world.slots])[slot], world.positions)
        columns = {"advert": shown.ravel(), "slot": slots, "position": positions, "is_said": is_said}
        rows = pa.table({**columns, "is_clicked": clicked.ravel()})
        db.register("shown", rows)
        db.execute(
            "insert into tidemark.intermediate.int_adverts__places_counted "
            f"select date '{FIRST_DAY}' + {day}, 'a-' || advert, slot, position, 'search', 'web', is_said, count(*), "
            "count(*) filter (where is_clicked) from shown group by all"
        )
    db.register("drawn", pa.table({"advert": np.arange(world.adverts), "segment": segment}))
    db.execute(
        "insert into tidemark.intermediate.int_adverts__adverts_versioned "
        "select 'a-' || advert, 's-' || advert % 50, null, 'Make' || segment || ' X', 7000, timestamp '2025-01-01', "
        "timestamp '2025-01-01', null, 1 from drawn"
    )
    return truth


@dataclass(frozen=True)
class Judged:
    """Of the newest day: the adverts' numbers, their scores and what else is estimated of each, and the truth."""

    numbers: np.ndarray[Any, np.dtype[np.int64]]
    score: Numbers
    low: Numbers
    high: Numbers
    raw: Numbers
    over_average: Numbers
    quality: Numbers
    is_new: np.ndarray[Any, np.dtype[np.bool_]]
    against: list[str]
    new_move: float
    curve_error: float

    def rank_agreement(self, estimated: Numbers) -> tuple[float, float]:
        """Spearman's correlation of an estimate with the truth: of all adverts, and of new ones."""
        return _spearman(estimated, self.quality), _spearman(estimated[self.is_new], self.quality[self.is_new])

    @property
    def coverage(self) -> float:
        """How many of the intervals hold the truth, as a share."""
        return float(np.mean((self.low <= self.quality) & (self.quality <= self.high)))


def judge(db: duckdb.DuckDBPyConnection, truth: Truth) -> Judged:
    """Hold the scores of the newest day against the truth, put in relation to the average advert's as they are."""
    db.execute(
        """
        create or replace temp table judged as
        with counts as (
            select
                *,
                sum(clicks_count) over (partition by position)
                / sum(impressions_count) over (partition by position) as average
            from tidemark.intermediate.int_adverts__places_counted
        ),
        simple as (
            select
                advert_id, sum(clicks_count) / sum(impressions_count) as raw,
                sum(clicks_count) / sum(impressions_count * average) as over_average
            from counts group by advert_id
        )
        select cast(substr(advert_id, 3) as integer) as number, scores.*, raw, over_average
        from fct_advert_attractiveness as scores inner join simple using (advert_id)
        where event_date = (select max(event_date) from fct_advert_attractiveness) and is_scored
        order by number
        """
    )
    columns = ("number", "score", "score_low", "score_high", "raw", "over_average", "average_clicks")
    found = db.execute(f"select {', '.join(columns)} from judged").fetchnumpy()
    number = found["number"].astype(int)
    plain = {name: np.ma.filled(found[name].astype(float), np.nan) for name in columns[1:]}
    quality = truth.quality[number]
    average = float((plain["average_clicks"] * quality).sum() / plain["average_clicks"].sum())
    moves = db.execute(
        "select cast(substr(advert_id, 3) as integer) as number, abs(ln(judged.score / before.score)) as move "
        "from judged inner join fct_advert_attractiveness as before using (advert_id) "
        "where before.event_date = judged.event_date - 1 and before.is_scored"
    ).fetchnumpy()
    moved = moves["move"][truth.is_new[moves["number"].astype(int)]]
    curve = db.execute(
        "select position, position_ratio from int_adverts__places_estimated where position_ratio is not null "
        "and week_start_date = (select date_trunc('week', max(event_date)) from fct_advert_attractiveness)"
    ).fetchall()
    return Judged(
        number, plain["score"], plain["score_low"], plain["score_high"], plain["raw"], plain["over_average"],
        quality / average, truth.is_new[number],
        [text for (text,) in db.execute("select against_average from judged").fetchall()],
        float(np.percentile(moved, 90)) if len(moved) else 0.0,
        float(np.mean([abs(np.log(ratio / truth.curve[position - 1])) for position, ratio in curve])),
    )  # fmt: skip


def calibrate(db: duckdb.DuckDBPyConnection) -> list[tuple[str, int, float, int]]:
    """Of the newest day, predicted by the scores of the day before: the slot, the decile of the predicted rate of an
    impression, and the clicks predicted and counted. The average advert's rate is that of the
    six days before, whose places were compared by the same curve."""
    return db.execute(
        """
        with days as (select max(event_date) as newest from fct_advert_attractiveness),
        placed as (
            select counted.*, places.place_ratio
            from tidemark.intermediate.int_adverts__places_counted as counted
            inner join int_adverts__places_estimated as places
                on (counted.page_type, counted.slot, counted.platform, counted.position)
                = (places.page_type, places.slot, places.platform, places.position)
                and places.week_start_date = date_trunc('week', counted.event_date)
            where places.place_ratio is not null
        ),
        scored as (
            select placed.*, scores.score * placed.place_ratio as ratio
            from placed, days
            inner join fct_advert_attractiveness as scores on scores.event_date = days.newest - 1 and scores.is_scored
            where scores.advert_id = placed.advert_id
        ),
        average as (
            select sum(clicks_count) / sum(impressions_count * ratio) as rate
            from scored, days where event_date between newest - 6 and newest - 1
        ),
        ranked as (
            select scored.*, ratio * average.rate as rate, ntile(10) over (partition by slot order by ratio) as decile
            from scored, average, days where event_date = newest
        )
        select slot, decile, sum(impressions_count * rate), sum(clicks_count) from ranked group by all order by all
        """
    ).fetchall()


def fit_by_likelihood(db: duckdb.DuckDBPyConnection, world: World, spread: float = 0.7) -> Numbers:
    """The quality of each advert by a joint fit with the positions: Poisson counts, and a normal prior on its log."""
    from scipy.optimize import minimize  # noqa: PLC0415

    rows = db.execute(
        "select cast(substr(advert_id, 3) as integer), position - 1, sum(impressions_count), sum(clicks_count) "
        "from tidemark.intermediate.int_adverts__places_counted group by all"
    ).fetchnumpy()
    advert, position, shown, clicked = (np.asarray(column) for column in rows.values())
    advert, position, shown, clicked = (
        advert.astype(int),
        position.astype(int),
        shown.astype(float),
        clicked.astype(float),
    )
    base = np.log(clicked.sum() / shown.sum())

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        logs, places = parameters[: world.adverts], parameters[world.adverts :]
        expected = shown * np.exp(base + logs[advert] + places[position])
        value = float(expected.sum() - (clicked * np.log(expected)).sum() + (logs**2).sum() / (2 * spread**2))
        off = expected - clicked
        by_advert = np.bincount(advert, off, world.adverts) + logs / spread**2
        return value, np.concatenate([by_advert, np.bincount(position, off, world.positions)])

    start = np.zeros(world.adverts + world.positions)
    return np.exp(minimize(loss, start, jac=True, method="L-BFGS-B").x[: world.adverts])


def tables(work: Path, size: int) -> Iterator[Table]:
    """Agreement with the truth in two worlds, three seeds each; predicted clicks against those of a later day; and
    what is said where there is no difference."""
    del work, size
    for name, lead in (("quality leads the rank weakly", 0.3), ("strongly", 0.8)):
        table = Table(name, "all adverts", "new adverts", title_justify="left")
        rows: dict[str, list[tuple[float, float]]] = {}
        others: list[tuple[float, float, float]] = []
        for seed in (1, 2, 3):
            world = World(seed=seed, lead=lead)
            db = new_database()
            truth = simulate(db, world)
            score(db)
            judged = judge(db, truth)
            fitted = fit_by_likelihood(db, world)[judged.numbers]
            for what, estimate in (
                ("score", judged.score), ("raw rate", judged.raw),
                ("rate over position's average", judged.over_average),
                ("maximum likelihood, shrunk", fitted),
            ):  # fmt: skip
                rows.setdefault(what, []).append(judged.rank_agreement(estimate))
            others.append((judged.coverage, judged.new_move, judged.curve_error))
        for what, found in rows.items():
            table.add_row(f"rank agreement: {what}", *(_span(values) for values in zip(*found, strict=True)))
        for what, values in zip(
            ("intervals that hold the truth", "day-to-day move of new adverts (p90)", "error of the curve"),
            zip(*others, strict=True),
            strict=True,
        ):
            table.add_row(what, _span(values), "")
        yield table
    table = Table("calibration: decile of the predicted rate", "slot", "predicted", "counted", title_justify="left")
    db = new_database()
    simulate(db, World(seed=1, slots=TWO_SLOTS))
    score(db)
    for slot, decile, predicted, counted in calibrate(db):
        table.add_row(str(decile), slot, f"{predicted:.0f}", str(counted))
    yield table
    table = Table("all adverts alike", "told apart", title_justify="left")
    for seed in range(1, 11):
        db = new_database()
        truth = simulate(db, World(seed=seed, spread=0, segment_spread=0, adverts=2000, impressions=300_000))
        score(db)
        against = judge(db, truth).against
        table.add_row(f"world {seed}", f"{sum(text != 'not told apart' for text in against)} of {len(against):,}")
    yield table


def _spearman(one: Numbers, other: Numbers) -> float:
    """Spearman's correlation of ranks; equal values have the mean of theirs."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=float)


def _span(values: tuple[float, ...]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
