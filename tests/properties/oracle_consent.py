"""What may be used of events, written plainly as tests/properties/oracle.py has the rest: lists and loops, no SQL, and
no word of when a record came.

An event lists the purposes that it may be used for. What it says of a person and would need another consent for is
forgotten as it lands. And what was agreed to then may be forbidden by a record of consent, whenever that gets known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tests.properties.oracle import AHEAD, PURPOSES, Event

# What an event says of a person, each with the purposes of which it needs one. Its id, its day, the product, the
# content and the advert say nothing of anybody.
NEEDED = {
    "device_key": ("analytics", "personalisation"),
    "user_key": ("analytics", "personalisation"),
    "session_id": ("analytics",),
    "country": ("analytics",),
    "referrer": ("analytics",),
    "depth": ("analytics", "personalisation"),
    "active_ms": ("analytics", "personalisation"),
    "reaction": ("analytics", "personalisation"),
    "channel": ("analytics", "advertising"),
}


class Record(NamedTuple):
    """That a device, a user or both gave or refused consent to a purpose, from some moment on. One is ``declared`` that
    a person made, in a record of consent or an account; what is not was told of by an event."""

    device_key: UUID | None
    user_key: UUID | None
    purpose: str
    is_granted: bool
    valid_from: datetime
    is_declared: bool


def consented(event: Event) -> Event:
    """What is left of an event that may be used for these purposes and no others."""
    agreed = {*(event["consent"] or [])}
    lost = {column: None for column, needed in NEEDED.items() if agreed.isdisjoint(needed)}
    return event | {"consent": [purpose for purpose in PURPOSES if purpose in agreed]} | lost


def told_by(event: Event) -> list[Record]:
    """What an event, with all that it was sent with, tells: its device refuses what it does not list, until the
    minute ends. Where the clock is far ahead, that is the minute in which the event was received."""
    moment = event["occurred_at"]
    if moment > event["received_at"] + AHEAD:
        moment = event["received_at"]
    refused = [purpose for purpose in PURPOSES if purpose not in (event["consent"] or [])]
    end = moment.replace(second=59, microsecond=999_999)
    return [Record(event["device_key"], None, purpose, False, end, False) for purpose in refused]


Records = Mapping[tuple[str, UUID, str], list[Record]]


def by_person(records: Iterable[Record]) -> Records:
    """The records that speak of each device and of each user, by purpose."""
    found: dict[tuple[str, UUID, str], list[Record]] = defaultdict(list)
    for record in records:
        for kind, person in (("device_key", record.device_key), ("user_key", record.user_key)):
            if person is not None:
                found[kind, person, record.purpose].append(record)
    return found


def in_use(events: Iterable[Event], records: Iterable[Record]) -> list[Event]:
    """The events as they may be used: with the purposes that neither their device nor their user forbids."""
    known = by_person(records)
    return [consented(event | {"consent": _purposes_left(event, known)}) for event in events]


def _purposes_left(event: Event, known: Records) -> list[str]:
    persons = [(kind, event[kind]) for kind in ("device_key", "user_key") if event[kind] is not None]
    return [
        purpose
        for purpose in event["consent"]
        if not any(forbid(known.get((*person, purpose), ()), event["occurred_at"]) for person in persons)
    ]


def forbid(records: Iterable[Record], moment: datetime) -> bool:
    """Whether the records of one person and purpose forbid what happened then. A refusal forbids all that happened
    before or with it; one that was declared also what follows, until consent is declared again."""
    records = [*records]
    if any(not record.is_granted and record.valid_from >= moment for record in records):
        return True
    declared = [record for record in records if record.is_declared]
    refusals = [record.valid_from for record in declared if not record.is_granted]
    grants = [record.valid_from for record in declared if record.is_granted]
    return bool(refusals) and not any(max(refusals) < given <= moment for given in grants)
