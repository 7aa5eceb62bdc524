"""The fast path for regular rows gives exactly what the SQL gives, whatever the rows are."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import reject
from hypothesis import strategies as st

from flows.contract.spec import DatasetSpec, FieldSpec, Truncate, Truncation, load_specs
from flows.errors import FileRefusedError
from flows.land import conform
from flows.land.conform import Conformed, Conformer
from flows.land.fast_path import columns as fast_columns
from flows.land.fast_path import json_columns as lines
from flows.land.pseudonyms import Pseudonymiser
from flows.land.readers import Chunk, read_chunks
from tests.support.arbitrary_events import json_lines, valid_events
from tests.support.deliveries import (
    VIEW,
    csv_of,
    delimited,
    event,
    field_of,
    in_format,
    parquet_of,
    protobuf,
    small_spec,
)
from tests.support.examples import Examples
from tests.support.lake import KEY, Lake
from tests.support.rows import BAD, GOOD

EVENTS = load_specs()["events"]
YEAR = Truncate(to=Truncation.YEAR, column="year", description="The year.")
COUNTRY = Truncate(to=Truncation.COUNTRY, column="country", description="The country.")
# Every type, and every condition that a field can have.
THINGS = small_spec(
    [
        field_of("id", "uuid", required=True),
        field_of("at", "timestamp", required=True),
        field_of("day", "date"),
        field_of("share", "double", min=0.25, max=1.5),
        field_of("count", "bigint", min=-1.5),
        field_of("rank", "integer", required=True, max=2_000_000_000),
        field_of("sure", "boolean"),
        field_of("tags", "string[]"),
        field_of("kinds", "string[]", required=True, accepted_values=("a", "b")),
        field_of("word", pattern="[a-z]*.?"),
        field_of("level", required=True, accepted_values=("1", "high")),
        field_of("text"),
        field_of("born", "date", treatment="truncate", truncate=YEAR),
        field_of("home", treatment="truncate", truncate=COUNTRY),
    ]
)["things"]
TOKENS = {
    "uuid": [
        '"0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c00"', '"0191F3C2-8A44-7C1E-9D3B-5E2F7A6B1C00"',
        '"0191f3c28a447c1e9d3b5e2f7a6b1c00"', '"0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c0g"',
        '"0191f3c28-a44-7c1e-9d3b-5e2f7a6b1c00"', '"{0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c}"',
        '"0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1cåå"', '"00000000-0000-0000-0000-000000000000"', '" "',
    ],
    "timestamp": [
        '"2026-01-15T20:15:04Z"', '"2026-01-15T20:15:04.123Z"', '"2026-01-15T20:15:04.123456Z"',
        '"2026-01-15T20:15:04.1Z"', '"2026-01-15T20:15:04.1234567Z"', '"2026-01-15 20:15:04Z"',
        '"2026-01-15T20:15:04"', '"2026-01-15T24:00:00Z"', '"2026-01-15T20:15:60Z"', '"2026-02-29T20:15:04Z"',
        '"2024-02-29T20:15:04.000Z"', '"2026-1-15T020:15:04Z"', '"2026-01-15T22:15:04+02:00"',
        '"2026-01-15T20:15:04z"', '"1899-12-31T23:59:59.999999Z"', '"1900-01-01T00:00:00Z"',
        '"2099-12-31T23:59:59.999Z"', '"2100-01-01T00:00:00.000Z"', '"0000-01-01T00:00:00Z"', '"yesterday"',
        '"20260115T2015040000Z"', '"2026-01-15T20:15Z        "', '"2026-01-15T20:15:04,123Z"',
        '"2026-13-15T20:15:04Z"', '"2026-01-15T2a:15:04Z"', '"2026-01-15T20:15:04.123456-18:00"',
        '"2026-01-15T20:15:04+18:01"', '"2026-01-15T20:15:04.123+01:60"', '"2026-01-15T20:15:04-00:30"',
        '"2026-01-15T20:15:04 +0100"', '"2026-01-15 20:15:04 America/New_York"', '"2026-01-15T20:15:04.123 UTC"',
        '"2026-01-15T20:15:04.123456BST"', '"2026-01-15T20:15:04.123456000Z"', '"2026-01-15T20:15:04.12345å+01:00"',
    ],
    "date": [
        '"2024-02-29"', '"2023-02-29"', '"2026/01/15"', '" 2026-01-15"', '"2026-1-015"', '"1899-12-31"',
        '"2100-01-01"', '"infinity  "',
    ],
    "double": [
        "0.25", "0.5", "1", "1.5", "1.50000000000000000001", "1e0", "-0.5", "0", "00.5", ".5", "1.", "1.2.3",
        '"0.5"', "NaN", "0.30000000000000004", "1.49999999999999994449", "9" * 25, "1,5",
    ],
    "bigint": [
        "0", "-1", "-2", "7", "007", "12.0", "1e3", "999999999999999999", "9223372036854775807",
        "9007199254740993.0", "3.0000000000000000001", "1e-400",
        "9223372036854775808", "9007199254740993", '"12"', "-0", "+5", "1_0", "0x1f",
    ],
    "integer": [
        "1", "0", "999999999", "2000000000", "2147483647", "2147483648", "12.6", '"3"', "-7",
    ],
    "boolean": [
        "true", "false", '"true"', "1", "0",
    ],
    "string[]": [
        "[]", '["a"]', '["a","b"]', '["a", "b" ]', '["c"]', '[""]', "[null]", "[1]", '["a",]', '[["a"]]',
        '["a\\u0062"]', '["a" "b"]', "{}",
    ],
    "string": [
        '"a"', '""', '"1"', '"high"', '"News"', '"news"', '"abc\\n"', '"å"', '"a b"', '"null"', '"a\\"b"', '"\t"',
        '"ios"', '"  "', '"\u3000"', '"00000000-0000-0000-0000-000000000000"', '"{00000000000000000000000000000000}"',
        '"[1,]"', '"[NaN]"', "5", "true", "{}", "[]", '"x', '"[1]"', '"{}"', '"crawler"', '"' + "x" * 300 + '"',
        '"1 Road, Sverige"', '"1 Road; Oslo, NOR"', '"1 Road, FI"',
    ],
}  # fmt: skip
ANY_TOKEN = st.sampled_from(["null", *(token for tokens in TOKENS.values() for token in tokens), "nul", "", "}", "{"])


@pytest.fixture(scope="module", autouse=True)
def _no_form_is_too_rare() -> Iterator[None]:
    few = mock.patch.object(fast_columns, "FEW", 1)
    with few, mock.patch.object(lines, "LEAST_LINES", 1), mock.patch.object(conform, "LEAST_ROWS", 0):
        yield


@pytest.fixture(scope="module")
def conformers() -> Iterator[dict[str, Conformer]]:
    made = {spec.name: Conformer(spec, Pseudonymiser(KEY.encode()), threads=1) for spec in (EVENTS, THINGS, TEXTS)}
    yield made
    for conformer in made.values():
        conformer.close()


def found(conformed: Conformed) -> dict[str, Any]:
    return {
        "rows": conformed.rows.to_pylist(),
        "rejects": conformed.rejects,
        "unknown": sorted(conformed.unknown, key=lambda u: (u.line, u.key, u.value)),
    }


def assert_same(conformer: Conformer, chunk: Chunk) -> None:
    """Both ways give the same rows in the same order, the same rejects and the same unknown keys."""
    short = found(conformer.conform(chunk, 1))
    # With the optimizer, which few rows do without.
    with mock.patch.object(conform, "_in_columns", return_value=None), mock.patch.object(conform, "FEW_ROWS", 0):
        assert short == found(conformer.conform(chunk, 1))


def chunks_of(tmp_path: Path, name: str, data: bytes, spec: DatasetSpec) -> list[Chunk]:
    path = tmp_path / name
    path.write_bytes(data)
    return list(read_chunks(path, spec))


def good_token(f: FieldSpec) -> str:
    """A value of the field that fits, as JSON."""
    if f.type == "string[]":
        return json.dumps(f.accepted_values)
    if f.accepted_values:
        return f'"{f.accepted_values[0]}"'
    return '"SE"' if f.name == "country" else TOKENS[f.type][0]


# --- lines of JSON ---------------------------------------------------------------------------------------------------


@st.composite
def forms(draw: st.DrawFn, spec: DatasetSpec) -> Callable[[st.DrawFn], str]:
    """A way in which a producer writes its lines: which keys in which order with which blanks."""
    payload = draw(st.sampled_from(spec.payloads)) if spec.payloads else None
    colon, comma = draw(st.sampled_from([(":", ","), (": ", ", "), (":", " ,"), (" :\t", ",")]))
    # Truth values are not read by the fast path: with one in each line, there would be nothing to compare.
    often = {f.path: f.required or (draw(st.integers(0, 3)) > 0) is (f.type != "boolean") for f in spec.fields}
    outer = [f for f in spec.fields if f.payload is None and often[f.path]]
    inner = [f for f in spec.fields if f.payload == payload and payload and often[f.path]]
    names = draw(st.permutations([f.name for f in outer] + ([payload] if payload else [])))
    extra = draw(st.sampled_from([None, None, None, "extra", "id", "product", "search", payload]))
    end = draw(st.sampled_from(["", "", "", " ", "\r", "}", " x", "{"]))

    def line(draw: st.DrawFn) -> str:
        irregular = draw(st.sampled_from([None, None, *names, *(f.path for f in inner)]))

        def value(f: FieldSpec) -> str:
            return draw(st.sampled_from(TOKENS[f.type]) | ANY_TOKEN) if f.path == irregular else good_token(f)

        def body(fields: list[FieldSpec]) -> str:
            return comma.join(f'"{f.name}"{colon}{value(f)}' for f in fields)

        by_name = {f.name: f for f in outer}
        pairs = []
        for name in names:
            held = "{" + body(inner) + "}" if name == payload else value(by_name[name])
            pairs.append(f'"{name}"{colon}{draw(ANY_TOKEN) if name == payload and irregular == payload else held}')
        if extra:
            known = good_token(by_name[extra]) if extra in by_name else "1"
            pairs.append(f'"{extra}"{colon}{draw(st.just(known) | ANY_TOKEN)}')
        return "{" + comma.join(pairs) + "}" + end

    return line


@st.composite
def blocks(draw: st.DrawFn, spec: DatasetSpec) -> bytes:
    """Lines of a few forms, mixed."""
    kinds = draw(st.lists(forms(spec), min_size=1, max_size=3))
    return "\n".join(draw(st.sampled_from(kinds))(draw) for _ in range(draw(st.integers(1, 12)))).encode()


EXAMPLES = Examples(few=20, many=60)


@pytest.mark.parametrize("spec", [EVENTS, THINGS], ids=lambda spec: spec.name)
@EXAMPLES.of(data=st.data())
def test_lines_of_any_form_come_out_as_the_sql_has_them(
    tmp_path_factory: pytest.TempPathFactory, conformers: dict[str, Conformer], spec: DatasetSpec, data: st.DataObject
) -> None:
    block = data.draw(blocks(spec))
    for chunk in chunks_of(tmp_path_factory.getbasetemp(), "part.ndjson", block, spec):
        assert_same(conformers[spec.name], chunk)


@EXAMPLES.of(st.lists(json_lines(), min_size=1, max_size=20))
def test_events_mutated_anyhow_come_out_as_the_sql_has_them(
    tmp_path_factory: pytest.TempPathFactory, conformers: dict[str, Conformer], rows: list[bytes]
) -> None:
    try:
        chunks = chunks_of(tmp_path_factory.getbasetemp(), "part.ndjson", b"\n".join(rows) + b"\n", EVENTS)
    except FileRefusedError:
        reject()  # its first line makes it one document, and that is broken
    for chunk in chunks:
        assert_same(conformers["events"], chunk)


def test_the_collected_lines_come_out_as_the_sql_has_them(tmp_path: Path, conformers: dict[str, Conformer]) -> None:
    block = b"\n".join(case.line for case in [*GOOD, *BAD])
    for chunk in chunks_of(tmp_path, "part.ndjson", block, EVENTS):
        assert_same(conformers["events"], chunk)


def test_every_value_in_every_field_comes_out_as_the_sql_has_it(
    tmp_path: Path, conformers: dict[str, Conformer]
) -> None:
    fields = [f for f in THINGS.fields if f.type != "boolean"]
    good = {f.name: good_token(f) for f in fields}
    rows = [good | {f.name: token} for f in fields for tokens in TOKENS.values() for token in tokens]
    block = "\n".join("{" + ",".join(f'"{k}":{v}' for k, v in row.items()) + "}" for row in rows).encode()
    twice = [block.split(b"\n")[0][:-1] + f',"{f.name}":{good_token(f)}}}'.encode() for f in fields]
    for chunk in chunks_of(tmp_path, "part.ndjson", b"\n".join([block, *twice]), THINGS):
        assert_same(conformers["things"], chunk)


@pytest.mark.parametrize("spec", [EVENTS, THINGS], ids=lambda spec: spec.name)
@EXAMPLES.of(data=st.data())
def test_lines_in_order_take_the_short_way(spec: DatasetSpec, data: st.DataObject) -> None:
    """What the other tests here compare would be the SQL with itself, were no line ever regular."""
    payload = data.draw(st.sampled_from(spec.payloads)) if spec.payloads else None
    row: dict[str, Any] = {}
    for f in spec.fields:
        if f.payload in (None, payload) and f.type != "boolean":
            (row.setdefault(payload, {}) if f.payload else row)[f.name] = json.loads(good_token(f))
    block = (json.dumps(row, separators=data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))) + "\n").encode() * 3
    bounds = np.arange(0, len(block) + 1, len(block) // 3, dtype=np.int32)
    columns = lines.Lines(spec, np.frombuffer(block, np.uint8), bounds).columns()
    conform.judge(spec, columns)
    assert columns.regular.all()


# --- columns ---------------------------------------------------------------------------------------------------------


@EXAMPLES.of(st.lists(st.binary(max_size=30) | valid_events().map(protobuf), min_size=1, max_size=12))
def test_records_come_out_as_the_sql_has_them(
    tmp_path_factory: pytest.TempPathFactory, conformers: dict[str, Conformer], records: list[bytes]
) -> None:
    for chunk in chunks_of(tmp_path_factory.getbasetemp(), "part.pb", delimited(records), EVENTS):
        assert_same(conformers["events"], chunk)


def of_type(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
    """Twelve values, or NULL, of an Arrow type."""
    return st.lists(st.none() | values, min_size=12, max_size=12).map(lambda drawn: pa.array(drawn, kind))


texts = st.sampled_from(
    [json.loads(t) for t in TOKENS["string"] if t[0] == t[-1] == '"' and t[1:2] != "\t"] + ["a", "high", "1"]
)
EARLIEST, LATEST, DAY = -2_208_988_800_000_000, 4_102_444_800_000_000, 86_400_000_000  # microseconds
whole = st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1)
COLUMNS: dict[str, list[st.SearchStrategy[pa.Array]]] = {
    "uuid": [
        of_type(pa.string(), st.sampled_from([json.loads(t) for t in TOKENS["uuid"]])),
        of_type(pa.binary(16), st.binary(min_size=16, max_size=16)).map(
            lambda values: pa.ExtensionArray.from_storage(pa.uuid(), values)
        ),
    ],
    "timestamp": [
        of_type(pa.string(), st.sampled_from([json.loads(t) for t in TOKENS["timestamp"]])),
        of_type(pa.timestamp("us", "Asia/Tokyo"), st.integers(-(2**52), 2**52)),
        of_type(pa.timestamp("us"), st.sampled_from([EARLIEST - 1, EARLIEST, LATEST - 1, LATEST])),
        of_type(pa.timestamp("ms"), st.integers(-(2**42), 2**42)),
    ],
    "date": [
        of_type(pa.date32(), st.sampled_from([EARLIEST // DAY - 1, EARLIEST // DAY, LATEST // DAY - 1, LATEST // DAY])),
        of_type(pa.string(), st.sampled_from([json.loads(t) for t in TOKENS["date"]])),
    ],
    "double": [
        of_type(pa.float64(), st.floats(0, 2) | st.sampled_from([float("nan"), float("inf"), 0.25, 1.5])),
        of_type(pa.string(), st.sampled_from([t for t in TOKENS["double"] if t[0] != '"'])),
    ],
    "bigint": [
        of_type(pa.int64(), st.integers(-(2**63), 2**63 - 1) | whole),
        of_type(pa.string(), st.sampled_from([t for t in TOKENS["bigint"] if t[0] != '"'])),
    ],
    "integer": [of_type(pa.int32(), whole), of_type(pa.int64(), whole)],
    "boolean": [of_type(pa.bool_(), st.booleans())],
    "string[]": [
        of_type(pa.list_(pa.string()), st.lists(st.none() | st.sampled_from(["a", "b", "analytics"]), max_size=3)),
    ],
    "string": [of_type(pa.string(), texts), of_type(pa.string(), texts).map(lambda values: values.dictionary_encode())],
}


@st.composite
def tables(draw: st.DrawFn, spec: DatasetSpec) -> pa.Table:
    """Columns of any type that fits, and some that do not; payloads as structs, of which a row may have any."""

    # Fields of one name share a column: of one type, or the SQL could not put them together.
    names = [*{f.name: f for f in spec.fields}]
    irregular = draw(st.sets(st.sampled_from(names), max_size=2))
    kinds = {f.name: draw(st.sampled_from(COLUMNS[f.type])) for f in spec.fields if f.name in irregular}

    def good(f: FieldSpec) -> pa.Array:
        value = json.loads(good_token(f), parse_int=str, parse_float=str)
        return pa.array([value] * 12, pa.list_(pa.string()) if f.type == "string[]" else pa.string())

    def columns(payload: str | None) -> dict[str, pa.Array]:
        fields = [f for f in spec.fields if f.payload == payload and (f.type != "boolean" or f.name in irregular)]
        return {f.name: draw(kinds[f.name]) if f.name in irregular else good(f) for f in fields}

    table = columns(None)
    which = draw(st.lists(st.sampled_from(spec.payloads or [""]), min_size=12, max_size=12))
    for payload in sorted(set(which) & set(spec.payloads)):
        members = columns(payload)
        absent = np.array([p != payload for p in which]) & (draw(st.integers(0, 9)) > 0)
        if members:
            table[payload] = pa.StructArray.from_arrays(list(members.values()), list(members), mask=pa.array(absent))
    if draw(st.booleans()):
        table["unknown"] = draw(COLUMNS["string"][0])
    return pa.table(table)


@pytest.mark.parametrize("spec", [EVENTS, THINGS], ids=lambda spec: spec.name)
@EXAMPLES.of(data=st.data())
def test_columns_come_out_as_the_sql_has_them(
    tmp_path_factory: pytest.TempPathFactory, conformers: dict[str, Conformer], spec: DatasetSpec, data: st.DataObject
) -> None:
    table = data.draw(tables(spec))
    for chunk in chunks_of(tmp_path_factory.getbasetemp(), "part.parquet", parquet_of(table), spec):
        assert_same(conformers[spec.name], chunk)


TEXTS = THINGS.model_copy(
    update={"name": "texts", "fields": tuple(f for f in THINGS.fields if f.type not in ("string[]", "boolean"))}
)


@EXAMPLES.of(data=st.data())
def test_csv_comes_out_as_the_sql_has_it(
    tmp_path_factory: pytest.TempPathFactory, conformers: dict[str, Conformer], data: st.DataObject
) -> None:
    fields = [f for f in TEXTS.fields if f.required or data.draw(st.booleans())]
    rows = []
    for _ in range(data.draw(st.integers(1, 12))):
        irregular = data.draw(st.sampled_from([None, *fields]))
        tokens = [data.draw(ANY_TOKEN if f == irregular else st.sampled_from(TOKENS[f.type][:3])) for f in fields]
        rows.append({f.path: token.strip('"') for f, token in zip(fields, tokens, strict=True)})
    block = csv_of(rows, TEXTS)
    for chunk in chunks_of(tmp_path_factory.getbasetemp(), "part.csv", block, TEXTS):
        assert_same(conformers["texts"], chunk)


@pytest.mark.parametrize("suffix", ["ndjson", "pb", "parquet"])
def test_a_file_without_fault_never_meets_the_sql(lake: Lake, suffix: str) -> None:
    rows = [event(i, body=VIEW | {"referrer": None if i % 3 else "ö"}) for i in range(200)]
    with mock.patch.object(Conformer, "_by_sql", side_effect=AssertionError("the SQL was asked")):
        receipt = lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix).replace(b"\\u00f6", b"o"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (200, 0)
