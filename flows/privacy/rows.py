"""Whose a row is, as conditions of SQL over the pseudonyms in it."""

from collections.abc import Collection, Iterable
from enum import IntEnum
from uuid import UUID

from flows.land.field_sql import identifier
from flows.land.pseudonyms import PERSONAL, Kind
from flows.privacy.identity import Person


class Share(IntEnum):
    """How a row belongs to a person, in the order in which rows are handed out."""

    # It names the person, and nobody else.
    OWN = 1
    # It names nobody, and happened on a device on which only they were ever logged in.
    BY_DEVICE = 2
    # It names somebody else too, or nobody on a device that others used too.
    WITHHELD = 3


def share_of_row(columns: Iterable[str], person: Person, with_shared: bool = False, as_bytes: bool = False) -> str:
    """An expression that is the :class:`Share` of a row, NULL where the row says nothing of the person.

    ``columns`` are those of the table; ``with_shared`` takes rows of shared devices that name nobody for the person's.
    Where keys stand ``as_bytes``, sixteen of them, as in landed files, they are cast before they are compared: with one
    key, DuckDB 1.5 passes over files that it wrote itself and that have it, as it asks their bloom filters for
    something else.
    """
    key = "cast({} as uuid)" if as_bytes else "{}"
    there = {kind: key.format(identifier(kind.column)) for kind in Kind if kind.column in {*columns}}
    personal = [kind for kind in PERSONAL if kind in there]
    named = [is_one_of(there[kind], person.keys[kind]) for kind in personal]
    is_named = _any(named)
    names_others = _any(
        [f"{there[kind]} is not null and not {test}" for kind, test in zip(personal, named, strict=True)]
    )
    cases = [
        (f"{is_named} and not ({names_others})", Share.OWN),
        (is_named, Share.WITHHELD),
    ]
    if Kind.DEVICE in there:
        names_nobody = " and ".join([f"{there[kind]} is null" for kind in personal] or ["true"])
        devices = person.keys[Kind.DEVICE] if with_shared else person.unshared
        cases += [
            (f"{names_nobody} and {is_one_of(there[Kind.DEVICE], devices)}", Share.BY_DEVICE),
            (f"{names_nobody} and {is_one_of(there[Kind.DEVICE], person.shared)}", Share.WITHHELD),
        ]
    return f"case {' '.join(f'when {test} then {share.value}' for test, share in cases)} end"


def others_left_out(columns: Iterable[str], person: Person) -> str:
    """What to select of rows handed to a person: all columns, but NULL for whoever else a row was guessed to be of, as
    ``stitched_user_key`` says. Whose a row is does not follow from a guess."""
    guesses = [(name, kind) for name in columns for kind in Kind if name.endswith(f"_{kind.column}")]
    shown = [
        f"case when {is_one_of(identifier(name), person.keys[kind])} then {identifier(name)} end as {identifier(name)}"
        for name, kind in guesses
    ]
    return f"* replace ({', '.join(shown)})" if shown else "*"


def is_one_of(column: str, keys: Collection[UUID]) -> str:
    """The condition that a column holds one of these keys; false, not NULL, where it holds none at all.

    The keys are rows of a sub-select, which DuckDB looks up in a hash table: of a list in a filter it compares each row
    with each key.
    """
    if not keys:
        return "false"
    listed = ", ".join(f"'{key}'" for key in sorted(keys))
    return f"coalesce({column} in (select unnest([{listed}]::uuid[])), false)"


def _any(tests: list[str]) -> str:
    return f"({' or '.join(tests)})" if tests else "false"
