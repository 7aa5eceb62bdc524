"""The contract, read: what each dataset's rows are, and what landing must do with them.

The contract is written once, in Protobuf under ``contracts/``. :mod:`flows.contract.from_protobuf` turns its
descriptors into one :class:`DatasetSpec` a dataset; ``make contract`` commits these as JSON under
``contracts/generated/``, and everything at run time reads that.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from pydantic import BaseModel, ConfigDict

PROJECT = Path(__file__).resolve().parents[2]
GENERATED = PROJECT / "contracts" / "generated"
DESCRIPTORS = GENERATED / "contract.binpb"
VERSION = "v1"
# Where a landed row came from.
LINEAGE = ("_batch_id", "_line")
# The source of the datasets that Tidemark delivers to itself: no other system has them.
OWN_SOURCE = "topics"


class Privacy(StrEnum):
    """How sensitive a field is, from the least to the most: only here is it said which class is above which."""

    NONE = "none"
    BEHAVIOUR = "behaviour"
    QUASI_IDENTIFIER = "quasi_identifier"
    IDENTIFIER = "identifier"
    DIRECT_IDENTIFIER = "direct_identifier"
    FREE_TEXT = "free_text"


class Purpose(StrEnum):
    """What a field may be used for."""

    ANALYTICS = "analytics"
    PERSONALISATION = "personalisation"
    ADVERTISING = "advertising"
    OPERATIONS = "operations"


class Treatment(StrEnum):
    """What landing does with a field's value, from what keeps the most of it to what keeps nothing."""

    KEEP = "keep"
    PSEUDONYMISE = "pseudonymise"
    TRUNCATE = "truncate"
    REDACT = "redact"
    DROP = "drop"


class Truncation(StrEnum):
    """A coarser value that landing makes of a field's."""

    YEAR = "year"
    COUNTRY = "country"


class Redelivery(StrEnum):
    """What happens when a file's name comes again with other bytes."""

    KEEP_BOTH = "keep_both"
    NEWEST_WINS = "newest_wins"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Flag(_Frozen):
    """A boolean column worked out from a field: true where the value contains a match of ``pattern``."""

    column: str
    pattern: str
    description: str


class Truncate(_Frozen):
    """What lands of a field in its place: a coarser value, in a column of another name."""

    to: Truncation
    column: str
    description: str


class CsvDialect(_Frozen):
    """How a dataset's CSV files are written."""

    headerless: bool = False
    encoding: str = "utf-8"
    # Unless so, a quote is a character as any other.
    quoted: bool = True


class History(_Frozen):
    """The models that keep the states of a dataset's things, in ``models/intermediate/<domain>/``.

    ``updated_at`` names the field that tells states apart; where it is None a thing has one state. ``versions`` asks
    for the model of periods in which nothing changed.
    """

    domain: str
    updated_at: str | None = None
    versions: bool = False


class ConsentSaid(_Frozen):
    """How the rows of a dataset say what a person agreed to: fields of it, by name.

    ``purposes`` lists what is agreed to, ``person`` says by whom, ``valid_from`` since when and ``received_at`` when it
    was received (None: as the row landed). With ``of_each_row`` a row says it of itself alone.
    """

    purposes: str
    person: str
    valid_from: str
    received_at: str | None = None
    of_each_row: bool = False


