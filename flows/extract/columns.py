"""The columns of a source: what is declared of them, and whether the source has them as declared.

None comes, goes or changes its type unnoticed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError


class Column(BaseModel):
    """A column of the source: its type there, and the field of the contract that it becomes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    to: str


def _with_short_ones(given: Any) -> Any:
    """The columns, those whose type alone is given written out."""
    if not isinstance(given, dict):
        return given
    return {name: {"type": said, "to": name} if isinstance(said, str) else said for name, said in given.items()}


Columns = Annotated[dict[str, Column], BeforeValidator(_with_short_ones)]


@dataclass(frozen=True)
class Found:
    """A column as the source has it: its type, and whether it can be NULL."""

    type: str
    may_be_null: bool


def compare(
    name: str, of: str, columns: Mapping[str, Column], ignored: Iterable[str], found: Mapping[str, Found]
) -> tuple[str, ...]:
    """The columns that the source has and the declaration does not name. ``of`` is what has them, in messages.

    Raises :class:`TidemarkError` where one that is declared is gone or has another type: what it would deliver is not
    what the declaration promises.
    """
    wrong = [
        f"{column} is gone" if column not in found else f"{column} is {found[column].type}, and not {said.type}"
        for column, said in columns.items()
        if column not in found or found[column].type != said.type
    ]
    if wrong:
        raise TidemarkError(
            f"{name}: {of} has other columns than extracts/ says: {'; '.join(wrong)}; nothing of it was "
            "delivered; correct the declaration once you know what the change means, and the contract with it"
        )
    return tuple(column for column in found if column not in columns and column not in ignored)


def faults_of_columns(columns: Mapping[str, Column], ignored: Iterable[str], spec: DatasetSpec) -> Iterator[str]:
    """What is wrong with columns that are to become rows of a dataset, each with its place in the extract."""
    fields = {field.name: field for field in spec.fields if field.payload is None}
    to = [column.to for column in columns.values()]
    for name, column in columns.items():
        if column.to not in fields:
            close = get_close_matches(column.to, fields, 1)
            yield (
                f"columns.{name}: {column.to!r} is no field of {spec.message}"
                + (f"; did you mean {close[0]!r}?" if close else "; add it to the contract, or to `ignored`")
            )
        if to.count(column.to) > 1:
            yield f"columns.{name}: {column.to!r} is the field of another column, too"
        if name in ignored:
            yield f"ignored: {name!r} is among the columns, too"
    if spec.payloads:
        yield f"columns: a row of it carries one of {', '.join(spec.payloads)}, which columns cannot"
    if spec.require_one_of and not {*spec.require_one_of} & {*to}:
        yield f"columns: one has to become {' or '.join(spec.require_one_of)}"
    missing = [name for name, field in fields.items() if field.required and name not in to]
    if missing:
        yield f"columns: no column becomes {', '.join(missing)}, without which no row lands"
