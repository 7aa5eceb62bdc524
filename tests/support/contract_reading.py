"""An independent reading of the contract of events: the row that a JSON line must land as."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from flows.clock import organisation_timezone
from flows.contract.spec import load_specs
from flows.land.pseudonyms import Pseudonymiser
from tests.support.lake import KEY

PLATFORMS = ("web", "ios", "android", "tv")
PURPOSES = ("analytics", "personalisation", "advertising")
REACTIONS = ("like", "dislike", "share", "comment", "save")
CHANNELS = ("call", "message")
NAME, COUNTRY = re.compile(r"[a-z][a-z0-9_]*"), re.compile(r"[A-Z]{2}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
ADVERT = {"advert_id": "text!", "slot": "text", "position": "position", "page_type": "text", "request_id": "text"}
CONTENT = {"content_id": "text!", "content_type": "name!"}
PAYLOADS = {
    "content_view": CONTENT | {"referrer": "text"},
    "content_progress": CONTENT | {"depth": "depth", "active_ms": "active_ms"},
    "content_reaction": CONTENT | {"reaction": "reaction!"},
    "search": {"query": "dropped", "results_count": "count"},
    "advert_impression": ADVERT,
    "advert_click": ADVERT,
    "enquiry": {"advert_id": "text!", "channel": "channel!"},
}
ENVELOPE = {
    "event_id": "uuid!", "occurred_at": "time!", "sent_at": "time", "received_at": "time!", "product": "name!",
    "platform": "platform!", "app_version": "text", "device_id": "text!", "user_id": "text", "session_id": "text",
    "consent": "consent", "country": "country", "ip_address": "dropped", "user_agent": "dropped",
}  # fmt: skip
# What says something of a person: with consent to one of these purposes it lands, and without as NULL.
NEEDS_CONSENT = {
    **{name: {"analytics"} for name in ("session_id", "country", "referrer")},
    **{name: {*PURPOSES[:2]} for name in ("device_key", "user_key", "depth", "active_ms", "reaction")},
    "channel": {"analytics", "advertising"},
}
# What the contract has beyond this reading is NULL in its rows.
COLUMNS = [c.name for c in load_specs()["events"].columns() if c.name not in ("_batch_id", "_line")]
PSEUDONYMS = Pseudonymiser(KEY.encode())


class DoesNotFitError(Exception):
    """The row must be quarantined."""


def number(value: Any, least: float, greatest: float, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DoesNotFitError
    if whole and value != int(value):
        raise DoesNotFitError
    if not least <= value <= greatest:
        raise DoesNotFitError
    return int(value) if whole else float(value)


def moment(value: str) -> datetime:
    if not TIME.fullmatch(value):
        raise DoesNotFitError
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise DoesNotFitError from None
    read = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
    if not datetime(1900, 1, 1) <= read < datetime(2100, 1, 1):
        raise DoesNotFitError
    return read


def value_of(kind: str, value: Any) -> Any:
    """A field's value as it must land."""
    required, kind = kind.endswith("!"), kind.removesuffix("!")
    if kind == "dropped":
        return None
    if value is None or (required and value == ""):
        if required:
            raise DoesNotFitError
        return None
    if kind == "consent":
        if not isinstance(value, list) or not all(isinstance(v, str) and v in PURPOSES for v in value):
            raise DoesNotFitError
        return value
    if kind in ("depth", "active_ms", "count", "position"):
        least = 1 if kind == "position" else 0
        greatest = {"depth": 1, "active_ms": 86_400_000, "count": 2**63 - 1, "position": 2**31 - 1}[kind]
        return number(value, least, greatest, whole=kind != "depth")
    if not isinstance(value, str):
        raise DoesNotFitError
    accepted = {"platform": PLATFORMS, "reaction": REACTIONS, "channel": CHANNELS}.get(kind)
    pattern = {"name": NAME, "country": COUNTRY}.get(kind)
    if (accepted and value not in accepted) or (pattern and not pattern.fullmatch(value)):
        raise DoesNotFitError
    if kind == "uuid":
        if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
            raise DoesNotFitError
        return UUID(value).bytes
    return moment(value) if kind == "time" else value


def landed_consent(values: list[str] | None) -> dict[str, bool]:
    """The columns that consent lands in: one that is absent is to nothing."""
    return {f"has_{purpose}_consent": purpose in (values or ()) for purpose in PURPOSES}


def with_consent_alone(row: dict[str, Any], values: list[str] | None) -> dict[str, Any]:
    """A row as it lands where these purposes are agreed to."""
    return {n: None if n in NEEDS_CONSENT and not NEEDS_CONSENT[n] & {*(values or ())} else v for n, v in row.items()}


def refusals(events: Iterable[dict[str, Any]]) -> dict[tuple[bytes, str], datetime]:
    """What events of one landing tell of consent: of each device and purpose that some do not agree to, until when:
    the end of a minute.

    An event that happened more than a day after it was received has a wrong time.
    """
    until: dict[tuple[bytes, str], datetime] = {}
    for event in events:
        device = PSEUDONYMS.one("device_key", event["device_id"])
        happened, received = moment(event["occurred_at"]), moment(event["received_at"])
        at = received if happened > received + timedelta(days=1) else happened
        for purpose in {*PURPOSES} - {*(event["consent"] or ())}:
            until[device, purpose] = max(at, until.get((device, purpose), at))
    return {of: at.replace(second=59, microsecond=999_999) for of, at in until.items()}


def landed_day(moment: datetime) -> date:
    """The day of a landed moment, in the organisation's time zone."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(organisation_timezone())).date()


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        made["a key came twice"] = True
    return made


def conform(line: bytes) -> dict[str, Any]:
    """The row that a JSON line must land as, but for lineage; raises where it must not."""
    try:
        document = json.loads(line.decode(), object_pairs_hook=no_duplicates)
    except ValueError:
        raise DoesNotFitError from None
    if not isinstance(document, dict) or "a key came twice" in document:
        raise DoesNotFitError
    found = [p for p in PAYLOADS if document.get(p) is not None]
    if len(found) != 1 or not isinstance(document[found[0]], dict) or "a key came twice" in document[found[0]]:
        raise DoesNotFitError
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {name: value_of(kind, document.get(name)) for name, kind in ENVELOPE.items() if kind != "dropped"}
    consent = row.pop("consent")
    row |= landed_consent(consent) | {"event_date": landed_day(row["occurred_at"])}
    for name in ("device", "user"):
        value = row.pop(f"{name}_id")
        row[f"{name}_key"] = None if value is None else PSEUDONYMS.one(f"{name}_key", value)
    agent = document.get("user_agent")
    row |= {"event_type": found[0], "is_bot": isinstance(agent, str) and "crawl" in agent.lower()}
    row |= {n: value_of(k, document[found[0]].get(n)) for n, k in PAYLOADS[found[0]].items() if k != "dropped"}
    return with_consent_alone(row, consent)
