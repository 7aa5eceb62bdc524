"""The explorer: what is written of a publication, and what a browser shows of it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pytest

from flows.errors import TidemarkError
from flows.publish.manifest import PublishedTable
from flows.rights import Visibility
from flows.site import explorer
from flows.site.explorer import Budget, ExplorerTable, explorer_tables, write_explorer
from tests.support.browser import CHROMIUM, Page, browser_page, served_folder

WHEEL = pytest.mark.skipif(find_spec("perspective") is None, reason=f"{explorer.WHEEL} is not installed")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
DAYS, THINGS = 20, 30
MADE = f"""
create table agg_things_daily as
select
    date '2026-01-01' + cast(day as int) as event_date,
    if(thing % 3 = 0, 'sport', 'news') as product,
    'thing-' || thing as thing_id,
    if(thing = 7, null, day * thing % 11) as views_count,
    1 + day * thing % 5 as devices_count,
    (day * thing % 3) / 7 as read_rate,
    timestamp '2026-01-01 23:30:00' + to_days(cast(day as int)) as seen_at,
    12.5::decimal(9, 2) as price,
    uuid '00000000-0000-0000-0000-000000000001' as run,
    thing = 7 as is_suppressed
from range({DAYS}) as days (day), range({THINGS}) as things (thing);
comment on table agg_things_daily is 'One row per day and thing: </script> how it did.
Devices cannot be summed.';
comment on column agg_things_daily.views_count is 'Views.';
comment on column agg_things_daily.devices_count is 'Distinct devices. Not to be summed.';
comment on column agg_things_daily.read_rate is 'Readers per device, 0 to 1.';
create view dim_things as
select 'key-' || thing as thing_key, 'thing-' || thing as thing_id, true as is_current
from range({THINGS}) as things (thing);
comment on view dim_things is 'STALE since 2026-01-30 10:00 UTC. One row per thing.';
create table ops_nothing (landed_date date, landed_at timestamp);
create table fct_people as select 'somebody' as person_id;
"""


def published(name: str, visibility: Visibility = Visibility.INTERNAL, day: str | None = None) -> PublishedTable:
    """A table of the manifest."""
    return PublishedTable(name=name, day_column=day, files=(), owner="data-platform", visibility=visibility)


MANIFEST = [
    published("ops_nothing", day="landed_date"),
    published("fct_people", Visibility.RESTRICTED),
    published("fct_not_there"),
    published("dim_things", Visibility.PUBLIC).model_copy(
        update={"stale_since": datetime(2026, 1, 30, 10, tzinfo=UTC)}
    ),
    published("agg_things_daily", day="event_date"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file as of the internal level, which for once holds what is restricted."""
    path = tmp_path_factory.mktemp("published") / "internal.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute(MADE)
    return path


@pytest.fixture(scope="module")
def tables(database: Path) -> tuple[ExplorerTable, ...]:
    """What of it is for the explorer."""
    return explorer_tables(database, MANIFEST)


def catalogue(site: Path) -> dict[str, Any]:
    """What the page knows of its marts."""
    page = (site / "explorer" / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="catalogue">(.*?)</script>', page, re.DOTALL)
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told | {"marts": {mart["name"]: mart for mart in told["marts"]}}


def read(site: Path, name: str) -> pa.Table:
    """The rows of a mart's file."""
    with pa.OSFile(str(site / "explorer" / "data" / f"{name}.arrow")) as file:
        return pa.ipc.open_file(file).read_all()


def test_tables_are_those_that_everybody_within_may_see(tables: tuple[ExplorerTable, ...]) -> None:
    """Restricted ones, and what the file does not have, are none of the explorer's."""
    assert [table.name for table in tables] == ["agg_things_daily", "dim_things", "ops_nothing"]
    things = tables[0]
    assert things.description.startswith("One row per day and thing")
    assert {column.name: (column.type, column.description) for column in things.columns}["views_count"] == (
        "BIGINT", "Views.",
    )  # fmt: skip
    assert (tables[1].description, tables[1].stale) == ("One row per thing.", "2026-01-30 10:00 UTC")


@WHEEL
def test_files_are_written(database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path) -> None:
    """The page, a file of each table with its rows newest first, and Perspective with its licences."""
    write_explorer(tmp_path, database, tables, published_at=datetime(2026, 1, 30, 9, tzinfo=UTC), smallest_group=10)
    place = tmp_path / "explorer"
    files = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("perspective/LICENSE")] == [
        "data/agg_things_daily.arrow",
        "data/dim_things.arrow",
        "data/ops_nothing.arrow",
        "explorer.css",
        "explorer.js",
        "index.html",
        "perspective/perspective-anywidget.css",
        "perspective/perspective-anywidget.js",
    ]
    assert "Apache License" in (place / "perspective" / "LICENSE.md").read_text(encoding="utf-8")
    rows = read(tmp_path, "agg_things_daily")
    assert rows.num_rows == DAYS * THINGS
    assert rows["event_date"][0].as_py() == date(2026, 1, DAYS)
    kinds = {field.name: str(field.type) for field in rows.schema}
    assert kinds["product"] == "dictionary<values=string, indices=int32, ordered=0>"
    assert (kinds["price"], kinds["seen_at"]) == ("double", "timestamp[us]")
    page = (place / "index.html").read_text(encoding="utf-8")
    assert "Published <time" in page
    assert "http://" not in page and "https://" not in page
    told = catalogue(tmp_path)
    things = told["marts"]["agg_things_daily"]
    assert told["smallest_group"] == 10
    assert things["meaning"] == "One row per day and thing: </script> how it did."
    assert (things["rows"], things["of_rows"], things["since"]) == (DAYS * THINGS, DAYS * THINGS, None)
    assert (things["first_day"], things["last_day"]) == ("2026-01-01", "2026-01-20")
    assert things["small_groups"] == "empty"
    assert told["marts"]["ops_nothing"]["rows"] == 0
    assert told["marts"]["dim_things"]["stale"]


