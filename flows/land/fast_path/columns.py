"""The fast path for rows that are clearly regular: whole columns at once, with NumPy and Arrow.

What a row means is defined by :mod:`flows.land.conform_sql` alone. Nearly every row is in order, though, and seeing
that costs a fraction of saying what is wrong with one that is not. So here a row either is *regular*, and then its
values are exactly those that the SQL would give, or it is left to the SQL. In doubt it is not regular.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from math import ceil, floor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
# Outside of these a time is a unit mistaken or a word such as infinity.
EARLIEST, LATEST = date(1900, 1, 1), date(2100, 1, 1)
# An id that is blank or nil (RFC 9562: all zeros, as devices give that hide theirs) is none: taken as one, it would
# make one person of all that have none.
NO_ID = r"[\s\p{Z}]*|\{?0{8}-?0{4}-?0{4}-?0{4}-?0{12}\}?"
STRINGS = pa.dictionary(pa.int32(), pa.string())
TYPES = {
    "date": pa.date32(),
    "double": pa.float64(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "boolean": pa.bool_(),
}
# What is read here where it is written as text.
TEXT_TYPES = ("uuid", "timestamp", "date", "double", "bigint", "integer")
# The ways of writing a time that are read here: to the second, millisecond or microsecond, with a Z or an offset.
TIME_LENGTHS = pa.array([20, 24, 27], pa.int32())
TIME_LENGTHS_WITH_OFFSET = pa.array([25, 29, 32], pa.int32())
OFFSET = r"^[+-](?:(?:0\d|1[0-7]):[0-5]\d|18:00)$"
# As many digits always fit.
SAFE_DIGITS = {"integer": 9, "bigint": 18, "double": 24}
UUID_LENGTH = 36
HYPHENS = [8, 13, 18, 23]
DIGITS = [i for i in range(UUID_LENGTH) if i not in HYPHENS]
NIBBLES = np.full(256, 0xF0, np.uint8)
NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
FEW = 64


@dataclass
class Columns:
    """The rows of a chunk, and which of them are regular as far as is known.

    ``values`` holds an array a field name: in the contract's type, or as text where the file has text; strings as
    they are or as dictionaries. A name that no row has is absent. ``kind`` is each row's payload by its position in
    the spec, -1 for none; it is None where the dataset has no payloads.
    """

    regular: Mask
    values: dict[str, pa.Array] = field(default_factory=dict)
    kind: npt.NDArray[np.int8] | None = None


def judge(spec: DatasetSpec, columns: Columns) -> dict[str, pa.Array]:
    """Each name's values in the contract's type, strings as dictionaries; rows not in order are no longer regular."""
    typed: dict[str, pa.Array] = {}
    if columns.kind is not None:
        columns.regular &= columns.kind >= 0
    for f in spec.fields:
        if f.name in columns.values and f.name not in typed:
            typed[f.name], fits = _typed(f.type, columns.values[f.name])
            columns.regular &= fits
            if f.is_id and pa.types.is_dictionary(typed[f.name].type):
                typed[f.name] = _without_nobody(typed[f.name])
        good = _good(f, typed[f.name]) if f.name in typed else not f.required
        if good is not True and f.payload is not None and columns.kind is not None:
            good = good | (columns.kind != spec.payloads.index(f.payload))
        columns.regular &= good
    if spec.require_one_of:
        columns.regular &= _has_one(len(columns.regular), [typed[n] for n in spec.require_one_of if n in typed])
    return typed


def _has_one(size: int, fields: Iterable[pa.Array]) -> Mask:
    """Which rows have a value in one of the fields at least."""
    found = np.zeros(size, bool)
    for values in fields:
        is_there = pc.is_valid(values)
        if pa.types.is_dictionary(values.type):
            is_there = pc.fill_null(pc.not_equal(values.cast(pa.string()), ""), False)
        found |= np.asarray(is_there)
    return found


# --- types -----------------------------------------------------------------------------------------------------------


def _typed(kind: str, values: pa.Array) -> tuple[pa.Array, Mask | bool]:
    """Values in the contract's type, and which of them fit it; the others are NULL."""
    if kind == "string":
        return (values if pa.types.is_dictionary(values.type) else values.dictionary_encode()), True
    if not pa.types.is_string(values.type):
        return values, True
    if kind == "uuid":
        return _uuids(values)
    length = pc.binary_length(values)
    if kind == "timestamp":
        likely = pc.and_(pc.is_in(length, TIME_LENGTHS), pc.ends_with(values, "Z"))
        if not pc.all(likely).as_py():
            offsets = pc.utf8_slice_codeunits(values, -6).dictionary_encode()
            is_offset = pc.match_substring_regex(offsets.dictionary, OFFSET).take(offsets.indices)
            likely = pc.or_(likely, pc.and_(pc.is_in(length, TIME_LENGTHS_WITH_OFFSET), is_offset))
        times, fits = _cast_where(likely, values, pa.timestamp("us", "UTC"))
        return times.cast(pa.timestamp("us")), fits
    if kind == "date":
        return _cast_where(pc.equal(length, 10), values, pa.date32())
    # Digits alone, without a leading zero; the double's point stands between digits.
    digits = pc.replace_substring(values, ".", "", max_replacements=1) if kind == "double" else values
    likely = pc.and_(pc.ascii_is_decimal(digits), pc.less_equal(length, SAFE_DIGITS[kind]))
    begin, end = pc.starts_with(values, "0"), pc.ends_with(values, ".")
    point = pc.or_(pc.starts_with(values, "0."), pc.equal(length, 1))
    likely = pc.and_(likely, pc.and_not(pc.or_(pc.invert(begin), point), pc.or_(end, pc.starts_with(values, "."))))
    return _cast_where(likely, values, TYPES[kind])


