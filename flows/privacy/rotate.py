"""Change the key of pseudonyms: rows land with both for four weeks, and then nobody can join across any more.

The first call begins, the second finishes. Finishing goes through its steps in an order in which each may be done
again, so that it goes on wherever it was killed: rows land with the later key alone; the landed zone is written again
(:mod:`flows.land.rekey`); what was made of it is renewed (:mod:`flows.privacy.renew`); and only then, where nothing
needs it any more, is the earlier key destroyed.
"""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq

from flows.build.lent import delete_what_was_lent
from flows.clock import local_day
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.keys import is_in_file, key_check, load_key, put_next_in_place, variable_of
from flows.land.land import land, open_for_landing
from flows.land.linking import next_columns
from flows.land.receipts import Receipts
from flows.land.rekey import KeyChange, Rekeyed, rekey
from flows.land.remove import remove_unread, removing
from flows.land.repartition import TARGET
from flows.land.rotation import (
    OVERLAP_DAYS,
    LakeKeys,
    Rotation,
    Rotations,
    Stage,
    first_day_to_finish,
    load_lake_keys,
    read_rotations,
    write_rotations,
)
from flows.locks import held
from flows.privacy.renew import Renewed, renew
from flows.privacy.requests import Queue
from flows.settings import Settings

COMMAND = "tidemark keys rotate"
LOCK = ".rotation.lock"
STRANGERS = "with another, every device and person would become a stranger"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class KeyState:
    """How the key stands: the check value of the one that rows landed with last, and the changes there were."""

    check: str | None
    rotations: Rotations

    @property
    def may_finish_from(self) -> date | None:
        """From which day the change that is going on may be finished; None where none is."""
        last = self.rotations.last
        return first_day_to_finish(last) if last and last.stage is not Stage.FINISHED else None


@dataclass(frozen=True)
class Finished:
    """What finishing did: what was written again, and what readers see. ``to_do`` is what is left for people."""

    rekeyed: tuple[Rekeyed, ...]
    renewed: Renewed | None
    to_do: str | None


def key_state(settings: Settings) -> KeyState:
    """How the key stands, without the key itself."""
    if not settings.landed.exists():
        return KeyState(None, Rotations())
    with closing(Receipts(settings, read_only=True)) as receipts:
        check = receipts.any_key_check()
    rotations = read_rotations(settings)
    return KeyState(rotations.last.check if rotations.last else check, rotations)


def rotate(
    settings: Settings,
    specs: dict[str, DatasetSpec] | None = None,
    now: datetime | None = None,
    progress: Progress = lambda line: None,
) -> Rotation | Finished:
    """Begin to change the key, or finish it, whichever comes next.

    Raises :class:`TidemarkError` where that cannot be done, or not yet; what was done before stands, and the next call
    goes on.
    """
    specs = load_specs() if specs is None else specs
    now = now or datetime.now(UTC)
    if not settings.landed.exists():
        raise _nothing_landed(settings)
    with held(settings.lake / LOCK, "changing the pseudonym key"):
        last = read_rotations(settings).last
        if last is None or (last.stage is Stage.FINISHED and _is_in_place(settings, last)):
            return _begin(settings, specs, now)
        if last.stage is Stage.FINISHED:
            return _put_in_place_or_say_what(settings)
        if last.stage is Stage.OVERLAP and local_day(now) < first_day_to_finish(last):
            raise TidemarkError(
                f"the change of the pseudonym key that began {last.from_day - timedelta(days=1)} cannot be finished "
                f"before {first_day_to_finish(last)}: rows land with both keys for {OVERLAP_DAYS} whole days"
            )
        return _finish(settings, specs, now, progress)


# --- to begin ---


def _begin(settings: Settings, specs: dict[str, DatasetSpec], now: datetime) -> Rotation:
    _refuse_taken_names(specs)
    with open_for_landing(settings, specs) as receipts:
        check = receipts.any_key_check()
        if check is None:
            raise _nothing_landed(settings)
        before = key_check(load_lake_keys(settings, check, STRANGERS).now)
        rotations = read_rotations(settings)
        after = key_check(load_key(settings, "pseudonym_next", must_exist=False))
        if after in rotations.checks | {before}:
            raise TidemarkError(
                f"the next pseudonym key ({after}) is one that was in use before; give a new one, for example what "
                "`openssl rand -hex 32` prints"
            )
        rotation = Rotation(before=before, after=after, began_at=now, from_day=local_day(now) + timedelta(days=1))
        write_rotations(settings, rotations.with_last(rotation, is_new=True))
        return rotation


def _refuse_taken_names(specs: dict[str, DatasetSpec]) -> None:
    for spec in specs.values():
        for name in next_columns(spec, [column.name for column in spec.columns()]):
            raise TidemarkError(
                f"the contract has the column {spec.name}.{name}, where the pseudonyms of the next key are to stand; "
                "give the field another name"
            )


def _nothing_landed(settings: Settings) -> TidemarkError:
    return TidemarkError(
        f"nothing has landed in {settings.lake}, so there are no pseudonyms yet: give another key as you like, or set "
        "TIDEMARK_HOME"
    )


# --- to finish ---


