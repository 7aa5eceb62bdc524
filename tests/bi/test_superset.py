"""Superset shows what is published, with nobody's query failing while publications come and go: `make test-bi`."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import pytest

from flows import sample
from flows.publish.publish import publish
from flows.settings import PROJECT, Settings
from tests.support.browser import CHROMIUM
from tests.support.patience import until
from tests.support.sample_lake import run_all
from tests.support.superset import PLACE, Superset, dashboard_page, figures, superset_over

pytestmark = [
    pytest.mark.bi,
    pytest.mark.skipif(not (PLACE / "superset").exists(), reason="`make test-bi` installs Superset"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
PICTURE = PROJECT / "target/superset.png"
PUBLICATIONS = 20
READERS = 4

# What each chart has to show, by SQL on the marts that owes nothing to the charts. Days are milliseconds there.
WINDOW = """
select epoch_ms(period_end_date), {figure} from agg_audience_periods
where period_type = '7_days' and product = 'all' and platform = 'all'
"""
DAILY = """
select epoch_ms(period_end_date), {parts}
from (pivot (
    select period_end_date, {cut}, {figure} from agg_audience_periods
    where period_type = 'day' and {other} = 'all' and {cut} <> 'all'
) on {cut} using any_value({figure}))
"""
EXPECTED = {
    "Active devices, last 7 days": WINDOW.format(figure="devices_count"),
    "Readers, last 7 days": WINDOW.format(figure="readers_count"),
    "Enjoyers, last 7 days": WINDOW.format(figure="enjoyers_count"),
    "Readers per day, by product": DAILY.format(
        parts="market, news, play, sport", cut="product", other="platform", figure="readers_count"
    ),
    "Active devices per day, by platform": DAILY.format(
        parts="android, ios, tv, web", cut="platform", other="product", figure="devices_count"
    ),
    "Most read this month": """
select title, product, readers_count, enjoyers_count
from agg_content_periods join dim_contents using (content_id)
where is_current and period_type = 'month' and platform = 'all' and account_kind = 'all'
qualify period_start_date = max(period_start_date) over ()
order by readers_count desc, content_id limit 10
""",
    "How many went on, by product": """
select product, sum(reached_rate * previous_devices_count) / sum(previous_devices_count)
from fct_funnels
where funnel = 'view to reaction' and reached_rate is not null
group by product, step_number
""",
    "Clicks per impression, by position": """
select position, sum(clicks_count) / sum(impressions_count) from agg_adverts_daily where position >= 1 group by position
""",
    "Who comes back, by week first seen": """
select
    week_number, strftime(cohort_week_start_date, '%G week %V'), cohort_devices_count,
    devices_count / cohort_devices_count
from agg_retention_weekly where product = 'all' and week_number >= 1
""",
    "How fresh it is": """
select name, epoch_ms(last_day), epoch_us(as_of) / 1000, is_stale, stale_because
from published_tables where visibility <> 'restricted' and not starts_with(name, 'ops')
""",
}
FRESHNESS = "How fresh it is"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Published marts of three weeks. As few versions are kept as may be, and none for its age."""
    settings = Settings(home=tmp_path_factory.mktemp("bi") / "home", settle_seconds=0, keep_versions=2, keep_hours=0)
    sample.generate(settings.home, 60_000, 20, 1)
    run_all(settings)
    return settings


@pytest.fixture(scope="module")
def superset(settings: Settings) -> Iterator[Superset]:
    with superset_over(settings.home, settings.home.parent / "superset") as running:
        yield running


@pytest.fixture(scope="module")
def questions(superset: Superset) -> dict[str, dict[str, Any]]:
    """What the dashboard in a browser asked for, by the names of its charts. Its picture is kept."""
    names = superset.charts()
    with dashboard_page(superset, len(EXPECTED)) as page:
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(PICTURE)
        asked = [(re.search(r"slice_id%22%3A(\d+)", url), body) for url, body in page.posts if "/chart/data" in url]
    return {names[int(slice_id[1])]: json.loads(body) for slice_id, body in asked if slice_id}


