"""An id is found in text however its format spells it, and no other id that only begins like it."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.privacy.ids import Ids, values_in

ODD = ["anna smith", 'an"na', "a,b", "u1", "x" * 300, "åsa-1", "a=b==", "ios:AB:CD", "a'b", "back\\slash", "k-1", "[1]"]


def as_csv(*cells: str) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().strip("\r\n")


@pytest.mark.parametrize("one", ODD)
def test_an_odd_id_is_found_in_every_format(one: str) -> None:
    ids = Ids([one])
    for text in (
        one,
        as_csv("1", one, "2026-01-01"),
        json.dumps({"user_id": one, "n": 1}),
        json.dumps({"a": {"b": [one]}}, ensure_ascii=False),
        json.dumps({"user_id": one}, separators=(",", ":")),
        f"a note about {one}, who called",
    ):
        assert ids.are_in(text), text
        if one in text:
            assert [True] in [pc.match_substring_regex(pa.array([text]), each).to_pylist() for each in ids.patterns]


@pytest.mark.parametrize("other", ["k-10", "ak-1", "k-1-2", "K-1", "k_1", ""])
def test_no_other_id_is_taken_for_it(other: str) -> None:
    assert not Ids(["k-1"]).are_in(json.dumps({"user_id": other, "of": f"x{other}"}))


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda one: one == one.strip()))
def test_whatever_the_id_it_is_a_value_of_its_row(one: str) -> None:
    assert one in values_in(json.dumps({"device_id": one}))
    assert Ids([one]).are_in(json.dumps({"device_id": one}))


def test_ten_thousand_people_are_looked_for_at_once() -> None:
    """In one expression they are more than the engine takes, and one after the other more than anybody waits for."""
    ids = Ids([f"0191f3c2-8a44-7c1e-9d3b-{number:012d}" for number in range(10_000)])
    lines = [
        f'{{"device_id":"d-{number}","user_id":"0191f3c2-8a44-7c1e-9d3b-9{number:011d}"}}' for number in range(500)
    ]
    assert not any(ids.are_in(line) for line in lines)
    found = [pc.any(pc.match_substring_regex(pa.array(lines), pattern)).as_py() for pattern in ids.patterns]
    assert not any(found)
