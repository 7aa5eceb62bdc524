"""What the events come to, written plainly: lists and loops, no SQL, and no word of files, batches or builds.

An event is a dictionary of the landed columns, every one of them, with None for NULL. Moments are UTC without a zone.
Each function below gives the rows of the mart it is named after; keys made from other columns are left out.
``consent`` lists the purposes that it may be used for. tests/properties/oracle_consent.py says which these are, and
tests/properties/oracle_people.py has the aggregates of people.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Stockholm")
GAP = timedelta(minutes=30)
AHEAD = timedelta(hours=24)
SEEDS = Path(__file__).parents[2] / "seeds"

Event = dict[str, Any]

PURPOSES = ("analytics", "personalisation", "advertising")
STITCHING = "personalisation"
ENVELOPE = ("platform", "app_version", "device_key", "user_key", "session_id")
PAYLOADS = (
    "content_id", "content_type", "referrer", "depth", "active_ms", "reaction", "results_count", "advert_id", "slot",
    "position", "page_type", "request_id", "channel",
)  # fmt: skip
CONTENT_EVENTS = ("content_view", "content_progress", "content_reaction")


def local_day(moment: datetime) -> date:
    """The day in the organisation's time zone."""
    return moment.replace(tzinfo=UTC).astimezone(ZONE).date()


# --- dedupe ----------------------------------------------------------------------------------------------------------


def deduplicated(copies: Iterable[Event]) -> list[Event]:
    """Of the copies of one id on one day, the one received first; where several were, the first by the columns in the
    order of the definition. It knows how many there were as ``copies_count``."""
    by_event: dict[tuple[UUID, date], list[Event]] = defaultdict(list)
    for copy in copies:
        by_event[copy["event_id"], local_day(copy["occurred_at"])].append(copy)
    first = ((min(same, key=_precedence), len(same)) for same in by_event.values())
    return [event | {"copies_count": copies, "is_future": is_future(event)} for event, copies in first]


def _precedence(copy: Event) -> list[tuple[bool, Any]]:
    columns = ["received_at", "sent_at", "occurred_at", "event_type", "product", *ENVELOPE]
    values = [copy[column] for column in columns]
    values += [purpose in (copy["consent"] or []) for purpose in PURPOSES]
    values += [copy["country"], copy["is_bot"]]
    values += [copy[column] for column in PAYLOADS]
    return [(value is None, value) for value in values]  # absent comes last


def for_analytics(events: Iterable[Event]) -> list[Event]:
    """The events of people who agreed to be counted, those from the future left out."""
    return [event for event in events if "analytics" in event["consent"] and not is_future(event)]


def is_future(event: Event) -> bool:
    """Whether the event happened so long after it was received that its time is wrong."""
    return bool(event["occurred_at"] > event["received_at"] + AHEAD)


# --- sessions --------------------------------------------------------------------------------------------------------


class Session(NamedTuple):
    product: str
    platform: str
    device_key: UUID
    user_key: UUID | None
    started_date: date
    started_at: datetime
    ended_date: date
    ended_at: datetime
    events_count: int
    content_views_count: int
    engaged_seconds: float
    is_bot: bool
    is_too_long: bool
    stitched_user_key: UUID | None
    has_stitching_consent: bool