@WHEEL
def test_start_views_ask_what_the_figures_answer(
    database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path
) -> None:
    """A line of what may be summed by day, or the rows as they are now; no distinct count is summed."""
    write_explorer(tmp_path, database, tables)
    marts = catalogue(tmp_path)["marts"]
    line = marts["agg_things_daily"]["start"]
    assert (line["plugin"], line["group_by"], line["split_by"]) == ("Y Line", ["event_date"], ["product"])
    assert line["columns"] == ["views_count"]
    assert line["aggregates"]["devices_count"] == "max"
    assert line["aggregates"]["read_rate"] == ["weighted mean", ["devices_count"]]
    assert "views_count" not in line["aggregates"]
    rows = marts["dim_things"]["start"]
    assert (rows["plugin"], rows["columns"]) == ("Datagrid", ["thing_id", "is_current"])
    assert rows["filter"] == [["is_current", "==", True]]
    assert marts["ops_nothing"]["start"]["sort"] == [["landed_at", "desc"]]


@WHEEL
def test_same_input_gives_same_bytes(database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path) -> None:
    """Twice, and again over what is there; what is no longer shown goes."""

    def write(site: Path, some: tuple[ExplorerTable, ...] = tables) -> dict[str, bytes]:
        write_explorer(site, database, some, published_at=datetime(2026, 1, 30, tzinfo=UTC), smallest_group=10)
        return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}

    first = write(tmp_path / "one")
    assert first == write(tmp_path / "two")
    assert first == write(tmp_path / "one")
    assert "explorer/data/dim_things.arrow" not in write(tmp_path / "one", tables[:1])


@WHEEL
def test_large_tables_are_cut_at_a_day(database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path) -> None:
    """The newest whole days that fit are there, by rows and by bytes, and the page knows since when."""
    write_explorer(tmp_path, database, tables, budget=Budget(rows=THINGS * 3 + 1))
    things = catalogue(tmp_path)["marts"]["agg_things_daily"]
    assert (things["rows"], things["of_rows"], things["since"]) == (THINGS * 3, THINGS * DAYS, "2026-01-18")
    assert set(read(tmp_path, "agg_things_daily")["event_date"].to_pylist()) == {
        date(2026, 1, day) for day in (18, 19, 20)
    }

    whole = things["bytes"]
    write_explorer(tmp_path, database, tables, budget=Budget(bytes=whole - 100))
    things = catalogue(tmp_path)["marts"]["agg_things_daily"]
    assert things["bytes"] <= whole - 100
    assert 0 < things["rows"] < THINGS * 3 and things["since"] in ("2026-01-19", "2026-01-20")

    # Not even a day fits, or there are no days.
    write_explorer(tmp_path, database, tables, budget=Budget(rows=7))
    marts = catalogue(tmp_path)["marts"]
    assert [(marts[name]["rows"], marts[name]["since"]) for name in ("agg_things_daily", "dim_things")] == [
        (7, None)
    ] * 2


def test_restricted_tables_are_refused(database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path) -> None:
    """Whoever passes one is told, and nothing is written."""
    with pytest.raises(ValueError, match="dim_things"):
        write_explorer(tmp_path, database, [replace(tables[1], visibility=Visibility.RESTRICTED)])
    assert not list(tmp_path.iterdir())


