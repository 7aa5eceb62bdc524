"""Every byte of a delivered file is checked, and how a file is cut into chunks never shows."""

import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from flows.contract.spec import load_specs
from flows.errors import FileRefusedError
from flows.land import readers
from flows.land.inbox import file_format
from flows.land.readers import Reject, limits, read_chunks
from flows.land.receipt import Status
from tests.support.deliveries import (
    compressed,
    delimited,
    event,
    field_of,
    in_format,
    little_endian,
    ndjson,
    parquet,
    protobuf,
    small_spec,
)
from tests.support.lake import Lake

SPEC = load_specs()["events"]
ROWS = [event(i, body={"content_id": f"c-{i * 7919}", "content_type": "article"}) for i in range(40)]
LINES = ndjson(ROWS)
GZIP, ZSTD = gzip.compress(LINES, mtime=0), compressed(LINES, ".zst")


def read(path: Path, spec: Any = SPEC) -> tuple[list[tuple[int, bytes]], list[Reject]]:
    """Every row's line and bytes, and the rejects."""
    rows: list[tuple[int, bytes]] = []
    rejects: list[Reject] = []
    for chunk in read_chunks(path, spec):
        lines = chunk.table["_line"].to_pylist()
        rows += zip(lines, chunk.raw(list(range(len(lines)))), strict=True)
        rejects += chunk.rejects
    return rows, rejects


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


EXPECTED = [(i + 1, json.dumps(row).encode()) for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.ndjson", "ndjson"), ("a.json", "json"), ("a.b.pb.gz", "pb"), ("a.csv.zst", "csv"), ("a.parquet", "parquet"),
        ("a.txt", None), ("ndjson", None), ("a.ndjson.bz2", None), ("a.gz", None),
        ("a.NDJSON", "ndjson"), ("a.Ndjson.GZ", "ndjson"), ("A.CSV.Zst", "csv"), ("a.jsonl", "jsonl"), ("a.tsv", "tsv"),
        ("a.PB.GZ", "pb"), ("a.ndjson.zst.gz", None), ("a.ndjson.gz.zst", None), ("a.csv.bak", None),
    ],
)  # fmt: skip
def test_the_format_is_what_the_name_promises(name: str, expected: str | None) -> None:
    assert file_format(name) == expected


# --- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("gz", GZIP),
        ("gz", gzip.compress(LINES[:1000], mtime=0) + gzip.compress(LINES[1000:], mtime=0)),
        ("gz", gzip.compress(LINES, mtime=0) + gzip.compress(b"")),
        ("gz", gzip.compress(LINES, mtime=0) + b"\0" * 512),
        ("zst", ZSTD),
        ("zst", compressed(LINES[:1000], ".zst") + compressed(LINES[1000:], ".zst")),
        ("zst", compressed(LINES, ".zst") + little_endian(0x184D2A50) + little_endian(5) + b"skip!"),
        ("zst", little_endian(0x184D2A5F) + little_endian(0) + compressed(LINES, ".zst")),
    ],
    ids=["gzip", "members", "empty member", "padded", "zstd", "frames", "skippable after", "skippable before"],
)
def test_every_member_and_frame_is_read(tmp_path: Path, suffix: str, data: bytes) -> None:
    assert read(written(tmp_path, f"a.ndjson.{suffix}", data)) == (EXPECTED, [])


@pytest.mark.parametrize(("suffix", "data"), [("gz", GZIP), ("zst", ZSTD)])
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_a_stream_cut_anywhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, data: bytes, piece: int
) -> None:
    monkeypatch.setattr(limits, "PIECE_BYTES", piece)
    for length in {*range(1, 40), *range(40, len(data), 97), *range(len(data) - 20, len(data))}:
        path = written(tmp_path, f"a.ndjson.{suffix}", data[:length])
        with pytest.raises(FileRefusedError, match=r"truncated|corrupt"):
            read(path)


@pytest.mark.parametrize(("suffix", "data"), [("gz", GZIP), ("zst", ZSTD)])
def test_a_flipped_bit_anywhere_is_refused_or_changes_no_row(tmp_path: Path, suffix: str, data: bytes) -> None:
    refused = 0
    positions = {*range(24), *range(24, len(data) - 24, 37), *range(len(data) - 24, len(data))}
    for position in positions:
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path = written(tmp_path, f"a.ndjson.{suffix}", bytes(flipped))
        try:
            found = read(path)
        except FileRefusedError:
            refused += 1
        else:
            # Only what says nothing of the content may change: times in the header, bits that fill up a byte.
            assert found == (EXPECTED, [])
    assert refused >= len(positions) - 12


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("gz", GZIP + b"x"),
        ("gz", GZIP + b"garbage, and more than a header of it"),
        ("gz", GZIP + GZIP[:-1]),
        ("gz", LINES),
        ("zst", ZSTD + b"x"),
        ("zst", ZSTD + b"\0" * 64),
        ("zst", ZSTD + b"garbage, and more than a header of it"),
        ("zst", ZSTD + ZSTD[:-1]),
        ("zst", LINES),
        ("zst", GZIP),
    ],
)
def test_anything_after_or_instead_of_the_stream_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = written(tmp_path, f"a.ndjson.{suffix}", data)
    with pytest.raises(FileRefusedError):
        read(path)