def _cast_where(likely: pa.Array, values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask]:
    """The likely values cast, and which values fit; NULL fits."""
    fits = _mask(likely, when_null=True)
    cast = _cast(values if fits.all() else pc.if_else(pa.array(fits), values, None), wanted)
    if cast.null_count != values.null_count:
        fits &= np.asarray(pc.is_valid(cast)) | np.asarray(pc.is_null(values))
    return cast, fits


def _cast(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The values cast; NULL where one does not, and for a few around it: Arrow does not say which it is."""
    try:
        return values.cast(wanted)
    except pa.ArrowInvalid:
        if len(values) <= FEW:
            return pa.nulls(len(values), wanted)
        half = len(values) // 2
        return pa.concat_arrays([_cast(values[:half], wanted), _cast(values[half:], wanted)])


def _without_nobody(ids: pa.DictionaryArray) -> pa.DictionaryArray:
    """The ids, NULL where one is none."""
    is_none = pc.match_substring_regex(ids.dictionary, f"^(?:{NO_ID})$")
    if not pc.any(is_none).as_py():
        return ids
    indices = pc.if_else(is_none.take(ids.indices), pa.scalar(None, pa.int32()), ids.indices)
    return pa.DictionaryArray.from_arrays(indices, ids.dictionary)


def _uuids(values: pa.StringArray) -> tuple[pa.Array, Mask]:
    """UUIDs with four hyphens as sixteen bytes; other ways of writing them do not fit here."""
    offsets = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4)
    fits = np.asarray(pc.is_valid(values)) & (np.diff(offsets) == UUID_LENGTH)
    if not fits.any():
        return pa.nulls(len(values), pa.binary(16)), np.asarray(pc.is_null(values))
    starts = offsets[:-1] if fits.all() else np.where(fits, offsets[:-1], offsets[:-1][fits][0])
    letters = gather(np.frombuffer(values.buffers()[2], np.uint8), starts, UUID_LENGTH)
    nibbles = NIBBLES[letters[:, DIGITS]]
    high, low = nibbles[:, 0::2], nibbles[:, 1::2]
    fits &= ~((high | low) > 0x0F).any(axis=1) & (letters[:, HYPHENS] == ord("-")).all(axis=1)
    fits &= nibbles.any(axis=1)  # all zeros is no id
    bytes_ = pa.py_buffer(np.ascontiguousarray((high << 4) | low))
    valid = None if fits.all() else pa.array(fits).buffers()[1]
    uuids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), [valid, bytes_])
    return uuids, fits | np.asarray(pc.is_null(values))


def is_needed(f: FieldSpec) -> bool:
    """Whether anything depends on the field's value; a name shared with others is needed when one of them is."""
    checked = f.required or f.accepted_values or f.pattern or f.type != "string"
    return bool(checked or f.flag or f.treatment is not Treatment.DROP)


def gather(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.uint8]:
    """This many bytes from each start on, a row each."""
    windows = np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))
    letters: npt.NDArray[np.uint8] = windows[starts].view(np.uint8).reshape(-1, size)
    return letters


# --- checks ----------------------------------------------------------------------------------------------------------


def _good(f: FieldSpec, values: pa.Array) -> Mask | bool:
    """Which values meet the field's conditions; True where all do."""
    if pa.types.is_dictionary(values.type):
        words = np.append(_good_words(f, values.dictionary), not f.required)
        return True if words.all() else np.asarray(words[np.asarray(values.indices.fill_null(len(words) - 1))])
    if pa.types.is_list(values.type):
        return _good_lists(f, values)
    good = pc.is_finite(values) if f.type == "double" else None
    for bound, holds in _bounds(f, values.type):
        held = holds(values, bound)
        good = held if good is None else pc.and_(good, held)
    if good is not None:
        return _mask(good, when_null=not f.required)
    return np.asarray(pc.is_valid(values)) if f.required and values.null_count else True


