"""What the contract must say of consent stops `make contract` where it does not, with message, field and remedy."""

import re
from typing import Any

import click
import pytest

from flows.contract.consent import CONSENTS, KEPT, consent_faults
from flows.contract.from_protobuf import specs_from_descriptors
from flows.contract.generate import generate
from flows.contract.spec import PROJECT, DatasetSpec, Treatment, load_specs
from tests.support.contracts import changed, changed_dataset, changed_spec

EVENT, ACCOUNT, CONSENT = (
    f"tidemark.{name}" for name in ("events.v1.Event", "accounts.v1.Account", "consents.v1.Consent")
)


def faults(**specs: DatasetSpec | None) -> list[str]:
    """The faults of the contract with these datasets in the place of its own; None takes one away."""
    return consent_faults(spec for spec in (load_specs() | specs).values() if spec)


def telling(**said: str | bool | None) -> DatasetSpec:
    """Events that say otherwise how they tell of consent."""
    events = load_specs()["events"]
    assert events.consent is not None
    return events.model_copy(update={"consent": events.consent.model_copy(update=said)})


def kept(**changes: Any) -> DatasetSpec:
    """The dataset of consents, changed."""
    return load_specs()[CONSENTS].model_copy(update=changes)


def without(dataset: str, field: str) -> DatasetSpec:
    spec = load_specs()[dataset]
    return spec.model_copy(update={"fields": tuple(each for each in spec.fields if each.name != field)})


def of_sessions() -> DatasetSpec:
    """The dataset of consents, of sessions in the place of users."""
    fields = (f.model_copy(update={"name": "session_id"}) if f.name == "user_id" else f for f in kept().fields)
    return kept(fields=tuple(fields))


def test_the_committed_contract_has_no_fault() -> None:
    assert faults() == []


def test_what_rows_tell_needs_a_dataset_to_be_kept_in() -> None:
    said = (
        "says with `consent:` what people agreed to, and there is no dataset 'consents' to keep it in; add one as "
        "contracts/tidemark/consents has it"
    )
    assert faults(consents=None) == [f"{ACCOUNT}: {said}", f"{EVENT}: {said}"]


def test_where_no_row_tells_of_consent_nothing_is_asked() -> None:
    silent = {name: load_specs()[name].model_copy(update={"consent": None}) for name in ("events", "accounts")}
    assert faults(consents=None, **silent) == faults(consents=kept(day_of="valid_from"), **silent) == []


@pytest.mark.parametrize("name", KEPT)
def test_what_landing_fills_of_the_dataset_is_there_with_its_type(name: str) -> None:
    other = "boolean" if KEPT[name] == "string" else "string"
    said = f"{CONSENT}: needs the field {name!r}, a {KEPT[name]}: landing fills it of what other rows tell"
    assert faults(consents=without(CONSENTS, name)) == [said]
    assert faults(consents=changed_spec(kept(), name, type=other)) == [said]


def test_records_of_consent_are_not_kept_by_day() -> None:
    assert faults(consents=kept(day_of="valid_from")) == [
        f"{CONSENT}: has day_of; a withdrawal holds for days long before it, so leave that out"
    ]


@pytest.mark.parametrize(
    ("of_consents", "of_events", "words"),
    [
        (1099, 1100, "is kept for 1099 days, and the rows of events that it forbids to use for 1100: once it is gone"),
        (1100, 0, "is kept for 1100 days, and the rows of events that it forbids to use for ever: once it is gone"),
        (1100, 1100, None),
        (1101, 1100, None),
        (0, 1100, None),
        (0, 0, None),
    ],
)
def test_a_refusal_is_kept_as_long_as_what_it_forbids(of_consents: int, of_events: int, words: str | None) -> None:
    events = load_specs()["events"].model_copy(update={"retention_days": of_events})
    # Accounts, whose rows are not asked, may be kept longer.
    accounts = load_specs()["accounts"].model_copy(update={"retention_days": 5000})
    found = faults(consents=kept(retention_days=of_consents), events=events, accounts=accounts)
    assert [fault.startswith(f"{CONSENT}: {words}") for fault in found] == ([True] if words else [])


@pytest.mark.parametrize("option", ["purposes", "person", "valid_from", "received_at"])
@pytest.mark.parametrize("name", ["nothing", "referrer"], ids=["no field", "a field of a payload"])
def test_what_says_it_is_a_field_of_the_envelope(option: str, name: str) -> None:
    assert faults(events=telling(**{option: name})) == [
        f"{EVENT}: consent.{option} names {name!r}, which is no field of it; name one of the envelope"
    ]


@pytest.mark.parametrize("option", ["valid_from", "received_at"])
def test_a_time_is_a_timestamp(option: str) -> None:
    assert faults(events=telling(**{option: "product"})) == [
        f"{EVENT}: consent.{option} names 'product', which is no Timestamp"
    ]


