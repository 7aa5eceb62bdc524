"""Whether a file's columns are the dataset's."""

from flows.contract import DatasetSpec
from flows.errors import FileRefusedError


def check_columns(names: list[str], spec: DatasetSpec) -> None:
    """Refuse a file whose columns cannot be told apart or are not the dataset's.

    Names the contract does not know are not repeated in the message: a file that came without its header has
    people's data there.
    """
    known = [*(f.path for f in spec.fields), *spec.payloads]
    if "_line" in names:
        raise FileRefusedError("a column is named _line, which landing uses itself; deliver it under another name")
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        named = ", ".join(sorted(doubled & set(known))) or f"number {names.index(min(doubled)) + 1}"
        raise FileRefusedError(f"the column {named} is named more than once, so which value is meant cannot be told")
    if not set(names) & set(known):
        raise FileRefusedError(f"none of the {len(names)} columns is one of the contract's ({', '.join(known)[:200]})")
