"""Write the landed zone again with the pseudonyms of a later key, once rows have landed with both for long enough.

Of days from one on, and of datasets without days, the later pseudonyms take the place of the earlier ones; on days
before they are left out, and those rows keep what they had. So no file has both any more, and the earlier pseudonyms
stand on days before that one alone.

Records of consent speak of days on both sides, and stand under both (flows/land/rekey_consents.py).

A row that landed before the change began has no later pseudonym. It gets the one that stands beside its own in other
rows; where there is none, one that is made of its own by the later key, so that nobody can tell any more whose it was.

It is a removal of no rows (flows/land/remove.py): a batch of its own for each dataset, which counts from one moment on,
and by which each model finds what it has to make again.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa

from flows.contract.consent import CONSENTS
from flows.contract.spec import Column, DatasetSpec
from flows.keys import derived
from flows.land.consent import TOLD
from flows.land.field_sql import identifier
from flows.land.file_index import FileInForce
from flows.land.linking import is_pseudonym, linking_columns, next_column
from flows.land.pseudonyms import pseudonym_of
from flows.land.receipt import LandedFile, Receipt, Removed, compacted_path
from flows.land.receipts import Receipts
from flows.land.rekey_consents import boundary_of, kept_query, told_query
from flows.land.remove import (
    engine_for,
    in_order,
    made_folder,
    no_row,
    older_columns,
    removal_receipt,
    rows_in,
    write_day,
)
from flows.land.told import write_told
from flows.settings import Settings


@dataclass(frozen=True)
class KeyChange:
    """Rows of days from ``from_day`` on get the pseudonyms of the ``later`` key. ``last_batch_id`` is the last batch
    that landed with the earlier one; ``why`` is for people, and tells the receipts of this change from others."""

    from_day: date
    last_batch_id: int
    later: bytes
    why: str


@dataclass(frozen=True)
class Rekeyed:
    """What was written again of a dataset, 0 ``days`` where it has none; ``not_met`` has by column how many pseudonyms
    stood beside no later one."""

    dataset: str
    days: int
    rows: int
    not_met: dict[str, int]


def rekey(
    receipts: Receipts,
    settings: Settings,
    specs: dict[str, DatasetSpec],
    change: KeyChange,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Rekeyed]:
    """Write again what the change asks of every dataset, those that are done already left out.

    The caller holds :func:`~flows.land.remove.removing`, and has no rows land with the earlier key any more. Datasets
    without days come first, and consents before all: what they need to know of others stands in these as long as they
    are not done.
    """
    done = {
        receipt.dataset for number, _ in receipts.removals() if (receipt := receipts.one(number)).file == change.why
    }
    # Lists of keys come after what they list: a row is found again by the list that it stands in.
    ordered = sorted(
        specs.values(), key=lambda spec: (spec.is_by_day, spec.name != CONSENTS, spec.keys_of is not None, spec.name)
    )
    return [
        _of(spec)(receipts, settings, specs, spec, change, progress).write()
        for spec in ordered
        if spec.name not in done and linking_columns(spec) and receipts.files.in_force(spec.name)
    ]


def _of(spec: DatasetSpec) -> "type[_Rekeying]":
    return _RekeyingConsents if spec.name == CONSENTS else _Rekeying


class _Rekeying:
    """Of one dataset."""

    # Whether a pseudonym that nobody met again gets another, which is nobody's.
    makes_strangers = True

    def __init__(
        self,
        receipts: Receipts,
        settings: Settings,
        specs: dict[str, DatasetSpec],
        spec: DatasetSpec,
        change: KeyChange,
        progress: Callable[[str], None],
    ) -> None:
        self._receipts = receipts
        self._settings = settings
        self._specs = specs
        self._spec = spec
        self._change = change
        self._progress = progress
        self._columns = linking_columns(spec)
        self._in_force = receipts.files.in_force(spec.name)
        self._older = older_columns(spec, self._in_force)
        # Of columns that the contract had as the change began, and has no more.
        self._gone = [name for name in self._older if next_column(name) in self._older]
        self._secret = derived(change.later, "pseudonyms of whom nobody met again")

    def write(self) -> Rekeyed:
        """Write the days, and commit them as one batch."""
        made = made_folder(self._settings)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        by_day: dict[date | None, list[FileInForce]] = {}
        for file in self._in_force:
            by_day.setdefault(file.event_date, []).append(file)
        days = sorted((day for day, files in by_day.items() if self._is_to_write(day, files)), key=str)
        if not days:
            return Rekeyed(self._spec.name, 0, 0, {})
        number = self._receipts.last_batch_id() + 1
        removed: list[Removed] = []
        files: list[LandedFile] = []
        with engine_for(self._settings, self._spec, made) as engine:
            not_met = self._find_carried(engine, [file for day in days if self._is_later(day) for file in by_day[day]])
            for done, day in enumerate(days, 1):
                landed = self._receipts.files.rows_by_batch(self._spec.name, day, number)
                path = compacted_path(self._spec.name, day, number)
                rows = rows_in(self._settings, self._spec, by_day[day])
                wanted = in_order(self._spec, self._wanted(day, rows))
                left = write_day(engine, rows, wanted, landed, made / path)
                removed.append(Removed(batch_id=min(landed), event_date=day, rows=0))
                size = (made / path).stat().st_size
                files.append(LandedFile(path=path, event_date=day, rows=sum(left.values()), bytes=size))
                self._progress(f"{self._spec.name} of {day or 'all days'}: {done} of {len(days)}")
            told = self._told(engine, made, number)
        receipt = self._receipt(removed, files).model_copy(update={"told_files": told})
        self._receipts.commit(receipt, made)
        dated = sum(day is not None for day in days)
        return Rekeyed(self._spec.name, dated, sum(file.rows for file in files), not_met)

    def _told(self, engine: duckdb.DuckDBPyConnection, made: Path, number: int) -> tuple[LandedFile, ...]:
        """What lands beside, by what is written again."""
        return ()

    def _receipt(self, removed: list[Removed], files: list[LandedFile]) -> Receipt:
        kept = tuple(name for name in self._older if name not in self._next_columns())
        return removal_receipt(self._receipts, self._spec, self._change.why, removed, files, kept)

    def _next_columns(self) -> list[str]:
        return [next_column(name) for name in (*self._columns, *self._gone)]

    def _is_later(self, day: date | None) -> bool:
        """Whether rows of a day get later pseudonyms."""
        return day is None or day >= self._change.from_day

    def _is_to_write(self, day: date | None, files: list[FileInForce]) -> bool:
        has_both = any(name in file.columns for file in files for name in self._next_columns())
        return self._is_later(day) or has_both

    def _wanted(self, day: date | None, rows: str) -> str:
        """A query of the rows of a day as they are to be."""
        without = f"exclude ({', '.join(map(identifier, self._next_columns()))})"
        if not self._is_later(day):
            return f"select * {without} from {self._all_columns(rows)}"
        joins, values = [], []
        for name, column in self._columns.items():
            own, later = f"landed.{identifier(name)}", f"landed.{identifier(next_column(name))}"
            carried = identifier(f"carried_{name}")
            joins.append(f"left join {carried} on {_comparable(own, column)} = {carried}.old")
            # What landed since has the later one in its place already.
            values.append(
                f"case when landed._batch_id > {self._change.last_batch_id} then {own} "
                f"else coalesce({later}, {carried}.new) end as {identifier(name)}"
            )
        values += [f"landed.{identifier(next_column(name))} as {identifier(name)}" for name in self._gone]
        replaced = f"replace ({', '.join(values)})"
        return f"select landed.* {without} {replaced} from {self._all_columns(rows)} as landed {' '.join(joins)}"

    def _all_columns(self, rows: str) -> str:
        """The rows with every column that any file of the dataset has, and the later pseudonyms."""
        later = (
            f"cast(null as {_type(column)}) as {identifier(next_column(name))}"
            for name, column in self._columns.items()
        )
        none = [no_row(self._settings, self._spec, self._older), f"(select {', '.join(later)} where false)"]
        return f"({' union all by name '.join([*none, f'(select * from {rows})'])})"

    def _find_carried(self, engine: duckdb.DuckDBPyConnection, files: list[FileInForce]) -> dict[str, int]:
        """Make of each column a table ``carried_<column>``: for pseudonyms that landed before the change began, the
        later ones. How many of each column stood beside none."""
        not_met = {}
        for name, column in self._columns.items():
            carried = identifier(f"carried_{name}")
            engine.execute(f"create temp table {carried} (old {_compared(column)}, new {_type(column)})")
            if not files:
                continue
            value, later = identifier(name), identifier(next_column(name))
            engine.execute(
                f"insert into {carried} select distinct {_comparable(value, column)}, null "
                f"from {self._all_columns(rows_in(self._settings, self._spec, files))} "
                f"where {value} is not null and {later} is null and _batch_id <= {self._change.last_batch_id}"
            )
            if engine.execute(f"select 1 from {carried} limit 1").fetchone() is None:
                continue
            for met in self._met(name):
                engine.execute(f"update {carried} set new = met.new from ({met}) as met where {carried}.old = met.old")
            left = [old for (old,) in engine.execute(f"select old from {carried} where new is null").fetchall()]
            if left and self.makes_strangers:
                engine.register("made", self._made_of(left, column))
                engine.execute(
                    f"update {carried} set new = made.new from made where {carried}.old = "
                    f"{_comparable('made.old', column)}"
                )
                engine.unregister("made")
                if is_pseudonym(column):
                    not_met[name] = len(left)
        return not_met

    def _met(self, name: str) -> Iterable[str]:
        """Queries of the pairs of pseudonyms that stand together in rows of any dataset."""
        for spec in self._specs.values():
            column = linking_columns(spec).get(name)
            files = [f for f in self._receipts.files.in_force(spec.name) if next_column(name) in f.columns]
            if column and files:
                later = identifier(next_column(name))
                yield (
                    f"select distinct {_comparable(identifier(name), column)} as old, {later} as new "
                    f"from {rows_in(self._settings, spec, files)} where {later} is not null"
                )

    def _made_of(self, left: list[UUID | str], column: Column) -> pa.Table:
        """Pseudonyms of which no later one is known, with others that the later key makes of them."""
        if column.type == "string":
            made = [str(UUID(bytes=pseudonym_of(self._secret, column.name, str(old).encode()))) for old in left]
            return pa.table({"old": pa.array(left, pa.string()), "new": pa.array(made, pa.string())})
        keys = [pseudonym_of(self._secret, column.name, old.bytes) for old in left if isinstance(old, UUID)]
        return pa.table({"old": pa.array(map(str, left), pa.string()), "new": pa.array(keys, pa.binary())})


class _RekeyingConsents(_Rekeying):
    """Of records of consent, which hold on both sides (flows/land/rekey_consents.py)."""

    makes_strangers = False

    def _find_carried(self, engine: duckdb.DuckDBPyConnection, files: list[FileInForce]) -> dict[str, int]:
        for name in self._columns:
            engine.execute(f"create temp table {identifier(f'before_{name}')} (key uuid, happened_at timestamp)")
            for spec in self._specs.values():
                column = linking_columns(spec).get(name)
                in_force = self._receipts.files.in_force(spec.name) if column and spec.is_by_day else []
                earlier = [file for file in in_force if not self._is_later(file.event_date)]
                if column and earlier and spec.day_of:
                    engine.execute(
                        f"insert into {identifier(f'before_{name}')} select distinct "
                        f"{_comparable(identifier(name), column)}, {identifier(spec.day_of)} "
                        f"from {rows_in(self._settings, spec, earlier)} where {identifier(name)} is not null"
                    )
        return super()._find_carried(engine, files)

    def _wanted(self, day: date | None, rows: str) -> str:
        boundary = boundary_of(self._change.from_day)
        return kept_query(self._all_columns(rows), self._next_columns(), self._change.last_batch_id, boundary)

    def _told(self, engine: duckdb.DuckDBPyConnection, made: Path, number: int) -> tuple[LandedFile, ...]:
        rows = self._all_columns(rows_in(self._settings, self._spec, self._in_force))
        in_force = [receipt.batch_id for receipt in self._receipts.in_force(self._spec.name)]
        query = told_query(rows, self._change.last_batch_id, in_force, boundary_of(self._change.from_day))
        told = engine.execute(query).to_arrow_table()
        for name in self._next_columns():
            told = told.append_column(name, pa.nulls(told.num_rows, pa.binary(16)))
        return write_told(made, self._spec.name, number, told.select(TOLD.names).cast(TOLD))


def _type(column: Column) -> str:
    """The type of a column as it stands in landed files."""
    return "blob" if column.type == "uuid" else "varchar"


def _compared(column: Column) -> str:
    return "uuid" if column.type == "uuid" else "varchar"


def _comparable(value: str, column: Column) -> str:
    """Bytes are cast before they are compared, as in :func:`flows.privacy.rows.share_of_row`."""
    return f"cast({value} as {_compared(column)})"
