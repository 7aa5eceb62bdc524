"""What rows may not say without consent, and what they tell of consent: pure, a table of conformed rows at a time."""

from datetime import datetime, timedelta
from functools import reduce
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.consent import CONSENTS
from flows.contract.spec import ConsentSaid, DatasetSpec
from flows.land.linking import next_column

# A clock that runs ahead by more than this says nothing of when it was: consent counts from when it was received.
FUTURE_AFTER = timedelta(hours=24)
TIME = pa.timestamp("us")
MINUTE, MICROSECOND = (pa.scalar(span, pa.duration("us")) for span in (timedelta(minutes=1), timedelta(microseconds=1)))
PERSONS = ("device_key", "user_key")
# Of one batch: whose consent to which purpose, whether it was given, from when on, and when that was received. While
# the key is changed the later pseudonym stands beside: who refuses lands in no other row by which they would be met.
TOLD = pa.schema(
    [
        *((person, pa.binary(16)) for person in PERSONS),
        *((next_column(person), pa.binary(16)) for person in PERSONS),
        ("purpose", pa.string()),
        ("is_granted", pa.bool_()),
        ("valid_from", TIME),
        ("received_at", TIME),
        ("stated_in", pa.string()),
    ]
)


def without_what_is_withheld(spec: DatasetSpec, rows: pa.Table) -> tuple[pa.Table, int]:
    """The rows, with NULL for what needs a consent that they do not have; and in how many something was left out."""
    columns = spec.with_consent_alone
    if not columns or not rows.num_rows:
        return rows, 0
    lost = pa.repeat(pa.scalar(False), rows.num_rows)
    for purposes in {*columns.values()}:
        said = [_given(rows[column]) for purpose, column in spec.said_of_purposes.items() if purpose in purposes]
        may_land = reduce(pc.or_, said, pa.repeat(pa.scalar(False), rows.num_rows))
        if pc.all(may_land).as_py():
            continue
        own = {name for name, needed in columns.items() if needed == purposes}
        for name in [*own, *(later for later in map(next_column, own) if later in rows.schema.names)]:
            lost = pc.or_(lost, pc.and_not(pc.is_valid(rows[name]), may_land))
            kept = _only_where(rows[name], may_land)
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), kept)
    return rows, pc.sum(lost).as_py() or 0


def told(spec: DatasetSpec, rows: pa.Table, landed_at: datetime) -> pa.Table:
    """What rows, with all that they said, tell of consent. Of a dataset whose rows say it of themselves: of each person
    and purpose that some do not agree to, the latest, until the minute ends in which it was. The moment itself would
    lead from the record, which names the person, back to the row, which does not."""
    if spec.consent is None:
        return TOLD.empty_table()
    person, since, received = _persons_and_times(spec, spec.consent, rows, landed_at)
    says = pc.and_(pc.is_valid(person), pc.is_valid(since))
    parts = []
    for purpose, column in spec.said_of_purposes.items():
        granted = _given(rows[column])
        some = pc.and_not(says, granted) if spec.consent.of_each_row else says
        if not pc.any(some).as_py():
            continue
        values = {
            **_keys_of(rows, _column_of_person(spec, spec.consent)),
            "is_granted": granted,
            "valid_from": since,
            "received_at": received,
        }
        part = pa.table(values).filter(some)
        constant = {"purpose": purpose, "stated_in": spec.name}
        parts.append(_with(part, constant))
    every = pa.concat_tables([TOLD.empty_table(), *parts])
    return latest(every) if spec.consent.of_each_row else every


def of_devices(records: pa.Table) -> pa.Table:
    """What records of the dataset ``consents`` say of their devices, without the users whom they name."""
    kept = [name for name in TOLD.names if name in records.column_names and "user_key" not in name]
    part = records.select(kept)
    stated_in = pc.fill_null(part["stated_in"].cast(pa.string()), CONSENTS)
    return _with(part.set_column(part.column_names.index("stated_in"), "stated_in", stated_in), {})


def latest(rows: pa.Table) -> pa.Table:
    """Of rows that tell the same of a person and purpose, one with the latest times."""
    return _one_of_each(rows, {"valid_from": "max", "received_at": "max"})


def distinct(rows: pa.Table) -> pa.Table:
    """Of rows that tell the same from the same moment on, one, with when it was first received."""
    return _one_of_each(rows, {"received_at": "min"})


def _one_of_each(rows: pa.Table, times: dict[str, str]) -> pa.Table:
    found = rows.group_by([name for name in TOLD.names if name not in times]).aggregate([*times.items()])
    names = {f"{name}_{which}": name for name, which in times.items()}
    return found.rename_columns([names.get(name, name) for name in found.column_names]).select(TOLD.names).cast(TOLD)


def with_ids(rows: pa.Table) -> pa.Table:
    """The rows with an id each, as records of consent have one."""
    return rows.append_column("consent_id", pa.array([uuid4().bytes for _ in range(rows.num_rows)], pa.binary(16)))


def _persons_and_times(
    spec: DatasetSpec, said: ConsentSaid, rows: pa.Table, landed_at: datetime
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.ChunkedArray]:
    person, since = rows[_column_of_person(spec, said)], rows[said.valid_from].cast(TIME)
    if said.received_at is None:
        now = pa.scalar(landed_at.replace(tzinfo=None), TIME)
        return person, since, pa.chunked_array([pa.repeat(now, rows.num_rows)])
    received = rows[said.received_at].cast(TIME)
    is_wrong = pc.greater(since, pc.add(received, pa.scalar(FUTURE_AFTER, pa.duration("us"))))
    since = pc.if_else(is_wrong, received, since)
    if not said.of_each_row:
        return person, since, received
    # When it was received would tell apart rows of one minute, and no figure depends on it.
    until = pc.subtract(pc.add(pc.floor_temporal(since, unit="minute"), MINUTE), MICROSECOND)
    return person, until, until


def _keys_of(rows: pa.Table, person: str) -> dict[str, pa.ChunkedArray]:
    """Whose consent it is, by each key that rows land with."""
    return {name: rows[name] for name in (person, next_column(person)) if name in rows.schema.names}


def _column_of_person(spec: DatasetSpec, said: ConsentSaid) -> str:
    (column,) = (field.column for field in spec.fields if field.name == said.person and field.payload is None)
    return column


def _with(part: pa.Table, constant: dict[str, str]) -> pa.Table:
    """The part with all columns of :data:`TOLD`."""
    columns = []
    for field in TOLD:
        if field.name in part.column_names:
            columns.append(part[field.name].cast(field.type))
        else:
            columns.append(pa.repeat(pa.scalar(constant.get(field.name), field.type), part.num_rows))
    return pa.Table.from_arrays(columns, schema=TOLD)


def _given(said: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether consent is given: a row that does not say so has none."""
    return pc.fill_null(said, False)


def _only_where(values: pa.ChunkedArray, keep: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if not pa.types.is_dictionary(values.type):
        return pc.if_else(keep, values, pa.scalar(None, values.type))
    whole = values.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    kept = pc.and_(pc.is_valid(whole.indices), keep).to_numpy(zero_copy_only=False)
    # A word that only rows without consent said may not stay in the dictionary either.
    used, codes = np.unique(pc.fill_null(whole.indices, 0).to_numpy()[kept], return_inverse=True)
    indices = np.zeros(len(whole), np.int32)
    indices[kept] = codes
    made = pa.DictionaryArray.from_arrays(pa.array(indices, mask=~kept), whole.dictionary.take(pa.array(used)))
    return made.cast(values.type)
