"""Boards, their filters, and what a page shows of them."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import duckdb
import pytest

from flows.site.boards import Board, BoardError, read_boards, read_filters, run_query, tables_of, views
from flows.site.drawing import Drawing, document, drawn_charts, first_alike
from flows.site.pages import Frame, board_page, page_name
from tests.support.sites import frame

BOARD = """
title: Reading
notes: Who read.
variables:
  product:
    input: select
    options: {query: products, column: product}
    default: all
  days:
    input: select
    label: Days shown
    options: {static: ["7", "28"]}
    default: "28"
queries:
  products: select 'all' as product union all select distinct product from daily order by all
  readers: |
    select day, sum(readers) as readers from daily
    where '{{ product }}' in ('all', product) and day > date '2026-01-31' - cast('{{ days }}' as integer)
    group by day order by day
  total: select sum(readers) as readers, sum(readers) / 10 - 1 as change from daily
charts:
  line: {query: readers, type: line, x: day, y: readers, title: Readers, notes: Per day.}
  figure:
    query: total
    type: kpi
    value: readers
    label: In all
    support: {value: change, label: on before}
    style: {value: {format: integer}, support: {format: percent_delta}}
  list: {query: readers, type: table, style: {columns: {day: {label: Day of}, readers: {format: integer}}}}
rows:
  - figure
  - title: Below
    cols: [line, list]
