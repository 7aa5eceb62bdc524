"""Every metric against SQL on the marts written by hand, the boards and `mf query`; and what it does not allow."""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from flows.ask.answer import ask
from flows.ask.connection import Limits
from flows.ask.metrics import CALENDAR, Metric, read_metrics, sql_of
from flows.ask.publication import Publication, current_publication
from flows.cli import main
from flows.errors import TidemarkError
from flows.publish import publish as publish_module
from flows.rights import Visibility
from flows.settings import PROJECT, Settings
from flows.site.boards import read_boards, render_sql, run_query
from tests.support.small_marts import DAYS, NO_METRICS, build_small, small_project


@dataclass(frozen=True)
class Hand:
    """A metric by hand: its figure, of which rows, the column of its day, and how the whole of a cut is called in the
    table, '' where parts are summed."""

    table: str
    figure: str
    where: str = "true"
    day: str = "event_date"
    whole: str = ""


def of_periods(table: str, prefix: str, periods: tuple[str, ...]) -> Iterator[tuple[str, Hand]]:
    for period in periods:
        day = "period_end_date" if period.endswith("days") else "period_start_date"
        suffix = "" if period == "day" else f"_{period}"
        devices = "active_devices" if not prefix else "content_devices"
        for name, figure in (
            (devices, "max(devices_count)"),
            (f"{prefix}readers", "max(readers_count)"),
            (f"{prefix}enjoyers", "max(enjoyers_count)"),
            (f"{prefix}read_rate", "max(readers_count / devices_count)"),
            (f"{prefix}enjoyed_rate", "max(enjoyers_count / nullif(readers_count, 0))"),
        ):
            yield name + suffix, Hand(table, figure, f"period_type = '{period}'", day, "all")


RETURNED = "sum(devices_count)"
COHORT = "sum(cohort_devices_count) filter (where devices_count is not null)"
BY_HAND = {
    **dict(of_periods("agg_audience_periods", "", ("day", "week", "month", "7_days", "28_days"))),
    **dict(of_periods("agg_content_periods", "content_", ("day", "week", "month"))),
    "sessions": Hand("agg_audience_daily", "sum(sessions_count)"),
    "engaged_time": Hand("agg_audience_daily", "sum(engaged_seconds)"),
    "page_views": Hand("agg_audience_daily", "sum(views_count)"),
    "engaged_sessions": Hand("agg_audience_daily", "sum(sessions_count) filter (where engaged_seconds is not null)"),
    "engaged_time_of_sessions": Hand(
        "agg_audience_daily", "sum(engaged_seconds) filter (where sessions_count is not null)"
    ),
    "engaged_time_per_session": Hand(
        "agg_audience_daily",
        "sum(engaged_seconds) filter (where sessions_count is not null)"
        " / sum(sessions_count) filter (where engaged_seconds is not null)",
    ),
    "content_views": Hand("agg_content_daily", "sum(views_count)"),
    "all_content_views": Hand("agg_content_daily", "sum(all_views_count)"),
    "reactions": Hand("agg_content_daily", "sum(reactions_count)"),
    "impressions": Hand("agg_adverts_daily", "sum(impressions_count)"),
    "clicks": Hand("agg_adverts_daily", "sum(clicks_count)"),
    "click_through_rate": Hand("agg_adverts_daily", "sum(clicks_count) / nullif(sum(impressions_count), 0)"),
    "enquiries": Hand("agg_enquiries_daily", "sum(enquiries_count)"),
    "calls": Hand("agg_calls_daily", "sum(calls_count)"),
    **{
        f"{prefix}{name}": Hand("agg_retention_weekly", figure, where, "cohort_week_start_date")
        for prefix, where in (("", "product = 'all'"), ("product_", "true"))
        for name, figure in (
            ("cohort_devices", COHORT),
            ("returned_devices", RETURNED),
            ("retention", f"{RETURNED} / {COHORT}"),
        )
    },
}
COLUMNS = {"content": "content_id", "advert": "advert_id"}


