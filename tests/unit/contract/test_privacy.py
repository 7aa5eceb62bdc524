"""What the contract leaves unsaid of privacy, or must not ask for, stops `make contract` with field and remedy."""

from typing import Any

import click
import pytest

from flows.contract import privacy
from flows.contract.from_protobuf import specs_from_descriptors
from flows.contract.generate import generate
from flows.contract.spec import DESCRIPTORS, PROJECT, Privacy, Treatment, descriptors, load_specs
from tests.support.contracts import changed, changed_dataset, changed_spec

PSEUDONYMISE, DROP, REDACT, TRUNCATE = 1, 2, 3, 4
YEAR, COUNTRY = 1, 2
NONE, BEHAVIOUR, QUASI, IDENTIFIER, DIRECT, FREE_TEXT = range(1, 7)


def with_options(**options: Any) -> Any:
    """A change of a field that sets these options; a list replaces what stood there."""

    def change(field: Any, option: Any) -> None:
        for name, value in options.items():
            option.ClearField(name)
            if isinstance(value, list):
                getattr(option, name).extend(value)
            elif isinstance(value, dict):
                for key, part in value.items():
                    setattr(getattr(option, name), key, part)
            else:
                setattr(option, name, value)

    return change


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"privacy": 0},
            r"tidemark\.events\.v1\.Event\.country: has no privacy class; add `privacy:` with one of PRIVACY_NONE, "
            r"PRIVACY_BEHAVIOUR, .*PRIVACY_FREE_TEXT$",
        ),
        (
            {"purposes": []},
            r"tidemark\.events\.v1\.Event\.country: has no purpose; add `purposes:` with some of analytics, "
            r"personalisation, advertising, operations$",
        ),
        ({"purposes": ["analytics", "analytcs"]}, r"Event\.country: .*'analytcs', .*; did you mean 'analytics'\?$"),
        ({"purposes": ["fun"]}, r"Event\.country: names the purpose 'fun', .*operations; name one of those$"),
        ({"purposes": [""]}, r"Event\.country: names the purpose ''"),
        ({"retention_days": 1101}, r"Event\.country: has retention_days 1101, longer than the 1100 of its dataset; "),
        ({"privacy": DIRECT}, r"Event\.country: is of class direct_identifier and would land as it was sent; add "),
        ({"privacy": FREE_TEXT}, r"Event\.country: is of class free_text .*TREATMENT_REDACT.*TREATMENT_DROP"),
        ({"privacy": FREE_TEXT, "treatment": PSEUDONYMISE}, r"a keyed hash is of no use; make it .*TREATMENT_REDACT"),
        ({"treatment": REDACT}, r"TREATMENT_REDACT, which is for a string of PRIVACY_FREE_TEXT"),
        ({"privacy": IDENTIFIER}, r"Event\.country: is of class identifier .*TREATMENT_PSEUDONYMISE.*TREATMENT_DROP"),
    ],
)
def test_a_field_at_fault_is_refused_with_its_message_and_remedy(options: dict[str, Any], error: str) -> None:
    with pytest.raises(click.ClickException, match=error):
        generate(changed("country", with_options(**options)), PROJECT)


@pytest.mark.parametrize(
    "options",
    [
        {"purposes": ["analytics", "personalisation", "advertising", "operations"]},
        {"retention_days": 1100},
        {"privacy": QUASI},
        *({"privacy": kind, "treatment": how} for kind in (IDENTIFIER, DIRECT) for how in (PSEUDONYMISE, DROP)),
        *({"privacy": FREE_TEXT, "treatment": how} for how in (DROP, REDACT)),
        {"privacy": NONE, "treatment": DROP},
    ],
    ids=str,
)
def test_what_is_said_in_full_is_taken(options: dict[str, Any]) -> None:
    specs_from_descriptors(changed("country", with_options(**options)))


@pytest.mark.parametrize("message", ["Call", "Event"])
def test_what_says_something_of_a_person_is_not_kept_for_ever(message: str) -> None:
    def forget(dataset: Any) -> None:
        dataset.retention_days = 0

    name = {"Call": "calls", "Event": "events"}[message]
    with pytest.raises(ValueError, match=r"would be kept for ever; add `retention_days:`") as error:
        specs_from_descriptors(changed_dataset(forget, message, name))
    named = {line.split(": ")[0].strip().removeprefix(f"tidemark.{name}.v1.{message}.") for line in _lines(error)}
    assert named == {field.path for field in load_specs()[name].fields if field.privacy is not Privacy.NONE}


