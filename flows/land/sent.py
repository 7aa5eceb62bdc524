"""What of the landed zone was sent to an object store, as far as this home knows: written before anything is there."""

import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.clock import minute
from flows.errors import TidemarkError
from flows.files import replace_private
from flows.land.receipts import Receipts
from flows.settings import Settings
from flows.store_place import SentStatus, read_record

# What landed is sent soon after; what is not by then is said.
LATE = timedelta(hours=1)


class SentZone(BaseModel):
    """What may be at a URL, and by which name this home publishes there.

    ``may_hold`` says that something may be there at all. Readers are led to what landed up to ``last_batch_id``, by a
    list whose digest is one of ``lists``; ``wanted`` is the digest of all that was there when the last call had done,
    and of the rows that removals up to ``removed_up_to`` took out, nothing is there. ``error`` is why the last try
    failed, ``failing_since`` when the first one did, ``warning`` what people should know of the store.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    publisher: str
    may_hold: bool = False
    last_batch_id: int = 0
    removed_up_to: int = 0
    wanted: str | None = None
    lists: tuple[str, ...] = ()
    sent_at: datetime | None = None
    error: str | None = None
    failing_since: datetime | None = None
    warning: str | None = None


def zone_record_path(settings: Settings) -> Path:
    """Where the record is of what was sent of the landed zone."""
    return settings.home / "store" / "landed.json"


def read_sent_zone(settings: Settings) -> SentZone | None:
    """What was sent; None where nothing ever was. Raises :class:`TidemarkError` where that cannot be read."""
    return read_record(zone_record_path(settings), SentZone, "TIDEMARK_LANDED_URL")


def write_sent_zone(settings: Settings, sent: SentZone) -> None:
    """Note what was sent, on the disk."""
    replace_private(zone_record_path(settings), sent.model_dump_json(indent=1).encode())


def new_sent_zone(url: str) -> SentZone:
    """The record of a home that has sent nothing yet."""
    return SentZone(url=url, publisher=uuid.uuid4().hex)


def holds_what_was_removed(settings: Settings) -> bool:
    """Whether rows may be at the store that were removed from the lake since.

    Raises :class:`TidemarkError` where that cannot be told.
    """
    sent = read_sent_zone(settings)
    if sent is None or not sent.may_hold:
        return False
    try:
        with closing(Receipts(settings, read_only=True)) as receipts:
            last = max((batch_id for batch_id, _ in receipts.removals()), default=0)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise TidemarkError(f"the receipts below {settings.landed} cannot be read: {error}") from error
    return last > sent.removed_up_to


def sent_zone_status(settings: Settings, receipts: Receipts, now: datetime) -> SentStatus:
    """How the object store stands to what landed here."""
    try:
        sent = read_sent_zone(settings)
    except TidemarkError as error:
        return SentStatus(not_there=str(error))
    url = settings.landed_url
    if url is None:
        is_left = sent is not None and sent.may_hold
        left = f"what was sent to {sent.url} is there still, and TIDEMARK_LANDED_URL is not set" if sent else None
        return SentStatus(there=left if is_left else None)
    sent = sent or new_sent_zone(url)
    if sent.url != url and sent.may_hold:
        return SentStatus(not_there=f"what landed is at {sent.url}, not at {url}")
    there = f"at {url}: nothing yet"
    if sent.sent_at:
        there = f"at {url}: what landed up to batch {sent.last_batch_id}, sent {minute(sent.sent_at)}"
    why, waits = sent.error, next(receipts.after(sent.last_batch_id), None)
    if why is None and waits and now - waits.landed_at > LATE:
        why = f"batch {waits.batch_id}, of {minute(waits.landed_at)}, is not at {url} yet"
    return SentStatus(f"{there}; {sent.warning}" if sent.warning else there, why)


def zone_failure(settings: Settings) -> tuple[str, datetime] | None:
    """Why the last try to send failed, and since when each does; None where it did not, or no store is set."""
    if settings.landed_url is None:
        return None
    try:
        sent = read_sent_zone(settings)
    except TidemarkError as error:
        return str(error), datetime.fromtimestamp(zone_record_path(settings).stat().st_mtime, UTC)
    return (sent.error, sent.failing_since) if sent and sent.error and sent.failing_since else None
