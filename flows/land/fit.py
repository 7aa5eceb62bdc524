"""Columns of other types brought to the contract's, where that changes no value.

Parquet has more types than the contract, and some that neither Python nor the engine can hold. What comes out of here
is text, or the contract's own type: the fast path and :mod:`flows.land.conform_sql` see nothing else. A value that
would have to be cut, rounded or guessed is a misfit, and its row is rejected. What is taken is written down in
ADR 0007.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.spec import DatasetSpec, FieldSpec
from flows.land.readers.values import json_texts

Mask = npt.NDArray[np.bool_]
NUMBERS = {"double": pa.float64(), "bigint": pa.int64(), "integer": pa.int32()}
MICROSECONDS = pa.timestamp("us")
DAY = 86_400_000_000
# Times beyond what the contract takes are brought here, so that they fit into microseconds and are reported as such.
FIRST, LAST = -62_135_596_800_000_000, 253_402_214_400_000_000
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Beyond it not every whole number is a double.
EXACT_IN_DOUBLES = 2**53


@dataclass
class Fitted:
    """A table that holds text or the contract's types, and the first misfit of each row that has one."""

    table: pa.Table
    misfits: dict[int, str] = field(default_factory=dict)


def fit(spec: DatasetSpec, table: pa.Table) -> Fitted:
    """The table's columns in types that the contract knows; ``misfits`` are fields' paths by row."""
    fitted = Fitted(table)
    texts: dict[str, set[bool]] = {}
    for f in spec.fields:
        if f.path in table.column_names:
            values, good = fit_values(f, _simple(_whole(table[f.path])))
            _put(fitted, f.path, values, good, f.path)
            texts.setdefault(f.name, set()).add(_is_text(values.type))
    for payload in spec.payloads:
        if payload in table.column_names:
            _fit_payload(spec, payload, fitted, texts)
    mixed = {name for name, kinds in texts.items() if len(kinds) > 1}
    if mixed:
        fitted.table = _all_text(spec, fitted.table, mixed)
    return fitted


def _fit_payload(spec: DatasetSpec, payload: str, fitted: Fitted, texts: dict[str, set[bool]]) -> None:
    body = _simple(_whole(fitted.table[payload]))
    if pa.types.is_null(body.type) or _is_text(body.type):
        _put(fitted, payload, body, None, payload)
        return
    if not pa.types.is_struct(body.type):
        _put(fitted, payload, pa.nulls(len(body)), _mask(body.is_null()), payload)
        return
    names: list[str] = []
    arrays: list[pa.Array] = []
    changed = False
    for f in (f for f in spec.fields if f.payload == payload and body.type.get_field_index(f.name) >= 0):
        held = pc.struct_field(body, f.name)
        values, good = fit_values(f, _simple(held))
        _note(fitted, good, f.path)
        changed |= values is not held
        names.append(f.name)
        arrays.append(values)
        if not pa.types.is_null(values.type):
            texts.setdefault(f.name, set()).add(_is_text(values.type))
    if changed or body.type.num_fields != len(names):
        # A struct of no fields could not be told from one that is absent.
        members = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
        absent = body.is_null()
        body = (
            pa.StructArray.from_arrays(arrays, fields=members, mask=absent)
            if names
            else pa.StructArray.from_arrays([pa.nulls(len(body))], names=["_none"], mask=absent)
        )
    _put(fitted, payload, body, None, payload)


def _put(fitted: Fitted, name: str, values: pa.Array, good: Mask | None, path: str) -> None:
    at = fitted.table.schema.get_field_index(name)
    if values.type != fitted.table.schema.field(at).type or good is not None:
        fitted.table = fitted.table.set_column(at, name, values)
    _note(fitted, good, path)


def _note(fitted: Fitted, good: Mask | None, path: str) -> None:
    if good is not None:
        for row in np.flatnonzero(~good).tolist():
            fitted.misfits.setdefault(row, path)


