"""What the contract must say of consent: where rows tell of it, and the dataset that keeps what they tell."""

from collections.abc import Iterable, Iterator

from flows.contract.spec import ConsentSaid, DatasetSpec, FieldSpec, Purpose, Treatment

# The dataset of all that is known of consent: what was delivered, and what rows of other datasets tell of it.
CONSENTS = "consents"
# Its fields that landing fills of what others tell, with their types.
KEPT = {
    "consent_id": "uuid",
    "purpose": "string",
    "is_granted": "boolean",
    "valid_from": "timestamp",
    "received_at": "timestamp",
    "stated_in": "string",
}


def consent_faults(specs: Iterable[DatasetSpec]) -> list[str]:
    """What is wrong with how datasets say what people agreed to: each with the message and the remedy."""
    specs = [*specs]
    telling = [(spec, spec.consent) for spec in specs if spec.consent]
    if not telling:
        return []
    ledger = next((spec for spec in specs if spec.name == CONSENTS), None)
    if ledger is None:
        return [
            f"{spec.message}: says with `consent:` what people agreed to, and there is no dataset {CONSENTS!r} to keep "
            "it in; add one as contracts/tidemark/consents has it"
            for spec, _ in telling
        ]
    return [*_of_ledger(ledger, specs), *(fault for spec, said in telling for fault in _of_telling(spec, said, ledger))]


def _of_ledger(ledger: DatasetSpec, specs: list[DatasetSpec]) -> Iterator[str]:
    own = _fields(ledger)
    for name, kind in KEPT.items():
        if name not in own or own[name].type != kind:
            yield f"{ledger.message}: needs the field {name!r}, a {kind}: landing fills it of what other rows tell"
    if ledger.is_by_day:
        yield f"{ledger.message}: has day_of; a withdrawal holds for days long before it, so leave that out"
    for spec in specs:
        if spec.with_consent_alone and 0 < ledger.retention_days < (spec.retention_days or ledger.retention_days + 1):
            yield (
                f"{ledger.message}: is kept for {ledger.retention_days} days, and the rows of {spec.name} that it "
                f"forbids to use for {spec.retention_days or 'ever'}: once it is gone they would count again; keep it "
                "as long"
            )


def _of_telling(spec: DatasetSpec, said: ConsentSaid, ledger: DatasetSpec) -> Iterator[str]:
    own, kept = _fields(spec), _fields(ledger)
    times = {"valid_from": said.valid_from, **({"received_at": said.received_at} if said.received_at else {})}
    for option, name in {"purposes": said.purposes, "person": said.person, **times}.items():
        if name not in own:
            yield f"{spec.message}: consent.{option} names {name!r}, which is no field of it; name one of the envelope"
            return
    for option, name in times.items():
        if own[name].type != "timestamp":
            yield f"{spec.message}: consent.{option} names {name!r}, which is no Timestamp"
    for option, name in {"purposes": said.purposes, **times}.items():
        if own[name].treatment is not Treatment.KEEP or spec.needs_consent(own[name]):
            yield (
                f"{spec.message}: consent.{option} names {name!r}, which is to land in every row: leave out its "
                "`treatment`, and add `operations` to its purposes"
            )
    purposes = own[said.purposes]
    may_be = {purpose.value for purpose in Purpose} - {Purpose.OPERATIONS}
    if purposes.type != "string[]" or not {*purposes.accepted_values} <= may_be or not purposes.accepted_values:
        yield (
            f"{spec.message}: consent.purposes names {said.purposes!r}, which is to be a repeated string whose "
            f"accepted values are some of {', '.join(sorted(may_be))}"
        )
    person, same = own[said.person], kept.get(said.person)
    if person.treatment is not Treatment.PSEUDONYMISE or same is None or same.treatment is not Treatment.PSEUDONYMISE:
        yield (
            f"{spec.message}: consent.person names {said.person!r}, which is to be of TREATMENT_PSEUDONYMISE here and "
            f"in {ledger.message}"
        )


def _fields(spec: DatasetSpec) -> dict[str, FieldSpec]:
    return {field.name: field for field in spec.fields if field.payload is None}
