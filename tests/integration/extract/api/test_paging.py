"""Every row comes by each way of paging, whatever comes and goes between its pages."""

import random
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.errors import TidemarkError
from flows.extract.api.client import Client
from flows.extract.api.declared import Endpoint
from flows.extract.api.paging import Reading, pages
from flows.extract.api.rows import Shape
from flows.extract.errors import MayPassError
from tests.support.apis import Api, answers
from tests.support.telephony import (
    CALLS,
    CURSOR_PAGES,
    LINKS,
    OFFSETS,
    PAGES,
    VARIED,
    Declared,
    all_of,
    call,
)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9, 41, 60])
@pytest.mark.parametrize(
    "paging",
    [CURSOR_PAGES, PAGES, OFFSETS, LINKS, LINKS | {"next": "links.next"}, VARIED],
    ids=["cursor", "page", "offset", "header", "link", "varied"],
)
def test_every_row_comes_once_by_each_way_of_paging(
    api: Api, declared: Declared, paging: dict[str, Any], count: int
) -> None:
    api.lists["calls"] = [call(number) for number in range(count)]
    api.is_by_cursor = paging is CURSOR_PAGES
    declared.write(calls=CALLS | {"paging": paging}).run()
    assert declared.ids() == all_of(api)
    assert all(query["status"] == "finished" for _, query in api.asked)


def test_pages_of_fewer_rows_than_are_asked_for_are_not_the_end(api: Api, declared: Declared) -> None:
    api.lists["calls"] = [call(number) for number in range(250)]
    api.largest = 50
    declared.write(calls=CALLS | {"paging": OFFSETS | {"size": 1_000}}).run()
    assert declared.ids() == all_of(api)
    with pytest.raises(
        MayPassError, match="page 1 has 50 rows where 100 were asked for, and is not the last; let `size`"
    ):
        declared.write(calls=CALLS | {"paging": VARIED | {"size": 100}}).run()


def test_a_link_that_goes_round_and_pages_without_rows_end(api: Api, declared: Declared) -> None:
    api.each = answers(200, b'{"data": [], "meta": {"next_cursor": "again"}}')
    with pytest.raises(TidemarkError, match="page 2 leads on to one that was read before, and so for ever"):
        declared.write(calls=CALLS).run()
    numbers = iter(range(10_000))

    def empty(handler: Any) -> bool:
        return answers(200, f'{{"data": [], "meta": {{"next_cursor": {next(numbers)}}}}}'.encode())(handler)

    api.each = empty
    with pytest.raises(TidemarkError, match="100 pages one after the other have no rows"):
        declared.run()
    api.each = None
    api.faults = {len(api.asked) + 2: answers(200, b'{"data": null, "meta": {"next_cursor": "000003"}}')}
    declared.run()
    assert len(declared.ids()) == 9, "one without rows is followed; what it left out is the server's to know"


@pytest.mark.parametrize(
    ("paging", "place"),
    [(CURSOR_PAGES | {"next": "meta.next"}, "'meta.next'"), (LINKS, "the header Link"), (CURSOR_PAGES, None)],
)
def test_a_full_page_that_leads_nowhere_is_said(
    api: Api, declared: Declared, paging: dict[str, Any], place: str | None
) -> None:
    api.size = 10
    declared.write(calls=CALLS | {"paging": paging}).run()
    assert [place in note and "is the only one, of 10 rows" in note for note in declared.notes if place] == (
        [True] if place else []
    )


@pytest.mark.parametrize("paging", [PAGES, OFFSETS, VARIED], ids=["page", "offset", "varied"])
def test_parameters_that_the_api_does_not_have_are_said(api: Api, declared: Declared, paging: dict[str, Any]) -> None:
    api.lists["calls"] = [call(number) for number in range(30)]
    api.page = lambda path, query, here: ({"data": api.lists[path][:20]}, {})  # type: ignore[method-assign]
    words = r"does the API have the parameter|20 rows came where|page 1 .* is not the last|faster than"
    with pytest.raises(TidemarkError, match=words):
        declared.write(calls=CALLS | {"paging": paging}).run()
    assert declared.files() == []


INSERT, DELETE, CHANGE = "insert", "delete", "change"


@pytest.mark.parametrize("change", [INSERT, DELETE])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_rows_that_shift_between_pages_are_not_missed(api: Api, declared: Declared, at: int, change: str) -> None:
    rows = api.lists["calls"] = [call(number) for number in range(12)]

    def shift(number: int) -> None:
        if number == at + 1:
            if change == INSERT:
                rows.insert(0, call(100))
            else:
                rows.pop(0)

    api.before = shift
    for paging in (OFFSETS, PAGES, CURSOR_PAGES):
        declared.write(calls=CALLS | {"paging": paging})
        api.sort = (lambda row: f"{row['id']:>9}") if paging is CURSOR_PAGES else None
        before = {row["id"] for row in rows}
        known = set(declared.files())
        api.asked.clear()
        for _ in range(3):
            try:
                declared.run()
                break
            except MayPassError as error:
                assert "rows came or went faster" in str(error)
        found = {row["call_id"] for path in {*declared.files()} - known for row in pq.read_table(path).to_pylist()}
        assert found >= before & {row["id"] for row in rows}, paging


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    often=st.sampled_from([0.1, 0.3, 1.0]),
    paging=st.sampled_from([PAGES, OFFSETS, VARIED, OFFSETS | {"size": 20}]),
)
def test_no_edits_between_pages_lose_a_row_that_is_there_all_through(
    api: Api, client: Client, seed: int, often: float, paging: dict[str, Any]
) -> None:
    chance = random.Random(seed)
    rows = api.lists["calls"] = [call(number) for number in range(chance.randrange(70))]
    fresh = iter(range(1_000, 100_000))
    all_through = {row["id"] for row in rows}

    def edit(number: int) -> None:
        if number > 200 or chance.random() > often:
            return
        for _ in range(chance.randrange(1, 8)):
            at, kind = int(chance.random() ** 3 * len(rows)), chance.choice((INSERT, DELETE, DELETE, CHANGE))
            if kind == INSERT:
                rows.insert(at, call(next(fresh)))
            elif rows and kind == DELETE:
                all_through.discard(rows.pop(at)["id"])
            elif rows:
                rows[at] |= {"seconds": next(fresh)}

    api.asked.clear()
    api.before = edit
    endpoint = Endpoint.model_validate(CALLS | {"paging": paging})
    reading = Reading(client, "x", endpoint, Shape("x", endpoint), (0,), None, print)
    try:
        found = {row[0] for page in pages(reading) for row in page}
    except MayPassError:
        return
    assert found >= all_through


def test_a_list_that_never_stands_still_ends_with_no_file(api: Api, declared: Declared) -> None:
    def shift(number: int) -> None:
        api.lists["calls"].insert(0, call(100 + number))

    api.before = shift
    with pytest.raises(MayPassError, match="rows came or went faster than its pages could be read; no file"):
        declared.write(calls=CALLS | {"paging": PAGES}).run()
    assert declared.files() == [] and declared.leftovers() == []
