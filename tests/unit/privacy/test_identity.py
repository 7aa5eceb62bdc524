"""From an id to all pseudonyms of a person, and to nobody else's."""

from collections.abc import Collection
from uuid import UUID

import pytest

from flows.land.pseudonyms import Kind, Pseudonymiser
from flows.privacy.identity import Given, Person, pseudonyms, resolve


def key(word: str) -> UUID:
    return UUID(bytes=word.encode().ljust(16, b"."))


def words(keys: Collection[UUID]) -> set[str]:
    return {one.bytes.rstrip(b".").decode() for one in keys}


class Rows:
    """Links by the rows of a test."""

    def __init__(self, *rows: tuple[str | None, str | None, str | None]) -> None:
        self._rows = [dict(zip(Kind, (word and key(word) for word in row), strict=True)) for row in rows]

    def pairs(self, kind: Kind, keys: Collection[UUID], other: Kind) -> set[tuple[UUID, UUID]]:
        found = {(row[kind], row[other]) for row in self._rows if row[kind] in keys}
        return {(one, to) for one, to in found if one and to}


def person(rows: Rows, **given: str) -> Person:
    return resolve({kind: frozenset(map(key, given.get(kind, "").split())) for kind in Kind}, rows)


def found(one: Person) -> tuple[set[str], set[str], set[str], set[str]]:
    accounts, users, devices = (words(one.keys[kind]) for kind in Kind)
    return accounts, users, devices, words(one.shared)


ALONE = Rows(
    ("a1", "u1", None), ("a2", "u1", None), ("a9", "u9", None),
    (None, "u1", "d1"), (None, "u1", "d2"), (None, "u9", "d9"), (None, None, "d1"),
)  # fmt: skip
SHARED = Rows(("a1", "u1", None), ("a9", "u9", None), (None, "u1", "d1"), (None, "u9", "d1"), (None, "u9", "d9"))


@pytest.mark.parametrize(
    "given", [{"account": "a1"}, {"account": "a1 a2"}, {"user": "u1"}, {"account": "a2", "device": "d1"}]
)
def test_an_id_leads_to_every_key_of_the_person(given: dict[str, str]) -> None:
    assert found(person(ALONE, **given)) == ({"a1", "a2"}, {"u1"}, {"d1", "d2"}, set())


def test_a_shared_device_is_marked_and_leads_to_nobody_else() -> None:
    assert found(person(SHARED, account="a1")) == ({"a1"}, {"u1"}, {"d1"}, {"d1"})
    assert found(person(SHARED, user="u9")) == ({"a9"}, {"u9"}, {"d1", "d9"}, {"d1"})


def test_a_device_alone_leads_to_no_user_and_is_shared_once_two_were_seen() -> None:
    assert found(person(ALONE, device="d1")) == (set(), set(), {"d1"}, set())
    assert found(person(SHARED, device="d1")) == (set(), set(), {"d1"}, {"d1"})
    assert found(person(SHARED, device="d9")) == (set(), set(), {"d9"}, set())


def test_a_device_given_with_a_user_who_was_never_on_it_is_shared() -> None:
    assert found(person(SHARED, user="u1", device="d9")) == ({"a1"}, {"u1"}, {"d1", "d9"}, {"d1", "d9"})


def test_who_is_unknown_has_no_key_but_their_own() -> None:
    assert found(person(ALONE, account="a0")) == ({"a0"}, set(), set(), set())


def test_another_person_of_an_account_of_the_same_user_is_not_followed() -> None:
    """The user u1 has the account a2, which is u9's too: u9 is somebody else."""
    rows = Rows(("a1", "u1", None), ("a2", "u1", None), ("a2", "u9", None), (None, "u9", "d9"))
    assert found(person(rows, account="a1")) == ({"a1", "a2"}, {"u1"}, set(), set())


def test_pseudonyms_are_those_of_landing_by_the_column_they_land_in() -> None:
    made = Pseudonymiser(b"k" * 32)
    keys = pseudonyms([Given(Kind.USER, "x"), Given(Kind.DEVICE, "x")], made)
    assert keys[Kind.USER] == {UUID(bytes=made.one("user_key", "x"))}
    assert keys[Kind.DEVICE] == {UUID(bytes=made.one("device_key", "x"))}
    assert keys[Kind.USER] != keys[Kind.DEVICE]
    assert keys[Kind.ACCOUNT] == frozenset()


def test_what_has_several_pseudonyms_is_one_thing_and_shared_by_all_of_them() -> None:
    others = {key("u1"): key("u1'"), key("d1"): key("d1'")}

    def aliases_of(_: Kind, keys: Collection[UUID]) -> frozenset[UUID]:
        return frozenset(others[one] for one in keys if one in others)

    rows = Rows(("a1", "u1", None), (None, "u1", "d1"), (None, "u9", "d1"), (None, "u1'", "d2"))
    given = {Kind.ACCOUNT: frozenset({key("a1")}), Kind.USER: frozenset[UUID](), Kind.DEVICE: frozenset[UUID]()}
    one = resolve(given, rows, aliases_of)
    assert found(one) == ({"a1"}, {"u1", "u1'"}, {"d1", "d1'", "d2"}, {"d1", "d1'"})
    assert [one.count(kind) for kind in Kind] == [1, 1, 2]