def _lines(error: pytest.ExceptionInfo[ValueError]) -> list[str]:
    return str(error.value).splitlines()


def test_days_of_a_field_s_own_are_enough() -> None:
    spec = load_specs()["calls"].model_copy(update={"retention_days": 0})
    fields = tuple(field.model_copy(update={"retention_days": 30}) for field in spec.fields)
    assert privacy.privacy_faults(spec)
    assert privacy.privacy_faults(spec.model_copy(update={"fields": fields})) == []


def truncating(to: int, column: str = "coarse", **more: Any) -> dict[str, Any]:
    truncate = {"to": to, "column": column, "description": "A coarser value."}
    return {"treatment": TRUNCATE, "privacy": DIRECT, "truncate": truncate} | more


@pytest.mark.parametrize(
    ("field", "options", "error"),
    [
        ("country", {"treatment": TRUNCATE}, r"country: has TREATMENT_TRUNCATE and does not say .*; add `truncate:`$"),
        ("country", truncating(COUNTRY, treatment=DROP), r"and is not truncated; add `treatment: TREATMENT_TRUNCATE`$"),
        ("country", truncating(YEAR), r"is truncated to its year, which only a LOGICAL_DATE has; choose another"),
        ("occurred_at", truncating(COUNTRY), r"its country, which only a string has; choose another"),
        ("country", truncating(COUNTRY, privacy=FREE_TEXT), r"is free text, which is redacted or dropped as a whole"),
        (
            "country",
            truncating(COUNTRY, "user_agent"),
            r"in the column user_agent, which is a field's name; give the column",
        ),
        ("country", truncating(COUNTRY, "country"), r"in the column country, which is a field's name; give the column"),
        ("country", truncating(COUNTRY, "event_type"), r"would share the column event_type; rename"),
        ("country", truncating(COUNTRY, "Land"), r"country: truncate needs `to`, a `column` in small letters"),
        ("country", truncating(0), r"country: truncate needs `to`"),
    ],
)
def test_a_truncation_that_cannot_be_is_refused(field: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        specs_from_descriptors(changed(field, with_options(**options)))


def test_a_direct_identifier_may_land_truncated() -> None:
    (events,) = (s for s in specs_from_descriptors(changed("country", with_options(**truncating(COUNTRY))))
                 if s.name == "events")  # fmt: skip
    assert "coarse" in {column.name for column in events.columns()}


def test_a_key_is_not_truncated() -> None:
    with pytest.raises(ValueError, match=r"Account\.account_id: is part of the dataset's key, and a coarser value"):
        specs_from_descriptors(changed("account_id", with_options(**truncating(COUNTRY)), "Account", "accounts"))


def test_a_birth_date_does_not_land_to_the_day() -> None:
    def kept(field: Any, option: Any) -> None:
        option.ClearField("truncate")
        option.ClearField("treatment")

    with pytest.raises(ValueError, match=r"birth_date: is a date that narrows .*TREATMENT_TRUNCATE.*TREATMENT_DROP`$"):
        specs_from_descriptors(changed("birth_date", kept, "Account", "accounts"))

    def dropped(field: Any, option: Any) -> None:
        kept(field, option)
        option.treatment = DROP

    specs_from_descriptors(changed("birth_date", dropped, "Account", "accounts"))


def test_a_field_of_a_payload_is_named_with_it_and_every_fault_is() -> None:
    change = with_options(purposes=[], retention_days=2000)
    with pytest.raises(ValueError, match=r"Event\.content_view\.referrer: has no purpose") as error:
        specs_from_descriptors(changed("referrer", change, "ContentView"))
    assert ["purpose" in line for line in _lines(error)] == [True, False]


def test_only_a_single_string_is_redacted() -> None:
    events = changed_spec(load_specs()["events"], "consent", privacy=Privacy.FREE_TEXT, treatment=Treatment.REDACT)
    (fault,) = privacy.privacy_faults(events)
    assert fault.startswith("tidemark.events.v1.Event.consent: has TREATMENT_REDACT, which is for a string")


def test_the_contract_s_classes_go_up_as_their_numbers_do() -> None:
    """One order of the two enums: the one of the specs decides what counts as lowered."""
    enum = descriptors(DESCRIPTORS).FindEnumTypeByName("tidemark.options.v1.Privacy")
    names = {value.number: value.name.removeprefix("PRIVACY_").lower() for value in enum.values if value.number}
    assert [names[number] for number in sorted(names)] == [*Privacy]
