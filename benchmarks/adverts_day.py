"""What a day of 400,000 adverts costs: the models from a day's counts to its scores and selection, one day alone.

The counts are drawn: each advert stands at three places a day of a search page of twenty positions, on three platforms.
Earlier days and curves are made first and not timed; a Monday's curves are timed by themselves.
"""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
from rich.table import Table

from benchmarks.compiled import compiled

ADVERTS, PLACES, DAYS = 400_000, 3, 35
MONDAY = date(2026, 2, 2)
DAY = MONDAY + timedelta(days=2)
PLACES_MODEL, ADJUSTED = "int_adverts__places_estimated", "int_adverts__adverts_adjusted"
SCORES, SELECTION = "fct_advert_attractiveness", "agg_advert_selection"
COUNTS = """
    create table intermediate.int_adverts__places_counted as
    select
        $first + cast(day as integer) as event_date, 'a-' || advert as advert_id, 'results' as slot,
        cast(1 + (hash(advert, day, place) % 20) as integer) as position, 'search' as page_type,
        ['web', 'ios', 'android'][cast(1 + hash(advert, place) % 3 as bigint)] as platform,
        false as is_random_order,
        cast(4 + hash(advert, day, place, 'n') % 30 as bigint) as impressions_count,
        cast((hash(advert, day, place, 'c') % 100 < 40 - position)::int as bigint) as clicks_count
    from range($adverts) as adverts (advert), range($days) as days (day), range($places) as places (place)
"""
VERSIONS = """
    create table intermediate.int_adverts__adverts_versioned as
    select
        'a-' || advert as advert_id, 's-' || advert % 8000 as seller_id, null::varchar as seller_type,
        'Make' || advert % 40 || ' X' as make_model, (hash(advert) % 400000)::double as price,
        timestamp '2026-01-01' as listed_at, timestamp '2026-01-01' as valid_from, null::timestamp as valid_to,
        1 as version_number
    from range($adverts) as adverts (advert)
"""


def tables(work: Path, size: int) -> Iterator[Table]:
    """Seconds of each model; ``size`` is not of events, but 400,000 adverts at most."""
    adverts = min(size, ADVERTS)
    database = duckdb.connect(str(work / "adverts.duckdb"), config={"threads": 2, "memory_limit": "4GB"})
    for schema in ("intermediate", "marts", "seeds"):
        database.execute(f"create schema {schema}")
    first = MONDAY - timedelta(days=DAYS - 7)
    database.execute(COUNTS, {"first": first, "adverts": adverts, "days": DAYS, "places": PLACES})
    database.execute(VERSIONS, {"adverts": adverts})
    database.execute("create table seeds.advert_segments as from read_csv('seeds/advert_segments.csv')")
    ((rows,),) = database.execute("select count(*) from intermediate.int_adverts__places_counted").fetchall()
    sql = compiled(PLACES_MODEL, ADJUSTED, SCORES, SELECTION)
    table = Table(title=f"A day of {adverts:,} adverts, {rows // DAYS:,} counts a day")
    table.add_column("")
    table.add_column("seconds", justify="right")

    def timed(name: str, query: str) -> None:
        began = time.perf_counter()
        database.execute(f"create temp table {name} as {query}")
        table.add_row(name, f"{time.perf_counter() - began:.1f}")

    # What earlier days made.
    database.execute(f"create table intermediate.{PLACES_MODEL} as {sql[PLACES_MODEL]}")
    database.execute(f"create table intermediate.{ADJUSTED} as {sql[ADJUSTED]}")
    four_weeks = f"event_date >= date '{MONDAY}' - 28 and event_date < date '{MONDAY}'"
    of_day, before = f"event_date = date '{DAY}'", f"event_date between date '{DAY}' - 27 and date '{DAY}'"
    timed(PLACES_MODEL, of_days(sql[PLACES_MODEL], four_weeks, f"week_start_date = date '{MONDAY}'"))
    timed(ADJUSTED, of_days(sql[ADJUSTED], of_day))
    timed(SCORES, of_days(sql[SCORES], before, of_day))
    database.execute(f"create table marts.{SCORES} as from {SCORES}")
    timed(SELECTION, of_days(sql[SELECTION], of_day, before))
    yield table


def of_days(sql: str, *conditions: str) -> str:
    """A full build's SQL with its conditions of days, which are true there, as an increment has them, in turn."""
    for condition in conditions[:-1]:
        sql = sql.replace("true\n", f"{condition}\n", 1)
    return sql.replace("true\n", f"{conditions[-1]}\n")
