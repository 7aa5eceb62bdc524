"""What was sent to an object store, as far as this home knows: written before anything is there, so never behind it."""

import uuid
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.clock import minute
from flows.errors import TidemarkError
from flows.files import replace_private
from flows.settings import Settings
from flows.store_place import SentStatus, read_record


class SentVersion(BaseModel):
    """A version of which something may be there; ``left_at`` is when readers last were led to it."""

    model_config = ConfigDict(frozen=True)

    version: str
    batch_high_water: int
    left_at: datetime | None = None


class Sent(BaseModel):
    """What may be at a URL: by which name this home publishes there, its versions, and the one that readers are led to.

    ``error`` is why the last try failed, ``warning`` what people should know of the store.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    publisher: str
    versions: tuple[SentVersion, ...] = ()
    current: str | None = None
    sent_at: datetime | None = None
    error: str | None = None
    warning: str | None = None


def record_path(settings: Settings) -> Path:
    """Where the record of the published versions is."""
    return settings.home / "store" / "published.json"


def read_sent(settings: Settings) -> Sent | None:
    """What was sent; None where nothing ever was. Raises :class:`TidemarkError` where that cannot be read."""
    return read_record(record_path(settings), Sent, "TIDEMARK_PUBLISHED_URL")


def write_sent(settings: Settings, sent: Sent) -> None:
    """Note what was sent, on the disk."""
    replace_private(record_path(settings), sent.model_dump_json(indent=1).encode())


def new_sent(url: str) -> Sent:
    """The record of a home that has sent nothing yet."""
    return Sent(url=url, publisher=uuid.uuid4().hex)


def sent_status(settings: Settings, version: str | None) -> SentStatus:
    """How the object store stands to the version that is current here."""
    if settings.published_url is None or version is None:
        return SentStatus()
    try:
        sent = read_sent(settings) or new_sent(settings.published_url)
    except TidemarkError as error:
        return SentStatus(not_there=str(error))
    if sent.url != settings.published_url:
        return SentStatus(not_there=f"what was published is at {sent.url}, not at {settings.published_url}")
    when = f", sent {minute(sent.sent_at)}" if sent.sent_at else ""
    there = f"at {settings.published_url}: {sent.current or 'nothing yet'}{when}"
    why = sent.error
    if why is None and sent.current != version:
        why = f"{version} is not at {settings.published_url} yet"
    return SentStatus(f"{there}; {sent.warning}" if sent.warning else there, why)
