"""The contract as Protobuf states it, turned into specs; ``make contract`` commits these as JSON."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from flows.contract.consent import consent_faults
from flows.contract.privacy import privacy_faults
from flows.contract.spec import (
    ConsentSaid,
    CsvDialect,
    DatasetSpec,
    FieldSpec,
    Flag,
    History,
    Privacy,
    Redelivery,
    Treatment,
    Truncate,
    Truncation,
)

ONE_OF = "require_one_of"


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
    if faults := [*consent_faults(specs), *_faults_of_lists(specs)]:
        raise ValueError("\n  ".join(faults))
    return sorted(specs, key=lambda spec: spec.name)


def _faults_of_lists(specs: list[DatasetSpec]) -> Iterator[str]:
    """What is wrong with datasets that list the keys of another."""
    by_name = {spec.name: spec for spec in specs}
    lists = [spec for spec in specs if spec.keys_of]
    for spec in lists:
        of = by_name.get(str(spec.keys_of))
        if of is None or of.history is None:
            yield f"{spec.message}: keys_of names {spec.keys_of!r}, which is no dataset with a history"
        elif [other.keys_of for other in lists].count(of.name) > 1:
            yield f"{spec.message}: keys_of names {spec.keys_of!r}, as another dataset does"
        elif _as_keys(spec) != _as_keys(of) or len(spec.fields) != 1:
            yield f"{spec.message}: lists keys of {of.name}: it is to have its key {', '.join(of.key)}, alike, alone"
        elif spec.redelivery is not Redelivery.NEWEST_WINS:
            yield f"{spec.message}: of lists of keys the newest counts: say REDELIVERY_NEWEST_WINS"


def _as_keys(spec: DatasetSpec) -> list[tuple[str, str, Treatment]]:
    return [(field.name, field.type, field.treatment) for field in spec.fields if field.name in spec.key]


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
    spec = DatasetSpec(
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
        consent=_consent(dataset),
        require_one_of=tuple(dataset.require_one_of),
        keys_of=dataset.keys_of or None,
        fields=tuple(fields),
        payloads=tuple(payloads),
    )
    _check_columns(spec)
    if faults := privacy_faults(spec):
        raise ValueError("\n  ".join(faults))
    return spec


def _check_dataset(message: str, dataset: Any, fields: list[FieldSpec]) -> None:
    """What the dataset option says must be said, and its fields must be there."""
    for name in ("name", "owner", "source", "description", "key"):
        if not getattr(dataset, name):
            raise ValueError(f"{message}: the dataset option needs {name!r}")
    own = {field.name: field for field in fields if field.payload is None}
    times = {"day_of": dataset.day_of, "history.updated_at": dataset.history.updated_at}
    times = {option: name for option, name in times.items() if name}
    named = [(key, "key") for key in dataset.key] + [(name, option) for option, name in times.items()]
    named += [(name, ONE_OF) for name in dataset.require_one_of]
    for name, option in named:
        if name not in own:
            close = get_close_matches(name, own, 1)
            raise ValueError(
                f"{message}: {option} names {name!r}, which is no field of it"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )
        if option != ONE_OF and not own[name].required:
            raise ValueError(f"{message}: {option} names {name!r}, which must be `required: true`")
    for option, name in times.items():
        if own[name].type != "timestamp":
            raise ValueError(f"{message}: {option} names {name!r}, which is no Timestamp")
    if len(alone := {*dataset.require_one_of}) == 1:
        (name,) = alone
        raise ValueError(f"{message}: {ONE_OF} names {name!r} alone; make that field `required: true`")
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


def _consent(dataset: Any) -> ConsentSaid | None:
    if not dataset.HasField("consent"):
        return None
    said = dataset.consent
    return ConsentSaid(
        purposes=said.purposes,
        person=said.person,
        valid_from=said.valid_from,
        received_at=said.received_at or None,
        of_each_row=said.of_each_row,
    )


def _field_spec(pool: descriptor_pool.DescriptorPool, field: Any, payload: str | None) -> FieldSpec:
    option = _option(pool, field, "tidemark.options.v1.field")
    if option is None or not option.description:
        raise ValueError(f"{field.full_name}: every field needs the option with a description and a privacy class")
    if option.privacy == 0:
        raise ValueError(
            f"{field.full_name}: has no privacy class; add `privacy:` with one of "
            + ", ".join(f"PRIVACY_{privacy.upper()}" for privacy in Privacy)
        )
    return FieldSpec(
        name=field.name,
        type=_type(field, _enum(option, "logical", "LOGICAL_", "")),
        description=option.description,
        payload=payload,
        privacy=Privacy(_enum(option, "privacy", "PRIVACY_", "")),
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
        truncate=_truncate(field, option),
    )


def _truncate(field: Any, option: Any) -> Truncate | None:
    if not option.HasField("truncate"):
        return None
    truncate = option.truncate
    to = _enum(truncate, "to", "TRUNCATION_", "")
    if not (to and truncate.description and re.fullmatch(r"[a-z][a-z0-9_]*", truncate.column)):
        raise ValueError(
            f"{field.full_name}: truncate needs `to`, a `column` in small letters, digits and _, and a `description`"
        )
    return Truncate(to=Truncation(to), column=truncate.column, description=truncate.description)


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
        alike = [(f.type, f.privacy, f.treatment, f.truncate) for f in (first, field)]
        if alike[0] != alike[1]:
            raise ValueError(
                f"{message}: {first.path} and {field.path} share the column {field.name} "
                "but differ in type, privacy or treatment; rename one or make them agree"
            )


def _check_columns(spec: DatasetSpec) -> None:
    """Each landed column has a name of its own, and one that can be written."""
    for field in spec.fields:
        for value in field.accepted_values if field.type == "string[]" else ():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]*", value):
                raise ValueError(
                    f"{spec.message}.{field.path}: the accepted value {value!r} is to give the column "
                    f"has_..._{field.name} its name; write it with letters of a to z, digits, spaces and _ . : / - only"
                )
    made: dict[str, str] = {}
    for column in spec.columns():
        of = f"{column.holds.field} with {column.holds.value!r}" if column.holds else column.name
        if column.name in made:
            raise ValueError(
                f"{spec.message}: {made[column.name]} and {of} would share the column {column.name}; rename one"
            )
        made[column.name] = of
