"""CSV and its kin with tabs, with each record's text as it was delivered."""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import CsvDialect, DatasetSpec
from flows.errors import FileRefusedError
from flows.land.readers import limits
from flows.land.readers.chunks import Chunk, Part, Reject, Unknown
from flows.land.readers.columns import check_columns, known_columns
from flows.land.readers.compression import blocks

DELIMITERS = {"csv": ",", "tsv": "\t"}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Lines of a faulty record are rejected one by one, and none of them is a row by itself: a retry must know them.
PIECE = "malformed: a line of a record that is several: "
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANK_LINES = re.compile(r"[\r\n]*\n|")
QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
LINE_ENDS = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
# What Python takes for blanks around a value.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
# Separators in the right places from which on they are no accident.
EVIDENCE = 20
FAULTS = {
    "expected after": "text follows a closing quote",
    "new-line character": "a carriage return stands outside of quotes",
    "field limit": f"a value is longer than {limits.MAX_RECORD_BYTES >> 20} MiB",
}


class Record(NamedTuple):
    """A record: the line on which it begins, its values, its text, and why it cannot be split, if so."""

    line: int
    values: list[str]
    raw: str
    fault: str | None


def read_csv(pieces: Iterator[bytes], spec: DatasetSpec, delimiter: str) -> Iterator[Part]:
    """The rows below the header, as text; rejects are records that cannot be split as the header says."""
    dialect = spec.csv
    records = records_in(pieces, dialect, delimiter)
    header = header_of(records, spec, delimiter)
    width = len(header)
    most = max(1, min(limits.CHUNK_RECORDS, limits.CHUNK_CELLS // width))
    rows, rejects, size = _Rows([], [], []), list[Reject](), 0
    for record in records:
        size += len(record.raw)
        if fault := fault_of(record, width, delimiter):
            rejects += _rejected(record, fault, dialect)
        else:
            rows.lines.append(record.line)
            rows.raws.append(record.raw)
            rows.cells.extend(record.values)
        if len(rows.lines) >= most or len(rejects) >= limits.CHUNK_RECORDS or size >= limits.CHUNK_BYTES:
            yield partial(_chunk, spec, header, rows, rejects)
            rows, rejects, size = _Rows([], [], []), [], 0
    if rows.lines or rejects:
        yield partial(_chunk, spec, header, rows, rejects)


class _Rows(NamedTuple):
    """Rows of a chunk: the line and text of each, and the values of one after those of the other."""

    lines: list[int]
    raws: list[str]
    cells: list[str]


def _chunk(spec: DatasetSpec, header: list[str], rows: _Rows, rejects: list[Reject]) -> Chunk:
    def raw_rows(positions: list[int]) -> list[bytes]:
        return [_as_delivered(rows.raws[i], spec.csv) for i in positions]

    known, width = known_columns(spec), len(header)
    names, arrays = ["_line"], [pa.array(rows.lines, pa.int64())]
    unknown: list[Unknown] = []
    for place, name in enumerate(header):
        values = rows.cells[place::width]
        says_something = any(values)
        if name in known:
            names.append(name)
            arrays.append(_texts(values) if says_something else pa.nulls(len(values), pa.string()))
        elif says_something:
            # Not a column of the table: there may be very many.
            named = ((line, value.strip()) for line, value in zip(rows.lines, values, strict=True))
            unknown += [Unknown(line, name, json.dumps(value)) for line, value in named if value]
    return Chunk(pa.Table.from_arrays(arrays, names=names), raw_rows, rejects, unknown)


def _texts(values: list[str]) -> pa.Array:
    """The values without the blanks around them; an empty one is absent."""
    texts = pc.utf8_trim(pa.array(values, pa.string()), characters=BLANKS)
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _rejected(record: Record, fault: str, dialect: CsvDialect) -> list[Reject]:
    """A record that is no row, line by line, so that rejects count what the file holds.

    What is split well and has no fault but its encoding is a row, whatever its lines.
    """
    lines = [record.raw] if fault == "invalid_utf8" else [s for s in LINE_ENDS.split(record.raw) if s.strip("\r\n")]
    if len(lines) < 2:
        return [Reject(record.line, fault, None, _as_delivered(record.raw, dialect))]
    rejects, at = [], 0
    reason = PIECE + fault.removeprefix("malformed: ")
    for text in lines:
        at = record.raw.index(text, at)
        line = record.line + record.raw.count("\n", 0, at)
        rejects.append(Reject(line, reason, None, _as_delivered(text.rstrip("\r\n"), dialect)))
        at += len(text)
    return rejects


class _Lines:
    """The file's lines for the csv module; ``taken`` are those it took since the last record began."""

    def __init__(self, pieces: Iterator[bytes], dialect: CsvDialect, delimiter: str) -> None:
        self.taken: list[str] = []
        self.first = 1
        self._next = 1
        self._pieces, self._encoding, self._delimiter = pieces, dialect.encoding, delimiter

    def __iter__(self) -> Iterator[str]:
        size = 0
        for number, block in enumerate(blocks(self._pieces, size=limits.PIECE_BYTES)):
            data = block.removeprefix(BYTE_ORDER_MARK) if number == 0 else block
            # Undecodable bytes become lone surrogates: the record is rejected, its bytes kept exactly.
            text = data.decode(self._encoding, "surrogateescape")
            lines = io.StringIO(text, newline="\n")
            for line in lines:
                if self.taken:
                    # Within quotes. A quote that nobody closed must not take the file into memory.
                    size += len(line)
                    if len(self.taken) >= limits.MAX_RECORD_LINES or size > limits.MAX_RECORD_BYTES:
                        raise FileRefusedError(self.open_quote("is not closed for too long"))
                else:
                    size = len(line)
                    self.first = self._next
                    if line in ("\n", "\r\n"):
                        rest = BLANK_LINES.match(text, lines.tell())
                        assert rest is not None
                        self._next += 1 + text.count("\n", *rest.span())
                        lines.seek(rest.end())
                        continue
                self._next += 1
                self.taken.append(line)
                yield line

    def open_quote(self, what: str) -> str:
        """What to say of a quote that swallows what follows."""
        line = self.first + lines_before_open_quote("".join(self.taken), self._delimiter)
        return f"line {line}: the quote that opens here {what}, so the lines after it cannot be told from its text"


def records_in(pieces: Iterator[bytes], dialect: CsvDialect, delimiter: str) -> Iterator[Record]:
    """Each record with the text it came from; blank lines are none.

    Raises :class:`FileRefusedError` where a quote is left open.
    """
    _check_encoding(dialect)
    csv.field_size_limit(limits.MAX_RECORD_BYTES)
    lines = _Lines(pieces, dialect, delimiter)
    taken = lines.taken
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, strict=True, delimiter=delimiter, quoting=quoting)
    while True:
        taken.clear()
        fault = None
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                raise FileRefusedError(lines.open_quote("is never closed")) from error
            words = next((words for part, words in FAULTS.items() if part in str(error)), str(error))
            values, fault = [], f"malformed: {words}"
        raw = taken[0] if len(taken) == 1 else "".join(taken)
        yield Record(lines.first, values, raw.rstrip("\r\n"), fault)


def lines_before_open_quote(raw: str, delimiter: str) -> int:
    """The line ends before the last quote of a record that opens a value and is not closed as a value's end is."""
    at = opened = 0
    while 0 <= at < len(raw):
        if raw[at] == '"':
            opened = at
            found = QUOTED.match(raw, at)
            if found is None or raw[found.end() : found.end() + 1] not in (delimiter, "\r", "\n", ""):
                break
            at = found.end()
        at = raw.find(delimiter, at) + 1 or -1
    return raw.count("\n", 0, opened)


def header_of(records: Iterator[Record], spec: DatasetSpec, delimiter: str) -> list[str]:
    """The names of the columns: the first record's, or the contract's where files have no header."""
    if spec.csv.headerless:
        return [f.path for f in spec.fields]
    first = next(records, None)
    if first is None:
        raise FileRefusedError("line 1 is no CSV header: there are no lines")
    header = [name.strip() for name in first.values]
    if first.fault and "carriage return" in first.fault:
        raise FileRefusedError(
            "line 1 is no CSV header: its lines end in carriage returns alone; deliver it with line feeds"
        )
    known = known_columns(spec)
    if known.isdisjoint(header):
        if first.raw.lstrip().startswith(("{", "[")):
            raise FileRefusedError("line 1 is no CSV header: it looks like JSON; deliver it as .ndjson or .json")
        for other, word in SEPARATORS.items():
            names = {name.strip().strip('"') for name in first.raw.split(other)}
            if other != delimiter and not known.isdisjoint(names):
                raise FileRefusedError(
                    f"line 1 is no CSV header: it is separated by {word} and not by {SEPARATORS[delimiter]}; "
                    "deliver it separated by commas as .csv or by tabs as .tsv"
                )
    if fault := first.fault or _encoding_fault(first.raw):
        raise FileRefusedError(f"line 1 is no CSV header: {fault}")
    check_columns(header, spec)
    return header


def fault_of(record: Record, width: int, delimiter: str) -> str | None:
    """Why the record is no row of this many columns; None where it is one.

    Raises :class:`FileRefusedError` where a quote opened by mistake and others closed it much later.
    """
    fault = record.fault
    if fault is None and len(record.values) != width:
        fault = f"malformed: {len(record.values)} values where the header has {width}"
        for other, word in SEPARATORS.items():
            if len(record.values) == 1 < width and other != delimiter and record.raw.count(other) == width - 1:
                fault += f"; it is separated by {word}"
    if "\n" in record.raw or (fault and "\r" in record.raw):
        fault = _swallowing(record, fault, width, delimiter) or fault
    return fault or _encoding_fault(record.raw)


def _swallowing(record: Record, fault: str | None, width: int, delimiter: str) -> str | None:
    """Whether a record of several lines is one, or a quote (or a line end of another kind) that swallowed rows.

    Lines within quoted text do not have just as many separators as rows have, one after the other.
    """
    lines = LINE_ENDS.split(record.raw)[1:-1]
    rows = sum(line.count(delimiter) == width - 1 for line in lines)
    if width == 1:
        looks = len(lines) > limits.SWALLOWED_LINES
    else:
        looks = rows >= 0.9 * len(lines) and rows * (width - 1) >= EVIDENCE
    if not looks:
        return None
    if len(lines) < limits.SWALLOWED_LINES:
        return fault or "malformed: a quote opens by mistake, and lines that look like rows stand within it"
    if fault and "carriage return" in fault:
        raise FileRefusedError(f"line {record.line}: lines end in carriage returns alone; deliver it with line feeds")
    line = record.line + _swallowing_quote(record.raw, delimiter)
    raise FileRefusedError(
        f"line {line}: the quote that opens here is closed only after {len(lines):,} lines that look like rows; "
        "fix it and deliver the file again"
    )


def _swallowing_quote(raw: str, delimiter: str) -> int:
    """The line ends before the quote behind which the most lines stand."""
    at, most, opened = 0, -1, 0
    while 0 <= at < len(raw):
        if raw[at] == '"':
            found = QUOTED.match(raw, at)
            end = found.end() if found else len(raw)
            if raw.count("\n", at, end) > most:
                most, opened = raw.count("\n", at, end), at
            at = end
        at = raw.find(delimiter, at) + 1 or -1
    return raw.count("\n", 0, opened)


def is_one_row(raw: bytes, spec: DatasetSpec, delimiter: str, width: int) -> bool:
    """Whether a text is one record by itself: else it would swallow the next, or be several."""
    try:
        records = list(records_in(iter([raw + b"\n"]), spec.csv, delimiter))
        if len(records) != 1:
            return False
        fault = fault_of(records[0], width, delimiter)
        return fault is None or len(_rejected(records[0], fault, spec.csv)) == 1
    except FileRefusedError:
        return False


def _encoding_fault(raw: str) -> str | None:
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            return "invalid_utf8"
    return None


def _check_encoding(dialect: CsvDialect) -> None:
    """Lines are looked for in bytes, so line ends must be the bytes that they are in ASCII."""
    if "a\n".encode(dialect.encoding) != b"a\n":
        raise FileRefusedError(
            f"the contract's encoding {dialect.encoding} cannot be read line by line; deliver it as UTF-8"
        )


def _as_delivered(raw: str, dialect: CsvDialect) -> bytes:
    return raw.encode(dialect.encoding, "surrogateescape")
