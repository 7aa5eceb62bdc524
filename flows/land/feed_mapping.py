"""Map chunks of a feed to the rows of its dataset, by the feed's own SQL.

The SQL selects from ``delivered``: ``_line``, a column for each that the feed declares, as text, and ``beside``. It
gives ``_line`` and columns named by the path of a field of the contract, as ``content_view.content_id``; rows that it
leaves out are not meant for the dataset, and are counted. Variables of ``dbt_project.yml`` are read by
``getvariable('name')``, seeds by their name: ``seeds.snowplow_adverts``. All else that could be wrong with a row is for
the contract to find, as with any file.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import yaml

from flows.contract.spec import PROJECT, DatasetSpec
from flows.errors import FileRefusedError
from flows.land.feeds import Feed
from flows.land.field_sql import identifier, literal, quoted
from flows.land.readers import Chunk, Part, Reject

SEEDS = PROJECT / "seeds"
NOT_MAPPED = "not_mapped"
FAILS = "malformed: a value that the feed cannot read"
# Rows of a chunk with which the SQL may fail: from there on it is the SQL that is wrong.
MOST_FAILING = 100


def mapped(
    parts: Iterator[Part], feed: Feed, spec: DatasetSpec, beside: pa.Table | None = None, keep_others: bool = False
) -> Iterator[Part]:
    """The parts of a file of a feed, as parts of a file of the dataset. ``beside`` is what stands beside its rows
    (:mod:`flows.land.beside`). With ``keep_others`` rows that the SQL leaves out are rejects.
    """
    mapper = Mapper(feed, spec, beside)
    for part in parts:
        yield partial(mapper.map, part, keep_others)


class Mapper:
    """Maps chunks, in any thread: each has an engine of its own."""

    def __init__(self, feed: Feed, spec: DatasetSpec, beside: pa.Table | None = None) -> None:
        self._feed = feed
        self._beside = beside
        self._paths = {field.path for field in spec.fields}
        self._own = threading.local()

    def map(self, part: Part, keep_others: bool = False) -> Chunk:
        """A chunk of rows as delivered, as one of rows of the dataset."""
        chunk = part()
        try:
            return self._mapped(chunk, keep_others)
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            # Of what is wrong with the SQL itself, which holds no value of the file.
            said = str(error).splitlines()[0]
            raise FileRefusedError(f"feeds/{self._feed.name}.sql cannot be run: {said}") from error
        except duckdb.Error:
            return self._without_what_fails(chunk, keep_others)

    def _without_what_fails(self, chunk: Chunk, keep_others: bool) -> Chunk:
        """The rows that the SQL can read, those with which it fails as rejects: they are found by halves."""
        failing: list[int] = []
        open_ = [(0, chunk.table.num_rows)]
        while open_:
            start, size = open_.pop()
            try:
                self._mapped(chunk.taken(np.arange(start, start + size)), keep_others)
            except duckdb.Error as error:
                if size > 1:
                    open_ += [(start, size // 2), (start + size // 2, size - size // 2)]
                    continue
                failing.append(start)
                if len(failing) > MOST_FAILING:
                    raise FileRefusedError(
                        f"feeds/{self._feed.name}.sql fails with many values of the file ({type(error).__name__}); "
                        "have it read what may be anything with try_cast or try"
                    ) from error
        failing.sort()
        lines = chunk.table["_line"].to_numpy()[failing].tolist()
        rejects = [Reject(line, FAILS, None, raw) for line, raw in zip(lines, chunk.raw(failing), strict=True)]
        good = self._mapped(chunk.taken(np.setdiff1d(np.arange(chunk.table.num_rows), failing)), keep_others)
        return replace(good, rejects=[*good.rejects, *rejects])

    def _mapped(self, chunk: Chunk, keep_others: bool) -> Chunk:
        if not chunk.table.num_rows:
            return replace(chunk, is_json=False, unknown=[], table=chunk.table.select(["_line"]))
        if chunk.is_json:
            chunk = self._objects_alone(chunk)
        if not chunk.table.num_rows:
            return replace(chunk, is_json=False, unknown=[], table=chunk.table.select(["_line"]))
        engine = self._engine()
        table = chunk.table if chunk.is_json else chunk.table.select(_read(self._feed, chunk.table.column_names))
        engine.register("chunk", table)
        try:
            if chunk.is_json:
                (keys,) = engine.execute("select json_keys(raw) from chunk limit 1").fetchone() or ([],)
                select = _of_json(self._feed, _are_capitals(self._feed, {*keys}))
            else:
                select = _of_columns(self._feed, table.schema)
            engine.execute(f"create or replace temp view delivered as {self._with_beside(select)}")
            found = engine.execute(self._feed.sql).to_arrow_table()
        finally:
            engine.unregister("chunk")
        return self._as_rows(chunk, found, keep_others)

    def _as_rows(self, chunk: Chunk, found: pa.Table, keep_others: bool) -> Chunk:
        if strangers := {*found.column_names} - self._paths - {"_line"}:
            raise ValueError(
                f"feeds/{self._feed.name}.sql gives {', '.join(sorted(strangers))}: no field of the contract"
            )
        found = found.sort_by("_line")
        lines, all_lines = found["_line"].to_numpy(), chunk.table["_line"].to_numpy()
        if len(lines) and (np.diff(lines) <= 0).any():
            raise ValueError(f"feeds/{self._feed.name}.sql gives a row more than once")
        places = np.searchsorted(all_lines, lines)
        others = np.setdiff1d(np.arange(len(all_lines)), places)
        rejects = chunk.rejects
        if keep_others:
            raws = chunk.raw(others.tolist())
            rejects = [
                *rejects,
                *(Reject(int(all_lines[i]), NOT_MAPPED, None, raw) for i, raw in zip(others, raws, strict=True)),
            ]

        def raw(positions: list[int]) -> list[bytes]:
            return chunk.raw(places[positions].tolist())

        return Chunk(found, raw, rejects, ignored=0 if keep_others else len(others))

    def _with_beside(self, select: str) -> str:
        """The rows with what stands beside them."""
        if self._beside is None or self._feed.beside is None:
            return f"select *, null::json as beside from ({select})"
        row = identifier(self._feed.beside.row)
        return (
            f"select own.*, beside_rows.tables as beside from ({select}) as own "
            f'left join beside_rows on lower(own.{row}) = beside_rows."of"'
        )

    def _objects_alone(self, chunk: Chunk) -> Chunk:
        """The chunk without the rows that are no JSON object, which are rejected."""
        engine = self._engine()
        engine.register("chunk", chunk.table)
        kinds = engine.execute(
            "select case when json_valid(raw) then json_type(raw) else '' end from chunk"
        ).fetchnumpy()
        engine.unregister("chunk")
        (kind,) = kinds.values()
        wrong = np.flatnonzero(np.asarray(kind) != "OBJECT")
        if not len(wrong):
            return chunk
        lines, raws = chunk.table["_line"].to_numpy()[wrong].tolist(), chunk.raw(wrong.tolist())
        reasons = ["not_an_object" if kind[i] else "malformed" for i in wrong]
        found = [Reject(line, why, None, raw) for line, why, raw in zip(lines, reasons, raws, strict=True)]
        kept = chunk.taken(np.setdiff1d(np.arange(chunk.table.num_rows), wrong))
        return replace(kept, rejects=[*chunk.rejects, *found])

    def _engine(self) -> duckdb.DuckDBPyConnection:
        if not hasattr(self._own, "engine"):
            # Rows as they came never go to the disk in clear.
            engine = duckdb.connect(config={"threads": 1, "memory_limit": "1GB", "temp_directory": ""})
            engine.execute("set TimeZone = 'UTC'; create schema seeds")
            for name, value in _variables().items():
                engine.execute(f"set variable {identifier(name)} = {value}")
            for path in SEEDS.glob("*.csv"):
                engine.execute(
                    f"create table seeds.{identifier(path.stem)} as "
                    f"from read_csv({literal(str(path))}, header = true, all_varchar = true)"
                )
            engine.execute(self._feed.macros)
            if self._beside is not None:
                engine.register("beside_rows", self._beside)
            self._own.engine = engine
        engine_: duckdb.DuckDBPyConnection = self._own.engine
        return engine_


@cache
def _variables(project: Path = PROJECT) -> dict[str, str]:
    """The variables of ``dbt_project.yml``, as literals of SQL: numbers, texts and lists of texts."""
    read = yaml.safe_load((project / "dbt_project.yml").read_text())["vars"]
    return {name: _as_sql(value) for name, value in read.items()}


def _as_sql(value: object) -> str:
    if isinstance(value, list):
        return f"[{quoted(map(str, value))}]::varchar[]"
    return str(value) if isinstance(value, (int, float)) else literal(str(value))


def _read(feed: Feed, names: list[str]) -> list[str]:
    """The columns of a file that its feed reads."""
    return [name for name in names if name == "_line" or {name, name.lower()} & {*feed.columns} or feed.is_more(name)]


def _are_capitals(feed: Feed, keys: set[str]) -> bool:
    """Whether the names of a chunk's first row of JSON are in capitals, as some databases export them."""
    return keys.isdisjoint(feed.columns) and not keys.isdisjoint(name.upper() for name in feed.columns)


