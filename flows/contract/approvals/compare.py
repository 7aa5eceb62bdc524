"""Two contracts, compared by what they let be done with people's data."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment


@dataclass(frozen=True)
class Weakening:
    """Something that protects less than before. ``change`` is its name, which an approval repeats word for word."""

    change: str
    before: str
    after: str


def weakenings(before: list[DatasetSpec], after: list[DatasetSpec]) -> list[Weakening]:
    """What of the contract ``after`` protects less than it did ``before``, in the contract's order.

    A dataset or field that is new is none: there is nothing it could be weaker than. Nor is one that is gone: that is
    for ``buf breaking``.
    """
    by_name = {spec.name: spec for spec in before}
    by_message = {spec.message: spec for spec in before}
    pairs = [(by_name.get(spec.name) or by_message.get(spec.message), spec) for spec in after]
    return [found for was, now in pairs if was for found in _of_dataset(was, now)]


def _of_dataset(before: DatasetSpec, after: DatasetSpec) -> Iterator[Weakening]:
    if _length(after.retention_days) > _length(before.retention_days):
        yield _lengthened(after.name, before.retention_days, after.retention_days)
    yield from _of_consent(before, after)
    was_needed, needed = {*before.require_one_of}, {*after.require_one_of}
    required = {field.name for field in after.fields if field.payload is None and field.required}
    if was_needed and not ((needed and needed <= was_needed) or was_needed & required):
        names = [" or ".join(spec.require_one_of) or "none" for spec in (before, after)]
        yield Weakening(f"{after.name}: {names[0]} no longer required", *names)
    earlier = {field.path: field for field in before.fields}
    for field in after.fields:
        was = earlier.get(field.path)
        if was is None:
            continue
        name = f"{after.name}.{field.path}"
        if _is_below(field.privacy, was.privacy):
            yield Weakening(f"{name}: class lowered from {was.privacy} to {field.privacy}", was.privacy, field.privacy)
        if _is_weaker(field.treatment, was.treatment):
            change = f"{name}: treatment weakened from {was.treatment} to {field.treatment}"
            yield Weakening(change, was.treatment, field.treatment)
        for purpose in field.purposes:
            if purpose not in was.purposes:
                change = f"{name}: purpose {purpose} added"
                yield Weakening(change, ", ".join(was.purposes) or "none", ", ".join(field.purposes))
        yield from _of_retention(name, was, field, before.retention_days, after.retention_days)
        if was.required and not field.required:
            yield Weakening(f"{name}: required dropped", "required", "optional")
        yield from _of_form(name, was, field)
        yield from _of_flag(name, was, field)


def _of_consent(before: DatasetSpec, after: DatasetSpec) -> Iterator[Weakening]:
    """What rows say of consent is asked of each of them, and what is refused is remembered: either may be given up."""
    was, now = before.consent, after.consent
    if was is None:
        return
    if was.of_each_row and not (now and now.of_each_row):
        yield Weakening(f"{after.name}: consent no longer asked of each row", "of each row", "of none")
    if now is None:
        yield Weakening(f"{after.name}: consent no longer taken from its rows", f"from {was.purposes}", "from none")


def _is_below(one: StrEnum, other: StrEnum) -> bool:
    """Whether it is defined before the other: the enums of the contract go from the weakest to the strongest."""
    order = [*type(one)]
    return order.index(one) < order.index(other)


def _is_weaker(now: Treatment, was: Treatment) -> bool:
    """A keyed hash tells people apart, a truncated value says something of them: each is weaker than the other."""
    return _is_below(now, was) or (was, now) == (Treatment.PSEUDONYMISE, Treatment.TRUNCATE)


def _of_retention(name: str, was: FieldSpec, now: FieldSpec, of_was: int, of_now: int) -> Iterator[Weakening]:
    """A field without days of its own is kept as long as its dataset: lengthening that is one change, not one each."""
    before, after = was.retention_days or of_was, now.retention_days or of_now
    is_the_dataset_s = was.retention_days == 0 and _length(after) <= _length(of_now)
    if _length(after) > _length(before) and not is_the_dataset_s:
        yield _lengthened(name, before, after)


def _length(days: int) -> float:
    return days or math.inf


def _lengthened(name: str, before: int, after: int) -> Weakening:
    was, now = (f"{days} days" if days else "unlimited" for days in (before, after))
    return Weakening(f"{name}: retention lengthened from {was} to {now}", was, now)


def _of_form(name: str, was: FieldSpec, now: FieldSpec) -> Iterator[Weakening]:
    """A string that lands as it was sent and may be anything is free text by another name."""
    if now.treatment is not Treatment.KEEP or now.type != "string":
        return
    if was.pattern and not now.pattern:
        yield Weakening(f"{name}: pattern dropped", was.pattern, "none")
    if was.accepted_values and not now.accepted_values:
        yield Weakening(f"{name}: accepted values dropped", ", ".join(was.accepted_values), "any")


def _of_flag(name: str, was: FieldSpec, now: FieldSpec) -> Iterator[Weakening]:
    """A flag keeps something of a value that does not land. Of one that lands, or used to, it adds nothing."""
    if now.flag is None or Treatment.KEEP in (was.treatment, now.treatment):
        return
    if was.flag is None:
        change = f"{name}: flag {now.flag.column} added, matching {now.flag.pattern}"
        yield Weakening(change, "no flag", now.flag.pattern)
    elif was.flag.pattern != now.flag.pattern:
        change = f"{name}: flag {now.flag.column} changed, matching {now.flag.pattern}"
        yield Weakening(change, was.flag.pattern, now.flag.pattern)