def _bounds(f: FieldSpec, kind: pa.DataType) -> list[tuple[pa.Scalar, Callable[[pa.Array, pa.Scalar], pa.Array]]]:
    """What the values are compared with, and how."""
    if f.type in ("timestamp", "date"):
        return [(pa.scalar(EARLIEST).cast(kind), pc.greater_equal), (pa.scalar(LATEST).cast(kind), pc.less)]
    least, greatest = f.min, f.max
    if f.type != "double":
        # Compared as doubles, great numbers would be rounded.
        least = None if least is None else ceil(least)
        greatest = None if greatest is None else floor(greatest)
    bounds = [(least, pc.greater_equal), (greatest, pc.less_equal)]
    return [(pa.scalar(bound), holds) for bound, holds in bounds if bound is not None]


def _good_words(f: FieldSpec, words: pa.StringArray) -> Mask:
    good = np.ones(len(words), bool)
    if f.required:
        good &= np.asarray(pc.not_equal(words, ""))
    if f.accepted_values:
        good &= np.asarray(pc.is_in(words, pa.array(f.accepted_values)))
    if f.pattern:
        # Whether a point stands for a line end, engines see differently.
        good &= np.asarray(pc.match_substring_regex(words, f"^(?:{f.pattern})$"))
        good &= ~np.asarray(pc.match_substring(words, "\n"))
    return good


def _good_lists(f: FieldSpec, values: pa.ListArray) -> Mask:
    good = np.asarray(pc.is_valid(values)) if f.required else np.ones(len(values), bool)
    words = values.flatten()
    bad = pc.is_null(words)
    if f.accepted_values:
        bad = pc.invert(pc.is_in(words, pa.array(f.accepted_values)))
    if pc.any(bad).as_py():
        good[np.asarray(pc.list_parent_indices(values).filter(bad))] = False
    return good


def _mask(values: pa.Array, when_null: bool) -> Mask:
    return np.array(values.fill_null(when_null) if values.null_count else values)


# --- columns as a file has them --------------------------------------------------------------------------------------


def from_table(spec: DatasetSpec, table: pa.Table) -> Columns | None:
    """The columns of a table whose payloads are structs; None where a column's type is not one that is read here."""
    kind = np.full(table.num_rows, -1, np.int8)
    columns = Columns(np.ones(table.num_rows, bool), kind=kind if spec.payloads else None)
    parts: dict[str, list[tuple[Rows | None, pa.Array]]] = {}
    for number, payload in enumerate(spec.payloads):
        if any(f.path in table.column_names for f in spec.fields if f.payload == payload):
            return None
        if payload not in table.column_names or pa.types.is_null(table.schema.field(payload).type):
            continue
        body = _one_array(table[payload])
        if not pa.types.is_struct(body.type):
            return None
        rows = np.flatnonzero(np.asarray(body.is_valid()))
        columns.regular[rows] &= kind[rows] < 0
        kind[rows] = number
        for f in spec.fields:
            if f.payload == payload and body.type.get_field_index(f.name) >= 0:
                parts.setdefault(f.name, []).append((rows, pc.struct_field(body, f.name).take(pa.array(rows))))
    for f in spec.fields:
        if f.payload is None and f.name in table.column_names:
            parts.setdefault(f.name, []).append((None, _one_array(table[f.name])))
    by_name = {f.name: f for f in spec.fields}
    for name, found in parts.items():
        held = [(rows, _as_read(by_name[name], v)) for rows, v in found if not pa.types.is_null(v.type)]
        arrays = [values for _, values in held if values is not None]
        places = [rows for rows, _ in held if rows is not None]
        if len(arrays) < len(held) or len({str(values.type) for values in arrays}) > 1:
            return None
        if len(arrays) > 1 and len(places) < len(arrays):  # in the envelope and in a payload
            return None
        if arrays:
            columns.values[name] = _together(table.num_rows, places, arrays) if places else arrays[0]
    return columns


def _one_array(values: pa.ChunkedArray) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    combined = (values.unify_dictionaries() if pa.types.is_dictionary(values.type) else values).combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.nulls(0, values.type)


def _as_read(f: FieldSpec, values: pa.Array) -> pa.Array | None:
    """The values as :class:`Columns` wants them; None for a type that is left to the SQL."""
    kind = values.type
    if f.type == "string":
        if pa.types.is_string(kind):
            return values.dictionary_encode()
        return values if kind == STRINGS and not values.dictionary.null_count else None
    if pa.types.is_string(kind):
        return values if f.type in TEXT_TYPES else None
    if f.type == "uuid":
        return values.storage if isinstance(kind, pa.UuidType) else None
    if f.type == "timestamp":
        return values.cast(pa.timestamp("us")) if pa.types.is_timestamp(kind) and kind.unit == "us" else None
    if f.type == "string[]":
        return values if pa.types.is_list(kind) and pa.types.is_string(kind.value_type) else None
    return values if kind == TYPES.get(f.type) else None


def _together(size: int, rows: list[Rows], arrays: list[pa.Array]) -> pa.Array:
    """One column of this many values from parts, each of which some rows have."""
    merged = _one_array(pa.chunked_array(arrays))
    every = np.concatenate(rows)
    places = np.zeros(size, np.int32)
    places[every] = np.arange(len(every), dtype=np.int32)
    absent = np.ones(size, bool)
    absent[every] = False
    return merged.take(pa.array(places, mask=absent))
