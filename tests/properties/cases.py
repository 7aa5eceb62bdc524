"""What the property test draws: cases, each a handful of people's events and when they are delivered.

A case is small and says little, so that one that fails can be read: its moments are relative to a day such as the one
on which clocks go forward. A test puts many cases into one lake and gives each two years to itself. Then no case has
a day, and so no session and no rolling figure, in common with another. (A product to itself would not do: the days
a build replaces are those of all products, and other cases' deliveries would hide a day wrongly left out.) Nor does it
share a device or a person with another: what these agree to concerns all days.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.properties.oracle import PURPOSES, Event

T = TypeVar("T")

STEPS = 4
CASES = 40

MINUTE = 60_000
ANCHORS = {"spring": (3, 31), "autumn": (10, 31), "new year": (12, 31), "end of February": (2, 28)}
# The limit of a session, and what lies about it; times of day are UTC, where the organisation's midnight is at 22:00
# or 23:00 and its clocks change at 01:00.
GAPS = (
    0, 1, 10 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 30 * MINUTE - 1, 31 * MINUTE, 23 * 60 * MINUTE, 24 * 60 * MINUTE,
    47 * 60 * MINUTE,
)  # fmt: skip
DAYS = (0, 0, 0, 0, 1, 1, 2, 3, 6, 7, 8)
# Days and steps between a visit and its echo: about the 7 and 28 days that rolling figures look back.
ECHOES = (None, None, None, (6, -1), (7, 1), (27, -1), (27, -1), (27, 1), (28, 1))
TIMES = (
    "12:00", "21:30", "21:45", "21:59:59.999", "22:00", "22:00:00.001", "22:29:59.999", "22:30", "22:45",
    "22:59:59.999", "23:00", "23:15", "23:30", "00:30", "00:59:59.999", "01:00", "01:30",
)  # fmt: skip
SHIFTS = (0, 0, 1, -1, 5_000, -5_000, 3 * 24 * 60 * MINUTE, -3 * 24 * 60 * MINUTE)
# How much a device's clock is ahead, most are not: at 24 hours its time begins to be wrong.
AHEADS = (*[0] * 12, 23 * 60 * MINUTE, 24 * 60 * MINUTE, 24 * 60 * MINUTE + 1, 3 * 24 * 60 * MINUTE)
# All combinations of purposes, also none; None where the event says nothing of consent.
EVERY = PURPOSES
AGREED = [some for number in range(len(EVERY) + 1) for some in combinations(EVERY, number)]
SPREADS = ("together", "by day", "one by one", "last first")

_C1 = {"content_id": "c-1", "content_type": "article"}
_C2 = {"content_id": "c-2", "content_type": "video"}
_TOP = {"advert_id": "a-1", "slot": "top", "position": 1, "page_type": "front", "request_id": "r-1"}
ROBOT = {"user_agent": "Mozilla/5.0 (compatible; Somebot/2.1)"}
# What happens: the payload, its content, and what else the event says. Neighbours resemble each other: a copy that
# differs in its payload has the next one's.
WHATS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "view": ("content_view", _C1, {}),
    "view from elsewhere": ("content_view", _C1 | {"referrer": "https://example.org/"}, {}),
    "view of a video": ("content_view", _C2, {}),
    "view as audio": ("content_view", _C1 | {"content_type": "audio"}, {}),
    "robot's view": ("content_view", _C1, ROBOT),
    "read": ("content_progress", _C1 | {"depth": 0.5, "active_ms": 15_000}, {}),
    "nearly read": ("content_progress", _C1 | {"depth": 0.5, "active_ms": 14_999}, {}),
    "not deep": ("content_progress", _C1 | {"depth": 0.499, "active_ms": 60_000}, {}),
    "enjoyed": ("content_progress", _C1 | {"depth": 1.0, "active_ms": 45_000}, {}),
    "no depth": ("content_progress", _C1 | {"active_ms": 9_999}, {}),
    "no attention": ("content_progress", _C2 | {"depth": 1.0}, {}),
    "like": ("content_reaction", _C1 | {"reaction": "like"}, {}),
    "dislike": ("content_reaction", _C1 | {"reaction": "dislike"}, {}),
    "save": ("content_reaction", _C2 | {"reaction": "save"}, {}),
    "search": ("search", {"query": "tide tables", "results_count": 3}, {}),
    "search without a count": ("search", {"query": "tide tables"}, {}),
    "impression": ("advert_impression", _TOP, {}),
    "impression elsewhere": ("advert_impression", _TOP | {"position": 2, "request_id": "r-2"}, {}),
    "bare impression": ("advert_impression", {"advert_id": "a-1"}, {}),
    "robot's impression": ("advert_impression", _TOP, ROBOT),
    "click": ("advert_click", _TOP, {}),
    "click elsewhere": ("advert_click", _TOP | {"slot": "side", "page_type": "list"}, {}),
    "call": ("enquiry", {"advert_id": "a-1", "channel": "call"}, {}),
    "message": ("enquiry", {"advert_id": "a-2", "channel": "message"}, {}),
}


def _moved(**by: int) -> Callable[[Event], Event]:
    return lambda copy: copy | {"occurred_at": copy["occurred_at"] + timedelta(**by)}


def _with(**values: Any) -> Callable[[Event], Event]:
    return lambda copy: copy | values


# How a later copy of an event differs from it.
CHANGES: dict[str, Callable[[Event], Event]] = {
    "nothing": lambda copy: copy,
    "payload": lambda copy: copy,  # made where the copy is
    "product": lambda copy: copy | {"product": "play" if copy["product"] == "news" else "news"},
    "platform": _with(platform="tv"),
    "version": _with(app_version="9.0"),
    "device": lambda copy: copy | {"device_id": "d-2" if copy["device_id"] == "d-1" else "d-1"},
    "user": _with(user_id="u-9"),
    "no user": _with(user_id=None),
    "session": lambda copy: copy | {"session_id": "s-1" if copy["session_id"] is None else None},
    "consent": _with(consent=["analytics", "advertising"]),
    "no consent": _with(consent=[]),
    "every consent": _with(consent=[*EVERY]),
    "country": _with(country="NO"),
    "robot": _with(**ROBOT),
    "sent": lambda copy: copy | {"sent_at": copy["occurred_at"] + timedelta(milliseconds=7)},
    "later": _moved(minutes=31),
    "earlier": _moved(minutes=-31),
    "a moment later": _moved(milliseconds=1),
    "a day later": _moved(days=1),
    "a day earlier": _moved(days=-1),
}


@dataclass(frozen=True)
class Visit:
    """Events of one device, each a gap in milliseconds after the one before, then a ``marathon`` of this many half an
    hour apart. Its ``echo``: this many days later another device begins alike, delivered this many steps later.
    ``consents`` are what the events agree to, in turn; the clock is so many milliseconds ``ahead``."""

    product: str
    platform: str
    device: str
    session: str | None
    user: str | None
    day: int
    time: str
    events: tuple[tuple[int, str], ...]
    marathon: int
    echo: tuple[int, int] | None
    is_bare: bool
    step: int
    spread: str
    consents: tuple[tuple[str, ...] | None, ...] = (EVERY,)
    ahead: int = 0


@dataclass(frozen=True)
class Retry:
    """Another copy of one of the case's events: how it differs, how much later it was received, when delivered."""

    which: int
    change: str
    shift: int
    step: int


