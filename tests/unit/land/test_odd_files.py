"""What is odd about delivered text, JSON, Protobuf and compression: nothing vanishes, and the reason says what is."""

import csv
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from flows.audit.audit import audit
from flows.land.readers import limits
from flows.land.readers.csv import PIECE
from flows.land.receipt import Status
from flows.land.retry import retry_quarantine
from tests.support.deliveries import (
    compressed,
    csv_of,
    delimited,
    event,
    field_of,
    ndjson,
    parquet,
    protobuf,
    small_spec,
)
from tests.support.lake import Lake

THINGS = small_spec([field_of("id", required=True), field_of("text")])
WIDE = small_spec([field_of(f"f{i}") for i in range(10)])
ROWS = [event(i, body={"content_id": f"c-{i}", "content_type": "article"}) for i in range(150)]
CONVERSATIONS = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "conversations"


def things(lines: dict[int, str], count: int = 3_000, end: str = "\n") -> bytes:
    """A CSV whose line of a number is the number and a word, but for these."""
    text = [lines.get(number, f"{number},word") for number in range(2, count + 1)]
    return (end.join([lines.get(1, "id,text"), *text]) + end).encode()


def refused(lake: Lake, name: str, data: bytes, specs: Any = None) -> str:
    """The reason for which the file is refused whole."""
    receipt = lake.land_one(name, data, specs)
    lake.assert_nothing_landed(receipt)
    return receipt.reason or ""


# --- CSV: quotes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "CSV"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", [2, 1_500, 3_000])
def test_an_open_quote_is_named_by_the_line_on_which_it_opens(lake: Lake, suffix: str, end: str, line: int) -> None:
    data = compressed(things({line: f'{line},"word'}, end=end), suffix)
    assert refused(lake, f"x/things/a.{suffix}", data, THINGS).startswith(f"line {line}: the quote")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (things({7: '7,"two\nlines"\n8,"open'}), 9),
        (things({7: '"7\n7","open'}), 8),
        (things({7: '7,"word', 2_500: '2500,word"'}), 7),
        (things({7: '7,"word', 2_500: '2500,"word"'}), 7),
        (things({7: '7,"word', 2_500: 'x"'}), 7),
        (things({7: '7,"' + "\n" * 11_000 + '"'}), 7),
        (things({7: '7,"word'}, 30_000), 7),
    ],
    ids=["after one of two lines", "second value", "closes a row", "closes badly", "closes", "blank", "many"],
)
def test_a_quote_that_swallows_many_rows_is_refused(lake: Lake, data: bytes, line: int) -> None:
    assert refused(lake, "x/things/a.csv", data, THINGS).startswith(f"line {line}: the quote")


def test_an_open_quote_in_a_file_without_a_header_in_another_encoding(lake: Lake) -> None:
    specs = small_spec([field_of("id"), field_of("text")], csv={"headerless": True, "encoding": "latin-1"})
    data = '1,å\n2,ä\n3,"ö\n4,x\n'.encode("latin-1")
    assert refused(lake, "x/things/a.csv", data, specs).startswith("line 3: the quote")


def test_a_quote_that_swallows_few_rows_costs_these_lines_and_all_are_counted(lake: Lake) -> None:
    receipt = lake.land_one("x/things/a.csv", things({7: '7,"word', 11: '11,"word"'}, 20), THINGS)
    assert (receipt.rows_landed, receipt.rows_rejected) == (14, 5)
    assert [r["_line"] for r in lake.rejects("things")] == [7, 8, 9, 10, 11]
    assert [r["raw"] for r in lake.rejects("things")][:2] == [b'7,"word', b"8,word"]
    # A line of a broken record is no row by itself, whatever it looks like.
    done = retry_quarantine(lake.settings, specs=THINGS)
    assert (done.receipts, sum(left.rows for left in done.left)) == ([], 5)


def test_rows_within_quotes_are_told_from_text_by_their_separators(lake: Lake) -> None:
    def line(number: int) -> str:
        return ",".join(f"{number}-{i}" for i in range(10))

    rows = [",".join(f"f{i}" for i in range(10)), *map(line, range(2, 40))]
    rows[20] = rows[20].replace("21-9", '"21-9')
    rows[24] = '25-0",' + rows[24].split(",", 1)[1]
    # Joined, the first and last line make a record of the right size.
    rows[24] = '25-0"'
    receipt = lake.land_one("x/things/a.csv", "\n".join(rows).encode(), WIDE)
    assert (receipt.rows_landed, receipt.rows_rejected) == (33, 5)
    assert {r["reason"][: len(PIECE)] for r in lake.rejects("things")} == {PIECE}