def by_hand(name: str, metric: Metric, grain: str | None, cuts: tuple[str, ...]) -> str:
    """The SQL of a metric, cut so: of what is never summed the one row of the newest period within the grain."""
    hand = BY_HAND[name]
    columns = [COLUMNS.get(cut, cut) for cut in cuts]
    time = [f"cast(date_trunc('{grain}', {hand.day}) as date)"] if grain else []
    rows = f"select * from {hand.table} where {hand.where}"
    if hand.whole:
        newest = f"max({hand.day}) over ({f'partition by {time[0]}' if time else ''})"
        rows = f"{rows} qualify {hand.day} = {newest}"
        left = [COLUMNS.get(cut, cut) for cut in metric.dimensions if cut not in cuts]
        rows = f"select * from ({rows}) where " + (" and ".join(f"{column} = 'all'" for column in left) or "true")
    keys = [*time, *columns]
    group = f" group by {', '.join(keys)}" if keys else ""
    return f"select {', '.join([*keys, hand.figure])} from ({rows}) as given{group}"


def comparable(rows: list[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """Rows in an order, whose days are days and whose numbers have twelve digits."""
    return sorted(tuple(f"{v:.12g}" if isinstance(v, int | float) else str(v)[:10] if hasattr(v, "year") else str(v)
                        for v in row) for row in rows)  # fmt: skip


def all_ways(metric: Metric) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    grains = [metric.grain] if metric.grain in CALENDAR else ["day", "week", "month", "quarter", "year"]
    for size in range(len(metric.dimensions) + 1):
        for cuts in itertools.combinations(sorted(metric.dimensions), size):
            if {*metric.needs} <= {*cuts}:
                yield from ((grain, cuts) for grain in (None, *grains))


def some_ways(metric: Metric) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Whole and cut by all that there is, of the newest period and by the metric's own grain or by month."""
    grain = metric.grain if metric.grain in CALENDAR else "month"
    ways = [*all_ways(metric)]
    most = max(len(cuts) for _, cuts in ways)
    least = min(len(cuts) for _, cuts in ways)
    yield next(way for way in ways if way[0] is None and len(way[1]) == least)
    yield next(way for way in ways if way[0] == grain and len(way[1]) == most)


def compare_all(
    publication: Publication, ways_of: Callable[[Metric], Iterator[tuple[str | None, tuple[str, ...]]]]
) -> int:
    """Compare every metric in these ways; how many ways there were in which some figure was there."""
    metrics = read_metrics(publication)
    assert metrics.keys() == BY_HAND.keys()
    ways = 0
    with duckdb.connect(str(publication.database), read_only=True) as db:
        for name, metric in metrics.items():
            for grain, cuts in ways_of(metric):
                by = [*([f"metric_time__{grain}"] if grain else []), *cuts]
                sql = sql_of(publication, [name], by, [])
                cursor = db.execute(sql)
                named = [column[0] for column in cursor.description or ()]
                order = [named.index(f"metric_time__{grain}")] if grain else []
                order += [named.index(metric.dimensions[cut]) for cut in cuts] + [named.index(name)]
                answered = [tuple(row[at] for at in order) for row in cursor.fetchall()]
                expected = db.execute(by_hand(name, metric, grain, cuts)).fetchall()
                assert comparable(answered) == comparable(expected), (name, by, sql)
                ways += any(row[-1] is not None for row in answered)
    return ways


@pytest.fixture(scope="session")
def publication(asked: Settings, tmp_path_factory: pytest.TempPathFactory) -> Publication:
    """What is published of the lake, and cohorts, for which its three days are too few: rows by hand."""
    home = tmp_path_factory.mktemp("cohorts")
    shutil.copytree(asked.published, home / "published", symlinks=True)
    copied = current_publication(Settings(home=home), Visibility.INTERNAL)
    with duckdb.connect(str(copied.database)) as db:
        db.execute("create table cohorts as from agg_retention_weekly")
        db.execute("drop view agg_retention_weekly")
        db.execute("alter table cohorts rename to agg_retention_weekly")
        for week, product, devices, *back in COHORTS:
            for number, count in enumerate([devices, *back]):
                values = (week, product, number, week, number, devices, count, count, devices, count is None)
                db.execute(
                    "insert into agg_retention_weekly "
                    "values (?, ?, ?, ?::date + 7 * ?::integer, ?, ?, ?::double / ?, ?)",
                    values,
                )
    return copied


# The first week, the product, the devices of its cohort, and how many of them were there again in each week after it.
COHORTS = [
    ("2025-12-01", "news", 40, 30, None, 25, 20),
    ("2025-12-08", "news", 20, 11, 10, None),
    ("2025-12-15", "news", 16, None, 12),
    ("2025-12-15", "sport", 50, 45, 30),
    ("2025-12-01", "all", 40, 35, None, 28, 24),
    ("2025-12-08", "all", 24, 20, 15, None),
    ("2025-12-15", "all", 60, 50, 40),
]


def test_every_metric_is_what_the_mart_says(publication: Publication) -> None:
    assert compare_all(publication, some_ways) > 100


@pytest.mark.long
def test_every_metric_is_what_the_mart_says_in_every_cut(publication: Publication) -> None:
    assert compare_all(publication, all_ways) > 1000


def test_where_a_part_is_shown_the_whole_is_and_is_no_smaller(asked: Settings) -> None:
    """What `max` rests on: it takes the whole where a cut is not asked for."""
    publication = current_publication(asked, Visibility.INTERNAL)
    keys = {"agg_audience_periods": ("product", "platform"), "agg_content_periods": ("platform", "account_kind")}
    with duckdb.connect(str(publication.database), read_only=True) as db:
        for table, cuts in keys.items():
            of = "content_id" if table == "agg_content_periods" else "1"
            for cut, figure in itertools.product(cuts, ("devices_count", "readers_count", "enjoyers_count")):
                other = next(name for name in cuts if name != cut)
                pairs = f"""
                    select whole.{figure} as whole, part.{figure} as part from {table} as part
                    left join (select *, {of} as key from {table}) as whole
                        on whole.key = part.{of} and whole.period_type = part.period_type
                        and whole.period_end_date = part.period_end_date and whole.{other} = part.{other}
                        and whole.{cut} = 'all'
                    where part.{cut} <> 'all' and part.{figure} is not null
                """.replace("part.1", "1")
                wrong = db.execute(f"select count(*) from ({pairs}) where whole is null or whole < part").fetchone()
                assert wrong == (0,), (table, cut, figure)


def test_the_boards_say_the_same(publication: Publication) -> None:
    boards = {board.name: board for board in read_boards(PROJECT / "boards", (), [])}

    def figures(*names: str, by: tuple[str, ...] = (), where: tuple[str, ...] = ()) -> list[list[Any]]:
        return [[*row] for row in db.execute(sql_of(publication, names, by, where)).fetchall()]

    with duckdb.connect(str(publication.database), read_only=True) as db:

        def board(name: str, query: str, columns: str, **chosen: str) -> list[list[Any]]:
            shown = run_query(db, render_sql(boards[name].queries[query], chosen))
            assert shown.error is None
            return [list(row) for row in zip(*(shown.values(column) for column in columns.split()), strict=True)]

        def last_week(table: str) -> tuple[str]:
            row = db.execute(f"select max(event_date) - 7 from {table}").fetchone()
            return (f"metric_time>{row and row[0]}",)

        names = ("active_devices_7_days", "readers_7_days", "enjoyers_7_days")
        now = board(
            "audience", "now", "devices_count readers_count enjoyers_count read_share", product="all", days="28"
        )
        assert [figures(name)[0][0] for name in (*names, "read_rate_7_days")] == now[0] and now[0][0] > 0
        weeks = board("audience", "weeks", "readers_count read_share", product="news", days="28")
        of_news = [
            figures(name, by=("metric_time__week", "product"), where=("product=news",))[-1][-1]
            for name in ("readers_week", "read_rate_week")
        ]
        assert of_news == weeks[0]
        adverts, week = (
            board("adverts", "now", "impressions clicks rate", platform="all"),
            last_week("agg_adverts_daily"),
        )
        of_adverts = ("impressions", "clicks", "click_through_rate")
        assert [figures(name, where=week)[0][0] for name in of_adverts] == adverts[0]
        asked_now = board("adverts", "enquired", "enquiries", platform="all")
        assert figures("enquiries", where=last_week("agg_enquiries_daily")) == asked_now == [[4]]
        of_days = board("adverts", "enquiries_per_day", "day channel enquiries", platform="web")
        by_channel = figures("enquiries", by=("metric_time__day", "channel", "platform"), where=("platform=web",))
        assert sorted(row[2] for row in of_days) == sorted(row[-1] for row in by_channel) == [1, 1, 2]
        titles = board("content", "titles", "title views", product="all", days="7")
        of_contents = figures("content_views", by=("content",), where=last_week("agg_content_daily"))
        assert sorted(views for _, views in titles) == sorted(views for _, views in of_contents) and len(titles) == 3
        by = ("metric_time__week", "product", "week_number")
        cohorts = figures("product_cohort_devices", "product_retention", by=by, where=("product=news",))
        known = {(str(week)[:10], number): (devices, share) for week, _, number, devices, share in cohorts}
        shown = board(
            "journeys", "cohorts", "first_week devices after_1_week after_2_weeks after_4_weeks", product="news"
        )
        assert len(shown) == 3 and shown[-1][1:] == [40, 0.75, None, 0.5]
        for week, devices, *shares in shown:
            assert devices == known[str(week), 0][0]
            assert shares == [known.get((str(week), number), (None, None))[1] for number in (1, 2, 4)]
        calls = board("adverts", "calls", "calls")
        assert figures("calls", where=last_week("agg_calls_daily")) == calls and calls[0][0] >= 5


def test_mf_query_gives_the_same_while_a_build_holds_the_warehouse(asked: Settings, tmp_path: Path) -> None:
    for path in PROJECT.iterdir():  # a folder of its own to write target/ into
        if path.name not in ("target", "logs"):
            (tmp_path / path.name).symlink_to(path)
    given = os.environ | {"TIDEMARK_HOME": str(asked.home), "TIDEMARK_TARGET": "published", "DO_NOT_TRACK": "1"}
    names = ["readers", "active_devices", "read_rate"]
    query = ["query", "--metrics", ",".join(names), "--group-by", "metric_time__day,product", "--csv", "answer.csv"]
    with duckdb.connect(str(asked.warehouse)):
        for program, *arguments in (["dbt", "parse"], ["mf", *query]):
            command = [str(Path(sys.executable).with_name(program)), *arguments]
            done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "answer.csv").open(encoding="utf-8", newline="") as file:
        by_mf = [(row["metric_time__day"][:10], row["product"], *(row[name] for name in names))
                 for row in csv.DictReader(file)]  # fmt: skip
    publication = current_publication(asked, Visibility.INTERNAL)
    answer = ask(publication, sql_of(publication, names, ["metric_time__day", "product"], []), Limits())
    places = [[name for name, _ in answer.columns].index(name) for name in ("metric_time__day", "product", *names)]
    ours = [[row[place] for place in places] for row in answer.rows]
    assert len(ours) == len(by_mf) > 3
    for mine, theirs in zip(sorted(ours, key=lambda row: row[:2]), sorted(by_mf), strict=True):
        assert (str(mine[0])[:10], mine[1]) == theirs[:2]
        assert [None if not text else float(text) for text in theirs[2:]] == pytest.approx(mine[2:])


def metric_(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["metric", *arguments], env={"TIDEMARK_HOME": str(settings.home)})


def test_the_command_cites_what_it_answers(asked: Settings) -> None:
    done = metric_(asked, "readers", "--by", "metric_time__day,product", "--where", "product=news,sport",
                   "--where", "metric_time=2026-01-15", "--format", "json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [row["readers"] for row in json.loads(done.stdout)] == [21]
    assert "data up to" in done.stderr and "SELECT" in done.stderr and "agg_audience_periods" in done.stderr
    listed = metric_(asked)
    assert "Distinct devices that read something within a day. Unit: devices." in listed.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reders"], "there is no metric reders here; did you mean readers"),
        (["readers", "--by", "prroduct"], "there is no dimension prroduct here; did you mean product"),
        (["readers", "--by", "metric_time__week"], "ask readers_week"),
        (["readers", "--where", "product=news"], "--by product"),
        (["readers", "--by", "period_type"], "there is no dimension period_type"),
        (["readers", "impressions", "--by", "product"], "there is no dimension product"),
        (["retention"], "add --by week_number"),
        (["content_readers"], "add --by content"),
        (["readers", "--where", "product"], "is not understood"),
        (["readers", "--where", "1=1) or (1=1"], "there is no dimension 1"),
        (["readers", "--where", "product={{ Metric('readers', ['product']) }}"], "has a brace"),
        (["readers", "--where", "metric_time>=yesterday"], "has no day"),
        (["readers", "--where", "metric_time>2026-01-01,2026-01-02"], "several values"),
    ],
)
def test_what_would_be_wrong_is_refused_with_a_way_on(asked: Settings, arguments: list[str], said: str) -> None:
    done = metric_(asked, *arguments)
    assert done.exit_code == 1 and said in done.output, done.output


