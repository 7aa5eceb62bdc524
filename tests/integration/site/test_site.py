"""The site of a publication: made beside it, whole or not there, and taken back with it."""

import asyncio
import re
import shutil
import stat
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from flows.catalogue.catalogue import Catalogue
from flows.catalogue.record import Documented, ProjectRecord, Source, Use
from flows.errors import TidemarkError
from flows.publish import publish as publish_module
from flows.publish.manifest import current_version
from flows.publish.publish import keep_only_newest, publish, rollback
from flows.settings import Settings
from flows.site import drawing, site
from flows.site.serve import application
from flows.site.site import read_record, refresh_site, site_folder
from tests.support.small_marts import DAYS, build_small, small_home, small_project

BOARD = """
title: Whole
notes: All of it, `exactly`.
variables: {rest: {input: select, options: {static: ["0", "1"]}, default: "0"}}
queries:
  numbers: select id, number from agg_whole where id % 2 >= cast('{{ rest }}' as integer) order by id
  total: select sum(number) as total from agg_whole
charts:
  bars: {query: numbers, type: bar, x: id, y: number, title: Numbers}
  total: {query: total, type: kpi, value: total, label: Total, style: {value: {format: integer}}}
rows:
  - total
  - bars
"""


class Links(HTMLParser):
    """Where a page leads to and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = small_project()
    monkeypatch.setattr(publish_module, "read_project", lambda settings: made)
    return made


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "boards"
    (folder / "charts").mkdir(parents=True)
    (folder / "charts" / "whole.yml").write_text(BOARD)
    monkeypatch.setattr(site, "BOARDS", folder)
    return folder


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of the small project: the whole one takes seconds, and tests/end_to_end/test_site.py has it."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for name in ("models.html", "lineage.html"):
        (folder / name).write_text(f"<title>{name}</title>")
    use = Use(label="Weekly letter", kind="analysis", url="https://example.org/letter", owner="newsroom")
    whole = Documented(
        id="model.small.agg_whole",
        path="models/agg_whole.sql",
        reads=("stg_numbers",),
        sources={"number": (Source(table="stg_numbers", column="number"),)},
        fresh_within_hours=26,
        version="2",
        deprecation_date="2027-03-01",
        uses=(use,),
    )
    staged = Documented(
        id="model.small.stg_numbers",
        path="models/stg_numbers.sql",
        sources={"number": (Source(table="landed.numbers", column="number"),)},
    )
    record = ProjectRecord(fingerprint="1", tables={"agg_whole": whole, "stg_numbers": staged})
    monkeypatch.setattr(site, "project_catalogue", lambda: Catalogue(folder, record))
    return folder


@pytest.fixture
def home(tmp_path: Path, project: SimpleNamespace, boards: Path) -> Settings:
    settings = small_home(tmp_path / "home")
    publish(settings)
    return settings


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dbt-charts, which takes seconds."""
    monkeypatch.setattr(drawing, "python_of_boards", lambda: None)


def page(settings: Settings, name: str = "boards/whole/index.html") -> str:
    return (site_folder(settings) / name).read_text(encoding="utf-8")


def total(settings: Settings) -> str:
    found = re.search(r'<p class="figure">([^<]*)</p>', page(settings))
    assert found
    return found[1]


def test_charts_are_drawn_and_everything_that_pages_name_is_there(home: Settings) -> None:
    if drawing.python_of_boards() is None:
        pytest.fail("dbt-charts is not installed: `make boards`")
    made = refresh_site(home)
    assert made is not None and made.is_new and made.record.problems == ()
    assert total(home) == "9"
    for name in ("index.html", "rest-1.html"):
        text = page(home, f"boards/whole/{name}")
        assert "<svg" in text and "var(--x2f5fa8)" in text and "<code>exactly</code>" in text
        assert not re.search(r"https?://(?!www\.w3\.org)", text), "a page loads nothing from elsewhere"
    assert page(home).count("<tr>") == 10 and page(home, "boards/whole/rest-1.html").count("<tr>") == 5
    folder = site_folder(home)
    for path in folder.rglob("*.html"):
        if path.parent.name == "catalogue":
            continue
        for target in Links(path.read_text()).targets:
            if not target.startswith(("#", "data:", "https://example.org/")):
                assert (path.parent / re.split("[?#]", target)[0]).resolve().is_file(), f"{path} leads to {target}"
    assert "--x2f5fa8:" in (folder / "static" / "colours.css").read_text()
    assert (folder / "static" / "InterVariable.woff2").exists()