def test_quoted_text_of_many_lines_lands(lake: Lake) -> None:
    text = "\n".join(f"line {i}, with a comma or two, {'and ' * (i % 7)}\n" for i in range(900))
    data = b'id,text\n1,"' + text.encode() + b'"\n2,5" pipe\n'
    receipt = lake.land_one("x/things/a.csv", data, THINGS)
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 0)
    assert [row["text"] for row in lake.rows("things")] == [text.strip(), '5" pipe']


@pytest.mark.skipif(not CONVERSATIONS.exists(), reason="the conversations are not here: TIDEMARK_REAL_DATA")
def test_real_conversations_land_whole(lake: Lake) -> None:
    specs, expected = dict[str, Any](), []
    for path in sorted(CONVERSATIONS.glob("*.tsv.gz")):
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, delimiter="\t")
        specs |= small_spec([field_of(name.strip()) for name in header], path.name.partition("_")[0])
        lake.deliver(f"x/{path.name.partition('_')[0]}/{path.name}", path.read_bytes())
        expected.append((Status.LANDED, len(rows), 0))
    receipts = sorted(lake.land(specs).receipts, key=lambda receipt: receipt.file)
    assert [(r.status, r.rows_landed, r.rows_rejected) for r in receipts] == expected
    assert len(expected) == 7


def test_audit_says_of_a_landed_file_that_would_be_refused_by_now(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(["words without separators"] * 200)
    lake.land_one("x/things/a.csv", things({7: f'7,"{text}"'}, 20), THINGS)
    assert audit(lake.settings, specs=THINGS).findings == []
    monkeypatch.setattr(limits, "MAX_RECORD_LINES", 100)
    (finding,) = audit(lake.settings, specs=THINGS).findings
    assert finding.step == "inbox"
    assert "line 7" in finding.text


# --- CSV: separators and line ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"id;text\n1;2\n", "separated by semicolons"),
        ("a.csv", b'"id"\t"text"\n1\t2\n', "separated by tabs"),
        ("a.csv.gz", gzip.compress(b"id|text\n1|2\n"), "separated by vertical bars"),
        ("a.tsv", b"id,text\n1,2\n", "separated by commas"),
        ("a.csv", b"id,text\r1,2\r", "carriage returns alone"),
        ("a.csv", b"id,text\n" + b"1,2\r" * 50, "line 2: lines end in carriage returns alone"),
        ("a.tsv", b"id\ttext\r1\t2\r", "carriage returns alone"),
        ("a.csv", b'{"id":1,"text":"2"}\n', "looks like JSON"),
        ("a.csv", "id,text\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "id,text\n1,2\n".encode("utf-16-be"), "UTF-16"),
        ("a.ndjson", '{"id":"1"}\n'.encode("utf-16-le"), "UTF-16"),
        ("a.json.zst", compressed('[{"id":"1"}]\n'.encode("utf-32"), ".zst"), "UTF-32"),
    ],
)  # fmt: skip
def test_the_reason_says_what_the_text_is(lake: Lake, name: str, data: bytes, words: str) -> None:
    assert words in refused(lake, f"x/things/{name}", data, THINGS)


def test_rows_with_another_separator_say_so(lake: Lake) -> None:
    specs = small_spec([field_of("id"), field_of("text")], csv={"headerless": True})
    lake.land_one("x/things/a.csv", b"1;2\n1,2\n", specs)
    (reject,) = lake.rejects("things")
    assert reject["reason"] == "malformed: 1 values where the header has 2; it is separated by semicolons"


def test_tabs_separate_and_quotes_hold_in_tsv_and_its_rejects_can_be_retried(lake: Lake) -> None:
    data = b'id\ttext\n1\t"a\tb"\n2\tc,d\n\te\n3\n'
    receipt = lake.land_one("x/things/a.TSV.gz", gzip.compress(data), THINGS)
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 2)
    assert [row["text"] for row in lake.rows("things")] == ["a\tb", "c,d"]
    lenient = small_spec([field_of("id"), field_of("text")])
    (again,) = retry_quarantine(lake.settings, specs=lenient).receipts
    assert (again.rows_landed, again.rows_rejected) == (1, 1)
    assert lake.rows("things")[-1]["text"] == "e"


# --- JSON arrays and objects over several lines ---------------------------------------------------------------------

