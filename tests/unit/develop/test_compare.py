"""Two small tables compared by key."""

from datetime import date

import duckdb
import pytest

from flows.develop.compare import ColumnChange, Shape, TableDiff, comparison, read_comparison

DAY = date(2026, 1, 15)


def compared(here: str, there: str, key: tuple[str, ...] = ("id",), **more: object) -> TableDiff:
    """The difference of two queries."""
    with duckdb.connect() as db:
        db.execute(f"create table here as {here}; create table there as {there}")
        columns = [
            {name: kind for name, kind, *_ in db.execute(f"describe {table}").fetchall()} for table in ("here", "there")
        ]
        shape = Shape("t", columns[0], columns[1], key, **{"figures": frozenset({"n", "x"}), **more})  # type: ignore[arg-type]
        row = db.execute(comparison(shape, "here", "there")).fetchone()
    assert row is not None
    return read_comparison(shape, row)


def test_the_same_rows_in_another_order_are_the_same() -> None:
    found = compared(
        "select * from (values (2, 5), (1, null), (null, 7)) t(id, n)",
        "select * from (values (null, 7), (1, null), (2, 5)) t(id, n)",
    )
    assert found.is_same and found.rows_before == found.rows_after == 3


def test_rows_added_removed_and_changed_are_counted_and_figures_summed() -> None:
    found = compared(
        "select * from (values (1, 5, 'a'), (2, 6, 'b'), (4, 9, 'd')) t(id, n, word)",
        "select * from (values (1, 5, 'a'), (2, 5, 'c'), (3, 1, 'd')) t(id, n, word)",
    )
    assert (found.added, found.removed, found.changed) == (1, 1, 1)
    assert found.columns == (ColumnChange("n", 1, 11, 20), ColumnChange("word", 1))
    assert not found.is_same


def test_a_figure_that_is_withheld_in_one_place_differs() -> None:
    (column,) = compared("select 1 as id, null::integer as n", "select 1 as id, 12 as n").columns
    assert column == ColumnChange("n", 1, 12, None)


@pytest.mark.parametrize(("other", "is_same"), [("0.3", True), ("0.3000001", False)])
def test_sums_in_another_order_are_the_same_figure(other: str, is_same: bool) -> None:
    here, there = "select 1 as id, 0.1::double + 0.2::double as x", f"select 1 as id, {other}::double as x"
    assert compared(here, there).is_same is is_same


def test_a_retyped_column_is_named_and_its_values_compared() -> None:
    found = compared("select 1 as id, '5' as n", "select 1 as id, 5 as n")
    assert found.shape.retyped_columns == {"n": ("INTEGER", "VARCHAR")}
    assert found.changed == 0 and not found.is_same
    assert compared("select '1' as id, 5 as n", "select 1 as id, 5 as n").added == 0


def test_columns_of_one_place_are_named() -> None:
    found = compared("select 1 as id, 2 as new", "select 1 as id, 3 as old")
    assert (found.shape.added_columns, found.shape.removed_columns) == ({"new": "INTEGER"}, {"old": "INTEGER"})
    assert not found.is_same and found.changed == 0


def test_only_days_that_both_have_are_compared() -> None:
    there = "select 1 as id, date '2026-01-15' as day union all select 2, date '2026-01-14'"
    found = compared("select 1 as id, date '2026-01-15' as day", there, day_column="day", days=(DAY, DAY))
    assert found.is_same and found.rows_before == 1
    assert compared("select 1 as id, date '2026-01-15' as day", there).removed == 1