class FieldSpec(_Frozen):
    """One field of a dataset's message.

    ``type`` is one of string, uuid, timestamp, date, double, bigint, integer, boolean, string[].
    ``payload`` names the member of the message's oneof that holds the field, none for the envelope.
    """

    name: str
    type: str
    description: str
    payload: str | None = None
    privacy: Privacy = Privacy.NONE
    treatment: Treatment = Treatment.KEEP
    purposes: tuple[str, ...] = ()
    retention_days: int = 0
    required: bool = False
    accepted_values: tuple[str, ...] = ()
    pattern: str | None = None
    min: float | None = None
    max: float | None = None
    flag: Flag | None = None
    per_delivery: bool = False
    truncate: Truncate | None = None

    @property
    def path(self) -> str:
        """The field's place in the wire form, as in ``content_view.content_id``."""
        return f"{self.payload}.{self.name}" if self.payload else self.name

    @property
    def is_id(self) -> bool:
        """Whether it says which thing or person is meant: an empty one then stands for nobody, not for somebody."""
        return self.type == "uuid" or self.treatment is Treatment.PSEUDONYMISE or self.name.endswith("_id")

    @property
    def column(self) -> str:
        """The column it lands in: a pseudonymised ``device_id`` lands as ``device_key``."""
        if self.treatment is Treatment.PSEUDONYMISE:
            return f"{self.name.removesuffix('_id')}_key"
        return self.truncate.column if self.truncate else self.name

    @property
    def lands(self) -> bool:
        """Whether something of its value stands in a column of its own; a flag of it may, where it does not."""
        return self.treatment in (Treatment.KEEP, Treatment.PSEUDONYMISE, Treatment.TRUNCATE)


class Held(_Frozen):
    """What a column says of a list: whether the list in ``field`` holds ``value``."""

    field: str
    value: str


class Column(_Frozen):
    """A column of the landed Parquet and of the raw model.

    ``holds`` is set where it stands for one value of a list: ``has_analytics_consent`` for ``analytics`` in
    ``consent``.
    """

    name: str
    type: str
    description: str
    privacy: str
    required: bool = False
    accepted_values: tuple[str, ...] = ()
    holds: Held | None = None


class DatasetSpec(_Frozen):
    """One dataset: what its rows are and what landing must do with them.

    ``keys_of`` names the dataset whose keys it lists, where it is a dataset of such lists.
    """

    name: str
    version: str
    message: str
    description: str
    owner: str
    source: str
    key: tuple[str, ...]
    redelivery: Redelivery
    fields: tuple[FieldSpec, ...]
    payloads: tuple[str, ...] = ()
    retention_days: int = 0
    day_of: str | None = None
    csv: CsvDialect = CsvDialect()
    history: History | None = None
    consent: ConsentSaid | None = None
    require_one_of: tuple[str, ...] = ()
    keys_of: str | None = None

    @property
    def is_by_day(self) -> bool:
        """Whether its landed rows are laid out by the day they belong to."""
        return self.day_of is not None

    @property
    def texts(self) -> tuple[FieldSpec, ...]:
        """The fields of free text, which stand redacted and encrypted in the text store, and in no landed file."""
        return tuple(field for field in self.fields if field.treatment is Treatment.REDACT)

    @property
    def truncated(self) -> tuple[FieldSpec, ...]:
        """The fields of which a coarser value lands, and nothing else."""
        return tuple(field for field in self.fields if field.treatment is Treatment.TRUNCATE)

    @property
    def in_no_landed_file(self) -> frozenset[str]:
        """The names of free text, redacted or dropped."""
        texts = (field for field in self.fields if field.privacy is Privacy.FREE_TEXT)
        return frozenset(field.name for field in texts if field.treatment in (Treatment.REDACT, Treatment.DROP))

    @property
    def said_of_purposes(self) -> dict[str, str]:
        """By purpose, the column that says whether a row has consent to it; empty where rows do not say."""
        columns = (column for field in self.fields if self._says_consent(field) for column in _columns_of(field))
        return {column.holds.value: column.name for column in columns if column.holds}

    @property
    def with_consent_alone(self) -> dict[str, frozenset[str]]:
        """The columns that land only in rows with consent to one of some purposes, each with these.

        They are those that say something of a person and serve no operation; a row's key and day it has all the same.
        """
        return {
            column.name: frozenset(field.purposes)
            for field in self.fields
            if field.lands and self.needs_consent(field)
            for column in _columns_of(field)
        }

    def needs_consent(self, field: FieldSpec) -> bool:
        """Whether a field of it lands only where the row has consent to one of the field's purposes."""
        if self.consent is None or not self.consent.of_each_row or field.name in (*self.key, self.day_of):
            return False
        return field.privacy is not Privacy.NONE and Purpose.OPERATIONS not in field.purposes

    def _as_it_lands(self, field: FieldSpec) -> FieldSpec:
        """What a sender must say lands empty in a row without consent."""
        return field.model_copy(update={"required": False}) if self.needs_consent(field) else field

    def _says_consent(self, field: FieldSpec) -> bool:
        return self.consent is not None and field.payload is None and field.name == self.consent.purposes

    def columns(self) -> tuple[Column, ...]:
        """The landed columns in order: envelope, event_type, flags, payload fields, event_date, lineage.

        Fields of one name in several payloads share a column. A list whose values the contract names is a column a
        value.
        """
        kept = [self._as_it_lands(f) for f in self.fields if f.lands]
        event_type = Column(
            name="event_type",
            type="string",
            description="Which payload the event carries.",
            privacy="behaviour",
            required=True,
            accepted_values=self.payloads,
        )
        flags = [
            Column(name=f.flag.column, type="boolean", description=f.flag.description, privacy="none")
            for f in self.fields
            if f.flag
        ]
        payload: dict[str, Column] = {}
        for field in kept:
            if field.payload:
                for column in _columns_of(field):
                    payload.setdefault(column.name, column)
        return (
            *(column for field in kept if field.payload is None for column in _columns_of(field)),
            *([event_type] if self.payloads else []),
            *flags,
            *payload.values(),
            *([_event_date(self.day_of)] if self.day_of else []),
            *_LINEAGE_COLUMNS,
        )


