"""Whether a source has the columns that were declared: none comes, goes or changes its type unnoticed."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.errors import TidemarkError
from flows.extract.declared import Table


@dataclass(frozen=True)
class Found:
    """A column as the source has it: its type, and whether it can be NULL."""

    type: str
    may_be_null: bool


def compare(name: str, table: Table, found: Mapping[str, Found]) -> tuple[str, ...]:
    """The columns that the source has and the declaration does not name.

    Raises :class:`TidemarkError` where one that is declared is gone or has another type: what it would deliver is not
    what the declaration promises.
    """
    wrong = [
        f"{column} is gone" if column not in found else f"{column} is {found[column].type}, and not {said.type}"
        for column, said in table.columns.items()
        if column not in found or found[column].type != said.type
    ]
    if wrong:
        raise TidemarkError(
            f"{name}: {table.table} has other columns than extracts/ says: {'; '.join(wrong)}; nothing of it was "
            "delivered; correct the declaration once you know what the change means, and the contract with it"
        )
    return tuple(column for column in found if column not in table.columns and column not in table.ignored)