"""


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as db:
        db.execute("create table daily (day date, product text, readers bigint)")
        db.execute(
            "insert into daily values (date '2026-01-30', 'news', 12), (date '2026-01-30', 'it''s', 3), "
            "(date '2026-01-10', 'news', null)"
        )
        yield db


def board(folder: Path, text: str = BOARD, name: str = "reading") -> Board:
    (folder / "charts").mkdir(exist_ok=True)
    (folder / "charts" / f"{name}.yml").write_text(dedent(text), encoding="utf-8")
    problems: list[str] = []
    (found,) = [one for one in read_boards(folder, (), problems) if one.name == name]
    assert not problems
    return found


def test_each_choice_of_each_filter_is_a_view(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    filters = read_filters(board(tmp_path), database)
    assert [(one.name, one.choices, one.default) for one in filters] == [
        ("product", ("all", "it's", "news"), "all"),
        ("days", ("7", "28"), "28"),
    ]
    seen = list(views(board(tmp_path), filters, database))
    assert len(seen) == 6
    assert seen[0].chosen == {"product": "all", "days": "28"}  # the one that the board opens with
    by_choice = {(view.chosen["product"], view.chosen["days"]): view.rows["readers"].rows for view in seen}
    assert [row[1] for row in by_choice["all", "28"]] == [None, 15]
    assert [row[1] for row in by_choice["it's", "7"]] == [3]  # a quote in a choice ends no text of SQL
    assert {view.tables for view in seen} == {frozenset({"daily"})}


def test_pages_are_named_by_what_differs_from_the_first(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    filters = read_filters(board(tmp_path), database)
    names = {page_name(filters, view.chosen) for view in views(board(tmp_path), filters, database)}
    assert names == {
        "index.html", "days-7.html", "product-news.html", "product-it-s.html", "product-news_days-7.html",
        "product-it-s_days-7.html",
    }  # fmt: skip


def test_a_page_shows_figures_charts_and_tables(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    filters = read_filters(board(tmp_path), database)
    view = next(views(board(tmp_path), filters, database))
    page = board_page(view, filters, {"line": Drawing(svg='<svg fill="#222222"/>')}, frame())
    (figure,), (line, table) = (row.places for row in page.rows)
    assert (figure.title, figure.figure, figure.support, figure.tone) == ("In all", "15", "+50.0% on before", "up")
    assert page.rows[1].title == "Below"
    assert line.svg == '<svg fill="var(--x222222)"/>' and line.table is not None
    assert table.table is not None and [column.label for column in table.table.columns] == ["Day of", "Readers"]
    assert [cells[1] for cells in table.table.rows] == ["\N{EN DASH}", "15"]
    chosen = {(label, choice.label): choice for label, choices in page.filters for choice in choices}
    assert chosen["Days shown", "28"].is_chosen and not chosen["Days shown", "7"].is_chosen
    assert chosen["Days shown", "7"].href == "days-7.html" and chosen["Product", "news"].href == "product-news.html"


@pytest.mark.parametrize(
    ("query", "state", "is_failure"),
    [
        ("select day, readers from daily where false", "Nothing to show for this choice.", False),
        ("select day, null::bigint as readers from daily", "Too few to be shown.", False),
        ("select day, readers from gone", "gone is not published", True),
        ("select day, readers from", "Parser Error", True),
        ("select '{{ colour }}' as readers", "'colour' is undefined", True),
    ],
)
def test_a_place_without_figures_says_why(
    tmp_path: Path, database: duckdb.DuckDBPyConnection, query: str, state: str, is_failure: bool
) -> None:
    text = f"""
    title: One
    queries: {{q: "{query}"}}
    charts: {{line: {{query: q, type: line, x: day, y: readers}}}}
    rows: [line]
    """
    view = next(views(board(tmp_path, text), (), database))
    ((place,),) = (row.places for row in board_page(view, (), {}, frame()).rows)
    assert state in place.state and place.is_failure is is_failure
    assert drawn_charts(view) == ({} if is_failure or "false" in query else {"line": 1})


def test_a_chart_that_was_not_drawn_says_so_and_has_its_figures(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    filters = read_filters(board(tmp_path), database)
    view = next(views(board(tmp_path), filters, database))
    page = board_page(view, filters, {"line": Drawing(error="no ink")}, frame())
    line = page.rows[1].places[0]
    assert line.state == "The chart could not be drawn: no ink" and line.is_failure
    assert line.table is not None and len(line.table.rows) == 2


def test_what_is_drawn_has_its_rows_and_no_table(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    filters = read_filters(board(tmp_path), database)
    view = next(views(board(tmp_path), filters, database))
    charts = drawn_charts(view)
    assert charts == {"line": 2}
    (one,) = document(view, charts)
    assert one["queries"] == {
        "readers": {
            "type": "values", "columns": ["day", "readers"], "values": [["2026-01-10", None], ["2026-01-30", 15]]
        }
    }  # fmt: skip
    assert one["charts"]["line"] == {"query": "readers", "type": "line", "x": "day", "y": "readers"}


def test_a_chart_that_looks_the_same_for_each_choice_is_drawn_once(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    text = """
    title: Two
    variables: {n: {input: select, options: {static: ["1", "2"]}, default: "1"}}
    queries: {same: select 1 as x, other: "select cast('{{ n }}' as integer) as x"}
    charts:
      one: {query: same, type: bar, x: x, y: x}
      two: {query: other, type: bar, x: x, y: x}
      red: {query: same, type: bar, x: x, y: x, style: {color: red}}
    rows: [one, two, red]
    """
    found = board(tmp_path, text)
    seen = list(views(found, read_filters(found, database), database))
    alike = first_alike(seen, [drawn_charts(view) for view in seen])
    assert alike == {(1, "one"): (0, "one"), (1, "red"): (0, "red")}


def test_one_file_that_is_no_board_leaves_the_others_alone(tmp_path: Path) -> None:
    board(tmp_path)
    (tmp_path / "charts" / "torn.yml").write_text("title: [", encoding="utf-8")
    (tmp_path / "charts" / "list.yml").write_text("- title", encoding="utf-8")
    problems: list[str] = []
    assert [one.name for one in read_boards(tmp_path, (), problems)] == ["reading"]
    assert len(problems) == 2 and "torn.yml is no YAML" in " ".join(problems)


def test_boards_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        board(tmp_path, name=name)
    assert [one.name for one in read_boards(tmp_path, ("c", "a"), [])] == ["c", "a", "b"]


def test_a_filter_without_choices_is_an_error(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    text = BOARD.replace("from daily order by all", "from gone order by all")
    with pytest.raises(BoardError, match="filter product: gone is not published"):
        read_filters(board(tmp_path, text), database)


def test_tables_of_a_query_are_those_it_reads(database: duckdb.DuckDBPyConnection) -> None:
    sql = (
        "with few as (select * from daily limit 1) select * from few, (select 1 from other) as o union select 1 from a"
    )
    assert tables_of(database, sql) == {"daily", "other", "a"}
    assert tables_of(database, "select from from") == set()


def test_a_query_that_fails_is_an_error_of_its_own(database: duckdb.DuckDBPyConnection) -> None:
    assert run_query(database, "select 1 / 'a'").error
    assert run_query(database, "select 1 as one").rows == ((1,),)


def test_a_frame_says_when_it_was_published() -> None:
    one: Frame = frame()
    assert one.published == "2026-02-01 06:00 UTC"