@dataclass(frozen=True)
class State:
    """A delivered state of a content, advert, account or call, in a file that the next one of this name replaces."""

    dataset: str
    thing: str
    updated_hour: int
    value: int
    file: str
    step: int


@dataclass(frozen=True)
class Declared:
    """What a device or a user agrees to and what not, from a moment on: a record a purpose in a file of consents that
    the case's next one of this name replaces, or a row of an account. An account says nothing without a ``day``."""

    place: str
    device: str | None
    user: str | None
    given: tuple[str, ...]
    refused: tuple[str, ...]
    day: int | None
    time: str
    file: str
    step: int


@dataclass(frozen=True)
class Case:
    """Visits and retries about a day, and what people agree to."""

    anchor: str
    visits: tuple[Visit, ...]
    retries: tuple[Retry, ...] = ()
    states: tuple[State, ...] = ()
    declared: tuple[Declared, ...] = ()


def _tuples(values: SearchStrategy[T], least: int, most: int) -> SearchStrategy[tuple[T, ...]]:
    return st.lists(values, min_size=least, max_size=most).map(tuple)


_STEP = st.integers(0, STEPS - 1)
_VISITS = st.builds(
    Visit,
    product=st.sampled_from(["news", "news", "news", "news", "sport", "play"]),
    platform=st.sampled_from(["web", "web", "web", "ios"]),
    device=st.sampled_from(["d-1", "d-1", "d-2"]),
    session=st.sampled_from([None, None, "s-1", "s-2", ""]),
    user=st.sampled_from([None, "u-1", "u-2", "logs in", "logs out"]),
    day=st.sampled_from(DAYS),
    time=st.sampled_from(TIMES),
    events=_tuples(st.tuples(st.sampled_from(GAPS), st.sampled_from(list(WHATS))), 1, 4),
    marathon=st.sampled_from([*[0] * 12, 60, 130]),
    echo=st.sampled_from(ECHOES),
    is_bare=st.booleans(),
    step=_STEP,
    spread=st.sampled_from(SPREADS),
    consents=_tuples(st.sampled_from([EVERY] * 40 + [*AGREED, None]), 1, 2),
    ahead=st.sampled_from(AHEADS),
)
_RETRIES = st.builds(
    Retry, which=st.integers(0, 15), change=st.sampled_from(list(CHANGES)), shift=st.sampled_from(SHIFTS), step=_STEP
)
_STATES = st.builds(
    State,
    dataset=st.sampled_from(["contents", "adverts", "adverts", "calls", "accounts"]),
    thing=st.sampled_from(["1", "2"]),
    updated_hour=st.integers(0, 2),
    value=st.integers(0, 2),
    file=st.sampled_from(["a", "b"]),
    step=_STEP,
)
_GIVEN = st.sampled_from([EVERY, *AGREED])
_OF_MOMENT: dict[str, Any] = {
    "day": st.sampled_from((-1, 0, 0, 1, 2, 8, 30)),
    "time": st.sampled_from(TIMES),
    "file": st.sampled_from(["a", "b"]),
    "step": _STEP,
}
_RECORDS = st.builds(
    Declared,
    place=st.just("consents"),
    device=st.sampled_from([None, "d-1", "d-1", "d-2"]),
    user=st.sampled_from([None, None, "u-1", "u-2", "u-3"]),
    given=_GIVEN,
    refused=_GIVEN,
    **_OF_MOMENT,
)
_ACCOUNTS = st.builds(
    Declared,
    place=st.just("accounts"),
    device=st.none(),
    user=st.sampled_from([None, "u-1", "u-1", "u-2", "u-3"]),
    given=_GIVEN,
    refused=st.just(()),
    **_OF_MOMENT | {"day": st.none() | _OF_MOMENT["day"]},
)
_DECLARED = _RECORDS | _ACCOUNTS
# Somebody refuses, and gives consent again, which is known later.
_REFUSED_AND_GIVEN = st.builds(
    lambda refused, given, device, user: (
        replace(refused, device=device, user=user, refused=EVERY, day=-1, step=0),
        replace(
            given, device=device, user=user, given=EVERY, day=given.day or 0, file="again", step=2 + given.step % 2
        ),
    ),
    _RECORDS,
    _RECORDS,
    st.sampled_from(["d-1", "d-1", None]),
    st.sampled_from([None, "u-1"]),
)
CASE = st.builds(
    Case,
    anchor=st.sampled_from(list(ANCHORS)),
    # Many cases with little in them: a later delivery would fix what an earlier one should have.
    visits=_tuples(_VISITS, 1, 2) | _tuples(_VISITS, 1, 5),
    retries=_tuples(_RETRIES, 0, 1) | _tuples(_RETRIES, 1, 5),
    states=_tuples(_STATES, 0, 4),
    declared=st.just(()) | st.just(()) | st.just(()) | _tuples(_DECLARED, 1, 4) | _REFUSED_AND_GIVEN,
)
