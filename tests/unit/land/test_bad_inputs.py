"""Damaged and odd files that others collected: each lands, is quarantined or is refused as its manifest says."""

import csv
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.contract.spec import CsvDialect, DatasetSpec
from flows.land.receipt import Status
from tests.support.deliveries import field_of, small_spec
from tests.support.lake import Lake

FOLDER = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "bad_inputs"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="the collected bad inputs are not here: TIDEMARK_REAL_DATA does not name their folder"
)
SECONDS = 10
LATIN_1 = CsvDialect(encoding="latin-1")
MONEY = r"\d{1,3}(,\d{3})*(\.\d+)?"


class Case(NamedTuple):
    """What a file is read as, and the rows that must come of it; ``outcome`` narrows what the manifest leaves open."""

    specs: dict[str, DatasetSpec]
    good: int
    bad: int
    outcome: Status = Status.LANDED


def strings(*names: str, **more: Any) -> dict[str, DatasetSpec]:
    """A dataset of required strings."""
    return small_spec([field_of(name, required=True) for name in names], **more)


MOVIES = small_spec([field_of("id", "bigint", required=True), field_of("name")])
BARKS = [field_of("name", required=True), field_of("age", "bigint"), field_of("current_day", "date")]
DOGS = small_spec([*BARKS, field_of("barks", "bigint")])
DATA = small_spec([field_of("id", "bigint", payload="data"), field_of("name", payload="data")], payloads=("data",))
VALUES = small_spec([field_of("value", "string[]")])
REFUSED = Status.REFUSED

CSV = {
    "duckdb__rejects_multiple_errors_multiple_errors": Case(DOGS, 2, 5),
    "duckdb__rejects_multiple_errors_invalid_utf_cast": Case(DOGS, 1, 1),
    "duckdb__missing_column": Case(small_spec([field_of("h1", "bigint"), field_of("h2")]), 19, 3),
    "duckdb__test_error_too_many": Case(small_spec([field_of("i", "bigint"), field_of("j", "bigint")]), 5, 1),
    "duckdb__auto_duplicate_header_col": Case(strings("a", "b"), 0, 0, REFUSED),
    "duckdb__invalid_utf8": Case(strings("a", csv=CsvDialect(headerless=True)), 1, 2),
    "duckdb__encodings_latin1": Case(
        small_spec([field_of("name"), field_of("age", "bigint")], csv=LATIN_1), 12, 0
    ),
    "duckdb__auto_utf8bom": Case(small_spec([field_of("id", "bigint", required=True), field_of("name")]), 2, 0),
    "duckdb__borked_date": Case(small_spec([field_of("a", required=True, pattern=r"\d\d-\d\d-\d{4}")]), 2067, 2),
    "duckdb__thousands_separator_thousands_broken": Case(
        small_spec([field_of("amount", required=True, pattern=MONEY)], csv=CsvDialect(headerless=True)), 2, 2
    ),
    "duckdb__multidelimiter_unterminated_quote_multi_line": Case(strings("a"), 0, 0, REFUSED),
    "duckdb__broken_test": Case(strings("rsid_num", "chr", "pos", "refb", "altb"), 100, 0),
    "duckdb__error_date_multiple_file_0": Case(small_spec([field_of("date", "date", required=True)]), 1, 0),
    "csvkit__bad": Case(strings("column_a", "column_b", "column_c"), 1, 2),
    "csvkit__test_latin1": Case(strings("a", "b", "c", csv=LATIN_1), 2, 0),
    "frictionless-py__duplicate-headers": Case(strings("id", "name", "age"), 0, 0, REFUSED),
    "frictionless-py__blank-rows": Case(
        small_spec([field_of("id", "bigint", required=True), field_of("name"), field_of("age", "bigint")]), 2, 1
    ),
    "frictionless-py__empty": Case(strings("id"), 0, 0, REFUSED),
    "frictionless-py__ascii-notvalid": Case(
        small_spec([field_of("A", "bigint"), field_of("B"), field_of("C")]), 1, 0
    ),
}  # fmt: skip
JSON = {
    "duckdb__unterminated_quotes": Case(MOVIES, 4, 1),
    "duckdb__different_schemas": Case(MOVIES, 5, 0),
    "duckdb__malformed_empty_array_trailing": Case(MOVIES, 0, 3),
    "duckdb__malformed_union_too_many_keys": Case(DATA, 1, 0),
    "duckdb__multiple_objects_per_line": Case(MOVIES, 0, 1),
    "duckdb__empty": Case(MOVIES, 0, 0, REFUSED),
    "JSONTestSuite__n_array_unclosed": Case(VALUES, 0, 1),
    "JSONTestSuite__n_object_unquoted_key": Case(VALUES, 0, 1),
    "JSONTestSuite__n_structure_100000_opening_arrays": Case(VALUES, 0, 1),
    "JSONTestSuite__n_string_invalid_utf8_after_escape": Case(VALUES, 0, 1),
    "JSONTestSuite__n_number_NaN": Case(VALUES, 0, 1),
    "JSONTestSuite__n_object_repeated_null_null": Case(VALUES, 0, 1),
    "JSONTestSuite__n_structure_null-byte-outside-string": Case(VALUES, 0, 1),
    "JSONTestSuite__i_string_invalid_utf-8": Case(VALUES, 0, 1),
    "JSONTestSuite__i_structure_500_nested_arrays": Case(VALUES, 0, 1),
    "JSONTestSuite__y_object_duplicated_key": Case(strings("a"), 0, 1),
    "JSONTestSuite__y_string_nonCharacterInUTF-8_U+FFFF": Case(VALUES, 0, 1),
}  # fmt: skip
PARQUET = {
    "parquet-testing__bad_ARROW-GH-41317": small_spec([field_of("string"), field_of("int64", "bigint")]),
    "parquet-testing__bad_ARROW-GH-45185": small_spec([field_of("x", "string[]")]),
    "parquet-testing__bad_ARROW-RS-GH-6229-LEVELS": small_spec([field_of("outer", "string[]")]),
    "parquet-testing__rle-dict-uncompressed-corrupt-checksum": small_spec([field_of("long_field", "bigint")]),
    "duckdb__parquet-testing_broken_broken_bigint": small_spec([field_of("bigint", "bigint")]),
    "duckdb__parquet-testing_broken_issue22325_datapage_v2_neg_compressed_bytes": small_spec(
        [field_of("plain", "bigint")]
    ),
}
CASES = {**CSV, **JSON, **{name: Case(specs, 0, 0, REFUSED) for name, specs in PARQUET.items()}}


