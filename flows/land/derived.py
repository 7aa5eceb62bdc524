"""Columns that landing works out of others: the day of a row, what its lists hold, and coarser values."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec, Truncation
from flows.land.countries import country_of
from flows.land.days import local_days
from flows.land.fast_path.columns import EARLIEST, LATEST

# The instants that a contract can take, in microseconds since 1970.
FIRST, LAST = (int(np.datetime64(day, "us").astype(np.int64)) for day in (EARLIEST, LATEST))


def event_dates(instants: pa.Array | pa.ChunkedArray | None, size: int, zone: str) -> pa.Array:
    """The day of each of ``size`` instants in a time zone, as date32.

    Of instants that do not fit the contract, or are not there, it is any: such rows do not land.
    """
    instants = pa.nulls(size, pa.timestamp("us")) if instants is None else _whole(instants)
    numbers = pc.fill_null(instants.cast(pa.timestamp("us")).view(pa.int64()), 0).to_numpy()
    return pa.array(local_days(np.clip(numbers, FIRST, LAST), zone)).cast(pa.date32())


def held_in_lists(
    spec: DatasetSpec, field: str, lists: pa.Array | pa.ChunkedArray | None, size: int
) -> dict[str, pa.Array]:
    """A column for each accepted value of a field: whether the list holds it. A list that is absent holds none."""
    columns = {c.name: c.holds.value for c in spec.columns() if c.holds and c.holds.field == field}
    if lists is None:
        return {name: pa.repeat(pa.scalar(False), size) for name in columns}
    lists = _whole(lists)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    rows, values = np.repeat(np.arange(size), lengths), lists.flatten()
    found = {}
    for name, value in columns.items():
        holds = np.zeros(size, bool)
        holds[rows[pc.fill_null(pc.equal(values, value), False).to_numpy(zero_copy_only=False)]] = True
        found[name] = pa.array(holds)
    return found


def truncated(values: pa.Array | pa.ChunkedArray, to: Truncation) -> pa.Array:
    """The coarser value of each of these: a date's year, or the country that an address ends in, as a dictionary."""
    values = _whole(values)
    if to is Truncation.YEAR:
        return pc.year(values.cast(pa.date32())).cast(pa.int32())
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    countries = [country_of(address) for address in values.dictionary.to_pylist()]
    return pa.array(countries, pa.string()).take(values.indices).dictionary_encode()


def _whole(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
