"""Why no row of a file fits: a guess at the likely cause, from the reasons and the first rows that were rejected.

Hints name what the contract knows, and nothing of the file: its keys and values may be people's data.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.contract.spec import DatasetSpec

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
# Rejected rows that are looked at for a cause.
LOOKED_AT = 20


@dataclass(frozen=True)
class Rejected:
    """A row of a file of which none fits: why, and its bytes as delivered."""

    reason: str
    field: str | None
    raw: bytes


def no_row_fits(
    rows: int,
    reasons: Counter[tuple[str, str | None]],
    first: Sequence[Rejected],
    columns: Sequence[str],
    spec: DatasetSpec,
    specs: Mapping[str, DatasetSpec],
) -> str:
    """What is reported of a file of which every row was rejected: how many, why, and the likely cause where there is
    one.

    ``reasons`` counts the rows by reason and field, ``first`` are the first of them, ``columns`` the names of a CSV's
    columns, and ``specs`` the datasets that it may be meant for instead.
    """
    (reason, field), most = reasons.most_common(1)[0]
    where = f" in {field}" if field and field not in reason else ""
    share = "all" if most == rows else f"{most:,} of them"
    found = f"no row fits ({rows:,} read, {share} {reason.replace('_', ' ')}{where})"
    hint = likely_cause(first, columns, spec, specs)
    return f"{found}; {hint}" if hint else found


def likely_cause(
    first: Sequence[Rejected], columns: Sequence[str], spec: DatasetSpec, specs: Mapping[str, DatasetSpec]
) -> str | None:
    """The likely cause in words, None where none is likely."""
    texts = [row.raw.lstrip(b"\xef\xbb\xbf").strip() for row in first if row.raw.strip()]
    keys = list(columns)
    if not keys and texts:
        if any(b"\0" in text for text in texts):
            return "it looks like UTF-16 or binary data; deliver UTF-8"
        if texts[0].startswith(b"["):
            return (
                "it looks like a JSON array; deliver one object a line, or one array of objects with nothing around it"
            )
        objects = [row for row in map(_object, texts) if row is not None]
        if not objects:
            return _of_text(texts)
        if all(_is_wrapped(row, specs.values()) for row in objects):
            return "each row is wrapped in a key of its own; deliver what is inside, one object a line"
        keys = [key for row in objects for key in row]
    if len(keys) == 1 and (separator := _separator(keys[0])):
        return f"its columns look separated by {SEPARATORS[separator]}; deliver commas"
    return _of_another_dataset(keys, spec, specs)


def _object(text: bytes) -> dict[str, object] | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _of_text(texts: Sequence[bytes]) -> str | None:
    """What lines without an object in them look like."""
    if all(text.startswith(b"<") for text in texts[:1]):
        return "it looks like XML or HTML; an answer of a server that says what went wrong looks so too"
    for separator, words in SEPARATORS.items():
        counts = {text.count(separator.encode()) for text in texts}
        if len(counts) == 1 and counts != {0} and not any(text.startswith(b"{") for text in texts):
            return f"it looks like a table whose values are separated by {words}; deliver it as .csv, with commas"
    return None


def _is_wrapped(row: Mapping[str, object], specs: Iterable[DatasetSpec]) -> bool:
    """Whether a row is nothing but one unknown key with an object or a list of objects in it."""
    if len(row) != 1:
        return False
    ((key, value),) = row.items()
    inner = value[0] if isinstance(value, list) and value else value
    return isinstance(inner, dict) and not any(key in known_keys(spec) for spec in specs)


def _separator(header: str) -> str | None:
    return next((separator for separator in SEPARATORS if separator in header), None)


def known_keys(spec: DatasetSpec) -> frozenset[str]:
    """The keys that a row of a dataset may have: its fields, its payloads, and columns by path."""
    return frozenset({*(f.path for f in spec.fields), *(f.name for f in spec.fields if not f.payload), *spec.payloads})


def _of_another_dataset(keys: Sequence[str], spec: DatasetSpec, specs: Mapping[str, DatasetSpec]) -> str | None:
    """Which dataset of the contract the keys fit better; or that they fit none."""
    distinct = {*keys}
    if not distinct:
        return None
    fits = {name: len(distinct & known_keys(other)) for name, other in specs.items()}
    best = max(fits, key=lambda name: (fits[name], name == spec.name))
    if fits[best] > fits.get(spec.name, 0):
        return (
            f"its keys fit the dataset {best} better ({fits[best]} of {len(distinct)} are known there, "
            f"{fits.get(spec.name, 0)} in {spec.name}); deliver it to <source>/{best}/"
        )
    if not fits[best]:
        return f"none of its {len(distinct)} keys is one that {spec.name} knows; it looks like another product's export"
    return None
