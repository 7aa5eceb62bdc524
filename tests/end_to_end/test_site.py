"""The boards of the sample say what the marts say, and a browser shows them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.build.build import Build
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.settings import Settings
from flows.site.site import Site, refresh_site
from tests.support.browser import browser, seen_in_browser

Run = tuple[Settings, Landing, Build, Publication]
Query = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def site(sample_run: Run) -> Site:
    made = refresh_site(sample_run[0])
    assert made is not None
    return made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever)
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


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


@pytest.mark.skipif(browser() is None, reason="no browser is installed")
@pytest.mark.parametrize("path", ["index.html", "boards/audience/index.html", "data/index.html?q=unique+readers"])
def test_a_browser_shows_it_without_an_error(served: str, path: str) -> None:
    page, said = seen_in_browser(f"{served}/{path}")
    assert said == ""
    assert re.search(r"<span data-age(=\"\")?>less than an hour ago</span>", page)
    if "unique" in path:
        left = re.findall(r"<li data-words=[^>]*?(?:hidden=\"\")?><a[^>]*><h3>(\w+)</h3>", page)
        hidden = re.findall(r"<li data-words=[^>]*hidden=\"\"><a[^>]*href=\"(\w+)\.html\"", page)
        assert "agg_audience_periods" in set(left) - set(hidden) and "agg_calls_daily" in hidden
