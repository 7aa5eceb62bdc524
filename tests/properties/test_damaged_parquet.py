"""Whatever Parquet is delivered, landing ends in seconds, loses no row, and the next good file lands."""

import datetime as dt
import os
import random
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.land.receipt import Status
from tests.support.deliveries import event, field_of, ndjson, parquet, parquet_of, small_spec
from tests.support.lake import Lake

REAL = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nowhere")) / "bad_inputs" / "parquet"
SPEC = small_spec([field_of("id"), field_of("at", "timestamp"), field_of("n", "bigint"), field_of("tags", "string[]")])
SECONDS = 20


def odd_types() -> pa.Table:
    """A row each of types and values that are seldom met."""
    far = pa.array([2**63 - 1, 0, -1], pa.int64())
    return pa.table(
        {
            "id": ["a", "b", "c"],
            "at": far.view(pa.timestamp("us", "UTC")),
            "n": pa.array([Decimal("1.00"), Decimal("2.50"), None], pa.decimal256(60, 2)),
            "tags": pa.array([["x"], None, []], pa.large_list(pa.large_string())),
            "zone": far.view(pa.timestamp("us", "Mars/Olympus")),
            "time": pa.array([1, 2, None], pa.time64("ns")),
            "map": pa.array([[("k", dt.datetime(2026, 1, 1))], [], None], pa.map_(pa.string(), pa.timestamp("ns"))),
            "nested": pa.array([[{"d": Decimal(1)}], None, []], pa.list_(pa.struct([("d", pa.decimal256(50, 1))]))),
            "half": pa.array([1.5, None, 2.0], pa.float16()),
            "fixed": pa.array([b"\xff\x00", None, b"ab"], pa.binary(2)),
        }
    )


def damaged(data: bytes, random_: random.Random) -> bytes:
    """The file with flipped bits, a part cut off, or a part of itself elsewhere."""
    kind = random_.randrange(4)
    if kind == 0:
        return data[: random_.randrange(1, len(data))]
    out = bytearray(data)
    if kind == 1:
        start, size = random_.randrange(len(data)), random_.randrange(1, 64)
        at = random_.randrange(len(data))
        out[at : at + size] = data[start : start + size]
        return bytes(out)
    # The footer holds what everything else is found by.
    first = max(len(data) - 800, 0) if kind == 2 else 0
    for _ in range(random_.choice((1, 1, 3))):
        out[random_.randrange(first, len(data))] ^= 1 << random_.randrange(8)
    return bytes(out)


def whole_files() -> list[tuple[bytes, Any, str]]:
    events = pq.read_table(pa.BufferReader(parquet([event(i) for i in range(20)])))
    made: list[tuple[bytes, Any, str]] = []
    for write in (parquet_of, _without_checksums, _in_second_version):
        made += [(write(events), None, "events"), (write(odd_types()), SPEC, "things")]
    if REAL.is_dir():
        made += [(path.read_bytes(), SPEC, "things") for path in sorted(REAL.iterdir())]
    return made


def _without_checksums(table: pa.Table) -> bytes:
    return _written(table, compression="none")


def _in_second_version(table: pa.Table) -> bytes:
    return _written(table, data_page_version="2.0", use_dictionary=False, use_deprecated_int96_timestamps=True)


def _written(table: pa.Table, **options: Any) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, **options)
    return out.getvalue().to_pybytes()


def _land_damaged(home: Path, seed: int) -> None:
    random_ = random.Random(seed)
    data, spec, dataset = random_.choice(whole_files())
    lake = Lake(home)
    lake.deliver(f"web/{dataset}/a.parquet", damaged(data, random_))
    good = ndjson([event(1)]) if dataset == "events" else ndjson([{"id": "good"}])
    lake.deliver(f"web/{dataset}/b.ndjson", good)
    began = time.monotonic()
    first, second = lake.land(spec).receipts
    assert time.monotonic() - began < SECONDS, f"seed {seed}"
    assert (second.status, second.rows_landed) == (Status.LANDED, 1), f"seed {seed}"
    assert first.status is Status.LANDED or (first.reason and first.rows_read == 0), f"seed {seed}"
    lake.assert_whole()


@pytest.mark.parametrize("seed", range(60))
def test_damaged_parquet_costs_itself_alone(tmp_path: Path, seed: int) -> None:
    _land_damaged(tmp_path, seed)


@pytest.mark.long
def test_much_damaged_parquet_costs_itself_alone(tmp_path: Path) -> None:
    for seed in range(1_000, 4_000):
        _land_damaged(tmp_path / str(seed), seed)


@pytest.mark.parametrize("write", [parquet_of, _without_checksums])
def test_odd_types_lose_no_row(lake: Lake, write: Callable[[pa.Table], bytes]) -> None:
    receipt = lake.land_one("web/things/a.parquet", write(odd_types()), SPEC)
    assert (receipt.status, receipt.rows_read, receipt.rows_landed) == (Status.LANDED, 3, 1)
    assert [(row["_line"], row["reason"], row["field"]) for row in lake.rejects("things")] == [
        (1, "out_of_range", "at"),
        (2, "wrong_type", "n"),
    ]
    assert [(row["id"], row["n"], row["tags"]) for row in lake.rows("things")] == [("c", None, [])]
    kept = {(u["_line"], u["key"]): u["value"] for u in lake.unknown("things")}
    assert kept[3, "half"] == "2.0"
