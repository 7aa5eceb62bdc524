"""The pages of a list, so that no row that was there all along is missed, whatever comes and goes meanwhile.

- A list that an answer leads on through (``cursor``, ``link``) is the server's to keep: it is followed.
- Pages by number of rows shift as rows come and go. Each is asked for so that it begins within the one before it: where
  it holds a row of that one, no row is between them. Where it does not, it is begun earlier.
- Pages by number alone, whose size cannot be asked for, are read twice, and count where both give the same keys.

Where rows change faster than that, :class:`~flows.extract.errors.MayPassError` is raised, and nothing counts.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from flows.errors import TidemarkError
from flows.extract.api.answers import MisfitError, Number, kind_of, rows_of, steps, value_at
from flows.extract.api.client import Answer, Client, StatusError, joined
from flows.extract.api.declared import (
    CursorPaging,
    Endpoint,
    LinkPaging,
    NoPaging,
    OffsetPaging,
    PagePaging,
)
from flows.extract.api.rows import Row, Shape
from flows.extract.errors import MayPassError

# A server may give pages without rows, such as of what it filters, but not for ever.
EMPTY_PAGES_AT_MOST = 100
# So many pages are gone back to find where rows went, and so often nothing new may come of it.
BACK_AT_MOST = 8
# Which part of a page is that of the one before.
SHARED_PART = 10
CHANGES = "rows came or went faster than its pages could be read; no file with them was delivered"


@dataclass(frozen=True)
class Reading:
    """A list that is read: from where, with which parameters, and what its rows are to have."""

    client: Client
    name: str
    endpoint: Endpoint
    shape: Shape
    # The place of the values of the key in a row.
    key: tuple[int, ...]
    since: str | None
    note: Callable[[str], None]

    def url(self, more: Mapping[str, Any] | None = None) -> httpx.URL:
        """The address of a page."""
        base, endpoint = self.client.url, self.endpoint
        path = "/" + "/".join(part for part in (base.path.strip("/"), endpoint.path.strip("/")) if part)
        since = {endpoint.since: self.since} if endpoint.since and self.since is not None else {}
        given = {**endpoint.parameters, **since, **(more or {})}
        return base.copy_with(path=path).copy_merge_params(given)

    def get(self, url: httpx.URL, page: int) -> tuple[Answer, list[Row]]:
        """A page's answer and its rows; ``page`` counts them for messages."""
        answer = self.client.get(url, f"{self.name}: page {page}")
        found = rows_of(answer.body, self.endpoint.rows, f"{self.name}: page {page}")
        return answer, self.shape.rows(page, found)


def pages(reading: Reading) -> Iterator[list[Row]]:
    """The rows of a list, those of a page at a time; some may come more than once."""
    paging = reading.endpoint.paging
    match paging:
        case NoPaging():
            answer, rows = reading.get(reading.url(), 1)
            if answer.next_link:
                raise TidemarkError(
                    f"{reading.name}: the answer has a link to a next one; declare `paging` as kind: link"
                )
            yield rows
        case CursorPaging() | LinkPaging():
            yield from _followed(reading, paging)
        case OffsetPaging():
            yield from _overlapping(reading, paging.size, _by_offset(reading, paging))
        case PagePaging() if paging.is_varied:
            yield from _overlapping(reading, paging.size or 0, _by_varied_pages(reading, paging))
        case PagePaging():
            yield from _read_twice(reading, paging)