ARRAYS = {
    "compact": json.dumps(ROWS, separators=(",", ":")).encode(),
    "blanks": json.dumps(ROWS).encode(),
    "pretty": json.dumps(ROWS, indent=2).encode(),
    "an element a line": b"[\n" + b",\n".join(json.dumps(r).encode() for r in ROWS) + b"\n]\n",
    "byte order mark and blanks": b"\xef\xbb\xbf\r\n  \n " + json.dumps(ROWS).encode() + b"\n\n",
    "several arrays": b"\n".join(json.dumps(ROWS[i : i + 7]).encode() for i in range(0, 150, 7)),
    "pretty objects": b"\n".join(json.dumps(r, indent=1).encode() for r in ROWS),
}


@pytest.mark.parametrize("suffix", ["json", "ndjson", "JSONL.GZ", "json.zst"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_of_objects_lands_as_its_elements(lake: Lake, kind: str, suffix: str) -> None:
    receipt = lake.land_one(f"web/events/a.{suffix}", compressed(ARRAYS[kind], suffix.lower()))
    assert (receipt.status, receipt.rows_landed, receipt.rows_rejected) == (Status.LANDED, 150, 0)
    assert [(row["_line"], row["content_id"]) for row in lake.rows()] == [(i + 1, f"c-{i}") for i in range(150)]


@pytest.mark.parametrize(("document", "piece", "records"), [(1, 31, 50), (500, 64, 40), (5_000, 1_000, 60)])
@pytest.mark.parametrize("kind", ARRAYS)
def test_how_an_array_is_cut_never_shows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: str, document: int, piece: int, records: int
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_BYTES", document)
    monkeypatch.setattr(limits, "PIECE_BYTES", piece)
    monkeypatch.setattr(limits, "CHUNK_RECORDS", records)
    escaped = [event(i, body={"content_id": f'\\"[{{\\\\{i}', "content_type": "article"}) for i in range(9)]
    data = ARRAYS[kind].replace(b"[", b"[" + json.dumps(escaped)[1:-1].encode() + b", null, [1], ", 1)
    receipt = lake.land_one("web/events/a.json", data if kind != "pretty objects" else ARRAYS[kind])
    if kind == "pretty objects":
        assert receipt.rows_landed == 150
        return
    assert (receipt.rows_landed, receipt.rows_rejected) == (159, 2)
    assert [(r["_line"], r["raw"]) for r in lake.rejects()] == [(10, b"null"), (11, b"[1]")]
    assert lake.rows()[0]["content_id"] == '\\"[{\\\\0'


def test_elements_that_do_not_fit_keep_their_text_and_can_be_retried(lake: Lake) -> None:
    pretty = '{\n  "id": null,\n  "text": "x"\n}'
    data = f'[1, {{"id":"a"}}, {pretty}, "b,{{", {{"id":NaN}}, {{"id" "a"}}]'.encode()
    receipt = lake.land_one("x/things/a.json", data, THINGS)
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 5)
    found = [(r["_line"], r["reason"], r["raw"]) for r in lake.rejects("things")]
    assert found[:3] == [(1, "not_an_object", b"1"), (3, "missing", pretty.encode()), (4, "not_an_object", b'"b,{"')]
    (again,) = retry_quarantine(lake.settings, specs=small_spec([field_of("id"), field_of("text")])).receipts
    assert (again.rows_read, again.rows_landed) == (5, 1)
    assert [(row["_line"], row["text"]) for row in lake.rows("things")] == [(2, None), (3, "x")]


ONE = json.dumps(ROWS[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"[{ONE},{ONE}", "truncated"),
        (f"[{ONE},", "truncated"),
        (f"[{ONE},{ONE[:-9]}", "within element 2"),
        (f"[{ONE}]]", "element 1"),
        (f"[{ONE}]garbage", "text stands outside of strings"),
        (f"[{ONE},,{ONE}]", ", stands where none can be"),
        (f"[{ONE},]", "] stands where none can be"),
        (f"[{ONE} {ONE}]", "a comma is missing"),
        (f"[{ONE},\n{ONE[:-1]}]\n]", "line 2"),
        (f"[{ONE},\n" + ONE.replace('"web"', '"web').replace('"ios"', '"ios') + f",\n{ONE}]", "on line 2"),
        (f"[{ONE}," + '{"a":"b\nc"}]', "goes over the end of its line"),
        ("{\n  " + ONE[1:], None),
        ("{\n  " + ONE[1:-1], "truncated"),
    ],
)  # fmt: skip
def test_a_broken_array_is_refused_and_says_where(lake: Lake, text: str, words: str | None) -> None:
    receipt = lake.land_one("web/events/a.json", text.encode())
    if words is None:
        assert receipt.rows_landed == 1
    else:
        lake.assert_nothing_landed(receipt)
        assert words in (receipt.reason or "")


