"""Files of the landed zone as one table of SQL."""

from collections.abc import Collection, Container, Iterable
from pathlib import Path

from flows.contract.spec import Column, DatasetSpec
from flows.land.field_sql import identifier, literal
from flows.land.file_index import FileInForce


def query_of(spec: DatasetSpec, lake: Path, files: Iterable[FileInForce], more: Collection[str] = ()) -> str:
    """A query of exactly these files of a dataset, with the contract's columns, and ``more`` of bytes.

    Files that landed by an older contract read NULL in the columns that came later: they are read apart, so that no
    file needs to be opened to find out which columns it has. Of a dataset laid out by day, the day is in the path: a
    query of some days opens their files and no others.
    """
    read = read_by_day if spec.is_by_day else read_files
    by_columns: dict[tuple[str, ...], list[FileInForce]] = {}
    for file in files:
        by_columns.setdefault(file.columns, []).append(file)
    queries = [f"{_selected(spec, there, more)} from {read(lake, of)}" for there, of in by_columns.items()]
    return "\nunion all\n".join(queries or [f"{_selected(spec, more=more)} where false"])


def failing_query(spec: DatasetSpec, why: str) -> str:
    """A query with the columns of the dataset that fails, saying why, when it is read."""
    return f"{_selected(spec)} where error({literal(why)}) is not null"


def read_by_day(lake: Path, files: Iterable[FileInForce], more: str = "") -> str:
    """The call that reads files of folders of days, with ``more`` options."""
    return read_files(lake, files, f", hive_partitioning = true, hive_types = {{'event_date': date}}{more}")


def read_files(lake: Path, files: Iterable[FileInForce], more: str = "") -> str:
    """The call that reads files as they are, with ``more`` options."""
    listed = ", ".join(literal(str(lake.absolute() / file.path)) for file in files)
    return f"read_parquet([{listed}]{more})"


def _selected(spec: DatasetSpec, there: Container[str] = (), more: Collection[str] = ()) -> str:
    """The contract's columns, NULL where the files have none; UUIDs stand in them as sixteen bytes."""

    def value(column: Column) -> str:
        name = identifier(column.name)
        if column.name in there and column.type != "uuid":
            return name
        return f"cast({name if column.name in there else 'null'} as {column.type}) as {name}"

    others = (f"cast({identifier(name) if name in there else 'null'} as blob) as {identifier(name)}" for name in more)
    return f"select {', '.join([*map(value, spec.columns()), *others])}"
