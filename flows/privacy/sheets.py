"""Rows as JSON and as CSV, in one pass and a few at a time: a person may have millions."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from typing import Any, TextIO

import duckdb

from flows.privacy.holdings import Count
from flows.privacy.private_folder import PrivateFolder
from flows.privacy.rows import Share

ROWS = 5_000
SHARE = "_share"
# What is added to a table's name for the rows that are a person's by the device alone.
ENDINGS = {Share.OWN: "", Share.BY_DEVICE: "_by_device"}


def write_rows(
    folder: PrivateFolder, document: TextIO, database: duckdb.DuckDBPyConnection, name: str, query: str
) -> Count:
    """Write a table's rows to a CSV file, and as members of the object that the JSON document is in the middle of.

    The query gives each row's :class:`Share` first, in order. A table without rows gets a file with its header, so that
    it is seen to have been looked through. What is withheld is counted, and nothing else.
    """
    counted = dict.fromkeys(Share, 0)
    rows = _rows(database, query)
    header, first = next(rows)
    with ExitStack() as files:
        write = _begin(folder, document, files, name, header)
        begun = Share.OWN
        for share, row in first:
            counted[share] += 1
            if share is Share.WITHHELD:
                continue
            if share is not begun:
                document.write("],\n")
                write, begun = _begin(folder, document, files, name + ENDINGS[share], header), share
            write(row, counted[share] == 1)
        document.write("]")
    return Count(*counted.values())


def _rows(
    database: duckdb.DuckDBPyConnection, query: str
) -> Iterator[tuple[list[str], Iterator[tuple[Share, list[Any]]]]]:
    """The columns, and an iterator over the rows."""
    reader = database.execute(query).to_arrow_reader(ROWS)

    def rows() -> Iterator[tuple[Share, list[Any]]]:
        for batch in reader:
            shares, *columns = [column.to_pylist() for column in batch.columns]
            for share, *values in zip(shares, *columns, strict=True):
                yield Share(share), [plain(value) for value in values]

    yield reader.schema.names[1:], rows()


def _begin(
    folder: PrivateFolder, document: TextIO, files: ExitStack, name: str, header: list[str]
) -> Callable[[list[Any], bool], None]:
    """Begin the CSV file and the JSON list of a name; what is returned adds a row to both."""
    sheet = csv.writer(files.enter_context(folder.file(f"{name}.csv")), lineterminator="\n")
    sheet.writerow(header)
    document.write(f"  {json.dumps(name)}: [")

    def write(row: list[Any], is_first: bool) -> None:
        sheet.writerow(["" if value is None else _word(value) for value in row])
        # Most fields of an event are of other kinds of events: what has no value is left out.
        has = {column: value for column, value in zip(header, row, strict=True) if value is not None}
        document.write(("\n    " if is_first else ",\n    ") + json.dumps(has, ensure_ascii=False))

    return write


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def plain(value: Any) -> Any:
    """A value as JSON can have it: moments in UTC, as ISO 8601 writes them."""
    if isinstance(value, datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return str(value)