@pytest.mark.parametrize("suffix", ["ndjson.gz", "pb.zst", "csv.gz", "parquet.zst", "parquet"])
def test_a_damaged_file_is_refused_whole_and_the_good_one_lands_under_its_name(lake: Lake, suffix: str) -> None:
    data = in_format(ROWS, suffix)
    name = f"web/events/part.{suffix}"
    lake.assert_nothing_landed(lake.land_one(name, data[: len(data) * 2 // 3]))
    assert lake.rows() == []
    lake.assert_nothing_landed(lake.land_one(name, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]))
    receipt = lake.land_one(name, data)
    assert (receipt.status, receipt.rows_landed) == (Status.LANDED, len(ROWS))
    lake.assert_whole()


def test_a_stream_that_breaks_after_many_good_and_bad_rows_leaves_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_BYTES", 4_000)
    monkeypatch.setattr(limits, "PIECE_BYTES", 1_000)
    data = compressed(ndjson([*ROWS, event(99, platform="fax"), event(98, colour="red")] * 5), ".gz")
    lake.assert_nothing_landed(lake.land_one("web/events/part.ndjson.gz", data[:-1]))
    assert lake.rejects() == lake.unknown() == []


@pytest.mark.parametrize("name", ["a.ndjson", "a.csv", "a.pb", "a.parquet", "a.ndjson.gz", "a.parquet.zst"])
def test_an_empty_file_is_refused(lake: Lake, name: str) -> None:
    receipt = lake.land_one(f"web/events/{name}", b"")
    lake.assert_nothing_landed(receipt)
    assert "empty" in (receipt.reason or "")


# --- Protobuf --------------------------------------------------------------------------------------------------------

MESSAGES = [protobuf(row) for row in ROWS]


def test_one_undecodable_record_spoils_none_of_its_neighbours(lake: Lake) -> None:
    bad = [b"\xff\xff\xff", MESSAGES[0][:-3], MESSAGES[1].replace(b"news", b"n\xffws")]
    receipt = lake.land_one("web/events/a.pb", delimited([*MESSAGES[:10], *bad, *MESSAGES[10:]]))
    assert (receipt.rows_landed, receipt.rows_rejected) == (len(ROWS), 3)
    assert [(r["_line"], r["reason"], r["raw"]) for r in lake.rejects()] == [
        (11 + i, "undecodable", raw) for i, raw in enumerate(bad)
    ]
    assert [row["_line"] for row in lake.rows()] == [*range(1, 11), *range(14, 44)]
    assert [row["content_id"] for row in lake.rows()] == [row["content_view"]["content_id"] for row in ROWS]


def test_a_record_without_content_is_a_row_that_lacks_everything(lake: Lake) -> None:
    lake.land_one("web/events/a.pb", delimited([b"", MESSAGES[0]]))
    assert [(r["_line"], r["reason"], r["raw"]) for r in lake.rejects()] == [(1, "no_payload", b"")]


def test_a_protobuf_file_cut_anywhere_within_a_record_is_refused(tmp_path: Path) -> None:
    data = delimited(MESSAGES[:3])
    ends = {0, len(delimited(MESSAGES[:1])), len(delimited(MESSAGES[:2]))}
    for length in set(range(1, len(data))) - ends:
        path = written(tmp_path, "a.pb", data[:length])
        with pytest.raises(FileRefusedError, match="record"):
            read(path)


@pytest.mark.parametrize(
    "tail",
    [b"\xff\xff\xff\xff\x0f", b"\xff" * 1_000_000, b"\x80" * 12 + b"\x01", b"\x81\x80\x80\x08", b"\xff" * 4],
    ids=["4 GiB", "endless", "overlong", "16 MiB and a byte", "cut off"],
)
def test_an_absurd_length_is_refused_at_once_and_says_in_which_record(tmp_path: Path, tail: bytes) -> None:
    path = written(tmp_path, "a.pb", delimited(MESSAGES[:2]) + tail)
    started = time.process_time()
    with pytest.raises(FileRefusedError, match="record 3"):
        read(path)
    assert time.process_time() - started < 5


def test_json_under_the_name_of_protobuf_is_refused(lake: Lake) -> None:
    receipt = lake.land_one("web/events/a.pb", LINES)
    assert receipt.rows_landed == 0
    assert receipt.status is Status.REFUSED or receipt.rows_rejected


# --- Parquet ---------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_parquet_is_refused_or_changes_no_row(tmp_path: Path) -> None:
    data = parquet(ROWS)
    expected = read(written(tmp_path, "a.parquet", data))
    for position in {*range(8), *range(8, len(data) - 8, 61), *range(len(data) - 8, len(data))}:
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path = written(tmp_path, "b.parquet", bytes(flipped))
        try:
            found = read(path)
        except FileRefusedError as error:
            assert "deliver it again" in str(error) or "contract" in str(error) or "footer" in str(error)
        else:
            # What no checksum covers: headers and footer. Never a row more or less.
            assert len(found[0]) == len(expected[0])


def test_parquet_row_groups_and_chunks_number_rows_throughout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_RECORDS", 7)
    table = pa.table({"product": [f"p{i}" for i in range(40)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=11)
    rows, _ = read(tmp_path / "a.parquet")
    assert [(line, json.loads(raw)["product"]) for line, raw in rows] == [(i + 1, f"p{i}") for i in range(40)]


def test_parquet_without_any_column_of_the_contract_is_refused(lake: Lake) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"raw": ["{}"], "colour": ["red"]}), out)
    lake.assert_nothing_landed(lake.land_one("web/events/a.parquet", out.getvalue()))


def test_parquet_without_rows_lands_none(lake: Lake) -> None:
    receipt = lake.land_one("web/events/a.parquet", parquet([]))
    assert (receipt.status, receipt.rows_read) == (Status.LANDED, 0)


# --- CSV -------------------------------------------------------------------------------------------------------------

THINGS = small_spec([field_of("id", required=True), field_of("text")])
THING = THINGS["things"]


def csv_cells(path: Path) -> list[tuple[int, str | None, str | None]]:
    found = []
    for chunk in read_chunks(path, THING):
        found += [(row["_line"], row["id"], row["text"]) for row in chunk.table.to_pylist()]
    return found


def test_csv_quotes_newlines_and_blanks_read_as_written(tmp_path: Path) -> None:
    data = b'text,id\r\n"a ""b""\r\nc",1\r\n\r\n  x  , 2 \r\n"",3\r\n,4'
    assert csv_cells(written(tmp_path, "a.csv", data)) == [
        (2, "1", 'a "b"\r\nc'),
        (5, "2", "x"),
        (6, "3", None),
        (7, "4", None),
    ]


def test_csv_rejects_keep_their_bytes(lake: Lake) -> None:
    bad = [b'"x"y,1', b"1,2,3", b"1", b"\xff,1", b'a"b,"c"d']
    data = b"id,text\n" + b"".join(b"good,\xc3\xb6\n" + row + b"\r\n" for row in bad)
    receipt = lake.land_one("x/things/a.csv", data, THINGS)
    assert (receipt.rows_landed, receipt.rows_rejected) == (5, 5)
    assert [(r["_line"], r["raw"]) for r in lake.rejects("things")] == [(3 + 2 * i, row) for i, row in enumerate(bad)]


def test_an_unterminated_quote_is_refused_by_its_line(lake: Lake) -> None:
    receipt = lake.land_one("x/things/a.csv", b"id,text\n1,a\n2,b\n" + b'3,"c\n4,d\n', THINGS)
    lake.assert_nothing_landed(receipt)
    assert "line 4" in (receipt.reason or "")
    assert lake.rejects("things") == []


def test_a_field_beyond_the_reader_s_limit_does_not_stop_the_file(lake: Lake) -> None:
    data = b"id,text\n1," + b"x" * 1_000_000 + b"\n2,b\n"
    receipt = lake.land_one("x/things/a.csv", data, THINGS)
    assert receipt.rows_read == 2
    assert [row["id"] for row in lake.rows("things")][-1] == "2"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"anna@example.org,Anna\n1,2\n", "none of the 2 columns"),
        (b"Anna,Anna\n", "more than once"),
        (b"id,text,id\n1,2,3\n", "id is named more than once"),
        (b"\xffid,text\n1,2\n", "line 1"),
        (b'"id,text\n1,2\n', "line 1"),
        (b"\n\n\n", "line 1"),
        (b"id,_line\n1,2\n", "_line"),
        (b"id,text\r1,2\r", "line 1"),
    ],
)
def test_a_csv_file_without_a_usable_header_is_refused_without_repeating_its_data(
    lake: Lake, data: bytes, words: str
) -> None:
    receipt = lake.land_one("x/things/a.csv", data, THINGS)
    lake.assert_nothing_landed(receipt)
    assert words in (receipt.reason or "")
    assert "nna" not in (receipt.reason or "")


