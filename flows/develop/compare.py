"""One table of two places compared by its key: the statement that does it, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flows.land.field_sql import identifier, literal

NUMBERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"})
INEXACT = frozenset({"FLOAT", "DOUBLE"})
# Sums of the same numbers in another order differ by less than this share of them.
SAME = 1e-9


@dataclass(frozen=True)
class Shape:
    """What of a table is compared: its columns with their types in each place, its key, and the days both have.

    ``figures`` are the columns whose sums mean something and may be shown.
    """

    name: str
    here: Mapping[str, str]
    there: Mapping[str, str]
    key: tuple[str, ...]
    day_column: str | None = None
    days: tuple[date, date] | None = None
    figures: frozenset[str] = frozenset()

    @property
    def added_columns(self) -> dict[str, str]:
        """Columns that only the warehouse has, with their types."""
        return {name: kind for name, kind in self.here.items() if name not in self.there}

    @property
    def removed_columns(self) -> dict[str, str]:
        """Columns that only the publication has."""
        return {name: kind for name, kind in self.there.items() if name not in self.here}

    @property
    def retyped_columns(self) -> dict[str, tuple[str, str]]:
        """Columns of another type: that of the publication, and that of the warehouse."""
        return {c: (self.there[c], kind) for c, kind in self.here.items() if self.there.get(c, kind) != kind}

    @property
    def compared(self) -> list[str]:
        """The columns whose values are compared."""
        return [column for column in self.here if column in self.there and column not in self.key]

    @property
    def has_key(self) -> bool:
        """Whether rows can be told from each other in both places."""
        return bool(self.key) and all(column in self.here and column in self.there for column in self.key)


@dataclass(frozen=True)
class ColumnChange:
    """How a column differs: in how many rows that both have; its sums in the publication and here, where shown."""

    name: str
    rows: int
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class TableDiff:
    """How a table differs. ``rows_before`` are the publication's; where rows could not be compared, ``why_not`` says
    why, and the numbers of rows are all that is known."""

    shape: Shape
    rows_before: int
    rows_after: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: tuple[ColumnChange, ...] = ()
    why_not: str = ""
    stale_because: str = ""

    @property
    def is_same(self) -> bool:
        """Whether nothing that was compared differs."""
        shape = self.shape
        return not (
            shape.added_columns or shape.removed_columns or shape.retyped_columns or self.why_not
            or self.added or self.removed or self.changed or self.rows_before != self.rows_after
        )  # fmt: skip


def comparison(shape: Shape, here: str, there: str) -> str:
    """The statement whose one row :func:`read_comparison` reads. ``here`` and ``there`` name the table in each."""
    both = "mine.is_mine and theirs.is_theirs"
    differs = {column: _differs(shape, column) for column in shape.compared}
    parts = [
        "count(*) filter (theirs.is_theirs)",
        "count(*) filter (mine.is_mine)",
        "count(*) filter (theirs.is_theirs is null)",
        "count(*) filter (mine.is_mine is null)",
        f"count(*) filter ({both} and ({' or '.join(differs.values()) or 'false'}))",
    ]
    parts += [f"count(*) filter ({both} and {condition})" for condition in differs.values()]
    for column in _summed(shape):
        parts += [f"sum(theirs.{identifier(column)})", f"sum(mine.{identifier(column)})"]
    on = " and ".join(_same_key(shape, column) for column in shape.key)
    where = _where(shape)
    return f"""
select {", ".join(parts)}
from (select *, true as is_mine from {here}{where}) as mine
full join (select *, true as is_theirs from {there}{where}) as theirs on {on}
"""


def read_comparison(shape: Shape, row: tuple[Any, ...], stale_because: str = "") -> TableDiff:
    """What the row of a :func:`comparison` says."""
    before, after, added, removed, changed, *rest = row
    counts = dict(zip(shape.compared, rest, strict=False))
    sums = dict(zip(_summed(shape), zip(*[iter(rest[len(counts) :])] * 2, strict=True), strict=True))
    columns = [
        ColumnChange(name, counts[name], *sums.get(name, ()))
        for name in shape.compared
        if counts[name] or (name in sums and not _nearly(*sums[name]))
    ]
    return TableDiff(shape, before, after, added, removed, changed, tuple(columns), stale_because=stale_because)


def counting(shape: Shape, table: str) -> str:
    """The statement that counts a table's rows, and its keys, of the days that both have."""
    keys = ", ".join(identifier(column) for column in shape.key)
    distinct = f"(select count(*) from (select distinct {keys} from {table}{_where(shape)}))" if shape.has_key else "0"
    return f"select count(*), {distinct} from {table}{_where(shape)}"


def _where(shape: Shape) -> str:
    if not (shape.day_column and shape.days):
        return ""
    first, last = shape.days
    return f" where {identifier(shape.day_column)} between date {literal(str(first))} and date {literal(str(last))}"


def _same_key(shape: Shape, column: str) -> str:
    return f"{_value('mine', shape, column)} is not distinct from {_value('theirs', shape, column)}"


def _differs(shape: Shape, column: str) -> str:
    mine, theirs = _value("mine", shape, column), _value("theirs", shape, column)
    if shape.here[column] in INEXACT and shape.there[column] in INEXACT:
        near = f"abs({mine} - {theirs}) <= {SAME} * greatest(abs({mine}), abs({theirs}))"
        return f"({mine} is distinct from {theirs} and not coalesce({near}, false))"
    return f"({mine} is distinct from {theirs})"


def _value(side: str, shape: Shape, column: str) -> str:
    """A column of one side; as text, where the two are of different types."""
    name = f"{side}.{identifier(column)}"
    return f"cast({name} as varchar)" if column in shape.retyped_columns else name


def _summed(shape: Shape) -> list[str]:
    def is_number(kind: str) -> bool:
        return kind.partition("(")[0] in NUMBERS

    return [c for c in shape.compared if c in shape.figures and is_number(shape.here[c]) and is_number(shape.there[c])]


def _nearly(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return before is after
    return bool(abs(after - before) <= SAME * max(abs(before), abs(after)))
