"""Whether a file's columns are the dataset's."""

from collections import Counter

from flows.contract.spec import DatasetSpec
from flows.errors import FileRefusedError
from flows.land.readers import limits


class OtherColumnsError(FileRefusedError):
    """None of a file's columns is the dataset's, by the contract of today."""


def known_columns(spec: DatasetSpec) -> set[str]:
    """The names that a column of the dataset may have."""
    return {*(f.path for f in spec.fields), *spec.payloads}


def check_columns(names: list[str], spec: DatasetSpec) -> None:
    """Refuse a file whose columns cannot be told apart or are not the dataset's.

    Names the contract does not know are not repeated in the message: a file that came without its header has
    people's data there.
    """
    known = [*(f.path for f in spec.fields), *spec.payloads]
    if "_line" in names:
        raise FileRefusedError("a column is named _line, which landing uses itself; deliver it under another name")
    doubled = {name for name, count in Counter(names).items() if count > 1}
    if doubled:
        named = ", ".join(sorted(doubled & set(known))) or f"number {names.index(min(doubled)) + 1}"
        raise FileRefusedError(f"the column {named} is named more than once, so which value is meant is not clear")
    if not set(names) & set(known):
        raise OtherColumnsError(f"none of the {len(names)} columns is one of the contract's ({', '.join(known)[:200]})")
    if len(names) > limits.MAX_COLUMNS:
        raise FileRefusedError(f"it has {len(names):,} columns; a row of more than {limits.MAX_COLUMNS:,} is not taken")
