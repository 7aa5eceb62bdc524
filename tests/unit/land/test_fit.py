"""Parquet values of every type: taken where exact, reported where not, and no file stops the next."""

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.land.fit import fit_values
from flows.land.readers import Part
from flows.land.receipt import Status
from flows.land.retry import retry_quarantine
from tests.support.deliveries import event, field_of, ndjson, parquet, parquet_of, small_spec
from tests.support.lake import Lake

TEN = datetime(2026, 1, 15, 10)
DAY = date(2026, 1, 15)
ID = UUID(int=1 << 100)


def counts(kind: pa.DataType, *values: int) -> pa.Array:
    return pa.array(values, pa.int64()).view(kind)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("timestamp", counts(pa.timestamp("ns"), 1_000, 1_001), [datetime(1970, 1, 1, 0, 0, 0, 1), "misfit"]),
        ("timestamp", counts(pa.timestamp("us", "Mars/Olympus"), 0), [datetime(1970, 1, 1)]),
        ("timestamp", pa.array([TEN], pa.timestamp("s", "America/New_York")), [TEN]),
        ("timestamp", pa.array([DAY]), ["misfit"]),
        ("timestamp", pa.array([DAY], pa.date64()), ["misfit"]),
        ("timestamp", pa.array([1]), ["misfit"]),
        ("date", pa.array([DAY, None]), [DAY, None]),
        ("date", pa.array([TEN, datetime(2026, 1, 15)]), ["misfit", DAY]),
        ("bigint", pa.array([True]), ["misfit"]),
        ("bigint", pa.array([2.0, 2.5, float("nan"), 2.0**63]), [2, "misfit", "misfit", "misfit"]),
        ("bigint", pa.array([2**64 - 1, 7], pa.uint64()), ["misfit", 7]),
        ("integer", pa.array([2**31, 7]), ["misfit", 7]),
        ("bigint", pa.array([Decimal("2.00"), Decimal("2.50")]), [2, "misfit"]),
        ("bigint", pa.array([Decimal("2.00"), None], pa.decimal256(60, 2)), [2, None]),
        ("double", pa.array([Decimal("0.10")], pa.decimal256(60, 2)), [0.1]),
        ("double", pa.array([2**53, 2**53 + 1]), [float(2**53), "misfit"]),
        ("double", pa.array([1.5], pa.float16()), [1.5]),
        ("double", pa.array([True]), ["misfit"]),
        ("boolean", pa.array([1, None]), ["misfit", None]),
        ("string", pa.array([1]), ["misfit"]),
        ("string", pa.array([b"text"]), ["misfit"]),
        ("uuid", pa.array([ID.bytes], pa.binary(16)), [ID]),
        ("uuid", pa.array([ID.bytes]), ["misfit"]),
        ("string[]", pa.array([["a"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))), [["a"]]),
        ("string[]", pa.array([["a"], None], pa.list_view(pa.string())), [["a"], None]),
        ("string[]", pa.array([["a"]], pa.list_(pa.string(), 1)), [["a"]]),
        ("string[]", pa.array([[1]]), ["misfit"]),
    ],
)
def test_a_value_is_taken_where_it_is_exact(kind: str, values: pa.Array, expected: list[Any]) -> None:
    fitted, good = fit_values(field_of("x", kind), values)
    fits = [True] * len(values) if good is None else good.tolist()
    assert [value if fit else "misfit" for value, fit in zip(fitted.to_pylist(), fits, strict=True)] == expected


THINGS = small_spec([field_of("id"), field_of("at", "timestamp")])


def test_int96_reaches_further_than_nanoseconds(lake: Lake) -> None:
    times = [datetime(2600, 1, 1), datetime(9999, 12, 31), TEN, None]
    table = pa.table({"id": list("abcd"), "at": times, "other": times})
    out = pa.BufferOutputStream()
    pq.write_table(table, out, use_deprecated_int96_timestamps=True)
    lake.land_one("web/things/a.parquet", out.getvalue().to_pybytes(), THINGS)
    assert [(r["_line"], r["reason"]) for r in lake.rejects("things")] == [(1, "out_of_range"), (2, "out_of_range")]
    assert [row["at"] for row in lake.rows("things")] == [TEN, None]
    assert json.loads(lake.rejects("things")[0]["raw"])["at"].startswith("2600-01-01")


def test_delta_encoded_parquet_lands(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "v2.parquet"
    duckdb.sql(f"copy (select 'u' || i as id from range(3000) t(i)) to '{path}' (format parquet, parquet_version v2)")
    receipt = lake.land_one("web/things/a.parquet", path.read_bytes(), THINGS)
    assert (receipt.status, receipt.rows_landed) == (Status.LANDED, 3_000)


@pytest.mark.parametrize("bad", [b"\xff", b"ok\x80"])
def test_text_that_is_no_utf8_costs_its_row(lake: Lake, bad: bytes) -> None:
    ids = pa.array([b"a", bad, b"c"]).view(pa.string())
    lake.land_one("web/things/a.parquet", parquet_of(pa.table({"id": ids})), THINGS)
    assert [row["id"] for row in lake.rows("things")] == ["a", "c"]
    assert [(r["_line"], r["reason"]) for r in lake.rejects("things")] == [(2, "invalid_utf8")]


def test_an_encrypted_file_is_said_to_be(lake: Lake) -> None:
    receipt = lake.land_one("web/things/a.parquet", b"PARE" + b"\0" * 8 + b"\4\0\0\0PARE", THINGS)
    assert "is encrypted" in (receipt.reason or "")


@pytest.mark.parametrize(("error", "stops"), [(RuntimeError("odd"), False), (OSError(28, "No space left"), True)])
def test_whatever_a_file_throws_costs_it_alone(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: Exception, stops: bool
) -> None:
    def throwing(*_: object) -> Iterator[Part]:
        raise error
        yield

    lake.deliver("web/things/a.parquet", parquet_of(pa.table({"id": ["a"]})))
    lake.deliver("web/things/b.ndjson", ndjson([{"id": "b"}]))
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.readers.read_parquet", throwing)
        if stops:
            with pytest.raises(Exception, match="landing stopped"):
                lake.land(THINGS)
            return
        first, second = lake.land(THINGS).receipts
        assert first.status is Status.REFUSED
        assert "RuntimeError" in (first.reason or "")
        assert second.rows_landed == 1
    assert [r.rows_landed for r in retry_quarantine(lake.settings, specs=THINGS).receipts] == [1]


def test_one_name_as_text_here_and_as_a_number_there(lake: Lake) -> None:
    row = event(1, "content_progress", {"content_id": "c", "content_type": "article", "depth": 0.5})
    table = pq.read_table(pa.BufferReader(parquet([row])))
    at = table.schema.get_field_index("content_progress")
    body = pa.array([{"content_id": "c", "content_type": "article", "depth": "0.5"}])
    receipt = lake.land_one("web/events/a.parquet", parquet_of(table.set_column(at, "content_progress", body)))
    assert receipt.rows_landed == 1
