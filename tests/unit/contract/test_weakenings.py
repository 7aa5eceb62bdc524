"""What protects less is found, whatever it is; what protects more or as much is not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.contract.approvals.compare import Weakening, weakenings
from flows.contract.spec import (
    ConsentSaid,
    DatasetSpec,
    FieldSpec,
    Flag,
    Privacy,
    Redelivery,
    Treatment,
    load_specs,
)
from tests.support.deliveries import field_of

# From what protects least to what protects most, said here once more on purpose.
CLASSES = ["none", "behaviour", "quasi_identifier", "identifier", "direct_identifier", "free_text"]
TREATMENTS = ["keep", "pseudonymise", "truncate", "redact", "drop"]
PURPOSES = ["analytics", "personalisation", "advertising", "operations"]
# Of a field, below those of the dataset; 0 is the dataset's.
FIELD_DAYS = [0, 90, 30, 1]
DATASET_DAYS = [0, 900, 400, 100]


def dataset(*fields: FieldSpec, **changes: Any) -> DatasetSpec:
    said = {
        "name": "calls", "version": "v1", "message": "t.calls.v1.Call", "description": "One row per call.",
        "owner": "t", "source": "t", "key": ("id",), "redelivery": Redelivery.KEEP_BOTH, "retention_days": 400,
    }  # fmt: skip
    return DatasetSpec.model_validate(said | {"fields": fields} | changes)


NOTE: dict[str, Any] = {
    "name": "note", "type": "string", "description": "A note.", "privacy": "behaviour", "purposes": ("analytics",),
}  # fmt: skip


def field(**changes: Any) -> FieldSpec:
    return FieldSpec.model_validate(NOTE | changes)


def flag(pattern: str, column: str = "is_bot") -> Flag:
    return Flag(column=column, pattern=pattern, description="Whether.")


# Each way in which a field may protect less: the one side, the other, and what it is called from left to right and
# from right to left.
PAIRS: list[tuple[dict[str, Any], dict[str, Any], list[str], list[str]]] = [
    ({"privacy": "behaviour"}, {"privacy": "none"}, ["class lowered from behaviour to none"], []),
    (
        {"privacy": "free_text"},
        {"privacy": "direct_identifier"},
        ["class lowered from free_text to direct_identifier"],
        [],
    ),
    (
        {"treatment": "drop"},
        {"treatment": "pseudonymise"},
        ["treatment weakened from drop to pseudonymise"],
        [],
    ),
    ({"treatment": "pseudonymise"}, {}, ["treatment weakened from pseudonymise to keep"], []),
    ({"treatment": "drop"}, {}, ["treatment weakened from drop to keep"], []),
    ({"treatment": "truncate"}, {}, ["treatment weakened from truncate to keep"], []),
    ({"treatment": "drop"}, {"treatment": "truncate"}, ["treatment weakened from drop to truncate"], []),
    # A keyed hash tells people apart, a truncated value says something of them.
    (
        {"treatment": "pseudonymise"},
        {"treatment": "truncate"},
        ["treatment weakened from pseudonymise to truncate"],
        ["treatment weakened from truncate to pseudonymise"],
    ),
    (
        {"treatment": "truncate"},
        {"treatment": "truncate", "flag": flag("bot")},
        ["flag is_bot added, matching bot"],
        [],
    ),
    ({}, {"purposes": ("analytics", "advertising")}, ["purpose advertising added"], []),
    ({}, {"purposes": ("operations",)}, ["purpose operations added"], ["purpose analytics added"]),
    (
        {"purposes": ()},
        {"purposes": ("operations", "advertising")},
        ["purpose operations added", "purpose advertising added"],
        [],
    ),
    ({"purposes": ("analytics", "operations")}, {"purposes": ("operations", "analytics")}, [], []),
    ({"retention_days": 30}, {"retention_days": 31}, ["retention lengthened from 30 days to 31 days"], []),
    ({"retention_days": 30}, {}, ["retention lengthened from 30 days to 400 days"], []),
    ({"retention_days": 400}, {}, [], []),
    ({"required": True}, {}, ["required dropped"], []),
    ({"pattern": "[a-z]+"}, {}, ["pattern dropped"], []),
    ({"pattern": "[a-z]+"}, {"pattern": ".*x"}, [], []),
    ({"accepted_values": ("a", "b")}, {}, ["accepted values dropped"], []),
    ({"accepted_values": ("a", "b")}, {"accepted_values": ("a", "b", "c")}, [], []),
    ({"pattern": "x", "treatment": "drop"}, {"treatment": "drop"}, [], []),
    ({"pattern": "x", "type": "date"}, {"type": "date"}, [], []),
    (
        {"treatment": "drop"},
        {"treatment": "drop", "flag": flag("bot|spider")},
        ["flag is_bot added, matching bot|spider"],
        [],
    ),
    (
        {"treatment": "pseudonymise"},
        {"treatment": "pseudonymise", "flag": flag("bot")},
        ["flag is_bot added, matching bot"],
        [],
    ),
    (
        {"treatment": "drop", "flag": flag("bot")},
        {"treatment": "drop", "flag": flag("@")},
        ["flag is_bot changed, matching @"],
        ["flag is_bot changed, matching bot"],
    ),
    (
        {"treatment": "drop", "flag": flag("bot")},
        {"treatment": "drop", "flag": flag("bot", column="is_robot")},
        [],
        [],
    ),
    # Of a value that lands, or landed, a flag keeps nothing more.
    ({}, {"flag": flag("bot")}, [], []),
    ({}, {"treatment": "drop", "flag": flag("bot")}, [], ["treatment weakened from drop to keep"]),
    ({"treatment": "drop"}, {"flag": flag("bot")}, ["treatment weakened from drop to keep"], []),
    ({"description": "One."}, {"description": "Other.", "pattern": "[a-z]+"}, [], ["pattern dropped"]),
]


@pytest.mark.parametrize(("one", "other", "there", "back"), PAIRS, ids=lambda value: str(value)[:60])
def test_each_change_of_a_field_is_found_in_the_direction_that_is_weaker(
    one: dict[str, Any], other: dict[str, Any], there: list[str], back: list[str]
) -> None:
    left, right = dataset(field(**one)), dataset(field(**other))
    assert [each.change for each in weakenings([left], [right])] == [f"calls.note: {change}" for change in there]
    assert [each.change for each in weakenings([right], [left])] == [f"calls.note: {change}" for change in back]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (400, 401, ["calls: retention lengthened from 400 days to 401 days"]),
        (400, 0, ["calls: retention lengthened from 400 days to unlimited"]),
        (401, 400, []),
        (0, 400, []),
        (0, 0, []),
    ],
)
def test_a_dataset_s_retention_is_one_change_and_not_one_a_field(before: int, after: int, found: list[str]) -> None:
    fields = (field(), field_of("other", retention_days=30))
    old, new = dataset(*fields, retention_days=before), dataset(*fields, retention_days=after)
    assert [each.change for each in weakenings([old], [new])] == found


@pytest.mark.parametrize(
    ("of_dataset", "of_field", "found"),
    [
        # (days before, days after)
        ((400, 500), (0, 450), ["calls: retention lengthened from 400 days to 500 days"]),
        ((400, 400), (0, 450), ["calls.note: retention lengthened from 400 days to 450 days"]),
        ((400, 300), (350, 0), []),
        ((400, 500), (450, 0), ["calls: retention lengthened from 400 days to 500 days", "calls.note: retention "
         "lengthened from 450 days to 500 days"]),
        ((400, 0), (30, 0), ["calls: retention lengthened from 400 days to unlimited", "calls.note: retention "
         "lengthened from 30 days to unlimited"]),
        ((0, 400), (0, 0), []),
        ((0, 0), (30, 0), ["calls.note: retention lengthened from 30 days to unlimited"]),
    ],
)  # fmt: skip
def test_a_field_without_days_of_its_own_is_kept_as_its_dataset(
    of_dataset: tuple[int, int], of_field: tuple[int, int], found: list[str]
) -> None:
    old, new = (dataset(field(retention_days=of_field[at]), retention_days=of_dataset[at]) for at in (0, 1))
    assert [each.change for each in weakenings([old], [new])] == found


SAID = {"purposes": "consent", "person": "user_id", "valid_from": "updated_at"}
OF_EACH_ROW, TAKEN = (ConsentSaid.model_validate(SAID | {"of_each_row": each}) for each in (True, False))
NOT_ASKED, NOT_TAKEN = "calls: consent no longer asked of each row", "calls: consent no longer taken from its rows"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (OF_EACH_ROW, TAKEN, [Weakening(NOT_ASKED, "of each row", "of none")]),
        (TAKEN, None, [Weakening(NOT_TAKEN, "from consent", "from none")]),
        # Two approvals: to ask no longer, and to remember no longer.
        (
            OF_EACH_ROW,
            None,
            [Weakening(NOT_ASKED, "of each row", "of none"), Weakening(NOT_TAKEN, "from consent", "from none")],
        ),
        (TAKEN, OF_EACH_ROW, []),
        (None, TAKEN, []),
        (None, OF_EACH_ROW, []),
        (OF_EACH_ROW, OF_EACH_ROW, []),
    ],
)
def test_consent_that_is_no_longer_asked_or_taken_is_weaker(
    before: ConsentSaid | None, after: ConsentSaid | None, found: list[Weakening]
) -> None:
    assert weakenings([dataset(field(), consent=before)], [dataset(field(), consent=after)]) == found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (("a", "b"), (), [Weakening("calls: a or b no longer required", "a or b", "none")]),
        (("a", "b"), ("a", "b", "c"), [Weakening("calls: a or b no longer required", "a or b", "a or b or c")]),
        (("a", "b", "c"), ("b", "a"), []),
        ((), ("a", "b"), []),
    ],
)
def test_one_of_some_fields_that_is_no_longer_required_is_weaker(
    before: tuple[str, ...], after: tuple[str, ...], found: list[Weakening]
) -> None:
    old, new = dataset(field(), require_one_of=before), dataset(field(), require_one_of=after)
    assert weakenings([old], [new]) == found


def test_a_field_that_is_required_by_itself_is_stronger_than_one_of_several() -> None:
    old = dataset(field(), require_one_of=("note", "other"))
    assert weakenings([old], [dataset(field(required=True))]) == []


def test_the_order_of_classes_and_treatments_is_as_said_here() -> None:
    """A new one is put into its place on purpose: what is below it is weaker."""
    assert ([*Privacy], [*Treatment]) == (CLASSES, TREATMENTS)


def test_what_was_and_what_is_are_said() -> None:
    old = dataset(field(required=True, purposes=()), field_of("query", treatment="drop"))
    new = dataset(
        field(purposes=("analytics", "advertising")), field_of("query", treatment="drop", flag=flag("q")),
        retention_days=0,
    )  # fmt: skip
    assert weakenings([old], [new]) == [
        Weakening("calls: retention lengthened from 400 days to unlimited", "400 days", "unlimited"),
        Weakening("calls.note: purpose analytics added", "none", "analytics, advertising"),
        Weakening("calls.note: purpose advertising added", "none", "analytics, advertising"),
        Weakening("calls.note: required dropped", "required", "optional"),
        Weakening("calls.query: flag is_bot added, matching q", "no flag", "q"),
    ]


def test_what_is_new_or_gone_is_not_weaker() -> None:
    strict = dataset(field(privacy="free_text", treatment="drop", required=True))
    loose = field_of("other", privacy="none", purposes=tuple(PURPOSES))
    assert weakenings([strict], [dataset(*strict.fields, loose)]) == []
    assert weakenings([dataset(*strict.fields, loose)], [strict]) == []
    another = dataset(loose, name="visits", message="t.visits.v1.Visit", retention_days=0)
    assert weakenings([strict], [strict, another]) == weakenings([strict, another], [strict]) == []
    assert weakenings([], [strict]) == weakenings([strict], []) == []


def test_fields_of_one_name_in_two_payloads_are_two() -> None:
    old = dataset(field(payload="view"), field(payload="search"))
    new = dataset(field(payload="view"), field(payload="search", privacy="none"))
    (found,) = weakenings([old], [new])
    assert found.change == "calls.search.note: class lowered from behaviour to none"


@pytest.mark.parametrize(
    "renamed", [{"name": "phone_calls"}, {"message": "t.calls.v2.Call", "version": "v2"}], ids=["name", "message"]
)
def test_a_dataset_is_known_again_by_its_name_or_its_message(renamed: dict[str, str]) -> None:
    old, new = dataset(field(required=True)), dataset(field(), **renamed)
    assert [each.change for each in weakenings([old], [new])] == [f"{new.name}.note: required dropped"]


def test_nothing_of_the_committed_contract_is_weaker_than_itself() -> None:
    specs = [*load_specs().values()]
    assert weakenings(specs, specs) == []


@st.composite
def option_changes(draw: st.DrawFn) -> tuple[DatasetSpec, DatasetSpec, set[str], set[str]]:
    """A dataset before and after some options changed, and what of that is weaker there and on the way back."""
    there: set[str] = set()
    back: set[str] = set()

    def ordered(name: str, text: str, values: list[Any], said: Any = str) -> tuple[Any, Any]:
        """Two values of an option; ``values`` goes from what protects least to what protects most."""
        at = draw(st.tuples(*[st.integers(0, len(values) - 1)] * 2))
        before, after = (values[index] for index in at)
        if at[1] < at[0]:
            there.add(f"{name}: {text.format(said(before), said(after))}")
        if at[1] > at[0]:
            back.add(f"{name}: {text.format(said(after), said(before))}")
        return before, after

    def days(number: int) -> str:
        return f"{number} days" if number else "unlimited"

    of_dataset = ordered("calls", "retention lengthened from {} to {}", DATASET_DAYS, days)
    sides: tuple[list[FieldSpec], list[FieldSpec]] = ([], [])
    for name in ("one", "two", "three"):
        path = f"calls.{name}"
        options = {
            "privacy": ordered(path, "class lowered from {} to {}", CLASSES),
            "treatment": ordered(path, "treatment weakened from {} to {}", TREATMENTS),
            "required": ordered(path, "required dropped", [False, True]),
            "purposes": draw(st.tuples(*[st.lists(st.sampled_from(PURPOSES), unique=True)] * 2)),
        }
        # Of these two each is weaker than the other.
        for found, treatments in ((there, options["treatment"]), (back, options["treatment"][::-1])):
            if treatments == ("pseudonymise", "truncate"):
                found.add(f"{path}: treatment weakened from pseudonymise to truncate")
        there |= {f"{path}: purpose {each} added" for each in {*options["purposes"][1]} - {*options["purposes"][0]}}
        back |= {f"{path}: purpose {each} added" for each in {*options["purposes"][0]} - {*options["purposes"][1]}}
        own = [draw(st.sampled_from(FIELD_DAYS)) for _ in sides]
        for found, before, after in ((there, 0, 1), (back, 1, 0)):
            # Own days are fewer than any dataset's: only from own days can a field itself be lengthened.
            longer = own[before] and (own[after] == 0 or own[after] > own[before])
            if longer:
                now = own[after] or of_dataset[after]
                found.add(f"{path}: retention lengthened from {days(own[before])} to {days(now)}")
        for at, fields in enumerate(sides):
            said = {option: values[at] for option, values in options.items()}
            fields.append(field_of(name, retention_days=own[at], **said | {"purposes": tuple(said["purposes"])}))
    old, new = (dataset(*sides[at], retention_days=of_dataset[at]) for at in (0, 1))
    return old, new, there, back


@settings(max_examples=150, deadline=None)
@given(option_changes())
def test_exactly_what_changed_towards_less_protection_is_found(
    change: tuple[DatasetSpec, DatasetSpec, set[str], set[str]],
) -> None:
    old, new, there, back = change
    found = [each.change for each in weakenings([old], [new])]
    assert sorted(found) == sorted(there)
    assert {each.change for each in weakenings([new], [old])} == back
    assert weakenings([old], [old]) == weakenings([new], [new]) == []
