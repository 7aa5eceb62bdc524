"""Where an error of the compiled SQL is in the file that a person wrote."""

import pytest

from flows.develop.findings import explained, line_in_file, mismatches

RAW = "-- A comment.\n{{ config() }}\n\nselect\n    {{ columns() }},\n    b\nfrom {{ ref('c') }}"
COMPILED = "-- A comment.\n\n\nselect\n    a1,\n    a2,\n    a3,\n    b\nfrom main.c"


@pytest.mark.parametrize(
    ("compiled", "raw"), [(1, 1), (4, 4), (5, 5), (7, 5), (8, 6), (9, 7)], ids=lambda line: f"line {line}"
)
def test_a_line_of_the_compiled_sql_is_found_in_the_file(compiled: int, raw: int) -> None:
    assert line_in_file(RAW, COMPILED, compiled) == raw


def test_a_line_that_is_nowhere_has_no_place() -> None:
    assert line_in_file(RAW, COMPILED, 100) is None


def test_a_message_is_read_without_its_picture() -> None:
    text = 'Binder Error: "x" not found\nCandidates: "y"\n\nLINE 12:     x,\n             ^'
    assert explained(text) == ('Binder Error: "x" not found Candidates: "y"', 12)
    assert explained("IO Error: gone") == ("IO Error: gone", None)


def test_columns_differ_in_name_and_type() -> None:
    assert mismatches({"a": "INTEGER"}, {"a": "INTEGER"}) == []
    assert mismatches({"a": "INTEGER", "name": "VARCHAR"}, {"a": "BIGINT", "names": "VARCHAR"}) == [
        "a is INTEGER in the SQL and BIGINT in the YAML",
        "the SQL has no column names; it has name, which the YAML has not",
        "the YAML has no column name (VARCHAR)",
    ]
