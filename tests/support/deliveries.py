"""What senders deliver: the same events in every format, and small datasets."""

import csv
import gzip
import io
import json
import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from google.protobuf import json_format, message_factory

from flows.contract.spec import DatasetSpec, FieldSpec, Redelivery, descriptors, load_specs

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
        "boolean": pa.bool_(),
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


def contents(*rows: tuple[str, str, str, str]) -> bytes:
    """Contents as CSV: id, type, title and time of each."""
    lines = [f"{i},{kind},news,{title},{at}" for i, kind, title, at in rows]
    return "\n".join(["content_id,content_type,product,title,updated_at", *lines]).encode()


def in_format(rows: list[dict[str, Any]], suffix: str, dataset: str = "events") -> bytes:
    """Rows of a dataset as a file whose name ends so."""
    spec = load_specs()[dataset]
    stem = suffix.removesuffix(".gz").removesuffix(".zst")
    data = {
        "ndjson": lambda: ndjson(rows),
        "pb": lambda: delimited(protobuf(row, spec.message) for row in rows),
        "parquet": lambda: parquet(rows, spec),
        "csv": lambda: csv_of(rows, spec),
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


def little_endian(value: int) -> bytes:
    """Four bytes, as formats write lengths and checksums."""
    return struct.pack("<I", value)