def _followed(reading: Reading, paging: CursorPaging | LinkPaging) -> Iterator[list[Row]]:
    url, taken, empty, number = reading.url(), set[bytes](), 0, 0
    while True:
        number += 1
        taken.add(_mark(url))
        answer, rows = reading.get(url, number)
        yield rows
        is_said, following = _next_of(answer, paging, f"{reading.name}: page {number}")
        if following is None:
            if number == 1 and not is_said and reading.since is None and _may_be_full(rows):
                reading.note(
                    f"{reading.name}: page 1 is the only one, of {len(rows)} rows, and no answer has "
                    f"{'the header Link' if paging.next is None else repr(paging.next)}; is what is next elsewhere?"
                )
            return
        url = (
            reading.url({paging.parameter: following})
            if isinstance(paging, CursorPaging)
            else joined(answer.url, following, f"{reading.name}: page {number}")
        )
        if _mark(url) in taken:
            raise TidemarkError(
                f"{reading.name}: page {number} leads on to one that was read before, and so for ever; look at what "
                "`paging` says is next"
            )
        empty = 0 if rows else empty + 1
        if empty > EMPTY_PAGES_AT_MOST:
            raise TidemarkError(f"{reading.name}: {EMPTY_PAGES_AT_MOST} pages one after the other have no rows")


def _mark(url: httpx.URL) -> bytes:
    return hashlib.blake2b(str(url).encode(), digest_size=16).digest()


def _next_of(answer: Answer, paging: CursorPaging | LinkPaging, what: str) -> tuple[bool, str | None]:
    """Whether an answer has the place of what is next, and what it says there; None where it is the last."""
    if paging.next is None:
        return answer.has_links, answer.next_link
    try:
        is_said, found = value_at(answer.body, steps(paging.next))
    except MisfitError as error:
        raise TidemarkError(f"{what}: nothing can stand at {paging.next!r}: {error}; correct `paging.next`") from error
    if found is None or found is False or found == "":
        return is_said, None
    if not isinstance(found, str | Number):
        raise TidemarkError(f"{what}: at {paging.next!r} stands {kind_of(found)}, and no string or number")
    return is_said, str(found)


def _may_be_full(rows: list[Row]) -> bool:
    """Whether a page has as many rows as people choose for one."""
    return len(rows) >= 10 and len(rows) % 5 == 0


@dataclass(frozen=True)
class _Slice:
    """Rows from a place in the list on: which, how many were asked for, and those that came."""

    start: int
    asked: int
    rows: list[Row]


# The slice of a list that begins at a place or before it and reaches beyond another, if so many rows are there.
_Sliced = Callable[[int, int], _Slice]


def _by_offset(reading: Reading, paging: OffsetPaging) -> _Sliced:
    number = 0

    def sliced(start: int, beyond: int) -> _Slice:
        nonlocal number
        number += 1
        url = reading.url({paging.parameter: start, paging.size_parameter: paging.size})
        return _Slice(start, paging.size, reading.get(url, number)[1])

    return sliced


def _by_varied_pages(reading: Reading, paging: PagePaging) -> _Sliced:
    number = 0

    def sliced(start: int, beyond: int) -> _Slice:
        nonlocal number
        number += 1
        page, size = page_across(start, beyond, paging.size or 0)
        url = reading.url({paging.parameter: paging.first + page, paging.size_parameter or "": size})
        return _Slice(page * size, size, reading.get(url, number)[1])

    return sliced