# --- chunks ----------------------------------------------------------------------------------------------------------

TALK = [f'"{i}","line one, {i}\nline ""two""\r\n\r\nline four"\r\n' for i in range(40)]
WHOLE: dict[str, tuple[Any, bytes]] = {
    "a.ndjson": (SPEC, LINES.replace(b"\n", b"\r\n\n", 5) + b"not json\n\xff\n" + LINES.rstrip()),
    "a.ndjson.gz": (SPEC, gzip.compress(LINES)),
    "a.ndjson.zst": (SPEC, compressed(LINES, ".zst")),
    "a.pb": (SPEC, delimited([*MESSAGES, b"\xff\xff", b"", *MESSAGES])),
    "a.pb.zst": (SPEC, compressed(delimited(MESSAGES), ".zst")),
    "a.parquet": (SPEC, parquet(ROWS)),
    "a.csv": (THING, ("id,text\n" + "".join(TALK) + "1,2,3\n\n" + "".join(TALK)).encode()),
    "a.csv.gz": (THING, gzip.compress(("id,text\n" + "".join(TALK)).encode())),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    ("chunk", "records", "piece"), [(1, 1, 8), (100, 3, 64), (1_000, 7, 1_000), (5_000, 30, 4_096)]
)
def test_chunks_of_any_size_hold_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int, records: int, piece: int
) -> None:
    spec, data = WHOLE[name]
    path = written(tmp_path, name, data)
    whole = [row for c in read_chunks(path, spec) for row in c.table.to_pylist()]
    expected = read(path, spec)
    monkeypatch.setattr(limits, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(limits, "CHUNK_RECORDS", records)
    monkeypatch.setattr(limits, "PIECE_BYTES", piece)
    chunks = list(read_chunks(path, spec))
    assert len(chunks) > 1 or name == "a.ndjson.zst"  # all of it decompresses at once
    assert [row for c in chunks for row in c.table.to_pylist()] == whole
    rows, rejects = read(path, spec)
    assert (rows, sorted(rejects, key=lambda r: r.line)) == (expected[0], sorted(expected[1], key=lambda r: r.line))


def test_chunks_of_any_size_land_as_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = [*ROWS, event(50, platform="fax"), event(51, colour="red"), 5, event(52)]
    files: dict[str, Callable[[], bytes]] = {
        "web/events/a.ndjson": lambda: ndjson(rows),
        "web/events/b.pb": lambda: delimited(MESSAGES),
    }
    lakes = [Lake(tmp_path / "whole"), Lake(tmp_path / "cut")]
    for lake in lakes:
        for name, data in files.items():
            lake.deliver(name, data())
    lakes[0].land()
    monkeypatch.setattr(limits, "CHUNK_BYTES", 900)
    monkeypatch.setattr(limits, "CHUNK_RECORDS", 3)
    monkeypatch.setattr(limits, "PIECE_BYTES", 64)
    lakes[1].land()
    assert lakes[0].rows() == lakes[1].rows()
    assert lakes[0].rejects() == lakes[1].rejects()
    assert lakes[0].unknown() == lakes[1].unknown()


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "MAX_RECORD_BYTES", 4 << 20)
    data = zstandard.ZstdCompressor().compress(b"x" * (64 << 20))
    path = written(tmp_path, "a.ndjson.zst", data)
    with pytest.raises(FileRefusedError, match="4 MiB"):
        read(path)


def test_a_chunk_split_is_the_same_rows_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPLIT_ROWS", 2)
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(b'{"n":%d}\n' % n for n in range(5)) + b"\xff\n")
    (chunk,) = readers.read_chunks(path, load_specs()["events"])
    parts = chunk.split(3)
    assert [p.table.num_rows for p in parts] == [2, 2, 1]
    assert [raw for p in parts for raw in p.raw(list(range(p.table.num_rows)))] == [b'{"n":%d}' % n for n in range(5)]
    assert [line for p in parts for line in p.table["_line"].to_pylist()] == [1, 2, 3, 4, 5]
    assert [len(p.rejects) for p in parts] == [1, 0, 0]
    assert chunk.split(1) == [chunk]