def _finish(settings: Settings, specs: dict[str, DatasetSpec], now: datetime, progress: Progress) -> Finished:
    _refuse_open_erasures(settings)
    land(settings, specs)  # what waits in the inbox is of both keys still
    rekeyed = _rewrite_lake(settings, specs, progress)
    renewed = renew(settings, progress)
    _end(settings, specs, now)
    return Finished(tuple(rekeyed), renewed, _put_in_place(settings))


def _put_in_place_or_say_what(settings: Settings) -> Finished:
    """What is left of a change that is finished. Raises :class:`TidemarkError` where only people can do it."""
    if to_do := _put_in_place(settings):
        raise TidemarkError(f"the last change of the pseudonym key is finished but for the keys themselves: {to_do}")
    return Finished((), None, None)


def _last(settings: Settings) -> Rotation:
    last = read_rotations(settings).last
    assert last is not None
    return last


def _refuse_open_erasures(settings: Settings) -> None:
    """Without the earlier key, nobody finds what happened on the days before."""
    waiting = [request.id for request in Queue(settings).all() if request.is_open]
    if waiting:
        raise TidemarkError(
            f"people wait to be erased ({', '.join(waiting[:3])}), and without the earlier key what happened before "
            f"is not found any more; run `tidemark erase`, then `{COMMAND}` again"
        )


def _rewrite_lake(settings: Settings, specs: dict[str, DatasetSpec], progress: Progress) -> list[Rekeyed]:
    with removing(settings, specs, COMMAND) as receipts:
        rotation = _switched(settings, receipts)
        # A lake that was being laid out again, when that was killed: it would bring back what is written here.
        shutil.rmtree(settings.lake / TARGET, ignore_errors=True)
        keys = _keys(settings, receipts)
        assert rotation.last_batch_id is not None
        why = f"change of the pseudonym key from {rotation.from_day}, {rotation.before} to {rotation.after}"
        change = KeyChange(rotation.from_day, rotation.last_batch_id, keys.now, why)
        done = rekey(receipts, settings, specs, change, progress)
        remove_unread(receipts, settings, specs)
        delete_what_was_lent(settings)
        return done


def _switched(settings: Settings, receipts: Receipts) -> Rotation:
    """The change that is going on, once rows land with the later key alone."""
    last = _last(settings)
    if last.stage is Stage.OVERLAP:
        _keys(settings, receipts)  # both are there, or nothing is begun
        last = last.model_copy(update={"stage": Stage.FINISHING, "last_batch_id": receipts.last_batch_id()})
        write_rotations(settings, read_rotations(settings).with_last(last))
    return last


def _keys(settings: Settings, receipts: Receipts) -> LakeKeys:
    return load_lake_keys(settings, receipts.any_key_check(), STRANGERS)


def _check_nothing_left(settings: Settings, specs: dict[str, DatasetSpec]) -> None:
    """Raise :class:`TidemarkError` where a file still has both pseudonyms: the earlier key must not go before it."""
    left = [
        str(path.relative_to(settings.lake))
        for name, spec in specs.items()
        for path in sorted((settings.landed / name).rglob("*.parquet"))
        if next_columns(spec, pq.read_schema(path).names)
    ]
    if left:
        more = f" and {len(left) - 3:,} more" if len(left) > 3 else ""
        raise TidemarkError(
            f"{', '.join(left[:3])}{more} below {settings.lake} still have the pseudonyms of both keys; run "
            f"`tidemark build`, which removes what was replaced, then `{COMMAND}` again"
        )


def _end(settings: Settings, specs: dict[str, DatasetSpec], now: datetime) -> None:
    """Write that it is finished: from then on the earlier key may go."""
    with removing(settings, specs, COMMAND) as receipts:
        _refuse_open_erasures(settings)
        _check_nothing_left(settings, specs)
        _keys(settings, receipts)  # the later one is there
        ended = _last(settings).model_copy(update={"stage": Stage.FINISHED, "finished_at": now})
        write_rotations(settings, read_rotations(settings).with_last(ended))


def _is_in_place(settings: Settings, last: Rotation) -> bool:
    """Whether the later key of a change that is finished is where keys are looked for first."""
    return key_check(load_key(settings, "pseudonym", must_exist=True)) == last.after


def _put_in_place(settings: Settings) -> str | None:
    """Destroy the earlier key, where that is ours to do; else what people have to do."""
    last = _last(settings)
    load_lake_keys(settings, last.after, STRANGERS)  # never before the later one is there
    if _is_in_place(settings, last):
        return None
    if is_in_file(settings):
        put_next_in_place(settings)
        return None
    now, later = variable_of("pseudonym"), variable_of("pseudonym_next")
    if settings.pseudonym_key is not None:
        return (
            f"set {now} to the secret of {later}, unset {later}, restart the service, and destroy the earlier secret "
            f"({last.before}) wherever it is kept; until then the key is taken from {later}"
        )
    return (
        "have the command of TIDEMARK_KEY_COMMAND print for `pseudonym` what it prints for `pseudonym_next`, and "
        f"destroy the earlier secret ({last.before}) wherever it is kept; until then the key is asked for as "
        "`pseudonym_next`"
    )