def test_missing_wheel_is_said(
    database: Path, tables: tuple[ExplorerTable, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is to be installed."""
    monkeypatch.setattr(explorer, "find_spec", lambda name: None)
    with pytest.raises(TidemarkError, match="install perspective-python"):
        write_explorer(tmp_path, database, tables)


@pytest.fixture(scope="module")
def site(database: Path, tables: tuple[ExplorerTable, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The explorer, served on loopback: the address of its page."""
    folder = tmp_path_factory.mktemp("site")
    write_explorer(folder, database, tables, smallest_group=10, budget=Budget(rows=THINGS * 10))
    with served_folder(folder) as address:
        yield f"{address}/explorer/index.html"


VIEWER = "document.getElementById('viewer')"
SHOWN = "document.getElementById('state').hidden && document.getElementById('said').textContent.endsWith('is shown.')"
# What the grid's cells say, row by row.
CELLS = """
Array.from(document.querySelector('perspective-viewer-datagrid').shadowRoot.querySelectorAll('tbody tr'),
    (row) => Array.from(row.children, (cell) => cell.textContent.trim()))
"""


def notices(page: Page) -> str:
    """What the page warns of."""
    return str(page.evaluate("document.getElementById('notices').textContent"))


@WHEEL
@BROWSER
def test_browser_shows_what_sql_says(site: str, database: Path) -> None:
    """A reader chooses a mart, filters and pivots it; figures are those of SQL, and no request leaves the machine."""
    with browser_page() as page:
        page.show_as(1280, 900)
        page.call("Emulation.setTimezoneOverride", timezoneId="America/New_York")
        page.open(site)
        assert page.evaluate("document.querySelectorAll('#list a').length") == 3
        assert "fct_people" not in page.evaluate("document.documentElement.outerHTML")

        page.evaluate("document.querySelector('#list a[href=\"#agg_things_daily\"]').click()")
        page.wait_for(SHOWN)
        assert "Only the newest 300 of 600 rows are here, those since 2026-01-11" in notices(page)
        assert "withheld, not zero" in notices(page)
        assert page.evaluate("location.hash") == "#agg_things_daily"

        pivot = {
            "plugin": "Datagrid",
            "group_by": ["event_date"],
            "group_rollup_mode": "flat",
            "split_by": [],
            "columns": ["views_count", "devices_count", "read_rate"],
            "filter": [["product", "==", "sport"]],
        }
        page.evaluate(f"{VIEWER}.restore({json.dumps(pivot)})")
        page.wait_for("location.hash.includes('/')")
        page.wait_for(f"({CELLS}).length === 10")
        with duckdb.connect(str(database), read_only=True) as db:
            expected = db.execute(
                """
                select
                    sum(views_count), max(devices_count),
                    round(sum(read_rate * devices_count) / sum(devices_count), 4)
                from agg_things_daily where event_date >= '2026-01-11' and product = 'sport'
                group by event_date order by event_date
                """
            ).fetchall()
        cells = page.evaluate(CELLS)
        assert [tuple(float(cell.replace(",", "")) for cell in row[-3:]) for row in cells] == expected
        assert cells[0][-4] == "Jan 11, 2026"
        assert "not to be summed" not in notices(page)

        # Another one who opens the link sees the same; who sums what may not be summed is warned.
        link = page.wait_for("location.hash.includes('/') && location.href")
        page.open("about:blank")
        page.open(link)
        page.wait_for(SHOWN)
        page.wait_for(f"({CELLS}).length === 10")
        assert page.evaluate(CELLS) == cells
        page.evaluate(f"{VIEWER}.restore({{aggregates: {{devices_count: 'sum', read_rate: 'sum'}}}})")
        page.wait_for(
            "document.getElementById('notices').textContent.includes('devices_count, read_rate: not to be summed')"
        )
        page.evaluate("document.querySelector('#notices button').click()")
        page.wait_for("!document.getElementById('notices').textContent.includes('not to be summed')")
        page.evaluate(
            f"{VIEWER}.restore({{group_by: [], columns: ['seen_at'], sort: [['seen_at', 'desc']], filter: []}})"
        )
        page.wait_for(f"({CELLS})[0]?.at(-1).replace(/\\s/g, ' ') === 'Jan 20, 2026, 11:30:00 PM'")
        page.evaluate("document.getElementById('reset').click()")
        page.wait_for("location.hash === '#agg_things_daily'")

        assert "Map Scatter" not in page.evaluate(f"JSON.stringify({VIEWER}.getAllPlugins().map((one) => one.name))")
        elsewhere = [one for one in page.requests if not one.startswith((site.rpartition("/")[0], "data:", "blob:"))]
        assert not [one for one in elsewhere if one != "about:blank"]
        assert not [said for said in page.console if said.startswith(("error", "exception"))]


@WHEEL
@BROWSER
def test_browser_says_what_it_cannot_show(site: str) -> None:
    """A mart without rows, a link that cannot be read, a mart that is not there, and a search that finds a column."""
    with browser_page() as page:
        page.show_as(390, 844, dark=True)
        page.open(f"{site}#ops_nothing")
        page.wait_for(
            "document.getElementById('state-text').textContent === 'ops_nothing has no rows in this publication.'"
        )
        page.evaluate("location.hash = '#dim_things/nonsense'")
        page.wait_for(SHOWN)
        assert page.evaluate(f"{VIEWER}.save().then((view) => view.theme)") == "Pro Dark"
        assert "stale since 2026-01-30 10:00 UTC" in notices(page)
        page.evaluate("location.hash = '#fct_people'")
        page.wait_for("document.getElementById('said').textContent === 'There is no mart fct_people here.'")
        page.evaluate("document.getElementById('open-marts').click()")
        page.evaluate(
            "const search = document.getElementById('search'); search.value = 'read_rate';"
            "search.dispatchEvent(new Event('input'))"
        )
        assert page.evaluate("document.getElementById('list').innerText").split("\n")[-1] == "has read_rate"
        page.wait_for("document.documentElement.scrollWidth <= 390")