def test_one_site_is_made_of_a_publication(home: Settings, undrawn: None) -> None:
    first = refresh_site(home)
    again = refresh_site(home)
    assert first is not None and again is not None
    assert first.is_new and not again.is_new and again.record == first.record
    forced = refresh_site(home, force=True)
    assert forced is not None and forced.is_new


def test_without_dbt_charts_there_are_the_figures_and_the_reason(home: Settings, undrawn: None) -> None:
    made = refresh_site(home)
    assert made is not None and "run `make boards`" in made.record.problems[0]
    assert total(home) == "9" and "dbt-charts is not installed" in page(home) and "<td" in page(home)


@pytest.mark.parametrize(
    ("child", "said"),
    [
        pytest.param("import sys; sys.exit('torn')", "dbt-charts ended with 1: torn", id="ends"),
        pytest.param("import time; time.sleep(600)", "did not end within 0.5 seconds", id="hangs"),
    ],
)
def test_where_drawing_fails_there_are_the_figures(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str, said: str
) -> None:
    (tmp_path / "draw.py").write_text(child)
    monkeypatch.setattr(drawing, "CHILD", tmp_path / "draw.py")
    monkeypatch.setattr(drawing, "SECONDS", 0.5)
    made = refresh_site(home)
    assert made is not None and said in made.record.problems[0]
    assert total(home) == "9" and said in page(home) and "<td" in page(home)


def test_a_rollback_takes_the_site_back(home: Settings, undrawn: None) -> None:
    refresh_site(home)
    build_small(home, 2, DAYS[0])
    publish(home)
    assert total(home) == "9", "people see the site of the version before, until the new one is whole"
    refresh_site(home)
    assert total(home) == "18"
    rollback(home)
    refresh_site(home)
    assert total(home) == "9"


def test_what_a_killed_one_left_is_removed(home: Settings, undrawn: None) -> None:
    version = home.published / str(current_version(home))
    (version / ".site.making" / "boards").mkdir(parents=True)
    (version / "site").mkdir()  # without its record it is no site
    refresh_site(home)
    assert read_record(version / "site") and not (version / ".site.making").exists()