def test_deep_nesting_in_an_element_costs_nothing_else(lake: Lake) -> None:
    deep = ONE[:-1] + ',"deep":' + "[" * 100_000 + "]" * 100_000 + "}"
    receipt = lake.land_one("web/events/a.json", f"[{json.dumps(ROWS[1])},{deep}]".encode())
    assert (receipt.rows_read, receipt.rows_landed) == (2, 2)


# --- nothing, and what is not what its name says ---------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("suffix", "data"),
    [(s, d) for s in ("ndjson", "json", "jsonl", "csv", "tsv") for d in (b"", b"\xef\xbb\xbf", b"\n\r\n \t\n")]
    + [("pb", b""), ("csv", b"\xef\xbb\xbf\n"), ("ndjson", b"\xef\xbb\xbf\r\n"), ("json", b"\n" * 3_000_000)],
)
def test_a_file_that_holds_nothing_is_refused_in_every_format(
    lake: Lake, suffix: str, data: bytes, compression: str
) -> None:
    assert "empty" in refused(lake, f"web/events/a.{suffix}{compression}", compressed(data, compression))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", csv_of([])),
        ("a.json", b"[]"),
        ("a.json.gz", gzip.compress(b"\xef\xbb\xbf [ \n ]\n")),
        ("a.parquet", parquet([])),
    ],
)
def test_an_extract_of_no_rows_lands(lake: Lake, name: str, data: bytes) -> None:
    receipt = lake.land_one(f"web/events/{name}", data)
    assert (receipt.status, receipt.rows_read) == (Status.LANDED, 0)


LINES = ndjson(ROWS[:5])


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ndjson.gz", compressed(LINES, ".zst"), "the file is zstd"),
        ("a.ndjson.zst", compressed(LINES, ".gz"), "the file is gzip"),
        ("a.ndjson.gz", LINES, "the file is plain text"),
        ("a.ndjson.zst", LINES, "the file is plain text"),
        ("a.ndjson.gz", b"PK\x03\x04" + bytes(99), "ZIP"),
        ("a.ndjson", compressed(LINES, ".gz"), "the content is gzip"),
        ("a.pb", compressed(LINES, ".zst"), "the content is zstd"),
        ("a.ndjson.gz", gzip.compress(compressed(LINES, ".gz")), "the content is gzip"),
        ("a.csv", parquet([]), "the content is Parquet"),
        ("a.ndjson.gz", compressed(LINES, ".gz") + b"x", "bytes follow"),
        ("a.ndjson.gz", compressed(LINES, ".gz") + LINES, "bytes follow"),
        ("a.ndjson.zst", compressed(LINES, ".zst") + LINES, "bytes follow"),
        ("a.ndjson.zst", compressed(LINES, ".zst") + b"xyz", "bytes follow"),
        ("a.ndjson.gz", compressed(LINES, ".gz")[:-1], "truncated"),
    ],
)
def test_the_reason_says_what_the_bytes_are(lake: Lake, name: str, data: bytes, words: str) -> None:
    assert words in refused(lake, f"web/events/{name}", data)


# --- Protobuf: unknown fields ----------------------------------------------------------------------------------------


def tag(number: int, kind: int) -> bytes:
    value, out = number << 3 | kind, b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


