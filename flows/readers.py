"""Read delivered files, whatever their format, as a stream of bounded chunks.

Each reader checks what it reads to the last byte: a truncated or corrupt file raises
:class:`~flows.errors.FileRefusedError`, a record that cannot be read becomes a :class:`Reject` with its bytes.
What the records mean is not decided here but in :mod:`flows.conform`, once for every format.
"""

import base64
import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import ptars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from isal import igzip, isal_zlib

from flows.contract import CsvDialect, DatasetSpec, descriptors
from flows.errors import FileRefusedError
from flows.inbox import FORMATS, file_format

CHUNK_BYTES = 32 << 20
CHUNK_RECORDS = 120_000
MAX_RECORD_BYTES = 16 << 20
PIECE_BYTES = 1 << 20
BITE_BYTES = 1 << 13
# So much is looked through at once: it stays in the processor's cache, and so does what is made of it.
SCAN_BYTES = 1 << 18
# Behind the lines of a chunk, for those who compare more than a line's end is away.
PADDING = bytes(256)
SPLIT_ROWS = 5_000
# Where one of many Protobuf records cannot be decoded, it is looked for among so many.
DOUBTFUL_RECORDS = 1_000


@dataclass(frozen=True)
class Reject:
    """A row that does not fit: which, why, in which field, and its bytes as they came."""

    line: int
    reason: str
    field: str | None
    raw: bytes


@dataclass(frozen=True)
class Unknown:
    """A key the contract does not know, in one row, with its value as JSON."""

    line: int
    key: str
    value: str


class RawRows(Protocol):
    """The bytes of a chunk's rows, by position."""

    def __call__(self, positions: list[int]) -> list[bytes]: ...


