"""The columns by which rows are found to be one person's, and what stands in them once the key is being changed."""

from collections.abc import Collection, Iterable
from datetime import date
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import Column, DatasetSpec, Privacy, Treatment
from flows.keys import derived
from flows.land.pseudonyms import Pseudonymiser, pseudonym_of

# Where the later pseudonym of a column stands while both keys are in use.
NEXT = "_next"
# How the pseudonyms begin that the key of today makes for days of another: they come after all others in any order, so
# that a copy of an event that is delivered again never takes the place of the one that counts.
LAST_OF_ALL = b"\xff\xff\xff\xff"


def linking_columns(spec: DatasetSpec) -> dict[str, Column]:
    """By name the pseudonyms of a dataset, and the ids that clients make of their own and that land as they were sent,
    such as that of a session: before and after a change of the key, none may stand on both sides."""
    names = {
        field.column
        for field in spec.fields
        if field.treatment is Treatment.PSEUDONYMISE
        or (field.treatment is Treatment.KEEP and field.is_id and field.privacy is not Privacy.NONE)
    }
    return {column.name: column for column in spec.columns() if column.name in names}


def is_pseudonym(column: Column) -> bool:
    """Whether a column has pseudonyms from the first; ids of clients become some once the key was changed."""
    return column.privacy == "pseudonym"


def next_column(name: str) -> str:
    """Where the later pseudonym of a column stands."""
    return f"{name}{NEXT}"


def next_columns(spec: DatasetSpec, there: Collection[str]) -> list[str]:
    """Those of the columns that are there in which later pseudonyms stand."""
    return [name for name in map(next_column, linking_columns(spec)) if name in there]


def keyed(pseudonymiser: Pseudonymiser, column: Column, values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The pseudonyms of a column's values, in the type in which it lands."""
    if column.type == "string":
        return pseudonymiser.texts(column.name, values)
    return pseudonymiser.column(column.name, values if is_pseudonym(column) else _spelt(values))


def _spelt(uuids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """UUIDs as text, as whoever sent them spells them."""
    return pa.array([None if value is None else str(_uuid(value)) for value in uuids.to_pylist()], pa.string())


def _uuid(value: UUID | bytes) -> UUID:
    return UUID(bytes=value) if isinstance(value, bytes) else value


class EarlierDays:
    """The days of before the key was changed, of which rows come late.

    What made their pseudonyms is destroyed. Those of today may not stand there either: a copy of an event that is
    delivered again would show which earlier one is whose. So of each time between two changes they get some of their
    own, made of those of today; nobody without the key can tell to which these belong.
    """

    def __init__(self, key: bytes, boundaries: Iterable[date]) -> None:
        self._secrets = [(day, derived(key, f"pseudonyms of days before {day}")) for day in sorted(boundaries)]

    def as_if_nobody_agreed(self, spec: DatasetSpec, rows: pa.Table) -> pa.Table:
        """The rows, those of earlier days as if nobody had agreed to anything: whether consent was withdrawn since is
        known of the pseudonyms of today, and these may not stand there."""
        if not self._secrets or not spec.is_by_day or not spec.with_consent_alone:
            return rows
        since = pc.greater_equal(rows["event_date"], self._secrets[-1][0])
        for name in spec.said_of_purposes.values():
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), pc.and_(rows[name], since))
        return rows

    def of_days_since(self, spec: DatasetSpec, rows: pa.Table) -> pa.Table:
        """The rows of days since: what others say of consent is about earlier days alone, whose rows land without, and
        its moment would stand beside a pseudonym of today."""
        if not self._secrets or not spec.is_by_day:
            return rows
        return rows.filter(pc.greater_equal(rows["event_date"], self._secrets[-1][0]))

    def of_day(self, spec: DatasetSpec, rows: pa.Table) -> pa.Table:
        """The rows, those of earlier days with the pseudonyms that stand there."""
        if not spec.is_by_day or not rows.num_rows:
            return rows
        not_before: date | None = None
        for before, secret in self._secrets:
            is_between = pc.less(rows["event_date"], before)
            if not_before is not None:
                is_between = pc.and_(is_between, pc.greater_equal(rows["event_date"], not_before))
            not_before = before
            if pc.any(is_between).as_py():
                rows = _with_others(spec, rows, is_between, secret)
        return rows

    def forms(self, column: str, pseudonym: UUID) -> tuple[UUID, ...]:
        """All that stand for a pseudonym of today on earlier days."""
        return tuple(UUID(bytes=_other(secret, column, pseudonym.bytes)) for _, secret in self._secrets)


def _with_others(spec: DatasetSpec, rows: pa.Table, are_meant: pa.ChunkedArray, secret: bytes) -> pa.Table:
    for name, column in linking_columns(spec).items():
        at = rows.schema.get_field_index(name)
        kind = rows.schema.field(at).type
        plain = pa.concat_arrays((rows[name].cast(pa.string()) if column.type == "string" else rows[name]).chunks)
        encoded = plain.dictionary_encode()
        others = [_other_value(secret, name, value) for value in encoded.dictionary.to_pylist()]
        made = pa.array(others, plain.type).take(encoded.indices)
        chosen = pc.if_else(are_meant.combine_chunks(), made, plain)
        rows = rows.set_column(at, rows.schema.field(at), chosen.dictionary_encode() if kind != chosen.type else chosen)
    return rows


def _other_value(secret: bytes, column: str, value: bytes | str) -> bytes | str:
    if isinstance(value, str):
        return str(UUID(bytes=_other(secret, column, value.encode())))
    return _other(secret, column, value)


def _other(secret: bytes, column: str, pseudonym: bytes) -> bytes:
    return LAST_OF_ALL + pseudonym_of(secret, column, pseudonym)[len(LAST_OF_ALL) :]
