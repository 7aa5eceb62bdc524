"""Damage to a good file, in any format: landing ends soon, the file lands or is refused with a reason, and the next one
lands."""

import csv
import io
import json
import random
import tempfile
import time
from pathlib import Path

import pytest

from flows.contract.spec import load_specs
from flows.land.receipt import Receipt, Status
from tests.support.deliveries import compressed, csv_of, delimited, event, ndjson, protobuf
from tests.support.lake import Lake

ROWS = [
    event(1),
    event(2, "search", {"query": 'a "tide", or\ntwo', "results_count": 3}),
    event(3, app_version='7 "beta", é\\', consent=[]),
    event(4, "content_progress", {"content_id": "c,1", "content_type": "video", "depth": 0.5, "active_ms": 10}),
    event(5, platform="fax"),
    event(6, colour={"red": [1, {"deep": None}]}),
]


def tsv_of(data: bytes) -> bytes:
    """A CSV with tabs for commas."""
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows(csv.reader(io.StringIO(data.decode(), newline="")))
    return out.getvalue().encode()


PLAIN = {
    "ndjson": ndjson(ROWS * 4),
    "json": json.dumps(ROWS * 4, indent=1).encode(),
    "jsonl": json.dumps(ROWS * 4).encode(),
    "csv": csv_of(ROWS[:5] * 4),
    "tsv": tsv_of(csv_of(ROWS[:5] * 4)),
    "pb": delimited([protobuf(row) for row in ROWS[:5]] * 4),
}
# What means something to some reader.
PIECES = [
    b'"',
    b"\n",
    b"\r",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\\",
    b"\t",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b'"\n"',
    b"\x80" * 9,
]
GOOD = ndjson([event(99)])
SECONDS = 10


def damaged(data: bytes, random_: random.Random) -> bytes:
    """The bytes with one to three damages."""
    for _ in range(random_.randint(1, 3)):
        at, other = random_.randrange(len(data) + 1), random_.randrange(len(data) + 1)
        size = random_.choice([1, 2, 30, 400])
        match random_.randrange(6):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ 1 << random_.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + random_.choice(PIECES) * random_.choice([1, 1, 3]) + data[at:]
            case 3:
                data = data[:at] + data[at + size :]
            case 4:
                data = data[:at] + data[other : other + size] + data[at:]
            case _:
                data = data[:at] + random_.randbytes(size % 40) + data[at:]
    return data


def check(files: list[tuple[str, bytes]]) -> list[Receipt]:
    """Land the files, and after them a good one."""
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home))
        for number, (suffix, data) in enumerate(files):
            lake.deliver(f"web/events/{number:04}.{suffix}", data)
        lake.deliver("web/events/good.ndjson", GOOD)
        started = time.monotonic()
        *receipts, good = lake.land().receipts
        assert time.monotonic() - started < SECONDS + len(files)
        assert (good.status, good.rows_landed) == (Status.LANDED, 1)
        assert len(receipts) == len(files)
        for receipt in receipts:
            assert receipt.status is Status.LANDED or receipt.reason
        lake.assert_whole()
        rejects = lake.rejects()
        for receipt, (suffix, data) in zip(receipts, files, strict=True):
            if "." not in suffix:
                # What is quarantined is what was delivered.
                own = [r["raw"] for r in rejects if r["_batch_id"] == receipt.batch_id]
                assert [raw for raw in own if raw not in data] == []
        return receipts


def rounds(suffix: str, count: int, seed: int) -> None:
    """This many damaged files of a format, half of them damaged within their compression."""
    random_ = random.Random(f"{suffix} {seed}")
    kind, _, compression = suffix.partition(".")
    files = []
    for number in range(count):
        data = PLAIN[kind]
        if not compression or number % 2:
            files.append((suffix, compressed(damaged(data, random_), suffix)))
        else:
            files.append((suffix, damaged(compressed(data, suffix), random_)))
    check(files)


SUFFIXES = [f"{kind}{compression}" for kind in PLAIN for compression in ("", ".gz", ".zst")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_undamaged_file_lands(suffix: str) -> None:
    kind = suffix.partition(".")[0]
    (receipt,) = check([(suffix, compressed(PLAIN[kind], suffix))])
    rows = 24 if "j" in kind else 20
    assert (receipt.rows_landed, receipt.rows_rejected) == (rows - 4, 4)
    assert load_specs()["events"].name == receipt.dataset


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_stops_nothing(suffix: str) -> None:
    rounds(suffix, 25, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_damaged_files_stop_nothing(suffix: str, seed: int) -> None:
    rounds(suffix, 150, seed)
