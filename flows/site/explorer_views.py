"""What the explorer opens a mart with: its first view, and how its figures become one where rows are grouped.

By what names and descriptions say, so that a mart that a team adds gets such a view as well.
"""

import re
from dataclasses import dataclass
from typing import Any

import duckdb

from flows.rights import Visibility

# The types of the page, and what of DuckDB's becomes each; anything else is shown as text.
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
FLOATS = {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"}
TIMESTAMPS = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
# Names of figures that may be summed, unless their description says otherwise.
SUMMABLE = re.compile(r"^rows_|(_count|_seconds|_bytes)$")
NOT_SUMMABLE = re.compile(r"\b(not|never) to be summed|cannot be summed", re.IGNORECASE)
RATE = re.compile(r"_(rate|share)$")
# What a rate is a share of, by its description: "Readers per device".
PER = re.compile(r"^\s*(\w+) per (\w+)\b", re.IGNORECASE)
# How days and moments are written: never by numbers alone, which people read in different orders. Moments are in UTC.
DATE_FORMATS = {
    "date": {"dateStyle": "medium"},
    "datetime": {"timeZone": "UTC", "dateStyle": "medium", "timeStyle": "medium"},
}
# Rates are small, and 2,026 is no year.
RATE_FORMAT = {"minimumFractionDigits": 2, "maximumFractionDigits": 4}
NAME_FORMAT = {"useGrouping": False}
NUMBERED_NAME = re.compile(r"(^|_)(year|id|number|line)$")
# A column of at most so many words may tell a chart's lines apart.
FEW = 6
# A column of more words is not looked at.
MANY = 20
# A period that stands for any of its kind, and what stands for any product or platform.
PERIOD, PERIODS = "period_type", ("day", "month")
ALL = "all"


@dataclass(frozen=True)
class ExplorerColumn:
    """A column of a mart, with its type in DuckDB and what it means."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class ExplorerTable:
    """A mart to be shown, with what is said of it.

    ``day_column`` says how old a row is; ``stale`` is empty where the rows are up to date, else what they wait for.
    """

    name: str
    description: str
    columns: tuple[ExplorerColumn, ...]
    day_column: str | None = None
    owner: str = ""
    stale: str = ""
    visibility: Visibility = Visibility.RESTRICTED


def start_view(db: duckdb.DuckDBPyConnection, table: ExplorerTable, rows: int) -> dict[str, Any]:
    """What is shown when a mart is chosen: a line of its first figure by day where it has days and figures, or rows.

    Where rows of one and of all, or of several kinds of periods, stand beside each other, one of them is chosen.
    """
    numbers = [column for column in table.columns if kind_of(column.type) in ("integer", "float")]
    summable = [column.name for column in numbers if is_summable(column)]
    distinct = [column.name for column in numbers if NOT_SUMMABLE.search(column.description)]
    figures = [name for name in (summable or distinct) if not RATE.search(name)]
    words = _words(db, table) if rows else {}
    filters: list[list[Any]] = [[name, "==", ALL] for name, values in words.items() if ALL in values and name != PERIOD]
    if any(column.name == "is_current" for column in table.columns):
        filters.append(["is_current", "==", True])
    chosen = {name for name, _, _ in filters}
    things = [
        column.name for column in table.columns if column.name.endswith("_id") and kind_of(column.type) == "string"
    ]
    view: dict[str, Any] = {
        "plugin": "Datagrid",
        "columns": [column.name for column in table.columns if not column.name.endswith("_key")],
        "columns_config": {column.name: written for column in table.columns if (written := _format(column))},
        "group_by": [],
        "split_by": [],
        "filter": filters,
        "sort": [],
        "aggregates": {column.name: way for column in numbers if (way := _aggregate(column, table)) is not None},
    }
    is_line = table.name.startswith("agg_") and table.day_column is not None and bool(figures)
    is_line = is_line and (bool(summable) or not things)
    if PERIOD in words:
        period = PERIODS[0] if is_line else PERIODS[1]
        filters.insert(0, [PERIOD, "==", period if period in words[PERIOD] else min(words[PERIOD])])
    if is_line:
        lines = [name for name, values in words.items() if 1 < len(values) <= FEW and name not in {*chosen, PERIOD}]
        view |= {"plugin": "Y Line", "group_by": [table.day_column], "columns": figures[:1] if lines else figures[:3]}
        view["split_by"] = lines[:1]
    elif table.name.startswith("agg_") and figures:
        view["sort"] = [[figures[0], "desc"]]
    elif moment := _moment(table):
        view["sort"] = [[moment, "desc"]]
    return view


def _format(column: ExplorerColumn) -> dict[str, Any]:
    """How a column's values are written, where Perspective's own way is not right."""
    kind = kind_of(column.type)
    if kind in DATE_FORMATS:
        return {"date_format": DATE_FORMATS[kind]}
    if kind == "float" and RATE.search(column.name):
        return {"number_format": RATE_FORMAT}
    if kind == "integer" and NUMBERED_NAME.search(column.name):
        return {"number_format": NAME_FORMAT}
    return {}


def _moment(table: ExplorerTable) -> str | None:
    """The column of the moment that the table's day is of, as ``landed_at`` is for ``landed_date``."""
    moment = re.sub(r"_date$", "_at", table.day_column or "")
    return moment if any(column.name == moment and column.type in TIMESTAMPS for column in table.columns) else None


def _aggregate(column: ExplorerColumn, table: ExplorerTable) -> str | list[str | list[str]] | None:
    """How a group's rows become one figure, where that is not their sum.

    A rate is weighted by what it is a share of, where its description says so ("Clicks per impression"), which gives
    the group's own rate. Of other figures that are not to be summed the largest is shown, which is one that was there.
    """
    if is_summable(column):
        return None
    names = {one.name for one in table.columns}
    if found := RATE.search(column.name) and PER.match(column.description):
        weight = f"{found[2].lower()}s_count"
        return ["weighted mean", [weight]] if weight in names else "mean"
    if column.name.endswith(("_id", "_line", "_number")):
        return "distinct count"
    return "max"


def _words(db: duckdb.DuckDBPyConnection, table: ExplorerTable) -> dict[str, set[str]]:
    """The values of the columns of words that have few of them."""
    words = {}
    for name in [column.name for column in table.columns if column.type == "VARCHAR"]:
        values = db.execute(f"select distinct {quoted(name)} from {quoted(table.name)} limit {MANY + 1}").fetchall()
        if len(values) <= MANY and (some := {value for (value,) in values if value is not None}):
            words[name] = some
    return words


def kind_of(type_: str) -> str:
    """The page's type of one of DuckDB's."""
    if type_ in INTEGERS:
        return "integer"
    if type_ in FLOATS or type_.startswith("DECIMAL"):
        return "float"
    if type_ in TIMESTAMPS or type_ == "TIMESTAMP WITH TIME ZONE":
        return "datetime"
    return {"BOOLEAN": "boolean", "DATE": "date"}.get(type_, "string")


def is_summable(column: ExplorerColumn) -> bool:
    return bool(SUMMABLE.search(column.name)) and not NOT_SUMMABLE.search(column.description)


def small_groups(table: ExplorerTable) -> str | None:
    """How small groups are kept from being seen: as empty cells, by leaving them out, or not at all."""
    if any(column.name == "is_suppressed" for column in table.columns):
        return "empty"
    return "left out" if "smallest_group" in table.description else None


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