_LINEAGE_COLUMNS = (
    Column(
        name="_batch_id",
        type="bigint",
        description="The landed batch the row came in.",
        privacy="none",
        required=True,
    ),
    Column(
        name="_line",
        type="bigint",
        description="The row's line or record number in its file, from 1.",
        privacy="none",
        required=True,
    ),
)


def _event_date(day_of: str) -> Column:
    return Column(
        name="event_date",
        type="date",
        description=f"The day of {day_of} in the organisation's time zone.",
        privacy="none",
        required=True,
    )


def _columns_of(field: FieldSpec) -> Iterator[Column]:
    """The columns a field lands in: one, or for a list of accepted values one a value."""
    if field.type == "string[]" and field.accepted_values:
        among = f"{field.description[:1].lower()}{field.description[1:]}"
        for value in field.accepted_values:
            yield Column(
                name=f"has_{re.sub(r'[^a-z0-9]+', '_', value.lower())}_{field.name}",
                type="boolean",
                description=f"Whether {value} is among {among}",
                privacy=field.privacy,
                holds=Held(field=field.name, value=value),
            )
        return
    if field.truncate:
        yield _truncated(field, field.truncate)
        return
    pseudonymised = field.treatment is Treatment.PSEUDONYMISE
    yield Column(
        name=field.column,
        type="uuid" if pseudonymised else field.type,
        description=field.description,
        privacy="pseudonym" if pseudonymised else field.privacy,
        required=field.required and field.payload is None,
        accepted_values=field.accepted_values if field.payload is None else (),
    )


# Of a truncated value: its type, and the class that it has at most.
_TRUNCATED = {
    Truncation.YEAR: ("integer", Privacy.QUASI_IDENTIFIER),
    Truncation.COUNTRY: ("string", Privacy.BEHAVIOUR),
}


def _truncated(field: FieldSpec, truncate: Truncate) -> Column:
    """Every date has a year; not every address says its country."""
    kind, most = _TRUNCATED[truncate.to]
    return Column(
        name=truncate.column,
        type=kind,
        description=truncate.description,
        privacy=min(field.privacy, most, key=[*Privacy].index),
        required=field.required and field.payload is None and truncate.to is Truncation.YEAR,
    )


@cache
def descriptors(path: Path = DESCRIPTORS) -> descriptor_pool.DescriptorPool:
    """The contract's Protobuf descriptors, as committed in ``contracts/generated/contract.binpb``."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    return pool


@cache
def load_specs(folder: Path = GENERATED) -> dict[str, DatasetSpec]:
    """The committed landing specs by dataset name."""
    specs = (DatasetSpec.model_validate_json(p.read_text()) for p in sorted(folder.glob("*.json")))
    return {spec.name: spec for spec in specs}