UNKNOWN = {
    "group": (tag(99, 3) + b"\x08\x96\x01" + tag(99, 4), "089601"),
    "ends in a byte like a tag's": (tag(99, 3) + b"\x1d\x01\x02\x03\xff" + tag(99, 4), "1d010203ff"),
    "group in a group": (tag(99, 3) + tag(99, 3) + b"\x08\x01" + tag(99, 4) + tag(99, 4), "9b0608019c06"),
    "empty group": (tag(99, 3) + tag(99, 4), ""),
    "greatest number": (tag(99, 0) + b"\xff" * 9 + b"\x01", str(2**64 - 1)),
    "number in more bytes than it needs": (tag(99, 0) + b"\x81\x80\x00", "1"),
    "four bytes": (tag(99, 5) + b"\x01\x02\x03\xff", "4278387201"),
    "eight bytes": (tag(99, 1) + bytes(7) + b"\x80", str(2**63)),
    "text": (tag(99, 2) + b"\x03abc", "616263"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_field_is_kept_byte_by_byte(lake: Lake, kind: str) -> None:
    data, value = UNKNOWN[kind]
    message = protobuf(event(1))
    lake.land_one("web/events/a.pb", delimited([message, message + data, data + message]))
    assert [(u["_line"], u["key"], json.loads(u["value"])) for u in lake.unknown()] == [
        (2, "99", value),
        (3, "99", value),
    ]
    assert len(lake.rows()) == 3


def test_an_unknown_group_within_a_payload_is_named_by_its_place(lake: Lake) -> None:
    group = tag(99, 3) + b"\x08\x96\x01" + tag(99, 4)
    message = protobuf({"search": {}})
    assert message[-1] == 0
    whole = protobuf(event(1, payload="search", body={})).replace(message, message[:-1] + bytes([len(group)]) + group)
    lake.land_one("web/events/a.pb", delimited([whole]))
    assert [(u["key"], json.loads(u["value"])) for u in lake.unknown()] == [("search.99", "089601")]


@pytest.mark.parametrize(
    "data", [tag(99, 3), tag(99, 3) + tag(98, 4), tag(99, 4), tag(99, 3) * 300 + tag(99, 4) * 300], ids=str
)
def test_a_group_that_does_not_end_costs_its_record_only(lake: Lake, data: bytes) -> None:
    messages = [protobuf(event(i)) for i in range(20)]
    receipt = lake.land_one("web/events/a.pb", delimited([*messages[:7], messages[7] + data, *messages[8:]]))
    assert (receipt.rows_landed, receipt.rows_rejected) == (19, 1)
    assert [(r["_line"], r["reason"], r["raw"]) for r in lake.rejects()] == [(8, "undecodable", messages[7] + data)]


# --- bounded time and memory -----------------------------------------------------------------------------------------

MIB = 1 << 20
GOOD, THING = ndjson(ROWS[:1]), b"id,text\n1,2\n"
BOMBS = {
    "line ends": ("web/events/a.ndjson.gz", lambda: gzip.compress(GOOD + b"\n" * (32 * MIB) + GOOD), 2),
    "line ends of two bytes": ("web/events/a.json.zst", lambda: compressed(GOOD + b"\r\n" * (16 * MIB), ".zst"), 1),
    "blank lines of CSV": ("x/things/a.csv", lambda: THING + b"\n" * (32 * MIB) + b"1,2\n", 2),
    "blank lines of TSV": ("x/things/a.tsv.gz", lambda: gzip.compress(b"id\ttext\n" + b"\r\n" * (16 * MIB)), 0),
    "blanks in an array": ("web/events/a.json.gz", lambda: gzip.compress(b"[{}," + b"\n" * (16 * MIB) + b"{}]"), 2),
    "zeros of Protobuf": ("web/events/a.pb", lambda: bytes(32 * MIB), None),
    "a line without end": ("web/events/a.ndjson.zst", lambda: compressed(b"x" * (128 * MIB), ".zst"), None),
    "a quote without end": ("x/things/a.csv.gz", lambda: gzip.compress(b'id,text\n1,"' + b"2,abc\n" * (4 * MIB)), None),
    "commas": ("x/things/a.csv", lambda: THING + (b"," * MIB + b"\n") * 8, 9),
    "brackets": ("web/events/a.json", lambda: b'[{"a":' + b"[" * (4 * MIB), None),
    "byte order marks": ("web/events/a.ndjson", lambda: b"\xef\xbb\xbf" * (8 * MIB), None),
    "columns": (
        "x/things/a.csv",
        lambda: ",".join(["id,text", *(f"c{i}" for i in range(50_000))]).encode() + (b"\n1,2" + b"," * 50_000) * 50,
        50,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_what_grows_without_bounds_is_over_in_seconds(lake: Lake, kind: str) -> None:
    name, data, rows = BOMBS[kind]
    lake.deliver(name, data())
    started = time.process_time()
    (receipt,) = lake.land(THINGS if "things" in name else None).receipts
    assert time.process_time() - started < 20
    if rows is None:
        lake.assert_nothing_landed(receipt)
    else:
        assert (receipt.status, receipt.rows_read) == (Status.LANDED, rows)


def test_very_many_columns_are_refused_and_unknown_ones_are_set_aside(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_COLUMNS", 5)
    lake.land_one("x/things/a.csv", b"id,a,b\n1,2,\n2,, 3 \n,4,\n", THINGS)
    assert [(u["_line"], u["key"], u["value"]) for u in lake.unknown("things")] == [(2, "a", '"2"'), (3, "b", '"3"')]
    assert "6 columns" in refused(lake, "x/things/b.csv", b"id,a,b,c,d,e\n", THINGS)