def split_into_sessions(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each session in order, of those for analytics. Over 30 minutes of silence end one; where the client
    keeps a session id of its own, only another id does, or a whole day without it."""
    streams: dict[tuple[str, UUID, str | None], list[Event]] = defaultdict(list)
    for event in for_analytics(events):
        streams[event["product"], event["device_key"], event["session_id"]].append(event)
    found: list[list[Event]] = []
    for stream in streams.values():
        previous = None
        for event in sorted(stream, key=lambda e: (e["occurred_at"], e["event_id"])):
            if previous is None or _is_over(previous, event):
                found.append([])
            found[-1].append(event)
            previous = event
    return found


def _is_over(previous: Event, event: Event) -> bool:
    if event["session_id"] is None:
        return bool(event["occurred_at"] - previous["occurred_at"] > GAP)
    return (local_day(event["occurred_at"]) - local_day(previous["occurred_at"])).days > 1


def fct_sessions(events: list[Event]) -> list[Session]:
    """One row per session."""
    last_users = last_users_of_devices(events)
    return [
        Session(
            stitched_user_key=_stitched_user(session, last_users),
            has_stitching_consent=_may_be_stitched(session),
            is_too_long=session[-1]["occurred_at"] - session[0]["occurred_at"] > timedelta(hours=72),
            product=session[0]["product"],
            platform=session[0]["platform"],
            device_key=session[0]["device_key"],
            user_key=_last_user(session),
            started_date=local_day(session[0]["occurred_at"]),
            started_at=session[0]["occurred_at"],
            ended_date=local_day(session[-1]["occurred_at"]),
            ended_at=session[-1]["occurred_at"],
            events_count=len(session),
            content_views_count=count(session, "content_view"),
            engaged_seconds=active_ms(session) / 1000,
            is_bot=any(e["is_bot"] for e in session),
        )
        for session in split_into_sessions(events)
    ]


def last_users_of_devices(events: Iterable[Event]) -> dict[UUID, UUID]:
    """Who was logged in last on each device, robots and events from the future left out, with consent to stitching."""
    known = [e for e in events if None not in (e["device_key"], e["user_key"]) and STITCHING in e["consent"]]
    known = [e for e in known if not (e["is_bot"] or is_future(e))]
    return {e["device_key"]: e["user_key"] for e in sorted(known, key=lambda e: (e["occurred_at"], e["event_id"]))}


def _may_be_stitched(session: list[Event]) -> bool:
    return all(STITCHING in e["consent"] for e in session)


def _stitched_user(session: list[Event], last_users: dict[UUID, UUID]) -> UUID | None:
    guessed = last_users.get(session[0]["device_key"]) if _may_be_stitched(session) else None
    return _last_user(session) or guessed


def _last_user(events: list[Event]) -> UUID | None:
    """Who was logged in last; None where nobody was."""
    users = [e["user_key"] for e in events if e["user_key"] is not None]
    return users[-1] if users else None


def count(events: list[Event], event_type: str) -> int:
    return sum(e["event_type"] == event_type for e in events)


def active_ms(events: list[Event]) -> int:
    return sum(e["active_ms"] or 0 for e in events if e["event_type"] == "content_progress")


def parts_of_days(events: list[Event]) -> list[tuple[tuple[date, str, str], UUID, bool, list[Event]]]:
    """What each session did in each of its days, robots left out: under the day, product and platform that it began
    that day on, with its device and whether the session began there."""
    found = []
    for session in split_into_sessions(events):
        days: dict[date, list[Event]] = defaultdict(list)
        for event in session:
            days[local_day(event["occurred_at"])].append(event)
        for day, part in days.items():
            if not any(e["is_bot"] for e in part):
                key = day, part[0]["product"], part[0]["platform"]
                found.append((key, part[0]["device_key"], part[0] is session[0], part))
    return found


# --- engagement with content -----------------------------------------------------------------------------------------


class Engagement(NamedTuple):
    event_date: date
    device_key: UUID
    content_id: str
    product: str
    content_type: str
    platform: str
    user_key: UUID | None
    views_count: int
    max_depth: float
    engaged_seconds: float
    reactions_count: int
    positive_reactions_count: int
    is_read: bool
    is_long: bool
    is_enjoyed: bool
    is_bot: bool


def fct_content_engagement(events: list[Event]) -> list[Engagement]:
    """One row per device, content and day; product, type and platform are those of its first event."""
    rules = {(rule["product"], rule["content_type"]): rule for rule in seed("engagement_rules")}
    positive = {row["reaction"] for row in seed("reactions") if row["is_positive"] == "true"}
    met: dict[tuple[date, UUID, str], list[Event]] = defaultdict(list)
    for event in sorted(for_analytics(events), key=lambda e: (e["occurred_at"], e["event_id"])):
        if event["event_type"] in CONTENT_EVENTS:
            met[local_day(event["occurred_at"]), event["device_key"], event["content_id"]].append(event)
    rows = []
    for key, done in met.items():
        product, kind = done[0]["product"], done[0]["content_type"]
        wanted = [(product, kind), (product, "*"), ("*", kind), ("*", "*")]
        rule = next(rules[names] for names in wanted if names in rules)
        depth = max((e["depth"] for e in done if e["depth"] is not None), default=0.0)
        seconds = active_ms(done) / 1000
        likes = sum(e["reaction"] in positive for e in done)
        is_read = depth >= float(rule["read_min_depth"]) and seconds >= float(rule["read_min_engaged_seconds"])
        is_liked = likes >= int(rule["enjoyed_min_positive_reactions"])
        is_long = seconds >= float(rule["enjoyed_min_engaged_seconds"])
        rows.append(
            Engagement(
                *key,
                product=product,
                content_type=kind,
                platform=done[0]["platform"],
                user_key=_last_user(done),
                views_count=count(done, "content_view"),
                max_depth=depth,
                engaged_seconds=seconds,
                reactions_count=count(done, "content_reaction"),
                positive_reactions_count=likes,
                is_read=is_read,
                is_long=is_long,
                is_enjoyed=is_read and (is_liked or is_long),
                is_bot=any(e["is_bot"] for e in done),
            )
        )
    return rows


def seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


# --- adverts ---------------------------------------------------------------------------------------------------------


class AdvertDay(NamedTuple):
    event_date: date
    advert_id: str
    slot: str | None
    position: int | None
    page_type: str | None
    platform: str
    impressions_count: int
    clicks_count: int
    click_rate: float | None


class EnquiryDay(NamedTuple):
    event_date: date
    advert_id: str
    channel: str | None
    platform: str
    enquiries_count: int


class Enquiry(NamedTuple):
    enquiry_key: str
    advert_id: str
    channel: str | None
    product: str
    platform: str
    device_key: UUID | None
    user_key: UUID | None
    event_date: date
    occurred_at: datetime
    is_bot: bool
    is_future: bool


def agg_adverts_daily(events: list[Event]) -> list[AdvertDay]:
    """One row per day and place an advert was shown or clicked in, robots left out."""
    met: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for e in events:
        if e["event_type"] in ("advert_impression", "advert_click") and not (e["is_bot"] or is_future(e)):
            place = e["advert_id"], e["slot"], e["position"], e["page_type"], e["platform"]
            met[local_day(e["occurred_at"]), *place].append(e)
    rows = []
    for key, done in met.items():
        shown, clicked = count(done, "advert_impression"), count(done, "advert_click")
        rows.append(AdvertDay(*key, shown, clicked, clicked / shown if shown else None))
    return rows


def fct_enquiries(events: list[Event]) -> list[Enquiry]:
    """One row per enquiry; who it was is there where they agreed to be counted."""
    return [
        Enquiry(
            enquiry_key=str(e["event_id"]),
            event_date=local_day(e["occurred_at"]),
            **{name: e[name] for name in Enquiry._fields if name in e} | _who_it_was(e),
        )
        for e in events
        if e["event_type"] == "enquiry"
    ]


def agg_enquiries_daily(events: list[Event]) -> list[EnquiryDay]:
    """One row per day, advert, channel and platform, robots left out."""
    counted = Counter(
        (local_day(e["occurred_at"]), e["advert_id"], e["channel"], e["platform"])
        for e in events
        if e["event_type"] == "enquiry" and not (e["is_bot"] or is_future(e))
    )
    return [EnquiryDay(*key, number) for key, number in counted.items()]


def _who_it_was(event: Event) -> Event:
    return {name: event[name] if "analytics" in event["consent"] else None for name in ("device_key", "user_key")}
