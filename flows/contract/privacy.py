"""What the contract must say of privacy before anything is generated from it."""

from collections.abc import Iterator
from difflib import get_close_matches

from flows.contract.spec import DatasetSpec, FieldSpec, Privacy, Purpose, Treatment, Truncation

# Classes of which no value may land as it was sent.
NEVER_KEPT = frozenset({Privacy.IDENTIFIER, Privacy.DIRECT_IDENTIFIER, Privacy.FREE_TEXT})
# The type of a field that may be truncated so, and what it is called in the contract.
TRUNCATED_TYPES = {Truncation.YEAR: ("date", "a LOGICAL_DATE"), Truncation.COUNTRY: ("string", "a string")}


def privacy_faults(spec: DatasetSpec) -> list[str]:
    """What a dataset's fields leave unsaid or must not ask for: each with the message, the field and the remedy."""
    return [
        f"{spec.message}.{field.path}: {fault}"
        for field in spec.fields
        for fault in (
            *_of_purposes(field),
            *_of_retention(field, spec.retention_days),
            *_of_treatment(field),
            *_of_truncation(field, spec),
        )
    ]


def _of_purposes(field: FieldSpec) -> Iterator[str]:
    if not field.purposes:
        yield f"has no purpose; add `purposes:` with some of {', '.join(Purpose)}"
    for purpose in field.purposes:
        if purpose not in [*Purpose]:
            close = get_close_matches(purpose, [*Purpose], 1)
            yield (
                f"names the purpose {purpose!r}, which is none of {', '.join(Purpose)}"
                + (f"; did you mean {close[0].value!r}?" if close else "; name one of those")
            )


def _of_retention(field: FieldSpec, of_dataset: int) -> Iterator[str]:
    """The dataset's 0 is for ever, which only what says nothing of a person may be kept."""
    if field.privacy is not Privacy.NONE and not (field.retention_days or of_dataset):
        yield (
            f"is of class {field.privacy} and would be kept for ever; "
            "add `retention_days:` to the field or to its dataset"
        )
    if of_dataset and field.retention_days > of_dataset:
        yield (
            f"has retention_days {field.retention_days}, longer than the {of_dataset} of its dataset; "
            "shorten it, or lengthen the dataset's"
        )


def _of_treatment(field: FieldSpec) -> Iterator[str]:
    instead = "TREATMENT_REDACT" if field.privacy is Privacy.FREE_TEXT else "TREATMENT_PSEUDONYMISE"
    if field.treatment is Treatment.KEEP and field.privacy in NEVER_KEPT:
        yield (
            f"is of class {field.privacy} and would land as it was sent; add `treatment: {instead}` or `TREATMENT_DROP`"
        )
    if field.treatment is Treatment.PSEUDONYMISE and field.privacy is Privacy.FREE_TEXT:
        yield f"is free text, of which a keyed hash is of no use; make it `treatment: {instead}` or `TREATMENT_DROP`"
    is_text = field.privacy is Privacy.FREE_TEXT and field.type == "string"
    if field.treatment is Treatment.REDACT and not is_text:
        yield "has TREATMENT_REDACT, which is for a string of PRIVACY_FREE_TEXT; choose another treatment"
    if field.treatment is Treatment.KEEP and field.privacy is Privacy.QUASI_IDENTIFIER and field.type == "date":
        # With a few other fields, the day that somebody was born on is as good as a name; the year is not.
        yield (
            "is a date that narrows down who somebody is, and would land to the day; add "
            "`treatment: TREATMENT_TRUNCATE` with its year, or `TREATMENT_DROP`"
        )


def _of_truncation(field: FieldSpec, spec: DatasetSpec) -> Iterator[str]:
    if field.treatment is Treatment.TRUNCATE and field.truncate is None:
        yield "has TREATMENT_TRUNCATE and does not say what lands in its place; add `truncate:`"
    if field.truncate is None:
        return
    if field.treatment is not Treatment.TRUNCATE:
        yield "says with `truncate:` what lands in its place, and is not truncated; add `treatment: TREATMENT_TRUNCATE`"
    kind, called = TRUNCATED_TYPES[field.truncate.to]
    if field.type != kind:
        yield f"is truncated to its {field.truncate.to}, which only {called} has; choose another treatment"
    if field.privacy is Privacy.FREE_TEXT:
        yield "is free text, which is redacted or dropped as a whole; choose another treatment than TREATMENT_TRUNCATE"
    if field.name in spec.key:
        yield "is part of the dataset's key, and a coarser value tells no rows apart; choose another treatment"
    if field.truncate.column in {other.name for other in spec.fields}:
        # Else nobody could tell whether what stands in a lake under this name is the one or the other.
        yield (
            f"lands truncated in the column {field.truncate.column}, which is a field's name; "
            "give the column another name"
        )
