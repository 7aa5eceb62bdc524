"""A lake whose pseudonym key is changed, with the clock moved, and what tests ask of it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq

from flows.land.linking import NEXT
from flows.land.pseudonyms import Pseudonymiser
from flows.land.rotation import Rotation, first_day_to_finish
from flows.privacy.rotate import Finished, rotate
from flows.settings import Settings
from tests.support.lake import KEY

NEXT_KEY = "the next secret of the tests, long enough, too"


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def begin(settings: Settings, day: date) -> Rotation:
    """Begin to change the key on a day."""
    done = rotate(settings, now=noon(day))
    assert isinstance(done, Rotation)
    assert done.from_day == day + timedelta(days=1)
    return done


def finish(settings: Settings, rotation: Rotation) -> Finished:
    """Finish it on the first day on which it may be."""
    done = rotate(settings, now=noon(first_day_to_finish(rotation)))
    assert isinstance(done, Finished)
    return done


def later_key_of(kind: str, id_: str, secret: str = NEXT_KEY) -> UUID:
    """The pseudonym of an id by the next key."""
    return UUID(bytes=Pseudonymiser(secret.encode()).one(f"{kind}_key", id_))


def earlier_key_of(kind: str, id_: str) -> UUID:
    return later_key_of(kind, id_, KEY)


def files_with_both(settings: Settings) -> Iterator[Path]:
    """The Parquet files with later pseudonyms beside others."""
    for path in settings.home.rglob("*.parquet"):
        encrypted = {"quarantine", "text"} & {*path.parts}
        if not encrypted and any(name.endswith(NEXT) for name in pq.read_schema(path).names):
            yield path
