"""The explorer: one page on which anybody looks at a published mart without SQL and without a server.

The page holds no figures of its own. Each mart is an Arrow file beside it, which the reader's browser fetches when the
mart is chosen and then pivots, filters and draws by itself, with Perspective. That comes from its Python wheel and is
copied beside the page, so nothing is asked of any other host, now or later.

Restricted marts are not on it: what a browser has fetched is out of the organisation's hands.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
import pyarrow.ipc

from flows.catalogue.marts import first_sentence
from flows.errors import TidemarkError
from flows.publish.manifest import PublishedTable, describe_causes
from flows.rights import Visibility
from flows.site.explorer_views import (
    ExplorerColumn,
    ExplorerTable,
    is_summable,
    kind_of,
    quoted,
    small_groups,
    start_view,
)

# Where the page and what belongs to it are, below the site's folder.
EXPLORER = "explorer"
HERE = Path(__file__).parent
WHEEL = "perspective-python"
ENGINE_FILES = ("perspective-anywidget.js", "perspective-anywidget.css")

# How the list of marts is divided, by what their names begin with; what begins otherwise comes last.
KINDS = {
    "agg_": "Figures",
    "fct_": "What happened",
    "dim_": "What things are",
    "ops_": "How the warehouse runs",
}
OTHER_KIND = "Others"


@dataclass(frozen=True)
class Budget:
    """How much of a mart a browser is given: rows, and bytes of the file it fetches."""

    rows: int = 2_000_000
    bytes: int = 100_000_000


@dataclass(frozen=True)
class _Written:
    """What of a mart was written."""

    rows: int
    of_rows: int
    bytes: int
    digest: str
    since: date | None
    first_day: date | None
    last_day: date | None


def is_installed() -> bool:
    """Whether what the explorer is made with is there: the extra ``explorer``."""
    return find_spec("perspective") is not None


def explorer_tables(database: Path, published: Iterable[PublishedTable]) -> tuple[ExplorerTable, ...]:
    """The tables of a publication that the explorer shows, as its DuckDB file describes them, by name.

    ``database`` is the file of the internal level, ``published`` are the tables of the manifest. Restricted ones are
    left out, and so is what the file does not have.
    """
    with duckdb.connect(str(database), read_only=True) as db:
        descriptions: dict[str, str] = {name: text or "" for name, text in db.execute(RELATION_COMMENTS).fetchall()}
        columns: dict[str, list[ExplorerColumn]] = {}
        for name, column, type_, text in db.execute(COLUMN_COMMENTS).fetchall():
            columns.setdefault(name, []).append(ExplorerColumn(column, type_, text or ""))
    return tuple(
        ExplorerTable(
            name=table.name,
            description=re.sub(r"^STALE since .*? UTC\. ", "", descriptions[table.name]),
            columns=tuple(columns[table.name]),
            day_column=table.day_column,
            owner=table.owner,
            stale=_stale(table),
            visibility=table.visibility,
        )
        for table in sorted(published, key=lambda one: one.name)
        if table.visibility is not Visibility.RESTRICTED and table.name in descriptions
    )


def write_explorer(
    folder: Path,
    database: Path,
    tables: Sequence[ExplorerTable],
    *,
    published_at: datetime | None = None,
    smallest_group: int | None = None,
    budget: Budget | None = None,
    links: Sequence[tuple[str, str]] = (("../index.html", "Start page"),),
) -> None:
    """Write the explorer into a site's folder: ``explorer/index.html``, a file of each table, and what shows them.

    ``database`` is the DuckDB file of the internal level, which is only read. ``links`` are addresses and words of the
    site's other pages, as seen from the explorer's. The same input gives the same bytes.

    Raises :class:`TidemarkError` where the wheel of Perspective is missing, and ``ValueError`` for a restricted table.
    """
    if restricted := [table.name for table in tables if table.visibility is Visibility.RESTRICTED]:
        raise ValueError(f"restricted tables are not for the explorer: {', '.join(restricted)}")
    place = folder / EXPLORER
    version = _copy_engine(place / "perspective")
    (place / "data").mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database), read_only=True) as db:
        marts = [_write_mart(place / "data", db, table, budget or Budget()) for table in tables]
    for path in (place / "data").glob("*.arrow"):
        if path.stem not in {table.name for table in tables}:
            path.unlink()
    for name in ("explorer.js", "explorer.css"):
        shutil.copyfile(HERE / "static" / name, place / name)
    page = _template().render(
        catalogue={
            "engine": f"perspective/{ENGINE_FILES[0]}?{version}",
            "kinds": [*KINDS.values(), OTHER_KIND],
            "smallest_group": smallest_group,
            "marts": marts,
        },
        engine_version=version,
        links=links,
        published_at=published_at,
        script=f"explorer.js?{_digest(place / 'explorer.js')}",
        style=f"explorer.css?{_digest(place / 'explorer.css')}",
        engine=f"perspective/{ENGINE_FILES[0]}?{version}",
        engine_style=f"perspective/{ENGINE_FILES[1]}?{version}",
    )
    (place / "index.html").write_text(page, encoding="utf-8")


def _stale(table: PublishedTable) -> str:
    if table.stale_since is None:
        return ""
    because = describe_causes(table.stale_because)
    return f"{table.stale_since:%Y-%m-%d %H:%M} UTC" + (f"; it waits for {because}" if because else "")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    return environment.get_template("explorer.html")


def _copy_engine(place: Path) -> str:
    """Put Perspective's bundle beside the page with its licences, where it is not there yet; return its version."""
    found = find_spec("perspective")
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        wheel = None
    if found is None or not found.submodule_search_locations or wheel is None:
        raise TidemarkError(f"the explorer needs the wheel of Perspective: install {WHEEL} (`pip install {WHEEL}`)")
    static = Path(next(iter(found.submodule_search_locations))) / "widget" / "static"
    if missing := [name for name in ENGINE_FILES if not (static / name).exists()]:
        raise TidemarkError(
            f"{WHEEL} {wheel.version} has no {' and no '.join(missing)}, which the explorer is made with; "
            f"install the version that Tidemark's lock file names"
        )
    place.mkdir(parents=True, exist_ok=True)
    for source in [*(static / name for name in ENGINE_FILES), *_licences(wheel)]:
        target = place / source.name
        if not target.exists() or target.stat().st_size != source.stat().st_size:
            shutil.copyfile(source, target)
    return wheel.version


