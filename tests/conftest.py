"""A lake of its own for each test, and the same events in every format."""

import csv
import gzip
import io
import json
import multiprocessing
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from google.protobuf import json_format, message_factory

from flows.contract import DatasetSpec, FieldSpec, Redelivery, descriptors, load_specs
from flows.land import Landing, land
from flows.receipts import Receipt, Status
from flows.settings import Settings
from flows.warehouse import TABLES

# Processes that may be killed: forked from one that has imported everything and holds nothing.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["flows.cli", "dbt.cli.main"])
KEY = "a secret of the tests, long enough to be taken"
EVENT: dict[str, Any] = {
    "event_id": "0191f3c2-8a44-7c1e-9d3b-5e2f7a6b1c00",
    "occurred_at": "2026-01-15T20:15:04.123Z",
    "sent_at": "2026-01-15T20:15:05Z",
    "received_at": "2026-01-15T20:15:05.410Z",
    "product": "news",
    "platform": "ios",
    "app_version": "7.2.0",
    "device_id": "d-81f3",
    "user_id": "u-204",
    "session_id": None,
    "consent": ["analytics", "personalisation", "advertising"],
    "country": "SE",
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (a telephone)",
}
VIEW: dict[str, Any] = {"content_id": "c-1", "content_type": "article", "referrer": "https://example.org/"}
ABSENT = object()
# The user and group that own nothing.
NOBODY = 65534


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their argument: compressed ones hold the time, and every worker must see the same names."""
    return argname if isinstance(val, bytes) else None


def event(number: int = 0, /, payload: str = "content_view", body: Any = None, **changes: Any) -> dict[str, Any]:
    """A valid event with its own id; ``ABSENT`` takes a field away."""
    made = EVENT | {"event_id": f"0191f3c2-8a44-7c1e-9d3b-{number:012x}"}
    made |= {payload: VIEW if body is None else body} | changes
    return {key: value for key, value in made.items() if value is not ABSENT}


def ndjson(rows: Iterable[Any]) -> bytes:
    """One JSON object a line."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def delimited(messages: Iterable[bytes]) -> bytes:
    """Messages, each after its length as a varint."""
    out = bytearray()
    for message in messages:
        length = len(message)
        while length >= 0x80:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        out.append(length)
        out += message
    return bytes(out)


def protobuf(row: dict[str, Any], message: str = "tidemark.events.v1.Event") -> bytes:
    """A row as a serialised message of the contract."""
    cls = message_factory.GetMessageClass(descriptors().FindMessageTypeByName(message))
    return json_format.ParseDict(row, cls()).SerializeToString()


def parquet(rows: list[dict[str, Any]], spec: DatasetSpec | None = None) -> bytes:
    """Rows as Parquet with native types and a struct column a payload."""
    spec = spec or load_specs()["events"]
    kinds = {
        "timestamp": pa.timestamp("us", "UTC"),
        "string[]": pa.list_(pa.string()),
        "double": pa.float64(),
        "bigint": pa.int64(),
        "integer": pa.int32(),
    }
    fields = [pa.field(f.name, kinds.get(f.type, pa.string())) for f in spec.fields if f.payload is None]
    for p in spec.payloads:
        members = [(f.name, kinds.get(f.type, pa.string())) for f in spec.fields if f.payload == p]
        fields.append(pa.field(p, pa.struct(members)))
    times = {f.name for f in spec.fields if f.type == "timestamp"}
    native = [{k: datetime.fromisoformat(v) if v and k in times else v for k, v in row.items()} for row in rows]
    return parquet_of(pa.Table.from_pylist(native, pa.schema(fields)))


def parquet_of(table: pa.Table) -> bytes:
    """A table as a Parquet file with page checksums."""
    out = io.BytesIO()
    pq.write_table(table, out, write_page_checksum=True)
    return out.getvalue()


