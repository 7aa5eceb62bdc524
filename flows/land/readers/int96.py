"""Times stored as INT96, as older writers do: a day and nanoseconds, which reach further than 64 bits of nanoseconds.

Arrow lets what does not fit into 64 bits wrap around to another year. So such columns are read twice, in seconds and in
nanoseconds: together they give every time exactly.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BILLION = 1_000_000_000
LAST_SECOND = (2**63 - 1) // BILLION - 1


def int96_columns(file: pq.ParquetFile) -> list[str]:
    """The names of the columns that are, or hold, times stored as INT96."""
    schema = file.schema
    leaves = [schema.column(i) for i in range(len(schema.names))]
    return list(dict.fromkeys(leaf.path.split(".")[0] for leaf in leaves if leaf.physical_type == "INT96"))


def exact_times(nanoseconds: pa.Array, seconds: pa.Array) -> pa.Array:
    """One column read in both units: nanoseconds where all values fit, else the times as ISO text."""
    kind = seconds.type
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return _as_text(nanoseconds, seconds)
    if pa.types.is_struct(kind):
        pairs = [
            exact_times(pc.struct_field(nanoseconds, [i]), pc.struct_field(seconds, [i])) for i in range(len(kind))
        ]
        fields = [pa.field(kind.field(i).name, made.type) for i, made in enumerate(pairs)]
        return pa.StructArray.from_arrays(pairs, fields=fields, mask=seconds.is_null())
    try:
        seconds.cast(nanoseconds.type)
    except pa.ArrowException:
        return seconds
    return nanoseconds


def _as_text(nanoseconds: pa.Array, seconds: pa.Array) -> pa.Array:
    whole = np.asarray(seconds.view(pa.int64()).fill_null(0))
    if not len(whole) or (whole.min() >= -LAST_SECOND and whole.max() <= LAST_SECOND):
        return nanoseconds
    wrapped = np.asarray(nanoseconds.view(pa.int64()).fill_null(0))
    # Both wrap around alike, so that their difference does not.
    behind = (wrapped.view(np.uint64) - whole.view(np.uint64) * np.uint64(BILLION)).astype(np.int64)
    days = np.datetime_as_string(whole.view("datetime64[s]"))
    texts = [f"{day}.{_digits(rest)}Z" for day, rest in zip(days.tolist(), behind.tolist(), strict=True)]
    return pa.array(texts, pa.string(), mask=np.asarray(seconds.is_null()))


def _digits(nanoseconds: int) -> str:
    text = f"{nanoseconds:09d}"
    return text.removesuffix("000")
