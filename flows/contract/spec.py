"""The contract, read: what each dataset's rows are, and what landing must do with them.

The contract is written once, in Protobuf under ``contracts/``. :func:`specs_from_descriptors` turns its
descriptors into one :class:`DatasetSpec` a dataset; ``make contract`` commits these as JSON under
``contracts/generated/``, and everything at run time reads that.
"""

import re
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pydantic import BaseModel, ConfigDict

PROJECT = Path(__file__).resolve().parents[2]
GENERATED = PROJECT / "contracts" / "generated"
DESCRIPTORS = GENERATED / "contract.binpb"
VERSION = "v1"


class Treatment(StrEnum):
    """What landing does with a field's value."""

    KEEP = "keep"
    PSEUDONYMISE = "pseudonymise"
    DROP = "drop"


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


class CsvDialect(_Frozen):
    """How a dataset's CSV files are written."""

    headerless: bool = False
    encoding: str = "utf-8"


class History(_Frozen):
    """The models that keep the states of a dataset's things, in ``models/intermediate/<domain>/``.

    ``updated_at`` names the field that tells states apart; where it is None a thing has one state. ``versions`` asks
    for the model of periods in which nothing changed.
    """

    domain: str
    updated_at: str | None = None
    versions: bool = False


class FieldSpec(_Frozen):
    """One field of a dataset's message.

    ``type`` is one of string, uuid, timestamp, date, double, bigint, integer, boolean, string[].
    ``payload`` names the member of the message's oneof that holds the field, none for the envelope.
    """

    name: str
    type: str
    description: str
    payload: str | None = None
    privacy: str = "none"
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
        return self.name


class Column(_Frozen):
    """A column of the landed Parquet and of the raw model."""

    name: str
    type: str
    description: str
    privacy: str
    required: bool = False
    accepted_values: tuple[str, ...] = ()


