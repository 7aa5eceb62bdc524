"""How a change of the pseudonym key stands that is not finished."""

from dataclasses import dataclass
from datetime import date, datetime

from flows.clock import local_day, minute
from flows.errors import TidemarkError
from flows.land.rotation import Stage, first_day_to_finish, read_rotations
from flows.settings import Settings


@dataclass(frozen=True)
class KeyChangeStatus:
    """A change of the pseudonym key that is not finished. It may be from the day ``due_from`` on, and ``is_due`` then;
    ``is_begun`` says that finishing it began. ``note`` says why nothing of this is known."""

    began_at: datetime | None = None
    due_from: date | None = None
    is_due: bool = False
    is_begun: bool = False
    note: str | None = None


def read_key_change(settings: Settings, now: datetime) -> KeyChangeStatus | None:
    """How it stands; None where no key is being changed."""
    try:
        last = read_rotations(settings).last
    except TidemarkError as error:
        return KeyChangeStatus(note=str(error), is_due=True)
    if last is None or last.stage is Stage.FINISHED:
        return None
    day, is_begun = first_day_to_finish(last), last.stage is Stage.FINISHING
    return KeyChangeStatus(last.began_at, day, is_due=is_begun or local_day(now) >= day, is_begun=is_begun)


def describe_key_change(change: KeyChangeStatus) -> str:
    """The same in a line for people."""
    if change.note or change.began_at is None:
        return change.note or "not known"
    if change.is_begun:
        return "DUE: the change of the pseudonym key is being finished; `tidemark keys rotate` goes on where it stopped"
    both = f"rows land with the pseudonyms of two keys since {minute(change.began_at)}"
    if change.is_due:
        return f"DUE: {both}; `tidemark keys rotate` finishes the change"
    return f"{both}; `tidemark keys rotate` finishes the change from {change.due_from} on"