def test_a_site_that_fails_leaves_the_one_before(
    home: Settings, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_site(home)
    build_small(home, 2, DAYS[0])
    publish(home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site, "_write_static", full)
    with pytest.raises(TidemarkError, match="No space left on device"):
        refresh_site(home)
    assert total(home) == "9"
    assert not (home.published / str(current_version(home)) / ".site.making").exists()


def test_the_page_of_a_table_says_what_is_promised_and_what_it_was(home: Settings, undrawn: None) -> None:
    refresh_site(home)
    assert "Measured from the second publication on" in page(home, "data/agg_whole.html")
    build_small(home, 2, DAYS[0])
    publish(home)
    refresh_site(home)
    text = page(home, "data/agg_whole.html")
    facts = dict(re.findall(r"<dt>(\w[\w ]*)</dt><dd>(.*?)</dd>", text, re.DOTALL))
    assert "rows no older than 26 hours. Measured: 0.0 hours at most, over the last 2 publications" in facts["Promised"]
    assert facts["Version"].startswith("2 ") and "ends 2027-03-01" in facts["Version"]
    assert '<a href="https://example.org/letter">Weekly letter</a> (analysis, newsroom)' in facts["Used by"]
    assert '<a href="../boards/whole/index.html">Whole</a> (board)' in facts["Used by"]
    steps = re.findall(r"<li>(.*?)</li>", text)
    assert [re.sub("<[^>]+>", "", step) for step in steps] == ["stg_numbers: number", "landed.numbers: number"]
    assert text.count("<tr><td>") == 2, "both versions that are kept"
    assert "Promised" not in page(home, "data/fct_days.html"), "the project says nothing of it"


def test_a_project_that_does_not_compile_leaves_the_rest(
    home: Settings, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Catalogue:
        raise TidemarkError("the catalogue could not be made: agg_whole.sql has no end")

    monkeypatch.setattr(site, "project_catalogue", broken)
    made = refresh_site(home)
    assert made is not None and "agg_whole.sql has no end" in "\n".join(made.record.problems)
    assert total(home) == "9" and "Owner" in page(home, "data/agg_whole.html")
    assert "catalogue/" not in page(home, "data/index.html")


def test_one_board_that_fails_leaves_the_others(home: Settings, boards: Path, undrawn: None) -> None:
    (boards / "charts" / "torn.yml").write_text("title: [")
    (boards / "charts" / "odd.yml").write_text("title: Odd\nvariables: {a: {options: {query: none, column: x}}}\n")
    (boards / "charts" / "gone.yml").write_text(
        "title: Gone\nqueries: {q: select 1 as x from gone}\ncharts: {c: {query: q, type: table}}\nrows: [c]\n"
    )
    made = refresh_site(home)
    assert made is not None
    said = "\n".join(made.record.problems)
    assert "torn.yml is no YAML" in said and "odd.yml" in said and "gone is not published" in said
    assert total(home) == "9"
    assert "gone is not published" in page(home, "boards/gone/index.html")
    assert "torn.yml is no YAML" in page(home, "index.html")


def test_a_site_has_the_rights_of_what_it_shows(home: Settings, undrawn: None) -> None:
    refresh_site(home)
    for path in (site_folder(home).resolve(), *site_folder(home).resolve().rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o400), path


def test_what_becomes_restricted_is_on_no_kept_site(home: Settings, project: SimpleNamespace, undrawn: None) -> None:
    refresh_site(home)
    before = home.published / str(current_version(home)) / "site"
    whole = project.models["agg_whole"]
    project.models["agg_whole"] = type(whole)(**{**whole.__dict__, "visibility": "restricted"})
    build_small(home, 2, DAYS[0])
    publish(home)
    made = refresh_site(home)
    assert not before.exists()
    assert made is not None and "agg_whole is not published" in "\n".join(made.record.problems)
    assert "agg_whole" in page(home, "data/index.html"), "that there is such a table is no secret"


def test_erasing_leaves_no_site_of_a_version_that_is_gone(home: Settings, undrawn: None) -> None:
    refresh_site(home)
    build_small(home, 2, DAYS[0])
    publish(home)
    keep_only_newest(home)
    assert not site_folder(home).exists(), "its link leads nowhere until the next is made"
    refresh_site(home)
    assert total(home) == "18"


def test_a_version_that_is_removed_meanwhile_is_an_error(
    home: Settings, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = home.published / str(current_version(home))
    before = site._write_static

    def gone(folder: Path, colours: set[str]) -> None:
        before(folder, colours)
        for path in version.rglob("*"):
            path.chmod(0o700)
        shutil.rmtree(version)

    monkeypatch.setattr(site, "_write_static", gone)
    with pytest.raises(TidemarkError, match="could not be made"):
        refresh_site(home)


def test_it_is_served_and_loads_nothing_from_elsewhere(home: Settings, undrawn: None) -> None:
    def get(*paths: str) -> list[httpx.Response]:
        async def ask() -> list[httpx.Response]:
            transport = httpx.ASGITransport(application(home))
            async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
                return [await client.get(path) for path in paths]

        return asyncio.run(ask())

    (start,) = get("/")
    assert start.status_code == 503 and "no site yet" in start.text
    refresh_site(home)
    start, board, sheet, models = get("/", "/boards/whole/", "/static/site.css", "/catalogue/models.html")
    assert "script-src 'self' 'unsafe-inline'" in models.headers["content-security-policy"]
    assert "unsafe-inline" not in board.headers["content-security-policy"].partition("script-src ")[2].partition(";")[0]
    assert start.status_code == 200 and "Whole" in start.text and board.status_code == 200
    assert "default-src 'self'" in start.headers["content-security-policy"]
    assert sheet.headers["content-type"].startswith("text/css")
    outside = get("/none.html", "/../manifest.json", "/%2e%2e/manifest.json", "/..%2fmanifest.json")
    assert [answer.status_code for answer in outside] == [404] * 4
