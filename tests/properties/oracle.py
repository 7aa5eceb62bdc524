"""What the events come to, written plainly: lists and loops, no SQL, and no word of files, batches or builds.

An event is a dictionary of the landed columns, every one of them, with None for NULL. Moments are UTC without a zone.
Each function below gives the rows of the mart it is named after; keys made from other columns are left out.
"""

import csv
from collections import defaultdict
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


def split_into_sessions(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each session in order, those from the future left out. Over 30 minutes of silence end one;
    where the client keeps a session id of its own, only another id does, or a whole day without it."""
    streams: dict[tuple[str, UUID, str | None], list[Event]] = defaultdict(list)
    for event in events:
        if is_future(event):
            continue
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
    return [
        Session(
            product=session[0]["product"],
            platform=session[0]["platform"],
            device_key=session[0]["device_key"],
            user_key=_last_user(session),
            started_date=local_day(session[0]["occurred_at"]),
            started_at=session[0]["occurred_at"],
            ended_date=local_day(session[-1]["occurred_at"]),
            ended_at=session[-1]["occurred_at"],
            events_count=len(session),
            content_views_count=_count(session, "content_view"),
            engaged_seconds=_active_ms(session) / 1000,
            is_bot=any(e["is_bot"] for e in session),
        )
        for session in split_into_sessions(events)
    ]


def _last_user(events: list[Event]) -> UUID | None:
    """Who was logged in last; None where nobody was."""
    users = [e["user_key"] for e in events if e["user_key"] is not None]
    return users[-1] if users else None


def _count(events: list[Event], event_type: str) -> int:
    return sum(e["event_type"] == event_type for e in events)


def _active_ms(events: list[Event]) -> int:
    return sum(e["active_ms"] or 0 for e in events if e["event_type"] == "content_progress")


# --- audience --------------------------------------------------------------------------------------------------------


class Audience(NamedTuple):
    event_date: date
    product: str
    platform: str
    devices_count: int
    sessions_count: int
    views_count: int
    engaged_seconds: float
    devices_7d_count: int
    devices_28d_count: int


def agg_audience_daily(events: list[Event]) -> list[Audience]:
    """One row per day, product and platform with somebody there. What a session did in a day counts for the platform
    it began that day on, unless the client named itself a robot that day; the session counts on its first day."""
    active: dict[tuple[date, str, str], list[tuple[UUID, bool, list[Event]]]] = defaultdict(list)
    for key, device, begins, part in _parts_of_days(events):
        active[key].append((device, begins, part))
    devices = {key: {device for device, _, _ in parts} for key, parts in active.items()}

    def devices_of_days(day: date, product: str, platform: str, days: int) -> int:
        past = [devices.get((day - timedelta(n), product, platform), set()) for n in range(days)]
        return len(set().union(*past))

    return [
        Audience(
            *key,
            devices_count=len(devices[key]),
            sessions_count=sum(begins for _, begins, _ in parts),
            views_count=sum(_count(part, "content_view") for _, _, part in parts),
            engaged_seconds=sum(_active_ms(part) for _, _, part in parts) / 1000,
            devices_7d_count=devices_of_days(*key, days=7),
            devices_28d_count=devices_of_days(*key, days=28),
        )
        for key, parts in active.items()
    ]


class AudiencePeriod(NamedTuple):
    period_type: str
    period_start_date: date
    period_end_date: date
    product: str
    platform: str
    devices_count: int
    readers_count: int
    enjoyers_count: int


# Distinct devices in each role, by period, product and platform.
Met = dict[tuple[str, date, date, str, str], dict[str, set[UUID]]]


def agg_audience_periods(events: list[Event]) -> list[AudiencePeriod]:
    """One row per period, product and platform, 'all' among them, with somebody there. Windows of 7 and 28 days end on
    days with somebody there."""
    done = [("active", *key, device) for key, device, _, _ in _parts_of_days(events)]
    for row in fct_content_engagement(events):
        if row.is_read and not row.is_bot:
            roles = ["reader", "enjoyer"] if row.is_enjoyed else ["reader"]
            done += [(role, row.event_date, row.product, row.platform, row.device_key) for role in roles]
    met: Met = defaultdict(lambda: defaultdict(set))
    busy: set[tuple[date, str, str]] = set()
    for role, day, product, platform, device in done:
        for cut in ((product, platform), (product, "all"), ("all", platform), ("all", "all")):
            busy.add((day, *cut))
            for period in [*_calendar(day), *_windows(day)]:
                met[*period, *cut][role].add(device)
    return [
        AudiencePeriod(*key, *(len(devices[role]) for role in ("active", "reader", "enjoyer")))
        for key, devices in met.items()
        if not key[0].endswith("_days") or (key[2], *key[3:]) in busy
    ]


def _parts_of_days(events: list[Event]) -> list[tuple[tuple[date, str, str], UUID, bool, list[Event]]]:
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


def _calendar(day: date) -> list[tuple[str, date, date]]:
    """The day, week and month that hold a day, each with its first and last day."""
    monday = day - timedelta(day.weekday())
    next_month = (day.replace(day=28) + timedelta(4)).replace(day=1)
    return [
        ("day", day, day),
        ("week", monday, monday + timedelta(6)),
        ("month", day.replace(day=1), next_month - timedelta(1)),
    ]


def _windows(day: date) -> list[tuple[str, date, date]]:
    """The windows of 7 and 28 days that hold a day."""
    return [(f"{n}_days", day + timedelta(i - n + 1), day + timedelta(i)) for n in (7, 28) for i in range(n)]


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
    is_read: bool
    is_enjoyed: bool
    is_bot: bool


class ContentDay(NamedTuple):
    event_date: date
    product: str
    content_type: str
    content_id: str
    views_count: int
    devices_count: int
    readers_count: int
    enjoyers_count: int
    engaged_seconds: float
    reactions_count: int
    read_rate: float


def fct_content_engagement(events: list[Event]) -> list[Engagement]:
    """One row per device, content and day; product, type and platform are those of its first event."""
    rules = {(rule["product"], rule["content_type"]): rule for rule in _seed("engagement_rules")}
    positive = {row["reaction"] for row in _seed("reactions") if row["is_positive"] == "true"}
    met: dict[tuple[date, UUID, str], list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda e: (e["occurred_at"], e["event_id"])):
        if event["event_type"] in CONTENT_EVENTS and not is_future(event):
            met[local_day(event["occurred_at"]), event["device_key"], event["content_id"]].append(event)
    rows = []
    for key, done in met.items():
        product, kind = done[0]["product"], done[0]["content_type"]
        wanted = [(product, kind), (product, "*"), ("*", kind), ("*", "*")]
        rule = next(rules[names] for names in wanted if names in rules)
        depth = max((e["depth"] for e in done if e["depth"] is not None), default=0.0)
        seconds = _active_ms(done) / 1000
        likes = sum(e["reaction"] in positive for e in done)
        is_read = depth >= float(rule["read_min_depth"]) and seconds >= float(rule["read_min_engaged_seconds"])
        is_liked = likes >= int(rule["enjoyed_min_positive_reactions"])
        is_enjoyed = is_read and (is_liked or seconds >= float(rule["enjoyed_min_engaged_seconds"]))
        rows.append(
            Engagement(
                *key,
                product=product,
                content_type=kind,
                platform=done[0]["platform"],
                user_key=_last_user(done),
                views_count=_count(done, "content_view"),
                max_depth=depth,
                engaged_seconds=seconds,
                reactions_count=_count(done, "content_reaction"),
                is_read=is_read,
                is_enjoyed=is_enjoyed,
                is_bot=any(e["is_bot"] for e in done),
            )
        )
    return rows


def agg_content_daily(events: list[Event]) -> list[ContentDay]:
    """One row per day, product, type and content, robots left out."""
    met: dict[tuple[date, str, str, str], list[Engagement]] = defaultdict(list)
    for row in fct_content_engagement(events):
        if not row.is_bot:
            met[row.event_date, row.product, row.content_type, row.content_id].append(row)
    return [
        ContentDay(
            *key,
            views_count=sum(r.views_count for r in rows),
            devices_count=len(rows),
            readers_count=sum(r.is_read for r in rows),
            enjoyers_count=sum(r.is_enjoyed for r in rows),
            engaged_seconds=sum(round(r.engaged_seconds * 1000) for r in rows) / 1000,
            reactions_count=sum(r.reactions_count for r in rows),
            read_rate=sum(r.is_read for r in rows) / len(rows),
        )
        for key, rows in met.items()
    ]


class ContentPeriod(NamedTuple):
    content_id: str
    period_type: str
    period_start_date: date
    period_end_date: date
    platform: str
    account_kind: str
    devices_count: int
    readers_count: int
    enjoyers_count: int


def agg_content_periods(events: list[Event]) -> list[ContentPeriod]:
    """One row per content and day, week and month with somebody there, robots left out: of all, by platform, and by
    whether a person was logged in."""
    met: dict[tuple[Any, ...], list[Engagement]] = defaultdict(list)
    for row in fct_content_engagement(events):
        kind = "logged_in" if row.user_key else "logged_out"
        for cut in ((row.platform, "all"), ("all", kind), ("all", "all")):
            for period in _calendar(row.event_date):
                if not row.is_bot:
                    met[row.content_id, *period, *cut].append(row)
    return [
        ContentPeriod(
            *key,
            devices_count=len({r.device_key for r in rows}),
            readers_count=len({r.device_key for r in rows if r.is_read}),
            enjoyers_count=len({r.device_key for r in rows if r.is_enjoyed}),
        )
        for key, rows in met.items()
    ]


def _seed(name: str) -> list[dict[str, str]]:
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


class Enquiry(NamedTuple):
    enquiry_key: str
    advert_id: str
    channel: str
    product: str
    platform: str
    device_key: UUID
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
        shown, clicked = _count(done, "advert_impression"), _count(done, "advert_click")
        rows.append(AdvertDay(*key, shown, clicked, clicked / shown if shown else None))
    return rows


def fct_enquiries(events: list[Event]) -> list[Enquiry]:
    """One row per enquiry."""
    return [
        Enquiry(
            enquiry_key=str(e["event_id"]),
            event_date=local_day(e["occurred_at"]),
            **{name: e[name] for name in Enquiry._fields if name in e},
        )
        for e in events
        if e["event_type"] == "enquiry"
    ]


# Each mart that events make, the columns of it that are known here, and its rows.
MARTS: dict[str, tuple[type[Any], Any]] = {
    "fct_sessions": (Session, fct_sessions),
    "agg_audience_daily": (Audience, agg_audience_daily),
    "agg_audience_periods": (AudiencePeriod, agg_audience_periods),
    "fct_content_engagement": (Engagement, fct_content_engagement),
    "agg_content_daily": (ContentDay, agg_content_daily),
    "agg_content_periods": (ContentPeriod, agg_content_periods),
    "agg_adverts_daily": (AdvertDay, agg_adverts_daily),
    "fct_enquiries": (Enquiry, fct_enquiries),
}
