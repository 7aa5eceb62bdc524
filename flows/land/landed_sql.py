"""Files of the landed zone as one table of SQL."""

from collections.abc import Iterable
from pathlib import Path

from flows.contract.spec import Column, DatasetSpec
from flows.land.field_sql import identifier, literal
from flows.land.file_index import FileInForce


def query_of(spec: DatasetSpec, lake: Path, files: Iterable[FileInForce], as_landed: bool = False) -> str:
    """A query of exactly these files of a dataset laid out by day, with the contract's columns.

    UUIDs are UUIDs, and other columns are left out. Where ``as_landed``, UUIDs are the sixteen bytes of the files, and
    columns that the contract has no more are there too.

    Files that landed by an older contract read NULL in the columns that came later: they are read apart, so that no
    file needs to be opened to find out which columns it has. The day is in the path: a query of some days opens their
    files and no others.
    """
    by_columns: dict[tuple[str, ...], list[FileInForce]] = {}
    for file in files:
        by_columns.setdefault(file.columns, []).append(file)
    columns = spec.columns()
    if as_landed:
        others = {name for there in by_columns for name in there} - {column.name for column in columns}
        columns = (*columns, *(Column(name=n, type="", description="", privacy="") for n in sorted(others)))
    queries = [
        _read(columns, there, [str(lake.absolute() / file.path) for file in of], as_landed)
        for there, of in by_columns.items()
    ]
    if not queries:
        return f"select {', '.join(_value(c, (), as_landed) for c in spec.columns())} where false"
    return "\nunion all\n".join(queries)


def failing_query(spec: DatasetSpec, why: str) -> str:
    """A query with the columns of the dataset that fails, saying why, when it is read."""
    return f"select {', '.join(_value(c, (), False) for c in spec.columns())} where error({literal(why)}) is not null"


def _value(column: Column, there: tuple[str, ...], as_landed: bool) -> str:
    name, is_bytes = identifier(column.name), column.type == "uuid" and as_landed
    if column.name not in there:
        kind = "blob" if is_bytes else column.type
        return f"cast(null as {kind}) as {name}" if kind else f"null as {name}"
    return f"cast({name} as uuid) as {name}" if column.type == "uuid" and not is_bytes else name


def _read(columns: Iterable[Column], there: tuple[str, ...], paths: list[str], as_landed: bool) -> str:
    values = [_value(column, there, as_landed) for column in columns]
    listed = ", ".join(literal(path) for path in paths)
    return (
        f"select {', '.join(values)} "
        f"from read_parquet([{listed}], hive_partitioning = true, hive_types = {{'event_date': date}})"
    )
