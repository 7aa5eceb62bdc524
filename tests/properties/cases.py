"""What the property test draws: cases, each a handful of people's events and when they are delivered.

A case is small and says little, so that one that fails can be read: its moments are relative to a day such as the one
on which clocks go forward. A test puts many cases into one lake and gives each two years to itself. Then no case has
a day, and so no session and no rolling figure, in common with another. (A product to itself would not do: the days
that a build replaces are those of all products, and other cases' deliveries would hide a day wrongly left out.)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from flows.land.pseudonyms import Pseudonymiser
from tests.properties.oracle import PAYLOADS, Event
from tests.support.lake import KEY

T = TypeVar("T")

STEPS = 4
CASES = 40
FIRST_YEAR = 2000
NAMESPACE = UUID("6f0d9d0e-5d0c-4d5e-9c55-0a1b2c3d4e5f")
PSEUDONYMS = Pseudonymiser(KEY.encode())

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
AS_DELIVERED = (
    "occurred_at", "sent_at", "received_at", "product", "platform", "app_version", "session_id", "consent", "country",
)  # fmt: skip
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
_NAMES = tuple(WHATS)


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
    hour apart. Its ``echo``: this many days later another device begins alike, delivered this many steps later."""

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
class Case:
    """Visits and retries about a day."""

    anchor: str
    visits: tuple[Visit, ...]
    retries: tuple[Retry, ...] = ()
    states: tuple[State, ...] = ()


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
    events=_tuples(st.tuples(st.sampled_from(GAPS), st.sampled_from(_NAMES)), 1, 4),
    marathon=st.sampled_from([*[0] * 12, 60, 130]),
    echo=st.sampled_from(ECHOES),
    is_bare=st.booleans(),
    step=_STEP,
    spread=st.sampled_from(SPREADS),
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
CASE = st.builds(
    Case,
    anchor=st.sampled_from(list(ANCHORS)),
    # Many cases with little in them: a later delivery would fix what an earlier one should have.
    visits=_tuples(_VISITS, 1, 2) | _tuples(_VISITS, 1, 5),
    retries=_tuples(_RETRIES, 0, 1) | _tuples(_RETRIES, 1, 5),
    states=_tuples(_STATES, 0, 4),
)


# --- what a case comes to --------------------------------------------------------------------------------------------


def year_of(number: int) -> int:
    """The first of the two years that belong to the case of this number."""
    return FIRST_YEAR + 2 * number


def number_of(day: date) -> int:
    """The case that a day belongs to."""
    return (day.year - FIRST_YEAR) // 2


def anchor_day(case: Case, number: int) -> date:
    """The day the case is about: where clocks change, a Sunday."""
    day = date(year_of(number), *ANCHORS[case.anchor])
    return day - timedelta((day.weekday() + 1) % 7) if case.anchor in ("spring", "autumn") else day


def copies_of(case: Case, number: int) -> list[tuple[int, Event]]:
    """Every copy of the case's events, as delivered, with the step at which it is."""
    copies: list[tuple[int, Event]] = []

    def add(visit: Visit, step: int, order: int, moment: datetime, what: str) -> None:
        event_id = uuid5(NAMESPACE, f"{number}/{len(copies)}")
        copies.append((step % STEPS, _event(visit, order, event_id, moment, what, number)))

    for visit in case.visits:
        start = datetime.combine(anchor_day(case, number) + timedelta(visit.day), time.fromisoformat(visit.time))
        moment = start
        for order, (gap, what) in enumerate([*visit.events, *[(30 * MINUTE, "view")] * visit.marathon]):
            moment += timedelta(milliseconds=gap)
            later = {"together": 0, "by day": (moment - start).days, "one by one": order, "last first": -order}
            add(visit, visit.step + later[visit.spread], order, moment, what)
        if visit.echo:
            days, steps = visit.echo
            add(replace(visit, device="d-3"), visit.step + steps, 0, start + timedelta(days), visit.events[0][1])
    first = list(copies)
    for retry in case.retries:
        _, event = first[retry.which % len(first)]
        copy = CHANGES[retry.change](event)
        if retry.change == "payload":
            what = _NAMES[(_NAMES.index(event["what"]) + 1) % len(_NAMES)]
            copy = {k: v for k, v in copy.items() if k not in _PAYLOADS} | _payload(what, number)
        copies.append((retry.step, copy | {"received_at": copy["received_at"] + timedelta(milliseconds=retry.shift)}))
    return copies


