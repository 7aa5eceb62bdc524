"""The boards of the sample say what the marts say, and a browser shows them."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.ask.answer import ask
from flows.ask.connection import Limits
from flows.ask.metrics import sql_of
from flows.ask.publication import current_publication
from flows.build.build import Build
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.rights import Visibility
from flows.settings import Settings
from flows.site.site import Site, refresh_site
from tests.support.browser import CHROMIUM, browser_page, served_folder
from tests.support.usable import hindrances

Run = tuple[Settings, Landing, Build, Publication]
Query = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def site(sample_run: Run) -> Site:
    made = refresh_site(sample_run[0])
    assert made is not None
    return made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[str]:
    with served_folder(site.folder) as address:
        yield address


def figures(page: str) -> dict[str, str]:
    """The key figures of a page, by the names of their charts."""
    cards = re.findall(r'<section class="card kpi" id="(\w+)".*?</section>', page, re.DOTALL)
    values = re.findall(r'<section class="card kpi".*?<p class="(?:figure|state)[^"]*">([^<]*)</p>', page, re.DOTALL)
    return dict(zip(cards, values, strict=True))


def rows(page: str, name: str) -> list[list[str]]:
    """The rows of a chart's or table's figures."""
    found = re.search(rf'<figure class="card \w+" id="{name}">.*?</figure>', page, re.DOTALL)
    assert found
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", found[0])][1:]


def read(site: Site, path: str) -> str:
    return (site.folder / path).read_text(encoding="utf-8")


def test_every_board_is_whole(site: Site) -> None:
    assert site.record.problems == ()
    boards = sorted(path.name for path in (site.folder / "boards").iterdir())
    assert boards == sorted(path.stem for path in Path("boards/charts").glob("*.yml") if path.stem != "meta")
    for path in (site.folder / "boards").rglob("*.html"):
        assert "could not be drawn" not in path.read_text() and "is not published" not in path.read_text(), path


@pytest.mark.parametrize("product", ["all", "news"])
def test_audience_is_what_the_mart_says(site: Site, query: Query, product: str) -> None:
    shown = figures(read(site, f"boards/audience/{'index' if product == 'all' else f'product-{product}'}.html"))
    ((devices, readers, enjoyers),) = query(
        "select devices_count, readers_count, enjoyers_count from agg_audience_periods "
        "where period_type = '7_days' and product = ? and platform = 'all' order by period_end_date desc limit 1",
        product,
    )
    expected = [
        f"{number:,}" if number is not None else "Too few to be shown." for number in (devices, readers, enjoyers)
    ]
    assert [shown[name] for name in ("active", "readers", "enjoyers")] == expected


def test_the_data_goes_up_to_the_newest_event_and_not_to_the_end_of_its_month(site: Site, query: Query) -> None:
    ((newest,),) = query("select max(event_date) from agg_content_daily")
    ((end,),) = query("select max(period_end_date) from agg_audience_periods")
    ((week,),) = query("select max(week_start_date) from agg_advert_positions")
    assert str(newest) < min(str(end), str(week)) and f"events up to {newest}" in read(site, "index.html")


def test_most_enjoyed_is_what_the_mart_says(site: Site, query: Query) -> None:
    found = query(
        "select any_value(c.title), sum(d.enjoyers_count), sum(d.readers_count) from agg_content_daily as d "
        "left join dim_contents as c on d.content_id = c.content_id and c.is_current "
        "where d.event_date > (select max(event_date) from agg_content_daily) - 7 "
        "group by d.content_id, d.content_type order by 2 desc nulls last, 3 desc, 1 limit 5"
    )
    shown = rows(read(site, "boards/content/index.html"), "best")
    assert [(row[0], row[7], row[5]) for row in shown[:5]] == [
        (title, f"{enjoyers:,.0f}", f"{readers:,.0f}") for title, enjoyers, readers in found
    ]


def test_what_is_enjoyed_more_than_usual_is_what_the_mart_says(site: Site, query: Query) -> None:
    found = query(
        "select any_value(c.title), round(100 * any_value(e.enjoyed_rate))::int, "
        "round(100 * any_value(e.section_rate))::int, any_value(e.week_readers_count), any_value(e.trend) "
        "from agg_content_enjoyment as e "
        "left join dim_contents as c on e.content_id = c.content_id and c.is_current "
        "where e.against_section = 'above' "
        "and e.event_date = (select max(event_date) from agg_content_enjoyment) "
        "group by e.product, e.content_type, e.content_id "
        "order by any_value(e.enjoyed_rate_low - e.section_rate) desc, 1 limit 12"
    )
    page = read(site, "boards/read_and_enjoyed/index.html")
    shown = rows(page, "more")
    assert [(row[0], row[2], row[5], row[6], row[7]) for row in shown] == [
        (title, f"{rate}%", f"{usual}%", f"{readers:,}", trend) for title, rate, usual, readers, trend in found
    ]
    ((above, below),) = query(
        "select count(*) filter (where against_section = 'above'), count(*) filter (where against_section = 'below') "
        "from agg_content_enjoyment where event_date = (select max(event_date) from agg_content_enjoyment)"
    )
    assert found and f"{above:,} are enjoyed more than is usual of their section and {below:,} less" in page


def test_funnels_are_what_the_mart_says(site: Site, query: Query) -> None:
    found = query(
        "select funnel, step_number, step_name, sum(devices_count) from fct_funnels where product = 'news' "
        "and event_date > (select max(event_date) from fct_funnels) - 28 group by all order by all"
    )
    shown = [tuple(row[:4]) for row in rows(read(site, "boards/journeys/index.html"), "funnels")]
    assert shown == [
        (funnel, str(step), name, f"{devices:,.0f}" if devices is not None else "\N{EN DASH}")
        for funnel, step, name, devices in found
    ]


def asked(settings: Settings, names: tuple[str, ...], by: tuple[str, ...], where: tuple[str, ...]) -> list[Any]:
    publication = current_publication(settings, Visibility.INTERNAL)
    answer = ask(publication, sql_of(publication, names, by, where), Limits(rows=10_000))
    at = {name: place for place, (name, _) in enumerate(answer.columns)}
    return [tuple(row[at[name]] for name in (*by, *names)) for row in answer.rows]


def test_content_is_what_the_metrics_say(sample_run: Run, query: Query, site: Site) -> None:
    ((newest,),) = query("select max(event_date) from agg_content_daily")
    titles = dict(query("select content_id, title from dim_contents where is_current"))
    since = (f"metric_time>{newest - timedelta(days=7)}",)  # type: ignore[operator]
    views = asked(sample_run[0], ("content_views",), ("content",), since)
    of_titles = {(titles.get(content, content), f"{number:,.0f}") for content, number in views if number is not None}
    shown = rows(read(site, "boards/content/index.html"), "best")
    assert len(shown) == 20 and {(row[0], row[4]) for row in shown} <= of_titles


def test_click_through_is_what_the_mart_says(site: Site, query: Query) -> None:
    ((impressions, clicks),) = query(
        "select sum(impressions_count), sum(clicks_count) from agg_adverts_daily "
        "where event_date > (select max(event_date) from agg_adverts_daily) - 7"
    )
    shown = figures(read(site, "boards/adverts/index.html"))
    assert (shown["impressions"], shown["clicks"]) == (f"{impressions:,.0f}", f"{clicks:,.0f}")
    assert shown["rate"] == f"{float(clicks) / float(impressions):.1%}"  # type: ignore[arg-type]


def test_no_restricted_table_is_shown_and_every_table_has_a_page(site: Site, sample_run: Run) -> None:
    levels = {table.name: table.visibility for table in sample_run[3].manifest.tables}
    assert {levels[name] for name in site.record.tables} <= {"internal", "public"}
    assert {path.stem for path in (site.folder / "data").glob("*.html")} == {*levels, "index"}


def test_a_figure_is_followed_back_to_the_raw_event(site: Site) -> None:
    text = read(site, "data/agg_content_daily.html")
    (row,) = (one for one in re.findall(r"<tr>.*?</tr>", text, re.DOTALL) if "<code>engaged_seconds</code></th>" in one)
    steps = [re.sub("<[^>]+>", "", step) for step in re.findall(r"<li>(.*?)</li>", row)]
    assert steps[:3] == [
        "fct_content_engagement: engaged_seconds",
        "int_content__engagement_summed: active_ms",
        "int_events__events_deduplicated: active_ms, event_type",
    ]
    assert any("landed.events: active_ms" in step for step in steps)
    assert 'href="../catalogue/models.html#!/model/model.tidemark.agg_content_daily"' in text
    assert "Which contents were opened most?" in text, "an example of those that tests ask"


def test_the_metrics_that_are_made_of_a_table_stand_on_its_page(site: Site) -> None:
    text = read(site, "data/agg_audience_periods.html")
    assert "<td><code>readers_7_days</code></td>" in text and "click_through_rate" not in text
    assert "<code>click_through_rate</code>" in read(site, "data/agg_adverts_daily.html")


BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@BROWSER
def test_a_browser_shows_every_board_without_an_error(site: Site, served: str) -> None:
    with browser_page() as page:
        for board in sorted(path.name for path in (site.folder / "boards").iterdir()):
            page.open(f"{served}/boards/{board}/index.html")
            assert page.wait_for("document.querySelector('[data-age]').textContent") == "less than an hour ago"
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), board
        assert page.console == []
        assert {request.split("/")[2] for request in page.requests} == {served.split("/")[2]}


@BROWSER
def test_a_browser_shows_the_models_and_the_lineage(served: str) -> None:
    with browser_page() as page:
        page.open(f"{served}/catalogue/models.html#!/model/model.tidemark.agg_content_daily")
        assert page.wait_for("document.body.innerText.includes('engaged_seconds')")
        page.open(f"{served}/catalogue/lineage.html")
        assert page.wait_for("document.body.innerText.includes('columns')")
        hosts = {request.split("/")[2] for request in page.requests if request.startswith("http")}
        assert hosts == {served.split("/")[2]}


@BROWSER
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_pages_can_be_read_and_named_by_everybody(site: Site, served: str, width: int, dark: bool) -> None:
    boards = [str(path.relative_to(site.folder)) for path in sorted(site.folder.glob("boards/*/index.html"))]
    others = ["index.html", "data/index.html", "data/agg_content_daily.html", "explorer/index.html"]
    with browser_page() as page:
        page.show_as(width, 900, dark=dark)
        found: list[str] = []
        for path in [*boards, *others]:
            page.open(f"{served}/{path}")
            found += [f"{path}: {said}" for said in hindrances(page)]
            assert (site.folder / path).stat().st_size < 1_000_000, f"{path} is slow on a telephone"
        assert found == []


@BROWSER
def test_what_hinders_people_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        "<title></title><h1>A</h1><h3>B</h3><p style='color:#999'>faint</p><a href='x'></a><svg></svg>"
        "<p style='opacity:0'>unseen</p><i id=a></i><i id=a></i>"
    )
    with served_folder(tmp_path) as address, browser_page() as page:
        page.open(f"{address}/index.html")
        found = "\n".join(hindrances(page))
    for said in ("contrast 2.85 of <p> faint", "no name: <a", "without a name", "no language", "no title", "main part"):
        assert said in found
    assert "skipped before <h3> B" in found and "two have the id a" in found and "unseen" not in found


@BROWSER
def test_a_filter_is_a_link_and_a_mark_says_its_figure(served: str, query: Query) -> None:
    ((newest,),) = query("select max(event_date) from agg_audience_daily")
    ((devices,),) = query(
        "select devices_count from agg_audience_periods where period_type = '7_days' and product = 'news' "
        "and platform = 'all' and period_end_date = ?",
        newest,
    )
    with browser_page() as page:
        page.show_as(390, 844)
        page.open(f"{served}/boards/audience/index.html")
        page.evaluate("[...document.querySelectorAll('.filters a')].find((a) => a.textContent === 'news').click()")
        assert page.wait_for("location.pathname.endsWith('product-news.html') && document.readyState === 'complete'")
        shown = page.evaluate("document.querySelector('#active .figure, #active .state').textContent")
        assert shown == (f"{devices:,}" if devices is not None else "Too few to be shown.")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), "it fits a telephone"
        assert page.evaluate(
            "[...document.querySelectorAll('.drawing')].every((one) => one.role === 'img' && one.ariaLabel)"
        )


@BROWSER
def test_search_finds_what_people_call_it(served: str) -> None:
    with browser_page() as page:
        page.open(f"{served}/data/index.html?q=unique+readers")
        assert page.wait_for("document.querySelector('[data-found]').textContent")
        found = page.evaluate(
            "[...document.querySelectorAll('[data-words]:not([hidden]) h3')].map((h) => h.textContent)"
        )
    assert "agg_audience_periods" in found and "agg_calls_daily" not in found


@BROWSER
def test_the_explorer_has_what_readers_of_internal_may_see(site: Site, served: str, sample_run: Run) -> None:
    levels = {table.name: table.visibility for table in sample_run[3].manifest.tables}
    shown = {path.stem for path in (site.folder / "explorer" / "data").glob("*.arrow")}
    assert shown == {name for name, level in levels.items() if level != "restricted"}
    assert 'href="../../explorer/index.html"' in read(site, "boards/audience/index.html")