def manifest() -> list[dict[str, str]]:
    if not FOLDER.exists():
        return []
    with (FOLDER / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


ENTRIES = [pytest.param(entry, id=entry["file"]) for entry in manifest()] or [None]


def stem(entry: dict[str, str]) -> str:
    return Path(entry["file"]).name.split(".", 1)[0]


def test_every_collected_file_has_its_case() -> None:
    assert {stem(entry) for entry in manifest()} == set(CASES)
    assert len(manifest()) == len(CASES) == 42


@pytest.mark.parametrize("entry", ENTRIES)
def test_collected_file_meets_its_expectation(lake: Lake, entry: dict[str, str]) -> None:
    data = (FOLDER / entry["file"]).read_bytes()
    case, name = CASES[stem(entry)], f"x/things/{Path(entry['file']).name}"
    lake.deliver(name, data)
    started = time.process_time()
    done = lake.land(case.specs)
    assert time.process_time() - started < SECONDS
    (receipt,) = done.receipts
    assert (receipt.status, receipt.rows_landed, receipt.rows_rejected) == (case.outcome, case.good, case.bad)
    assert receipt.file == name
    lake.assert_whole()
    if receipt.status is REFUSED:
        assert receipt.reason
        assert any(word in receipt.reason for word in ("line 1", "deliver it again", "empty", "more than once"))
    for example in done.examples:
        assert example.startswith(f"{name}, line ")
    # The rows came from the file's own bytes: nothing changed on the way to quarantine.
    for reject in lake.rejects("things"):
        assert reject["raw"] in data
        assert reject["reason"]
    meets_manifest(entry, receipt.status, case)


def meets_manifest(entry: dict[str, str], status: Status, case: Case) -> None:
    """The case that this test holds the file to is one that the manifest allows."""
    said = {
        "accept": {"accept"},
        "refuse": {"refuse"},
        "quarantine": {"quarantine"},
        "refuse_or_rename": {"refuse", "accept"},
        "refuse_or_decode": {"refuse", "accept"},
        "accept_or_refuse": {"refuse", "accept"},
    }[entry["expect"]]
    met = {"quarantine"} if case.bad else {"accept"}
    if status is REFUSED or not case.good:
        met = {"refuse"}
    if entry["file"].endswith("blank-rows.csv"):
        met = {"accept"}  # its manifest counts the empty row as the one bad row
    if stem(entry).startswith("JSONTestSuite__y_"):
        met = {"accept"}  # no object, or a key named twice, which the contract may refuse; see the wrapped test
    assert met & said
    if met & said & {"accept", "quarantine"} and status is Status.LANDED:
        assert not entry["n_good"] or case.good == int(entry["n_good"])
        assert not entry["n_bad"] or case.bad == int(entry["n_bad"])


WRAPPED = [p for p in ENTRIES if p is not None and "JSONTestSuite" in str(p.id)] or [None]


@pytest.mark.parametrize("kind", ["string[]", "string"])
@pytest.mark.parametrize("entry", WRAPPED)
def test_json_test_suite_holds_for_values_too(lake: Lake, entry: dict[str, str], kind: str) -> None:
    data = (FOLDER / entry["file"]).read_bytes()
    specs = small_spec([field_of("value", kind)])
    started = time.process_time()
    receipt = lake.land_one("x/things/wrapped.ndjson", b'{"value": ' + data + b"}\n", specs)
    assert time.process_time() - started < SECONDS
    assert receipt.rows_read == 1
    if stem(entry) == "JSONTestSuite__y_string_nonCharacterInUTF-8_U+FFFF" and kind == "string[]":
        assert [row["value"] for row in lake.rows("things")] == [["\uffff"]]
    else:
        # Invalid JSON, or JSON that is no string and no list of strings: reported, and kept as it came.
        assert receipt.rows_rejected == 1
        (reject,) = lake.rejects("things")
        assert reject["raw"] == b'{"value": ' + data + b"}"
        assert reject["reason"] in {"malformed", "invalid_utf8", "wrong_type"}
        if entry["expect"] == "refuse" and stem(entry) != "JSONTestSuite__n_number_NaN":
            assert reject["reason"] in {"malformed", "invalid_utf8"}


def test_latin_1_is_decoded_where_it_is_declared_and_quarantined_where_not(lake: Lake) -> None:
    data = (FOLDER / "csv" / "duckdb__encodings_latin1.csv").read_bytes()
    fields = [field_of("name"), field_of("age", "bigint")]
    lake.land_one("x/things/a.csv", data, small_spec(fields, csv=LATIN_1))
    names = [row["name"] for row in lake.rows("things")]
    assert names[:3] == ["José Álvarez", "Müller", "François Dupont"]
    lake.land_one("x/others/a.csv", data, small_spec(fields, "others"))
    assert {r["reason"] for r in lake.rejects("others")} == {"invalid_utf8"}
    assert [row["name"] for row in lake.rows("others")] == [n for n in names if n and n.isascii()]


def test_byte_order_mark_is_not_part_of_the_first_column(lake: Lake) -> None:
    data = (FOLDER / "csv" / "duckdb__auto_utf8bom.csv").read_bytes()
    lake.land_one("x/things/a.csv", data, MOVIES)
    assert [(row["id"], row["name"]) for row in lake.rows("things")] == [(1, "Mark"), (2, "Hannes")]


def test_quarantine_names_the_lines_of_the_broken_dates(lake: Lake) -> None:
    data = (FOLDER / "csv" / "duckdb__borked_date.csv").read_bytes()
    lake.land_one("x/things/a.csv", data, CSV["duckdb__borked_date"].specs)
    lines = data.splitlines()
    assert [lines[r["_line"] - 1] for r in lake.rejects("things")] == [b"10-10.2020", b"10/10.2020"]


def test_a_header_that_is_no_text_is_refused_and_stops_no_other_file(lake: Lake) -> None:
    lake.deliver("x/things/a.csv", (FOLDER / "csv" / "duckdb__invalid_utf8.csv").read_bytes())
    lake.deliver("x/things/b.csv", b"id,name\n1,Mark\n")
    bad, good = lake.land(MOVIES).receipts
    assert (bad.status, bad.reason) == (REFUSED, "line 1 is no CSV header: invalid_utf8")
    assert good.rows_landed == 1
