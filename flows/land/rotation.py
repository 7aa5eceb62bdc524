"""How the pseudonym key of a lake was changed: which key is whose, and from which day on.

A change begins, and for some weeks rows land with the pseudonyms of both keys (flows/land/conform.py). Then it is
finished: what landed meanwhile is written again with the later pseudonyms alone (flows/land/rekey.py), and the earlier
key is destroyed (flows/privacy/rotate.py).

``lake/landed/pseudonym_keys.json`` says how far that is. It has no secret: keys are told apart by their check values.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from flows.errors import TidemarkError
from flows.files import replace_private
from flows.keys import Name, is_in_file, key_check, load_key
from flows.settings import Settings

FILE = "pseudonym_keys.json"
FORMAT = 1
# Windows look back over so many days: as many have figures by either key.
OVERLAP_DAYS = 28


class Stage(StrEnum):
    """How far a change of the key is."""

    # Rows land with the pseudonyms of both keys.
    OVERLAP = "overlap"
    # Rows land with those of the later key alone; what landed before is being written again.
    FINISHING = "finishing"
    # The earlier pseudonyms stand in rows of days before it alone.
    FINISHED = "finished"


class Rotation(BaseModel):
    """A change of the key: the check values of the earlier key and of the later one, when it began, and the first day
    whose rows have the later one's pseudonyms in the end. ``last_batch_id`` is the last batch that landed with both,
    once that is over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: str
    after: str
    began_at: datetime
    from_day: date
    stage: Stage = Stage.OVERLAP
    last_batch_id: int | None = None
    finished_at: datetime | None = None

    @property
    def check(self) -> str:
        """The check value of the key that rows land with, at the least."""
        return self.before if self.stage is Stage.OVERLAP else self.after


class Rotations(BaseModel):
    """All changes of the key of a lake, the oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    rotations: tuple[Rotation, ...] = ()

    @property
    def last(self) -> Rotation | None:
        """The last one, whether it is finished or not."""
        return self.rotations[-1] if self.rotations else None

    @property
    def checks(self) -> frozenset[str]:
        """The check values of all keys there were."""
        return frozenset(check for one in self.rotations for check in (one.before, one.after))

    @property
    def boundaries(self) -> tuple[date, ...]:
        """The days before which another key than that of today made the pseudonyms."""
        return tuple(sorted({one.from_day for one in self.rotations if one.stage is not Stage.OVERLAP}))

    def with_last(self, rotation: Rotation, is_new: bool = False) -> "Rotations":
        """The same with another last one, or with one more."""
        others = self.rotations if is_new else self.rotations[:-1]
        return self.model_copy(update={"rotations": (*others, rotation)})


def first_day_to_finish(rotation: Rotation) -> date:
    """The day after the last of those whose rows land with both."""
    return rotation.from_day + timedelta(days=OVERLAP_DAYS)


@dataclass(frozen=True)
class LakeKeys:
    """The keys of a lake: ``now`` rows land with; ``later`` they land with, too, while the key is changed; ``earlier``
    made pseudonyms of days before, and is there until the change is finished."""

    now: bytes
    later: bytes | None
    earlier: bytes | None
    boundaries: tuple[date, ...]


def read_rotations(settings: Settings) -> Rotations:
    """What the lake says. Raises :class:`TidemarkError` where that cannot be read."""
    path = settings.landed / FILE
    try:
        read = Rotations.model_validate_json(path.read_text(encoding="utf-8"))
        if read.format > FORMAT:
            raise ValueError(f"format {read.format}")
    except FileNotFoundError:
        return Rotations()
    except ValueError as error:
        raise TidemarkError(
            f"{path} is damaged or was written by a later Tidemark: it says which key made which pseudonyms, and "
            "nothing lands without it; use that Tidemark, or restore the file from a backup of the lake"
        ) from error
    return read


def write_rotations(settings: Settings, rotations: Rotations) -> None:
    """Write it, whole and on the disk."""
    replace_private(settings.landed / FILE, rotations.model_dump_json(indent=2).encode() + b"\n")


def load_lake_keys(settings: Settings, landed_with: str | None, else_what: str, must_exist: bool = False) -> LakeKeys:
    """The keys of a lake whose last batch ``landed_with`` this check value. ``else_what`` would happen with another.

    It is made where nothing has landed yet, unless it ``must_exist``. A key that has just taken its predecessor's place
    may still be found where the next one is: it is the check value that tells which is which.
    """
    rotations = read_rotations(settings)
    last = rotations.last
    if last is None:
        key = load_key(settings, "pseudonym", must_exist=must_exist or landed_with is not None)
        if landed_with not in (None, key_check(key)):
            raise _another_key(settings, else_what)
        return LakeKeys(key, None, None, ())
    is_over = last.stage is Stage.FINISHED
    before = None if is_over else _key_with(settings, last.before)
    after = _key_with(settings, last.after)
    now, later = (before, after) if last.stage is Stage.OVERLAP else (after, None)
    if now is None or (last.stage is Stage.OVERLAP and later is None):
        raise _another_key(settings, else_what)
    return LakeKeys(now, later, before if last.stage is Stage.FINISHING else None, rotations.boundaries)


def _key_with(settings: Settings, check: str) -> bytes | None:
    """The key with a check value, of those that there are; None where none has it."""
    names: tuple[Name, ...] = ("pseudonym", "pseudonym_next")
    for name in names:
        if name == "pseudonym_next" and not _may_be_next(settings):
            continue
        key = load_key(settings, name, must_exist=True)
        if key_check(key) == check:
            return key
    return None


def _may_be_next(settings: Settings) -> bool:
    """Whether there may be a next key: where a command gives keys, only it knows."""
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key_next is not None
    return not is_in_file(settings) or settings.key_file("pseudonym_next").exists()


def _another_key(settings: Settings, else_what: str) -> TidemarkError:
    return TidemarkError(
        f"the pseudonym key is not the one that landed the batches before in {settings.lake}: {else_what}; restore the "
        f"earlier {settings.key_file('pseudonym')} or TIDEMARK_PSEUDONYM_KEY (`tidemark keys` says which it was)"
    )