_PAYLOADS = {payload for payload, _, _ in WHATS.values()}


def _event(visit: Visit, order: int, event_id: UUID, moment: datetime, what: str, number: int) -> Event:
    users = {"logs in": "u-3" if order else None, "logs out": None if order else "u-3"}
    full = {} if visit.is_bare else {
        "sent_at": moment + timedelta(milliseconds=3), "app_version": "7.2", "country": "SE", "consent": ["analytics"],
        "user_agent": "Mozilla/5.0 (a telephone)", "ip_address": "203.0.113.7",
    }  # fmt: skip
    envelope = {
        "event_id": str(event_id),
        "occurred_at": moment,
        "received_at": moment + timedelta(seconds=1),
        "product": visit.product,
        "platform": visit.platform,
        "device_id": visit.device,
        "user_id": users.get(visit.user or "", visit.user),
        "session_id": visit.session,
    }
    return envelope | full | _payload(what, number) | {"what": what}


def _payload(what: str, number: int) -> Event:
    payload, body, more = WHATS[what]
    ids = {name: f"{value}-{number}" for name, value in body.items() if name in ("content_id", "advert_id")}
    return {payload: body | ids} | more


def as_delivered(copy: Event) -> dict[str, Any]:
    """The copy as a row of a file: moments as text, what is absent left out."""
    texts = {k: v.isoformat() + "Z" if isinstance(v, datetime) else v for k, v in copy.items()}
    return {k: v for k, v in texts.items() if k != "what" and v is not None}


def as_landed(copy: Event) -> Event:
    """The copy as the oracle takes it: what lands of it, people and devices as their keys, consent as it was given."""
    (payload,) = _PAYLOADS & copy.keys()
    agent = copy.get("user_agent") or ""
    return (
        {column: copy.get(column) for column in AS_DELIVERED}
        | {column: copy[payload].get(column) for column in PAYLOADS}
        | {
            "event_id": UUID(copy["event_id"]),
            "session_id": copy["session_id"] or None,  # an empty id is none
            "event_type": payload,
            "device_key": _key("device_key", copy["device_id"]),
            "user_key": _key("user_key", copy["user_id"]),
            "is_bot": "bot/" in agent,
        }
    )


def _key(column: str, value: str | None) -> UUID | None:
    return UUID(bytes=PSEUDONYMS.one(column, value)) if value else None


def states_of(case: Case, number: int) -> list[tuple[State, dict[str, Any]]]:
    """The rows of the case's contents, adverts, accounts and calls, as delivered."""
    rows = []
    for state in case.states:
        updated = datetime(year_of(number), 1, 1, state.updated_hour, tzinfo=UTC).isoformat()
        if state.dataset == "contents":
            row: dict[str, Any] = {"content_id": f"c-{state.thing}-{number}", "content_type": "article"}
            row |= {"product": "news", "title": f"title {state.value}", "updated_at": updated}
        elif state.dataset == "adverts":
            row = {"advert_id": f"a-{state.thing}-{number}", "price": state.value, "status": "listed"}
            row |= {"seller_id": f"s-{state.value}", "updated_at": updated}
        elif state.dataset == "accounts":
            row = {"account_id": f"m-{state.thing}-{number}", "user_id": f"u-{state.value}", "updated_at": updated}
            row |= {"created_at": updated, "birth_date": f"19{state.value}0-01-01", "address": "Provgatan 1, Sverige"}
        else:
            row = {"call_id": f"t-{state.thing}-{number}", "advert_id": f"a-{1 + state.value % 2}-{number}"}
            # A later delivery may say that the call was on another day.
            started = datetime.fromisoformat(updated) + timedelta(days=state.value)
            row |= {"started_at": started.isoformat(), "duration_seconds": state.value}
        rows.append((state, row))
    return rows