class DatasetSpec(_Frozen):
    """One dataset: what its rows are and what landing must do with them."""

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

    def columns(self) -> tuple[Column, ...]:
        """The landed columns in order: envelope, event_type, flags, payload fields, lineage.

        Fields of one name in several payloads share a column.
        """
        kept = [f for f in self.fields if f.treatment is not Treatment.DROP]
        envelope = [_column(f) for f in kept if f.payload is None]
        event_type = [
            Column(
                name="event_type",
                type="string",
                description="Which payload the event carries.",
                privacy="behaviour",
                required=True,
                accepted_values=self.payloads,
            )
        ]
        flags = [
            Column(name=f.flag.column, type="boolean", description=f.flag.description, privacy="none")
            for f in self.fields
            if f.flag
        ]
        payload: dict[str, Column] = {}
        for field in kept:
            if field.payload:
                payload.setdefault(field.column, _column(field, required=False))
        return (
            *envelope,
            *(event_type if self.payloads else []),
            *flags,
            *payload.values(),
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


def _column(field: FieldSpec, required: bool | None = None) -> Column:
    pseudonymised = field.treatment is Treatment.PSEUDONYMISE
    return Column(
        name=field.column,
        type="uuid" if pseudonymised else field.type,
        description=field.description,
        privacy="pseudonym" if pseudonymised else field.privacy,
        required=field.required if required is None else required,
        accepted_values=field.accepted_values if required is None and field.type != "string[]" else (),
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


def specs_from_descriptors(data: bytes) -> list[DatasetSpec]:
    """One spec per message that carries the dataset option, by name.

    ``data`` is a serialised FileDescriptorSet. Raises ``ValueError`` where the contract contradicts itself,
    naming the message and field.
    """
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    for file in files:
        pool.Add(file)
    specs = []
    for file in files:
        for proto in file.message_type:
            message = pool.FindMessageTypeByName(f"{file.package}.{proto.name}")
            dataset = _option(pool, message, "tidemark.options.v1.dataset")
            if dataset is not None:
                specs.append(_dataset_spec(pool, message, dataset))
    return sorted(specs, key=lambda spec: spec.name)


def _option(pool: descriptor_pool.DescriptorPool, owner: Any, name: str) -> Any:
    """The value of a custom option, or None. The pool's own classes must parse it, so it is read again."""
    extension = pool.FindExtensionByName(name)
    options = message_factory.GetMessageClass(extension.containing_type).FromString(
        owner.GetOptions().SerializeToString()
    )
    return options.Extensions[extension] if options.HasExtension(extension) else None


def _enum(message: Any, field: str, prefix: str, default: str) -> str:
    number = getattr(message, field)
    name = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[number].name
    value = name.removeprefix(prefix).lower()
    return default if value == "unspecified" else value


def _dataset_spec(pool: descriptor_pool.DescriptorPool, message: Any, dataset: Any) -> DatasetSpec:
    fields: list[FieldSpec] = []
    payloads: list[str] = []
    for field in message.fields:
        if field.message_type and field.containing_oneof and field.containing_oneof.name == "payload":
            if not field.message_type.fields:
                raise ValueError(f"{field.full_name}: a payload needs at least one field")
            payloads.append(field.name)
            fields += [_field_spec(pool, f, field.name) for f in field.message_type.fields]
        else:
            fields.append(_field_spec(pool, field, None))
    _check_shared_names(message.full_name, fields)
    _check_dataset(message.full_name, dataset, fields)
    return DatasetSpec(
        name=dataset.name,
        version=message.file.package.rsplit(".", 1)[-1],
        message=message.full_name,
        description=dataset.description,
        owner=dataset.owner,
        source=dataset.source,
        key=tuple(dataset.key),
        redelivery=Redelivery(_enum(dataset, "redelivery", "REDELIVERY_", "keep_both")),
        retention_days=dataset.retention_days,
        day_of=dataset.day_of or None,
        csv=CsvDialect(headerless=dataset.csv.headerless, encoding=dataset.csv.encoding or "utf-8"),
        history=_history(dataset),
        fields=tuple(fields),
        payloads=tuple(payloads),
    )


def _check_dataset(message: str, dataset: Any, fields: list[FieldSpec]) -> None:
    """What the dataset option says must be said, and its fields must be there."""
    for name in ("name", "owner", "source", "description", "key"):
        if not getattr(dataset, name):
            raise ValueError(f"{message}: the dataset option needs {name!r}")
    own = {field.name: field for field in fields if field.payload is None}
    times = {"day_of": dataset.day_of, "history.updated_at": dataset.history.updated_at}
    times = {option: name for option, name in times.items() if name}
    named = [(key, "key") for key in dataset.key] + [(name, option) for option, name in times.items()]
    for name, option in named:
        if name not in own:
            close = get_close_matches(name, own, 1)
            raise ValueError(
                f"{message}: {option} names {name!r}, which is no field of it"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )
        if not own[name].required:
            raise ValueError(f"{message}: {option} names {name!r}, which must be `required: true`")
    for option, name in times.items():
        if own[name].type != "timestamp":
            raise ValueError(f"{message}: {option} names {name!r}, which is no Timestamp")
    if dataset.HasField("history"):
        _check_history(message, dataset)


def _check_history(message: str, dataset: Any) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", dataset.history.domain):
        raise ValueError(
            f"{message}: history.domain names a folder of models/intermediate, in small letters, digits and _; "
            f"it is {dataset.history.domain!r}"
        )
    if len(dataset.key) != 1:
        raise ValueError(f"{message}: a dataset with a history has one field as its key, not {len(dataset.key)}")
    if dataset.history.versions and not dataset.history.updated_at:
        raise ValueError(
            f"{message}: history.versions needs history.updated_at: without it there is one state of a thing"
        )


def _history(dataset: Any) -> History | None:
    if not dataset.HasField("history"):
        return None
    history = dataset.history
    return History(domain=history.domain, updated_at=history.updated_at or None, versions=history.versions)


def _field_spec(pool: descriptor_pool.DescriptorPool, field: Any, payload: str | None) -> FieldSpec:
    option = _option(pool, field, "tidemark.options.v1.field")
    if option is None or not option.description or option.privacy == 0:
        raise ValueError(f"{field.full_name}: every field needs the option with a description and a privacy class")
    return FieldSpec(
        name=field.name,
        type=_type(field, _enum(option, "logical", "LOGICAL_", "")),
        description=option.description,
        payload=payload,
        privacy=_enum(option, "privacy", "PRIVACY_", ""),
        treatment=Treatment(_enum(option, "treatment", "TREATMENT_", "keep")),
        purposes=tuple(option.purposes),
        retention_days=option.retention_days,
        required=option.required,
        accepted_values=tuple(option.accepted_values),
        pattern=option.pattern or None,
        min=option.min if option.HasField("min") else None,
        max=option.max if option.HasField("max") else None,
        flag=Flag(column=option.flag.column, pattern=option.flag.pattern, description=option.flag.description)
        if option.HasField("flag")
        else None,
        per_delivery=option.per_delivery,
    )


def _type(field: Any, logical: str) -> str:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return "timestamp"
        raise ValueError(f"{field.full_name}: only Timestamp and oneof payloads may be messages")
    scalar = {
        field.TYPE_STRING: "string",
        field.TYPE_BOOL: "boolean",
        field.TYPE_DOUBLE: "double",
        field.TYPE_INT32: "integer",
        field.TYPE_INT64: "bigint",
    }.get(field.type)
    if scalar is None:
        raise ValueError(f"{field.full_name}: use string, bool, double, int32, int64 or Timestamp")
    if field.is_repeated:
        if scalar != "string":
            raise ValueError(f"{field.full_name}: only strings may be repeated")
        return "string[]"
    if not field.has_presence:
        raise ValueError(f"{field.full_name}: must be optional, or an absent value reads as {scalar} zero")
    return logical or scalar


def _check_shared_names(message: str, fields: list[FieldSpec]) -> None:
    """Fields of one name share a landed column, so they must agree on what it is."""
    seen: dict[str, FieldSpec] = {}
    for field in fields:
        first = seen.setdefault(field.name, field)
        if (first.type, first.privacy, first.treatment) != (field.type, field.privacy, field.treatment):
            raise ValueError(
                f"{message}: {first.path} and {field.path} share the column {field.name} "
                "but differ in type, privacy or treatment; rename one or make them agree"
            )