def _licences(wheel: Distribution) -> list[Path]:
    """The licences that the wheel carries: Perspective's, and those of what is compiled into it."""
    return [
        Path(str(file.locate())) for file in wheel.files or () if ".dist-info/licenses/" in file.as_posix()
    ]  # fmt: skip


def _write_mart(folder: Path, db: duckdb.DuckDBPyConnection, table: ExplorerTable, budget: Budget) -> dict[str, Any]:
    """Write a table's file, and return what the page has to know of it."""
    path = folder / f"{table.name}.arrow"
    written = _write_rows(path, db, table, budget)
    columns = [
        {
            "name": column.name,
            "type": kind_of(column.type),
            "description": column.description,
            "summable": kind_of(column.type) in ("integer", "float") and is_summable(column),
        }
        for column in table.columns
    ]
    return {
        "name": table.name,
        "kind": next((kind for begin, kind in KINDS.items() if table.name.startswith(begin)), OTHER_KIND),
        "meaning": first_sentence(table.description),
        "description": table.description.strip(),
        "owner": table.owner,
        "stale": table.stale,
        "columns": columns,
        "file": f"data/{path.name}?{written.digest}",
        "bytes": written.bytes,
        "rows": written.rows,
        "of_rows": written.of_rows,
        "since": written.since and written.since.isoformat(),
        "first_day": written.first_day and written.first_day.isoformat(),
        "last_day": written.last_day and written.last_day.isoformat(),
        "day_column": table.day_column,
        "small_groups": small_groups(table),
        "start": start_view(db, table, written.rows),
    }