DROPPED = {"treatment": Treatment.DROP}
OF_A_PERSON = {"privacy": "behaviour", "purposes": ("analytics",)}


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        *((option, DROPPED) for option in ("purposes", "valid_from", "received_at")),
        # Since when it holds is the day's own time, which lands in every row.
        *((option, OF_A_PERSON) for option in ("purposes", "received_at")),
    ],
    ids=str,
)
def test_what_consent_is_read_from_lands_in_rows_without_consent_too(option: str, changes: dict[str, Any]) -> None:
    events = telling()
    name = getattr(events.consent, option)
    assert faults(events=changed_spec(events, name, **changes)) == [
        f"{EVENT}: consent.{option} names {name!r}, which is to land in every row: leave out its `treatment`, and add "
        "`operations` to its purposes"
    ]


def test_it_may_say_something_of_a_person_where_it_serves_operations_too() -> None:
    of_a_person = {"privacy": "behaviour", "purposes": ("analytics", "operations")}
    assert faults(events=changed_spec(telling(), "received_at", **of_a_person)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "string"},
        {"accepted_values": ()},
        {"accepted_values": ("analytics", "sale")},
        {"accepted_values": ("analytics", "operations")},
    ],
    ids=["no list", "of anything", "of no purpose", "of what needs no consent"],
)
def test_purposes_are_a_list_of_what_can_be_agreed_to(changes: dict[str, Any]) -> None:
    assert faults(events=changed_spec(telling(), "consent", **changes)) == [
        f"{EVENT}: consent.purposes names 'consent', which is to be a repeated string whose accepted values are some "
        "of advertising, analytics, personalisation"
    ]


def test_some_purposes_are_enough() -> None:
    assert faults(events=changed_spec(telling(), "consent", accepted_values=("analytics",))) == []


@pytest.mark.parametrize(
    ("person", "specs"),
    [
        ("product", {}),
        ("session_id", {CONSENTS: of_sessions()}),
        ("device_id", {CONSENTS: without(CONSENTS, "device_id")}),
        ("device_id", {CONSENTS: changed_spec(kept(), "device_id", treatment=Treatment.KEEP)}),
    ],
    ids=["kept in both", "kept here", "not among consents", "kept among consents"],
)
def test_whose_consent_it_is_is_pseudonymised_here_and_where_it_is_kept(
    person: str, specs: dict[str, DatasetSpec]
) -> None:
    # Accounts name the user, whom one case takes away.
    specs = specs | {"accounts": load_specs()["accounts"].model_copy(update={"consent": None})}
    assert faults(events=telling(person=person), **specs) == [
        f"{EVENT}: consent.person names {person!r}, which is to be of TREATMENT_PSEUDONYMISE here and in {CONSENT}"
    ]


def test_every_fault_is_said_at_once() -> None:
    found = faults(
        consents=kept(day_of="valid_from", retention_days=1), events=telling(valid_from="product", person="product")
    )
    assert [re.sub(r"(consent\.\w+|has|is kept).*", r"\1", fault) for fault in found] == [
        f"{CONSENT}: has", f"{CONSENT}: is kept", f"{EVENT}: consent.valid_from", f"{EVENT}: consent.person",
    ]  # fmt: skip


def test_a_contract_at_fault_is_refused_with_all_that_is_wrong() -> None:
    def change(dataset: Any) -> None:
        dataset.consent.valid_from = "product"
        dataset.consent.person = "session_id"

    descriptors = changed_dataset(change, "Event", "events")
    with pytest.raises(ValueError, match=rf"^{EVENT}: consent\.valid_from .*\n  {EVENT}: consent\.person "):
        specs_from_descriptors(descriptors)
    with pytest.raises(click.ClickException, match=r"^the contract: .*consent\.valid_from names 'product'"):
        generate(descriptors, PROJECT)


def test_what_the_contract_says_of_consent_reaches_its_spec() -> None:
    def change(dataset: Any) -> None:
        dataset.consent.ClearField("received_at")
        dataset.consent.of_each_row = False

    before = load_specs()["events"].consent
    (spec,) = (s for s in specs_from_descriptors(changed_dataset(change, "Event", "events")) if s.name == "events")
    assert before is not None
    assert spec.consent == before.model_copy(update={"received_at": None, "of_each_row": False})
    assert spec.with_consent_alone == {}
    assert [column.required for column in spec.columns() if column.name == "device_key"] == [True]


def test_a_further_purpose_of_operations_lets_a_field_land_in_every_row() -> None:
    def change(field: Any, option: Any) -> None:
        option.purposes.append("operations")

    (spec,) = (s for s in specs_from_descriptors(changed("country", change)) if s.name == "events")
    assert {*load_specs()["events"].with_consent_alone} - {*spec.with_consent_alone} == {"country"}
