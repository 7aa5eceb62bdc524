"""What dedupe and sessions come to, written plainly: one pass over a list of events, no SQL."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Stockholm")
GAP = timedelta(minutes=30)

Event = dict[str, Any]


class Session(NamedTuple):
    """One session, by what can be told without keys."""

    product: str
    platform: str
    started_at: datetime
    ended_at: datetime
    started_date: date
    ended_date: date
    events_count: int
    content_views_count: int
    engaged_seconds: float


def local_day(moment: datetime) -> date:
    """The day in the organisation's time zone; moments are UTC without a zone."""
    return moment.replace(tzinfo=UTC).astimezone(ZONE).date()


def kept_copies(copies: list[Event]) -> list[Event]:
    """Of the copies of one id on one day, the one received first. (The tests draw no two received at once.)"""
    kept: dict[tuple[str, date], Event] = {}
    for copy in copies:
        key = copy["event_id"], local_day(copy["occurred_at"])
        if key not in kept or copy["received_at"] < kept[key]["received_at"]:
            kept[key] = copy
    return list(kept.values())


def sessions(events: list[Event]) -> list[Session]:
    """The sessions of deduplicated events, in no order."""
    lanes: dict[tuple[str, str, str | None], list[Event]] = defaultdict(list)
    for event in events:
        lanes[event["product"], event["device_id"], event["session_id"]].append(event)
    found = []
    for (_, _, session_id), lane in lanes.items():
        lane.sort(key=lambda e: (e["occurred_at"], e["event_id"]))
        current: list[Event] = []
        for event in lane:
            if current and _is_new(current[-1], event, session_id):
                found.append(_session(current))
                current = []
            current.append(event)
        found.append(_session(current))
    return found


def _is_new(previous: Event, event: Event, session_id: str | None) -> bool:
    if session_id is None:
        return bool(event["occurred_at"] - previous["occurred_at"] > GAP)
    return (local_day(event["occurred_at"]) - local_day(previous["occurred_at"])).days > 1


def _session(events: list[Event]) -> Session:
    first, last = events[0], events[-1]
    active_ms = sum(e["content_progress"].get("active_ms") or 0 for e in events if "content_progress" in e)
    return Session(
        product=first["product"],
        platform=first["platform"],
        started_at=first["occurred_at"],
        ended_at=last["occurred_at"],
        started_date=local_day(first["occurred_at"]),
        ended_date=local_day(last["occurred_at"]),
        events_count=len(events),
        content_views_count=sum("content_view" in e for e in events),
        engaged_seconds=active_ms / 1000,
    )