@dataclass(frozen=True)
class Chunk:
    """A bounded piece of a file.

    ``table`` holds ``_line`` (bigint, from 1) and either ``raw`` (a JSON text a row) or a column a field, named by
    its path. ``raw`` gives rows' bytes back for quarantine. ``rejects`` are records that could not be read,
    ``unknown`` what a reader alone can see that the contract does not know.
    """

    table: pa.Table
    raw: RawRows
    rejects: list[Reject] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    is_json: bool = False

    def split(self, parts: int) -> "list[Chunk]":
        """The same rows in at most so many chunks, none of them too small to be worth a thread's while."""
        size = max(-(-self.table.num_rows // parts), SPLIT_ROWS)
        if size >= self.table.num_rows:
            return [self]
        return [self._slice(start, size) for start in range(0, self.table.num_rows, size)]

    def taken(self, rows: np.ndarray) -> "Chunk":
        """The rows at these positions alone; what the reader itself found stays as it is."""

        def raw(positions: list[int]) -> list[bytes]:
            return self.raw(rows[positions].tolist())

        return replace(self, table=self.table.take(pa.array(rows)), raw=raw)

    def _slice(self, start: int, size: int) -> "Chunk":
        def raw(positions: list[int]) -> list[bytes]:
            return self.raw([start + position for position in positions])

        part = replace(self, table=self.table.slice(start, size), raw=raw)
        return part if start == 0 else replace(part, rejects=[], unknown=[])


# A chunk that is read but not decoded yet.
Part = Callable[[], Chunk]


def decoded(chunk: Chunk) -> Part:
    """A chunk that has nothing left to be decoded, as a part."""
    return lambda: chunk


def read_chunks(path: Path, spec: DatasetSpec) -> Iterator[Chunk]:
    """The file's rows, chunk by chunk.

    Raises :class:`FileRefusedError` where the file as a whole cannot be trusted; whatever was yielded before
    must then be thrown away.
    """
    for part in read_parts(path, spec):
        yield part()


def read_parts(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    """The file's chunks, each still to be decoded by a call, in any thread. Both steps raise as `read_chunks` does."""
    if path.stat().st_size == 0:
        raise FileRefusedError("the file is empty (0 bytes); an extract without rows has at least a header")
    kind = file_format(path.name)
    if kind in ("ndjson", "json"):
        yield from _read_json(_decompressed(path))
    elif kind == "pb":
        yield from _read_protobuf(_decompressed(path), spec)
    elif kind == "csv":
        yield from _read_csv(_decompressed(path), spec)
    elif kind == "parquet":
        yield from _read_parquet(path, spec)
    else:
        raise FileRefusedError(f"the name ends in none of the known formats ({', '.join(FORMATS)}) [.gz|.zst]")


def columns_of(path: Path, spec: DatasetSpec) -> str | None:
    """What a single row of the file does not say by itself: the names of a CSV's columns as a JSON list, the schema of
    a Parquet file as base64; None for other formats. Raises :class:`FileRefusedError` as :func:`read_chunks` does."""
    kind = file_format(path.name)
    if kind == "csv":
        return json.dumps(_csv_header(_csv_records(_decompressed(path), spec.csv), spec))
    if kind == "parquet":
        with _plain_parquet(path) as plain, _refusing_damage():
            return base64.b64encode(pq.read_schema(plain).serialize().to_pybytes()).decode()
    return None


# --- bytes -------------------------------------------------------------------------------------------------------


def _decompressed(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed and verified to the end, in pieces of about PIECE_BYTES."""
    with path.open("rb") as file:
        if path.name.endswith(".gz"):
            yield from _gunzip(file)
        elif path.name.endswith(".zst"):
            yield from _unzstd(file)
        else:
            while piece := file.read(PIECE_BYTES):
                yield piece


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """igzip checks each member's CRC and length, and that the last is complete."""
    try:
        with igzip.IGzipFile(fileobj=file, mode="rb") as stream:  # type: ignore[no-untyped-call]
            while piece := stream.read(PIECE_BYTES):
                yield piece
    except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc]
        raise FileRefusedError(f"the gzip stream is truncated or corrupt ({error}); deliver it again") from error


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame, since a reader over frames would take a truncated last frame for the end of the file."""
    frames = zstandard.ZstdDecompressor()
    frame = frames.decompressobj()
    complete = False
    try:
        # Small bites: a few kilobytes of a repetitive stream can grow to hundreds of megabytes at once.
        while data := file.read(BITE_BYTES):
            while data:
                if complete:
                    frame, complete = frames.decompressobj(), False
                piece = frame.decompress(data)
                complete = frame.eof
                data = frame.unused_data if complete else b""
                if piece:
                    yield piece
    except zstandard.ZstdError as error:
        raise FileRefusedError(f"the zstd stream is corrupt ({error}); deliver it again") from error
    if not complete:
        raise FileRefusedError("the zstd stream is truncated; deliver it again")


def _blocks(pieces: Iterator[bytes], padding: bytes = b"") -> Iterator[bytes]:
    """The same bytes in blocks of whole lines, about CHUNK_BYTES each, every block with the padding behind it."""
    held: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        cut = piece.rfind(b"\n") + 1 if size >= CHUNK_BYTES else 0
        if cut:
            view = memoryview(piece)
            yield b"".join([*held, view[:cut], padding])
            held, size = [view[cut:]], len(piece) - cut
        else:
            held.append(piece)
            if size > CHUNK_BYTES + MAX_RECORD_BYTES:
                raise FileRefusedError(f"a line is longer than {MAX_RECORD_BYTES >> 20} MiB: not one row a line")
    if size:
        yield b"".join([*held, padding])


# --- JSON, one object a line -----------------------------------------------------------------------------------------


def _read_json(pieces: Iterator[bytes]) -> Iterator[Part]:
    first_line = 1
    for number, whole in enumerate(_blocks(pieces, PADDING)):
        block = whole.removeprefix(b"\xef\xbb\xbf") if number == 0 else whole
        ends = _line_ends(block, len(block) - len(PADDING))
        lines = np.arange(first_line, first_line + len(ends), dtype=np.int64)
        first_line += len(ends)
        yield partial(_json_chunk, block, np.concatenate([np.zeros(1, np.int32), ends]), lines)


def _line_ends(block: bytes, size: int) -> np.ndarray:
    """Where each line ends, its line end included; the last may have none."""
    text = np.frombuffer(block, np.uint8, size)
    pieces = [np.flatnonzero(text[at : at + SCAN_BYTES] == ord("\n")) + (at + 1) for at in range(0, size, SCAN_BYTES)]
    ends = np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int32)
    return ends if len(ends) and ends[-1] == size else np.append(ends, np.int32(size))


def _json_chunk(block: bytes, offsets: np.ndarray, lines: np.ndarray) -> Chunk:
    texts = pa.StringArray.from_buffers(len(lines), pa.py_buffer(offsets), pa.py_buffer(block))
    lengths = np.diff(offsets)
    keep = np.ones(len(lines), bool)
    for position in np.flatnonzero(lengths <= 2):
        keep[position] = bool(block[offsets[position] : offsets[position + 1]].rstrip(b"\r\n"))
    rejects: list[Reject] = []
    if not block.isascii() and not _is_utf8(texts):
        for position in np.flatnonzero(keep):
            raw = block[offsets[position] : offsets[position + 1]]
            try:
                raw.decode()
            except UnicodeDecodeError:
                keep[position] = False
                rejects.append(Reject(int(lines[position]), "invalid_utf8", None, raw.rstrip(b"\r\n")))
    if not keep.all():
        texts, lines = _valid(block, offsets, keep), lines[keep]
    table = pa.table({"_line": lines, "raw": texts})
    kept = texts

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [kept[i].as_buffer().to_pybytes().rstrip(b"\r\n") for i in positions]

    return Chunk(table, raw_rows, rejects, is_json=True)


def _is_utf8(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _valid(block: bytes, offsets: np.ndarray, keep: np.ndarray) -> pa.StringArray:
    """The kept lines alone, copied: a line that is no UTF-8 must not reach the engine."""
    every = pa.BinaryArray.from_buffers(pa.binary(), len(keep), [None, pa.py_buffer(offsets), pa.py_buffer(block)])
    return every.filter(pa.array(keep)).cast(pa.string())


# --- Protobuf, length-delimited --------------------------------------------------------------------------------------


def _read_protobuf(pieces: Iterator[bytes], spec: DatasetSpec) -> Iterator[Part]:
    descriptor = descriptors().FindMessageTypeByName(spec.message)
    config = ptars.PtarsConfig(timestamp_tz=None, timestamp_unit="us")
    handler = ptars.HandlerPool([descriptor.file], config).get_for_message(descriptor)
    parse = message_factory.GetMessageClass(descriptor).FromString
    first = 1
    for messages in _messages(pieces):
        yield partial(_protobuf_chunk, messages, first, handler, parse)
        first += len(messages)


def _protobuf_chunk(messages: list[bytes], first: int, handler: Any, parse: Callable[[bytes], Message]) -> Chunk:
    lines = np.arange(first, first + len(messages), dtype=np.int64)
    bad: list[int] = []
    try:
        batches = [handler.list_to_record_batch(messages)]
    except Exception:  # ptars refuses a whole list for one bad record and has no exception of its own
        batches = []
        for start in range(0, len(messages), DOUBTFUL_RECORDS):
            some = messages[start : start + DOUBTFUL_RECORDS]
            try:
                batches.append(handler.list_to_record_batch(some))
            except Exception:
                wrong = _undecodable(some, parse)
                bad += [start + position for position in wrong]
                batches.append(handler.list_to_record_batch([m for i, m in enumerate(some) if i not in wrong]))
    rejects = [Reject(first + position, "undecodable", None, messages[position]) for position in bad]
    good = messages
    if bad:
        lines, gone = np.delete(lines, bad), set(bad)
        good = [message for position, message in enumerate(messages) if position not in gone]
    table = pa.Table.from_batches(batches).combine_chunks()

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [good[i] for i in positions]

    unknown = _unknown_numbers(handler, table, good, lines, parse)
    return Chunk(table.add_column(0, "_line", pa.array(lines)), raw_rows, rejects, unknown)


def _undecodable(messages: list[bytes], parse: Callable[[bytes], Message]) -> set[int]:
    """The positions of those that cannot be decoded."""
    found = set()
    for position, message in enumerate(messages):
        try:
            parse(message)
        except DecodeError:
            found.add(position)
    return found


def _unknown_numbers(
    handler: Any, table: pa.Table, messages: list[bytes], lines: np.ndarray, parse: Callable[[bytes], Message]
) -> list[Unknown]:
    """Fields that a newer contract's producer sent, by number.

    A message that is shorter when written again lost something on the way: only these are looked into.
    """
    sizes = [pc.binary_length(handler.record_batch_to_array(batch)) for batch in table.to_batches()]
    written = np.concatenate([np.zeros(0, np.int32), *sizes])
    delivered = np.fromiter(map(len, messages), np.int64, len(messages))
    unknown: list[Unknown] = []
    for position in np.flatnonzero(written != delivered).tolist():
        found = _unknown_of(parse(messages[position]), "")
        unknown += [Unknown(int(lines[position]), key, value) for key, value in found]
    return unknown


def _unknown_of(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    for unknown in UnknownFieldSet(message):
        data = unknown.data
        yield f"{prefix}{unknown.field_number}", json.dumps(data.hex() if isinstance(data, bytes) else str(data))
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and not descriptor.is_repeated:
            yield from _unknown_of(value, f"{prefix}{descriptor.name}.")


def _messages(pieces: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Length-delimited messages (a varint, then that many bytes), in lists of at most CHUNK_RECORDS."""
    messages: list[bytes] = []
    size = 0
    rest = b""
    done = 0
    for piece in pieces:
        data = rest + piece
        end = len(data)
        at = 0
        while at < end:
            # Nearly all lengths take one byte or two.
            length, start = data[at], at + 1
            if length > 0x7F:
                if start < end and data[start] < 0x80:
                    length, start = length + (data[start] - 1 << 7), start + 1
                else:
                    length, start = _varint(data, at)
                    if length > MAX_RECORD_BYTES:
                        raise FileRefusedError(
                            f"record {done + len(messages) + 1} claims {length} bytes: not a length-delimited Protobuf "
                            "file, or corrupt from there on; deliver it again"
                        )
            if start + length > end:
                break
            messages.append(data[start : start + length])
            size += length
            at = start + length
            if len(messages) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
                yield messages
                done += len(messages)
                messages, size = [], 0
        rest = data[at:]
    if rest:
        raise FileRefusedError(f"the file ends within record {done + len(messages) + 1}: truncated; deliver it again")
    if messages:
        yield messages


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number there and where it ends, which is beyond the data where the number is cut off."""
    number = shift = 0
    while at < len(data) and shift <= 28:
        number |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return number, at + 1
        at, shift = at + 1, shift + 7
    return (0, len(data) + 1) if shift <= 28 else (number | 1 << 35, at)


# --- CSV -----------------------------------------------------------------------------------------------------------


def _read_csv(pieces: Iterator[bytes], spec: DatasetSpec) -> Iterator[Part]:
    dialect = spec.csv
    records = _csv_records(pieces, dialect)
    header = _csv_header(records, spec)
    columns: list[list[str | None]] = [[] for _ in header]
    lines: list[int] = []
    raws: list[str] = []
    rejects: list[Reject] = []

    def chunk() -> Part:
        return partial(_csv_chunk, dialect, header, lines, columns, raws, rejects)

    for record in records:
        fault = record.fault or _csv_fault(record, len(header))
        if fault:
            rejects.append(Reject(record.line, fault, None, _as_delivered(record.raw, dialect)))
        else:
            lines.append(record.line)
            raws.append(record.raw)
            for values, value in zip(columns, record.values, strict=True):
                values.append(value.strip() or None)
        if len(lines) + len(rejects) >= CHUNK_RECORDS:
            yield chunk()
            lines, raws, rejects = [], [], []
            columns = [[] for _ in header]
    if lines or rejects:
        yield chunk()


def _csv_chunk(
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
class _CsvRecord:
    line: int
    values: list[str]
    raw: str
    fault: str | None


def _csv_records(pieces: Iterator[bytes], dialect: CsvDialect) -> Iterator[_CsvRecord]:
    """Each record with the text it came from; blank lines are none."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        held = b""
        for number, block in enumerate(_blocks(pieces)):
            text = block.removeprefix(b"\xef\xbb\xbf") if number == 0 else block
            for line in io.BytesIO(held + text):
                # Undecodable bytes become lone surrogates: the record is rejected, its bytes kept exactly.
                decoded = line.decode(dialect.encoding, "surrogateescape")
                taken.append(decoded)
                yield decoded

    csv.field_size_limit(MAX_RECORD_BYTES)
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
            yield _CsvRecord(first, values, raw.rstrip("\r\n"), fault)


def _csv_header(records: Iterator[_CsvRecord], spec: DatasetSpec) -> list[str]:
    if spec.csv.headerless:
        return [f.path for f in spec.fields]
    first = next(records, None)
    if first is None:
        raise FileRefusedError("line 1 is no CSV header: there are no lines")
    header = [name.strip() for name in first.values]
    if fault := first.fault or _csv_fault(first, len(header)):
        raise FileRefusedError(f"line 1 is no CSV header: {fault}")
    _check_columns(header, spec)
    return header


def _check_columns(names: list[str], spec: DatasetSpec) -> None:
    """Refuse a file whose columns cannot be told apart or are not the dataset's.

    Names the contract does not know are not repeated in the message: a file that came without its header has
    people's data there.
    """
    known = [*(f.path for f in spec.fields), *spec.payloads]
    if "_line" in names:
        raise FileRefusedError("a column is named _line, which landing uses itself; deliver it under another name")
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        named = ", ".join(sorted(doubled & set(known))) or f"number {names.index(min(doubled)) + 1}"
        raise FileRefusedError(f"the column {named} is named more than once, so which value is meant cannot be told")
    if not set(names) & set(known):
        raise FileRefusedError(f"none of the {len(names)} columns is one of the contract's ({', '.join(known)[:200]})")


def _csv_fault(record: _CsvRecord, width: int) -> str | None:
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


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    with _plain_parquet(path) as plain:
        yield from _read_plain_parquet(plain, spec)


@contextmanager
def _plain_parquet(path: Path) -> Iterator[Path]:
    """The file without the compression around it: Parquet is read from its end, which a stream does not reach."""
    if path.suffix not in (".gz", ".zst"):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as whole:
        for piece in _decompressed(path):
            whole.write(piece)
        whole.flush()
        yield Path(whole.name)


def _read_plain_parquet(path: Path, spec: DatasetSpec) -> Iterator[Part]:
    first = 1
    with _refusing_damage():
        schema = pq.read_schema(path)
        _check_columns(schema.names, spec)
        # Words that repeat are stored once, and need not be repeated here.
        words = [f.name for f in spec.fields if not f.payload and f.type == "string" and f.name in schema.names]
        words = [name for name in words if pa.types.is_string(schema.field(name).type)]
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=words) as file:
            for batch in file.iter_batches(batch_size=CHUNK_RECORDS):
                yield partial(_parquet_chunk, batch, first)
                first += batch.num_rows
            if file.metadata.num_rows != first - 1:
                raise FileRefusedError(f"the footer promises {file.metadata.num_rows} rows, the pages hold {first - 1}")


def _parquet_chunk(batch: pa.RecordBatch, first: int) -> Chunk:
    rows = pa.Table.from_batches([batch])
    with _refusing_damage():
        rows.validate(full=True)

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [json.dumps(row, default=str).encode() for row in rows.take(positions).to_pylist()]

    lines = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
    return Chunk(rows.add_column(0, "_line", lines), raw_rows)


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise FileRefusedError(f"the Parquet file is damaged ({error}); deliver it again") from error