@pytest.mark.parametrize(
    "value",
    [
        "news' or '1'='1",
        "news') union all select * from read_csv('/etc/passwd') --",
        "news'; copy (select 1) to '/tmp/out'; --",
        "\\' or 1=1 --",
        "x' || getenv('HOME') || '",
        "$$ or true --",
    ],
)
def test_a_value_is_a_value_whatever_stands_in_it(asked: Settings, value: str) -> None:
    done = metric_(asked, "sessions", "--by", "product", "--where", f"product={value}", "--format", "csv")
    assert (done.exit_code, done.stdout) == (0, "product,sessions\n"), done.output


def test_a_version_without_metrics_says_so(small: Settings) -> None:
    done = metric_(small, "readers")
    assert done.exit_code == 1 and "has no metrics" in done.output and "tidemark run" in done.output


def test_the_public_file_defines_none(asked: Settings) -> None:
    with pytest.raises(TidemarkError, match="no metrics for the level public"):
        read_metrics(current_publication(asked, Visibility.PUBLIC))


def test_a_rollback_gives_the_definitions_of_then(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def defined(meaning: str) -> SimpleNamespace:
        model = {"name": "whole", "primary_entity": "whole", "node_relation": {"alias": "agg_whole"}, "entities": [],
                 "dimensions": [], "measures": [{"name": "rows_summed", "agg": "sum"}]}  # fmt: skip
        made = {"type_params": {"input_measures": [{"name": "rows_summed"}]}, "label": None, "config": None}
        metrics = [{"name": "rows", "description": meaning, **made}]
        text = json.dumps({**json.loads(NO_METRICS), "semantic_models": [model], "metrics": metrics})
        return SimpleNamespace(**{**vars(small_project()), "semantic_manifest": text})

    for number, meaning in ((2, "As it was."), (3, "As it is.")):
        project = defined(meaning)
        monkeypatch.setattr(publish_module, "read_project", lambda settings, project=project: project)
        build_small(small, number, *DAYS)
        publish_module.publish(small)
        assert read_metrics(current_publication(small, Visibility.INTERNAL))["rows"].meaning == meaning
    publish_module.rollback(small)
    assert read_metrics(current_publication(small, Visibility.INTERNAL))["rows"].meaning == "As it was."