def rows_of(answers: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows, in an order of their own, without the publication they are of."""
    rows = [tuple(value for name, value in row.items() if name != "version") for row in answers]
    return sorted(rows, key=str)


def expected(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as marts:
        marts.execute("set TimeZone = 'UTC'")
        found = {name: marts.execute(sql).fetchall() for name, sql in EXPECTED.items()}
    return {name: sorted(rows, key=str) for name, rows in found.items()}


def test_every_chart_shows_the_figures_of_the_marts(
    superset: Superset, questions: dict[str, dict[str, Any]], settings: Settings
) -> None:
    assert questions.keys() == EXPECTED.keys()
    for name, rows in expected(settings).items():
        shown = rows_of(figures(superset.api.post("/api/v1/chart/data", json=questions[name])))
        assert len(shown) == len(rows) > 0, name
        for got, wanted in zip(shown, rows, strict=True):
            assert got == pytest.approx(wanted), name


def test_no_query_fails_while_publications_come_and_go(
    superset: Superset, questions: dict[str, dict[str, Any]], settings: Settings
) -> None:
    """All charts are asked for again and again: each answers, as before, and of the newest version or a newer one."""
    before = {
        name: rows_of(figures(superset.api.post("/api/v1/chart/data", json=questions[name]))) for name in EXPECTED
    }
    current, done = settings.published / "current", Event()
    failures: list[str] = []
    versions: list[str] = []

    def ask(name: str) -> None:
        newest = current.resolve().name
        answer = superset.api.post("/api/v1/chart/data", json=questions[name])
        if not answer.is_success:
            failures.append(f"{name}: {answer.status_code} {answer.text[:500]}")
        elif rows_of(figures(answer)) != (rows := before[name]) and name != FRESHNESS:
            failures.append(f"{name} shows {figures(answer)}, and not {rows}")
        elif name == FRESHNESS:
            (version,) = {row["version"] for row in figures(answer)}
            versions.append(version)
            if version < newest:
                failures.append(f"{version} answered after {newest} was published")

    def is_seen(version: str) -> bool:
        return bool(failures) or version in versions

    def read() -> int:
        rounds = 0
        while not done.is_set():
            for name in EXPECTED:
                ask(name)
            rounds += 1
        return rounds

    published: list[str] = []
    with ThreadPoolExecutor(READERS) as readers:
        reading = [readers.submit(read) for _ in range(READERS)]
        try:
            while len(published) < PUBLICATIONS:
                # Two, one right after the other, take away what was current before; then somebody sees the second.
                published += [publish(settings, force=True).manifest.version for _ in range(2)]
                until(partial(is_seen, published[-1]))
        finally:
            done.set()
        rounds = sum(reader.result() for reader in reading)
    print(f"{PUBLICATIONS} publications, {rounds * len(EXPECTED)} answers of {len({*versions})} versions, {failures}")
    assert failures == []
    assert len({*published}) == PUBLICATIONS


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("copy (select 1) to '{folder}/parquet/agg_content_daily/mine.csv'", "this is COPY"),
        ("select 1; attach '/tmp/mine.duckdb'", "this is ATTACH"),
        ("set threads = 1", "this is SET"),
        ("select * from read_csv('/etc/passwd')", "Permission Error"),
        ("select * from '{folder}/parquet/fct_sessions/*.parquet'", "Permission Error"),
    ],
)
def test_an_analyst_reads_what_is_internal_and_nothing_else(
    superset: Superset, settings: Settings, sql: str, why: str
) -> None:
    folder = (settings.published / "current").resolve()
    answer = superset.ask_sql(sql.format(folder=folder))
    assert not answer.is_success and why in answer.text
    assert not Path(folder, "parquet/agg_content_daily/mine.csv").exists()


def test_an_analyst_may_ask_the_tables(superset: Superset) -> None:
    answer = superset.ask_sql("select count(*) as days_count from agg_audience_daily")
    assert answer.json()["data"][0]["days_count"] > 0
