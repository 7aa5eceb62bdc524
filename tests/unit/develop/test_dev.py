"""Which days of a lake a developer reads, and where a deferring dbt finds the marts."""

from datetime import date, timedelta

import pytest

from flows.build.lent import last_days
from flows.develop.dev import with_published
from flows.land.file_index import FileInForce

START = date(2026, 1, 1)


def file_of(day: int | None, rows: int = 1000) -> FileInForce:
    return FileInForce(f"{day}.parquet", None if day is None else START + timedelta(days=day), 1, (), rows)


@pytest.mark.parametrize(
    ("rows", "days", "read"),
    [
        ([1000, 1000, 1000], 2, [1, 2]),
        ([1000, 1000, 1000], 9, [0, 1, 2]),
        ([1000, 1000, 1], 1, [1, 2]),  # a clock that runs ahead makes no last day, and its rows are not left out
        ([], 3, []),
    ],
)
def test_the_last_days_are_those_with_rows_worth_the_name(rows: list[int], days: int, read: list[int]) -> None:
    found = last_days([file_of(day, number) for day, number in enumerate(rows)], days)
    assert found == [file_of(day, rows[day]) for day in read]


def test_files_without_a_day_are_all_read() -> None:
    assert last_days([file_of(None)], 1) == [file_of(None)]


def test_marts_are_where_the_publication_has_them() -> None:
    def node(name: str, kind: str = "model") -> dict[str, object]:
        return {"name": name, "resource_type": kind, "database": "tidemark", "schema": "x", "alias": name}

    nodes = {"m": node("fct_a"), "i": node("int_a"), "s": node("fct_a", "seed")}
    found = with_published({"nodes": nodes}, {"fct_a"})["nodes"]
    assert found["m"]["relation_name"] == '"published"."main"."fct_a"' and found["m"]["schema"] == "main"
    assert found["i"] == node("int_a") and found["s"] == node("fct_a", "seed")