def _of_json(feed: Feed, is_in_capitals: bool) -> str:
    """Each column of a chunk of JSON as text."""
    names = [*feed.columns, *(name.upper() for name in feed.columns if is_in_capitals)]
    paths = quoted(f"$.{identifier(name)}" for name in names)
    columns = []
    for n, name in enumerate(feed.columns, 1):
        value = f"coalesce(found[{n}], found[{n + len(feed.columns)}])" if is_in_capitals else f"found[{n}]"
        columns.append(f"{_present(feed, value)} as {identifier(name)}")
    if feed.more:
        wanted = " or ".join(f"lower(key_) glob {literal(pattern)}" for pattern in feed.more)
        keys = f"list_filter(list_distinct(json_keys(raw)), lambda key_: {wanted})"
        pointer = "'/' || replace(replace(key_, '~', '~0'), '/', '~1')"
        pairs = f"list_transform({keys}, lambda key_: {{k: key_, v: json_extract(raw, {pointer})}})"
        columns.append(f"to_json(map_from_entries({pairs})) as more")
    return f"""
        select _line, {", ".join(columns)}
        from (select _line, raw, json_extract_string(raw, [{paths}]) as found from chunk)
    """


def _of_columns(feed: Feed, schema: pa.Schema) -> str:
    """Each column of a chunk of columns as text."""
    columns = []
    delivered = {name.lower(): name for name in schema.names} | {name: name for name in schema.names}
    for name in feed.columns:
        value = _as_text(delivered[name], schema) if name in delivered else "cast(null as varchar)"
        columns.append(f"{_present(feed, value)} as {identifier(name)}")
    if feed.more:
        pairs = [
            f"case when {_present(feed, value)} is not null then {literal(f'{identifier(name)}:')} || "
            f"case when json_valid({value}) then {value} else to_json({value})::varchar end end"
            for name in schema.names
            if feed.is_more(name) and (value := _as_text(name, schema))
        ]
        columns.append(f"('{{' || concat_ws(',', {', '.join(pairs) or 'null'}) || '}}')::json as more")
    return f"select _line, {', '.join(columns)} from chunk"


def _as_text(name: str, schema: pa.Schema) -> str:
    kind = schema.field(name).type
    return f"{'to_json(' if pa.types.is_nested(kind) else '('}{identifier(name)})::varchar"


def _present(feed: Feed, value: str) -> str:
    return f"case when {value} not in ({quoted(['', *feed.nulls])}) then {value} end"