def _write_rows(path: Path, db: duckdb.DuckDBPyConnection, table: ExplorerTable, budget: Budget) -> _Written:
    """Write the newest rows of a table that fit, newest first: whole days, where it has days and one of them fits."""
    of_rows = _number(db, f"select count(*) from {quoted(table.name)}")
    first_day = last_day = None
    if day := table.day_column and quoted(table.day_column):
        first_day, last_day = db.execute(f"select min({day}), max({day}) from {quoted(table.name)}").fetchone() or (
            None,
            None,
        )
    most = budget.rows
    while True:
        since = _since(db, table, most) if most < of_rows else None
        rows = _read_rows(db, table, since, most)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema, options=OPTIONS) as writer:
            writer.write_table(rows)
        if path.stat().st_size <= budget.bytes or rows.num_rows <= 1:
            break
        most = max(1, int(rows.num_rows * budget.bytes / path.stat().st_size * 0.95))
    return _Written(
        rows=rows.num_rows,
        of_rows=of_rows,
        bytes=path.stat().st_size,
        digest=_digest(path),
        since=since,
        first_day=_as_date(since or first_day),
        last_day=_as_date(last_day),
    )


def _since(db: duckdb.DuckDBPyConnection, table: ExplorerTable, most: int) -> date | None:
    """The day from which on the rows fit; None where the table has no days, or not even the newest one fits."""
    if table.day_column is None:
        return None
    day = quoted(table.day_column)
    found = db.execute(
        f"""
        with days as (
            select cast({day} as date) as day, count(*) as rows
            from {quoted(table.name)} where {day} is not null group by all
        ),
        newest as (select day, sum(rows) over (order by day desc) as rows from days)
        select min(day) from newest where rows <= ?
        """,
        [most],
    ).fetchone()
    return found[0] if found else None


def _read_rows(db: duckdb.DuckDBPyConnection, table: ExplorerTable, since: date | None, most: int) -> pa.Table:
    """The rows in an order that is always the same, in one batch; texts by number, each of them once."""
    day = table.day_column and quoted(table.day_column)
    order = [f"{day} desc nulls last"] if day else []
    order += [quoted(column.name) for column in table.columns if column.name != table.day_column]
    where = f"where {day} >= ?" if since else ""
    read = db.execute(
        f"select {', '.join(_select(column) for column in table.columns)} from "
        f"(select * from {quoted(table.name)} {where} order by {', '.join(order)} limit {most})",
        [since] if since else [],
    ).to_arrow_table()
    columns = [_encoded(column) for column in read.columns]
    return pa.table(columns, names=[column.name for column in table.columns]).combine_chunks()


def _encoded(column: pa.ChunkedArray) -> pa.Array:
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return whole.dictionary_encode() if pa.types.is_string(whole.type) else whole


def _select(column: ExplorerColumn) -> str:
    name = quoted(column.name)
    match kind_of(column.type):
        case "float":
            return f"cast({name} as double) as {name}"
        case "datetime" if column.type == "TIMESTAMP WITH TIME ZONE":
            return f"{name} at time zone 'UTC' as {name}"
        case "datetime":
            return f"cast({name} as timestamp) as {name}"
        case "string":
            return f"cast({name} as varchar) as {name}"
        case _:
            return name


def _number(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    found = db.execute(sql).fetchone()
    return int(found[0]) if found else 0


def _as_date(value: date | datetime | None) -> date | None:
    return value.date() if isinstance(value, datetime) else value


def _digest(path: Path) -> str:
    """A part of a file's hash, by which its address changes when its bytes do."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
RELATION_COMMENTS = """
select view_name, comment from duckdb_views() where not internal
union all
select table_name, comment from duckdb_tables() where not internal
"""
COLUMN_COMMENTS = """
select table_name, column_name, data_type, comment from duckdb_columns()
where not internal and database_name = current_database()
order by table_name, column_index
"""
