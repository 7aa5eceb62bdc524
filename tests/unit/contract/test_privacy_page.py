"""The page of what is kept of people says of every field what becomes of it, and says it as the contract does."""

import re

import pytest

from flows.contract.generate import generate
from flows.contract.generate.privacy_page import CLASSES, LANDS, PAGE, privacy_page
from flows.contract.spec import DESCRIPTORS, PROJECT, DatasetSpec, Flag, Privacy, Treatment, Truncate, load_specs
from tests.support.deliveries import field_of, small_spec

COUNTRY = Truncate(to="country", column="country", description="The country.")  # type: ignore[arg-type]
OF_EVERY_KIND = [
    field_of("id", privacy="none", purposes=("operations",)),
    field_of("user_id", privacy="identifier", treatment="pseudonymise", purposes=("analytics", "advertising")),
    field_of("home", privacy="direct_identifier", treatment="truncate", truncate=COUNTRY, purposes=("analytics",)),
    field_of("said", privacy="free_text", treatment="redact", purposes=("analytics",), retention_days=30),
    field_of(
        "agent", privacy="quasi_identifier", treatment="drop", purposes=("operations",),
        flag=Flag(column="is_bot", pattern="bot", description="Whether."),
    ),
]  # fmt: skip


def rows_of(page: str, name: str) -> dict[str, list[str]]:
    """The table of a dataset: the cells of each field."""
    section = re.split(r"^## ", page, flags=re.MULTILINE)
    (own,) = (part for part in section if part.startswith(f"{name}\n"))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in own.splitlines() if line[:3] == "| `"]
    return {row[0].strip("` "): row[1:] for row in rows}


def page_of(specs: dict[str, DatasetSpec]) -> str:
    return privacy_page(specs.values()).decode()


def test_of_each_field_the_page_says_what_lands_its_class_purposes_and_days() -> None:
    page = page_of(small_spec(OF_EVERY_KIND, retention_days=1100))
    assert rows_of(page, "things") == {
        "id": ["id", "kept", "none", "operations", "1,100"],
        "user_id": ["user_id", "keyed hash, `user_key`", "identifier", "analytics, advertising", "1,100"],
        "home": ["home", "truncated: the country, `country`", "direct identifier", "analytics", "1,100"],
        "said": ["said", "redacted, encrypted", "free text", "analytics", "30"],
        "agent": ["agent", "dropped; `is_bot` is worked out of it first", "quasi-identifier", "operations", "1,100"],
    }
    assert "Kept for 1,100 days at most." in page
    assert "| [things](#things) | yes | 1,100 | 1 | 1 | 1 | 1 | 1 |" in page


def test_what_says_nothing_of_a_person_may_be_kept_for_ever() -> None:
    page = page_of(small_spec(OF_EVERY_KIND[:1]))
    assert "| [things](#things) | no | unlimited | 1 |  |  |  |  |" in page
    assert "Kept for an unlimited time." in page


def test_a_field_that_several_events_have_alike_is_there_once_and_one_that_differs_twice() -> None:
    alike = [field_of("content_id", payload=payload, purposes=("analytics",)) for payload in ("view", "search")]
    page = page_of(small_spec([*alike, field_of("content_id", payload="click", purposes=("advertising",))]))
    assert [line.split(" | ")[4] for line in page.splitlines() if line[:14] == "| `content_id`"] == [
        "analytics", "advertising"
    ]  # fmt: skip


@pytest.mark.parametrize("spec", load_specs().values(), ids=lambda spec: spec.name)
def test_no_field_of_the_contract_is_missing(spec: DatasetSpec) -> None:
    rows = rows_of((PROJECT / PAGE).read_text(), spec.name)
    assert {*rows} == {field.name for field in spec.fields}
    for field in spec.fields:
        assert rows[field.name][0] == field.description
        assert rows[field.name][1].startswith(LANDS[field.treatment][0])


def test_every_class_and_treatment_is_explained() -> None:
    assert ({*CLASSES}, {*LANDS}) == ({*Privacy}, {*Treatment})


def test_the_page_is_generated_with_what_follows_from_the_contract() -> None:
    assert generate(DESCRIPTORS.read_bytes(), PROJECT)[PAGE] == (PROJECT / PAGE).read_bytes()