def page_across(start: int, beyond: int, size: int) -> tuple[int, int]:
    """Which page, from 0, of which size up to this one begins at a place or before it, and ends farthest beyond
    another."""
    sizes = range(size, size // 2, -1)
    best = max(sizes, key=lambda each: (start // each + 1) * each)
    page = start // best
    if (page + 1) * best <= beyond:
        raise TidemarkError(f"no page of up to {size} rows has both row {start} and row {beyond}")
    return page, best


def _overlapping(reading: Reading, size: int, sliced: _Sliced) -> Iterator[list[Row]]:
    """Slices of which each holds a row of those before it, so that none is missed between them.

    What is the same row has the same values; one that moved as it changed is no proof.
    """
    first = sliced(0, 0)
    yield first.rows
    if not first.rows:
        return
    if len(first.rows) < first.asked and isinstance(reading.endpoint.paging, PagePaging):
        _check_all_there(reading, reading.endpoint.paging, first)
        return
    if len(first.rows) == 1:
        if sliced(1, 1).rows:
            raise MayPassError(f"{reading.name}: {CHANGES}; or the API gives one row at a time, which is too few")
        return
    # As many as a server gives at a time, which may be fewer than are asked for.
    shared = max(1, min(size, len(first.rows)) // SHARED_PART)
    recent = deque([frozenset(first.rows)], maxlen=BACK_AT_MOST)
    end, back, idle = len(first.rows), 0, 0
    while True:
        found = sliced(max(0, end - shared - back * size), end - back * size)
        if len(found.rows) > found.asked:
            raise TidemarkError(
                f"{reading.name}: {len(found.rows)} rows came where {found.asked} were asked for; where the API has "
                "pages of one size alone, name it under `parameters` and not in `paging`"
            )
        known = frozenset[Row]().union(*recent)
        fresh = [row for row in found.rows if row not in known]
        if found.start > 0 and len(fresh) == len(found.rows):
            back += 1
            if back > BACK_AT_MOST:
                raise MayPassError(f"{reading.name}: {CHANGES}")
            continue
        if fresh:
            yield fresh
        idle = 0 if fresh else idle + 1
        reached = found.start + len(found.rows)
        if not fresh and back == 0 and reached <= end:
            return
        if idle > BACK_AT_MOST:
            raise TidemarkError(
                f"{reading.name}: the same rows come whatever is asked for; does the API have the parameters that "
                "`paging` names?"
            )
        recent.append(frozenset(found.rows))
        end, back = reached, 0


def _check_all_there(reading: Reading, paging: PagePaging, first: _Slice) -> None:
    """Raise :class:`MayPassError` where a page that is not full is not the last."""
    following = _page_or_none(reading, paging, {paging.size_parameter: first.asked}, 2)
    if following:
        raise MayPassError(
            f"{reading.name}: page 1 has {len(first.rows)} rows where {first.asked} were asked for, and is not the "
            "last; let `size` be the most that the API gives"
        )


def _page_or_none(reading: Reading, paging: PagePaging, more: Mapping[Any, Any], number: int) -> list[Row]:
    """A page's rows; none where the API says that there is no such page behind the first."""
    try:
        return reading.get(reading.url({**more, paging.parameter: paging.first + number - 1}), number)[1]
    except StatusError as error:
        if error.status != httpx.codes.NOT_FOUND or number == 1:
            raise
        return []


def _read_twice(reading: Reading, paging: PagePaging) -> Iterator[list[Row]]:
    """The pages to the first without rows, once a second reading has the same keys in the same places."""
    once = hashlib.sha256()
    for rows in _numbered(reading, paging):
        once.update(_keys(reading, rows))
        yield rows
    again = hashlib.sha256()
    for rows in _numbered(reading, paging):
        again.update(_keys(reading, rows))
    if once.digest() != again.digest():
        raise MayPassError(f"{reading.name}: {CHANGES}")


def _numbered(reading: Reading, paging: PagePaging) -> Iterator[list[Row]]:
    size = {paging.size_parameter: paging.size} if paging.size_parameter else {}
    before: frozenset[Row] = frozenset()
    number = repeated = 0
    while True:
        number += 1
        rows = _page_or_none(reading, paging, size, number)
        if not rows:
            return
        is_known = sum(row in before for row in rows) * 2 > len(rows)
        repeated = repeated + 1 if is_known else 0
        if repeated > BACK_AT_MOST:
            raise MayPassError(
                f"{reading.name}: page {number} is still the one before; does the API have the parameter "
                f"{paging.parameter!r}?"
            )
        yield rows
        before = frozenset(rows)


def _keys(reading: Reading, rows: list[Row]) -> bytes:
    """The keys of a page's rows, and where it ends."""
    return repr([[row[at] for at in reading.key] for row in rows]).encode(errors="surrogatepass")
