"""What each table of a takeout is, and what each of its fields means: from the contract and the models' YAML."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flows.contract.spec import Column, DatasetSpec, FieldSpec, Treatment
from flows.privacy.holdings import Holding
from flows.privacy.landed import SUPERSEDED

DELIVERED, WORKED_OUT = "delivered", "worked out"


@dataclass(frozen=True)
class Field:
    """A field: what it means, how sensitive it is, what for and for how many days the contract lets it be kept."""

    name: str
    description: str
    type: str
    privacy: str
    purposes: tuple[str, ...]
    retention_days: int


@dataclass(frozen=True)
class Meaning:
    """A table: what a row of it is, ``how`` it came to be there, from whom, and its fields.

    ``not_kept`` are fields that were delivered with it and dropped as they landed; ``truncated`` those of which only a
    coarser value is held, and in which field.
    """

    name: str
    how: str
    description: str
    owner: str
    source: str
    fields: tuple[Field, ...]
    made_from: tuple[str, ...] = ()
    not_kept: tuple[str, ...] = ()
    truncated: dict[str, str] = dataclasses.field(default_factory=dict)


def meaning_of_dataset(spec: DatasetSpec) -> Meaning:
    """A dataset as it landed."""
    superseded = Field(
        name=SUPERSEDED,
        description="Whether a later delivery took the place of the one this row came in: it is held, and not used.",
        type="boolean",
        privacy="none",
        purposes=("operations",),
        retention_days=spec.retention_days,
    )
    return Meaning(
        name=spec.name,
        how=DELIVERED,
        description=spec.description,
        owner=spec.owner,
        source=spec.source,
        fields=(*(_field(spec, column) for column in spec.columns()), superseded),
        not_kept=tuple(field.path for field in spec.fields if field.treatment is Treatment.DROP),
        truncated={field.path: field.column for field in spec.truncated},
    )


def _field(spec: DatasetSpec, column: Column) -> Field:
    origins = [field for field in spec.fields if _lands_in(field, column)]
    purposes = _purposes(origins) or ("operations",)  # what only says which row it is and where it came from
    days = [field.retention_days or spec.retention_days for field in origins]
    return Field(
        name=column.name,
        description=column.description,
        type=column.type,
        privacy=column.privacy,
        purposes=purposes,
        retention_days=min(days, default=spec.retention_days),
    )


def _lands_in(field: FieldSpec, column: Column) -> bool:
    if column.holds:
        return column.holds.field == field.name
    if field.flag and field.flag.column == column.name:
        return True
    return field.lands and field.column == column.name


def _purposes(fields: Iterable[FieldSpec]) -> tuple[str, ...]:
    return tuple(sorted({purpose for field in fields for purpose in field.purposes}))


def meaning_of_mart(holding: Holding, specs: dict[str, DatasetSpec]) -> Meaning:
    """A published table. It serves the purposes of what it is worked out from, and lasts no longer."""
    origins = [specs[name] for name in holding.made_from if name in specs]
    kept = (f for spec in origins for f in spec.fields if f.lands)
    purposes = _purposes(kept)
    days = max((spec.retention_days for spec in origins), default=0)
    return Meaning(
        name=holding.name,
        how=WORKED_OUT,
        description=" ".join(holding.description.split()),
        owner=holding.owner,
        source=", ".join(sorted({spec.source for spec in origins})),
        fields=tuple(
            Field(name, " ".join(text.split()), type_, privacy, purposes, days)
            for name, text, type_, privacy in holding.columns
        ),
        made_from=holding.made_from,
    )


FIELDS_HEADER = ("table", "field", "meaning", "type", "privacy", "purposes", "retention_days", "owner", "source")


def lines_of(meanings: Iterable[Meaning]) -> Iterator[tuple[str, ...]]:
    """A line for each field of each table, as :data:`FIELDS_HEADER` names its cells."""
    for table in meanings:
        for field in table.fields:
            days = str(field.retention_days) if field.retention_days else ""
            about = (field.description, field.type, field.privacy, " ".join(field.purposes), days)
            yield (table.name, field.name, *about, table.owner, table.source)
