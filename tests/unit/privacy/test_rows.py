"""Whose a row is: every row that can be, against the rule in plain Python."""

from itertools import product
from uuid import UUID

import duckdb
import pytest

from flows.land.pseudonyms import Kind
from flows.privacy.identity import Person
from flows.privacy.rows import Share, others_left_out, share_of_row

MINE, OTHER, ALSO_SHARED = UUID(int=1), UUID(int=2), UUID(int=3)
COLUMNS = [kind.column for kind in Kind]
PERSON = Person(
    {
        Kind.ACCOUNT: frozenset([MINE]),
        Kind.USER: frozenset([MINE]),
        Kind.DEVICE: frozenset([MINE, ALSO_SHARED]),
    },
    frozenset([ALSO_SHARED]),
)
NOBODY = Person({kind: frozenset() for kind in Kind}, frozenset())


def expected(row: dict[str, UUID | None], with_shared: bool) -> Share | None:
    named = {row.get("account_key"), row.get("user_key")} - {None}
    if named:
        return None if MINE not in named else Share.OWN if named == {MINE} else Share.WITHHELD
    device = row.get("device_key")
    if device == ALSO_SHARED:
        return Share.BY_DEVICE if with_shared else Share.WITHHELD
    return Share.BY_DEVICE if device == MINE else None


def shares(columns: list[str], person: Person, with_shared: bool) -> list[tuple[dict[str, UUID | None], Share | None]]:
    rows = [
        dict(zip(columns, row, strict=True)) for row in product([MINE, OTHER, ALSO_SHARED, None], repeat=len(columns))
    ]
    with duckdb.connect() as database:
        database.execute(f"create table t ({', '.join(f'{name} uuid' for name in columns)})")
        database.executemany(
            f"insert into t values ({', '.join('?' * len(columns))})", [[*row.values()] for row in rows]
        )
        found = database.execute(
            f"select {share_of_row(columns, person, with_shared)} from t order by rowid"
        ).fetchall()
    return [(row, Share(share) if share else None) for row, (share,) in zip(rows, found, strict=True)]


@pytest.mark.parametrize("with_shared", [False, True])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[:2], COLUMNS[1:], COLUMNS[:1], COLUMNS[2:]], ids=str)
def test_a_row_is_whose_it_names(columns: list[str], with_shared: bool) -> None:
    for row, share in shares(columns, PERSON, with_shared):
        assert share == expected(row, with_shared), row


def test_nothing_is_anybodys_without_keys() -> None:
    assert {share for _, share in shares(COLUMNS, NOBODY, True)} == {None}


@pytest.mark.parametrize(("person", "kept"), [(PERSON, [MINE, None, None]), (NOBODY, [None, None, None])], ids=str)
def test_whom_else_a_row_was_guessed_to_be_of_is_left_out(person: Person, kept: list[UUID | None]) -> None:
    guessed = [MINE, OTHER, None]
    with duckdb.connect() as database:
        database.execute("create table t (user_key uuid, stitched_user_key uuid)")
        database.executemany("insert into t values (?, ?)", [[OTHER, one] for one in guessed])
        shown = others_left_out(["user_key", "stitched_user_key"], person)
        assert database.execute(f"select {shown} from t order by rowid").fetchall() == [(OTHER, one) for one in kept]
    assert others_left_out(COLUMNS, person) == "*"
