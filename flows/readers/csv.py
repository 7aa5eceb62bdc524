"""CSV, with each record's text as it was delivered."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from flows.contract import CsvDialect, DatasetSpec
from flows.errors import FileRefusedError
from flows.readers import limits
from flows.readers.chunks import Chunk, Part, Reject
from flows.readers.columns import check_columns
from flows.readers.compression import blocks


def read_csv(pieces: Iterator[bytes], spec: DatasetSpec) -> Iterator[Part]:
    dialect = spec.csv
    records = records_in(pieces, dialect)
    header = header_of(records, spec)
    columns: list[list[str | None]] = [[] for _ in header]
    lines: list[int] = []
    raws: list[str] = []
    rejects: list[Reject] = []

    def chunk() -> Part:
        return partial(_chunk, dialect, header, lines, columns, raws, rejects)

    for record in records:
        fault = record.fault or _fault(record, len(header))
        if fault:
            rejects.append(Reject(record.line, fault, None, _as_delivered(record.raw, dialect)))
        else:
            lines.append(record.line)
            raws.append(record.raw)
            for values, value in zip(columns, record.values, strict=True):
                values.append(value.strip() or None)
        if len(lines) + len(rejects) >= limits.CHUNK_RECORDS:
            yield chunk()
            lines, raws, rejects = [], [], []
            columns = [[] for _ in header]
    if lines or rejects:
        yield chunk()


def _chunk(
    dialect: CsvDialect,
    header: list[str],
    lines: list[int],
    columns: list[list[str | None]],
    raws: list[str],
    rejects: list[Reject],
) -> Chunk:
    def raw_rows(positions: list[int]) -> list[bytes]:
        return [_as_delivered(raws[i], dialect) for i in positions]

    arrays = [pa.array(lines, pa.int64()), *(pa.array(values, pa.string()) for values in columns)]
    return Chunk(pa.Table.from_arrays(arrays, names=["_line", *header]), raw_rows, rejects)


@dataclass(frozen=True)
class _Record:
    line: int
    values: list[str]
    raw: str
    fault: str | None


def records_in(pieces: Iterator[bytes], dialect: CsvDialect) -> Iterator[_Record]:
    """Each record with the text it came from; blank lines are none."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        held = b""
        for number, block in enumerate(blocks(pieces)):
            text = block.removeprefix(b"\xef\xbb\xbf") if number == 0 else block
            for line in io.BytesIO(held + text):
                # Undecodable bytes become lone surrogates: the record is rejected, its bytes kept exactly.
                decoded = line.decode(dialect.encoding, "surrogateescape")
                taken.append(decoded)
                yield decoded

    csv.field_size_limit(limits.MAX_RECORD_BYTES)
    reader = csv.reader(lines(), strict=True)
    while True:
        first = reader.line_num + 1
        taken.clear()
        fault = None
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values, fault = [], f"malformed: {error}"
        raw = "".join(taken)
        if values or fault:
            yield _Record(first, values, raw.rstrip("\r\n"), fault)


def header_of(records: Iterator[_Record], spec: DatasetSpec) -> list[str]:
    if spec.csv.headerless:
        return [f.path for f in spec.fields]
    first = next(records, None)
    if first is None:
        raise FileRefusedError("line 1 is no CSV header: there are no lines")
    header = [name.strip() for name in first.values]
    if fault := first.fault or _fault(first, len(header)):
        raise FileRefusedError(f"line 1 is no CSV header: {fault}")
    check_columns(header, spec)
    return header


def _fault(record: _Record, width: int) -> str | None:
    if not record.raw.isascii():
        try:
            record.raw.encode()
        except UnicodeEncodeError:
            return "invalid_utf8"
    if len(record.values) != width:
        return f"malformed: {len(record.values)} values where the header has {width}"
    return None


def _as_delivered(raw: str, dialect: CsvDialect) -> bytes:
    return raw.encode(dialect.encoding, "surrogateescape")