def csv_of(rows: list[dict[str, Any]], spec: DatasetSpec | None = None) -> bytes:
    """Rows as CSV: a column a field, named by its path; lists as JSON text."""
    spec = spec or load_specs()["events"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(f.path for f in spec.fields)
    for row in rows:
        cells = []
        for f in spec.fields:
            holder = row.get(f.payload) or {} if f.payload else row
            value = holder.get(f.name)
            cells.append(json.dumps(value) if isinstance(value, list) else "" if value is None else value)
        writer.writerow(cells)
    return out.getvalue().encode()


def in_format(rows: list[dict[str, Any]], suffix: str) -> bytes:
    """The events as a file whose name ends so."""
    stem = suffix.removesuffix(".gz").removesuffix(".zst")
    data = {
        "ndjson": lambda: ndjson(rows),
        "pb": lambda: delimited(map(protobuf, rows)),
        "parquet": lambda: parquet(rows),
        "csv": lambda: csv_of(rows),
    }[stem]()
    return compressed(data, suffix)


def compressed(data: bytes, suffix: str) -> bytes:
    """The bytes compressed as the suffix says, with checksums."""
    if suffix.endswith(".gz"):
        return gzip.compress(data, mtime=0)
    if suffix.endswith(".zst"):
        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return data


def small_spec(
    fields: Iterable[FieldSpec], name: str = "things", redelivery: Redelivery = Redelivery.KEEP_BOTH, **more: Any
) -> dict[str, DatasetSpec]:
    """The specs of a lake with one small dataset, for `land`."""
    spec = DatasetSpec(
        name=name,
        version="v1",
        message=f"test.{name}",
        description="One row per thing.",
        owner="tests",
        source="tests",
        key=(),
        redelivery=redelivery,
        fields=tuple(fields),
        **more,
    )
    return {name: spec}


def field_of(name: str, kind: str = "string", **more: Any) -> FieldSpec:
    """A field of a small dataset."""
    return FieldSpec(name=name, type=kind, description=name, **more)


class Lake:
    """A lake in a temporary folder: deliver files, land, look at what came of it."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = Settings(**{"home": home, "settle_seconds": 0, "pseudonym_key": KEY} | settings)

    def deliver(self, name: str, data: bytes) -> Path:
        """Put a file into the inbox, renamed into place."""
        path = self.settings.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(data)
        return partial.rename(path)

    def land(self, specs: dict[str, DatasetSpec] | None = None) -> Landing:
        """Land, and hold every receipt against the conservation of rows."""
        done = land(self.settings, specs)
        for receipt in done.receipts:
            assert receipt.rows_read == receipt.rows_landed + receipt.rows_rejected, receipt.file
        return done

    def land_one(self, name: str, data: bytes, specs: dict[str, DatasetSpec] | None = None) -> Receipt:
        """Deliver one file and land it alone."""
        self.deliver(name, data)
        (receipt,) = self.land(specs).receipts
        return receipt

    def rows(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every landed row of a dataset, in order of batch and line."""
        paths = sorted(self.settings.landed.glob(f"{dataset}/batch-*/data.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def rejects(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every quarantined row, in order of batch and line."""
        paths = [p for p in self.settings.quarantine.glob(f"{dataset}/*.parquet") if ".unknown." not in p.name]
        rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["_batch_id"], row["_line"]))

    def unknown(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every key set aside."""
        paths = sorted(self.settings.quarantine.glob(f"{dataset}/*.unknown.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def receipts(self) -> list[Receipt]:
        """Every committed receipt by batch, read from the folders that are the truth."""
        found = [
            Receipt.model_validate_json(p.read_text()) for p in self.settings.landed.glob("*/batch-*/receipt.json")
        ]
        return sorted(found, key=lambda receipt: receipt.batch_id)

    def assert_whole(self) -> None:
        """No gap, no leftovers, every receipt's files there with the rows it says, and no others."""
        receipts = self.receipts()
        assert [r.batch_id for r in receipts] == list(range(1, len(receipts) + 1))
        assert not (self.settings.lake / ".work").exists()
        expected = set()
        for receipt in receipts:
            for path, rows in (
                (receipt.data_path, receipt.rows_landed),
                (receipt.rejects_path, receipt.rows_rejected),
            ):
                assert (path is None) == (rows == 0)
                if path:
                    expected.add(self.settings.lake / path)
                    assert pq.read_metadata(self.settings.lake / path).num_rows == rows
        present = {*self.settings.landed.rglob("*.parquet"), *self.settings.quarantine.rglob("*.parquet")}
        assert {p for p in present if ".unknown." not in p.name} == expected
        batches = {r.batch_id for r in receipts if r.unknown_keys}
        assert {int(p.name[6:18]) for p in present if ".unknown." in p.name} == batches

    def assert_nothing_landed(self, receipt: Receipt) -> None:
        """The file was refused whole, with a reason, and left nothing behind."""
        assert receipt.status is Status.REFUSED
        assert receipt.reason
        assert (receipt.rows_landed, receipt.rows_rejected) == (0, 0)
        self.assert_whole()


def little_endian(value: int) -> bytes:
    """Four bytes, as formats write lengths and checksums."""
    return struct.pack("<I", value)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "home")


def make_warehouse_tables(db: duckdb.DuckDBPyConnection) -> None:
    """The warehouse's own tables, by the project's own statements."""
    db.execute(TABLES.read_text())


def as_nobody(work: Callable[[], Any]) -> Any:
    """What the work gives in a child that has no more rights than anybody: root is refused nothing."""
    if os.geteuid():
        return work()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(child, 0)
    return json.loads(text)


@pytest.fixture
def open_lake() -> Iterator[Lake]:
    """A lake whose folders anybody may reach and write, which those of pytest are not."""
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    home.chmod(0o777)
    lake = Lake(home)
    for folder in (lake.settings.inbox, lake.settings.landed, lake.settings.quarantine, home / "warehouse"):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    lake.settings.lake.chmod(0o777)
    yield lake
    for folder in home.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o777)
    shutil.rmtree(home)