def fit_values(f: FieldSpec, values: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Values as text or in the field's own type, and which of them fit; None where all do."""
    kind = values.type
    if pa.types.is_null(kind) or _is_text(kind):
        return values, None
    fitting = _FITTING.get(f.type)
    found = fitting(values) if fitting else None
    if found is None:
        # No value of this type is one of the field's.
        return pa.nulls(len(values)), _mask(values.is_null())
    fitted, good = found
    return fitted, None if good is None or good.all() else good


Found = tuple[pa.Array, Mask | None] | None


def _number(wanted: pa.DataType) -> Callable[[pa.Array], Found]:
    def fit_number(values: pa.Array) -> Found:
        kind = values.type
        if kind == wanted:
            return values, None
        if pa.types.is_integer(kind):
            if pa.types.is_floating(wanted) and kind.bit_width > 32:
                # Beyond, neighbours become one double.
                held = pc.and_(
                    pc.greater_equal(values, pa.scalar(-EXACT_IN_DOUBLES if pa.types.is_signed_integer(kind) else 0)),
                    pc.less_equal(values, pa.scalar(EXACT_IN_DOUBLES).cast(kind)),
                )
                return _where(values, _mask(held.fill_null(True)), wanted)
            return _cast(values, wanted)
        if pa.types.is_floating(kind):
            if pa.types.is_floating(wanted):
                return values.cast(wanted), None
            return _cast(values.cast(pa.float64()), wanted)
        if pa.types.is_decimal(kind):
            # As a number written with digits: a double is the nearest one, a whole number has nothing behind the point.
            return _cast(values, wanted)
        return None

    return fit_number


def _timestamp(values: pa.Array) -> Found:
    if not pa.types.is_timestamp(values.type):
        return None
    return (values, None) if values.type == MICROSECONDS else _microseconds(values)


def _microseconds(values: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Times to the microsecond, of whatever unit and zone; a zone says how to show an instant, not which it is."""
    unit = values.type.unit
    if unit == "us":
        return values.view(MICROSECONDS), None
    counts = np.asarray(values.view(pa.int64()).fill_null(0))
    absent = np.asarray(values.is_null())
    if unit == "ns":
        made, good = counts // 1_000, counts % 1_000 == 0
    else:
        factor = 1_000_000 // PER_SECOND[unit]
        made = np.clip(counts, FIRST // factor, LAST // factor) * factor
        good = np.ones(len(counts), bool)
    return pa.array(made, pa.int64(), mask=absent).view(MICROSECONDS), good


def _date(values: pa.Array) -> Found:
    kind = values.type
    if pa.types.is_date32(kind):
        return values, None
    if pa.types.is_date64(kind):
        values = values.view(pa.timestamp("ms"))
    elif not pa.types.is_timestamp(kind):
        return None
    # A time is a day where it is the day's beginning, as libraries without a type for days write them.
    times, exact = _microseconds(values)
    counts = np.asarray(times.view(pa.int64()).fill_null(0))
    good = counts % DAY == 0
    days = pa.array(
        np.clip(counts // DAY, FIRST // DAY, LAST // DAY).astype(np.int32), mask=np.asarray(times.is_null())
    )
    return days.view(pa.date32()), good if exact is None else good & exact


def _boolean(values: pa.Array) -> Found:
    return (values, None) if pa.types.is_boolean(values.type) else None


def _uuid(values: pa.Array) -> Found:
    if not isinstance(values.type, pa.UuidType) and values.type != pa.binary(16):
        return None
    held = values.storage if isinstance(values.type, pa.UuidType) else values
    is_nil = pc.equal(held, pa.scalar(bytes(16), pa.binary(16)))
    if pc.any(is_nil).as_py():  # it is no id, and so is absent
        held = pa.array([None if value == bytes(16) else value for value in held.to_pylist()], pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), held), None


def _strings(values: pa.Array) -> Found:
    kind = values.type
    wanted = pa.list_(pa.string())
    if kind == wanted:
        return values, None
    nested = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, *_VIEWS)
    if not any(is_kind(kind) for is_kind in nested):
        return None
    inner = kind.value_type.value_type if pa.types.is_dictionary(kind.value_type) else kind.value_type
    return (values.cast(wanted), None) if _is_text(inner) or pa.types.is_null(inner) else None


_VIEWS = (pa.types.is_list_view, pa.types.is_large_list_view)
_FITTING: dict[str, Callable[[pa.Array], Found]] = {
    **{name: _number(kind) for name, kind in NUMBERS.items()},
    "timestamp": _timestamp,
    "date": _date,
    "boolean": _boolean,
    "uuid": _uuid,
    "string[]": _strings,
}


def _cast(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask | None]:
    """The values cast where it is exact, and which those are."""
    try:
        return values.cast(wanted), None
    except pa.ArrowInvalid:
        return _each(values, wanted)


def _each(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask]:
    """Halves, until the ones that cannot be cast stand alone: Arrow does not say which they are."""
    try:
        return values.cast(wanted), np.ones(len(values), bool)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, wanted), np.zeros(1, bool)
    half = len(values) // 2
    (left, good_left), (right, good_right) = _each(values[:half], wanted), _each(values[half:], wanted)
    return pa.concat_arrays([left, right]), np.concatenate([good_left, good_right])


def _where(values: pa.Array, good: Mask, wanted: pa.DataType) -> tuple[pa.Array, Mask]:
    return pc.if_else(pa.array(good), values, None).cast(wanted), good


def _simple(values: pa.Array) -> pa.Array:
    """Values without what only says how they are stored: dictionaries (but of text), runs, extensions, views."""
    kind = values.type
    if isinstance(kind, pa.UuidType):
        return values
    if isinstance(kind, pa.BaseExtensionType):
        return _simple(values.storage)
    if pa.types.is_run_end_encoded(kind):
        return _simple(pc.run_end_decode(values))
    if pa.types.is_dictionary(kind):
        if not _is_text(kind):
            return _simple(values.dictionary_decode())
        return values
    if pa.types.is_string_view(kind):
        return values.cast(pa.string())
    return values


def _is_text(kind: pa.DataType) -> bool:
    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held))


def _all_text(spec: DatasetSpec, table: pa.Table, names: set[str]) -> pa.Table:
    """Fields that stand as text in one place and in their own type in another, as text in each."""
    for f in spec.fields:
        if f.name in names and f.path in table.column_names:
            at = table.schema.get_field_index(f.path)
            table = table.set_column(at, f.path, _as_text(_whole(table[f.path])))
    for payload in spec.payloads:
        if payload not in table.column_names or not pa.types.is_struct(table.schema.field(payload).type):
            continue
        body = _whole(table[payload])
        members = [m.name for m in body.type]
        if names & set(members):
            arrays = [pc.struct_field(body, name) for name in members]
            arrays = [_as_text(a) if name in names else a for name, a in zip(members, arrays, strict=True)]
            made = pa.StructArray.from_arrays(arrays, names=members, mask=body.is_null())
            table = table.set_column(table.schema.get_field_index(payload), payload, made)
    return table


def _as_text(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_null(kind) or _is_text(kind):
        return values.cast(pa.string())
    if isinstance(kind, pa.UuidType) or pa.types.is_list(kind):
        texts = [None if text is None else text if text[0] == "[" else json.loads(text) for text in json_texts(values)]
        return pa.array(texts, pa.string())
    return values.cast(pa.string())


def _whole(values: pa.ChunkedArray) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    combined = (values.unify_dictionaries() if pa.types.is_dictionary(values.type) else values).combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _mask(values: pa.Array) -> Mask:
    return np.asarray(values)
