"""Chunks conformed in several threads at once, by the conformers of their dataset."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from queue import SimpleQueue

from flows.contract.spec import DatasetSpec
from flows.keys import key_check
from flows.land.beside import BesideRows
from flows.land.conform import Conformed, Conformer
from flows.land.day_keys import DayKeys
from flows.land.linking import EarlierDays
from flows.land.pseudonyms import Pseudonymiser
from flows.land.readers import Part, decoded
from flows.land.receipts import Receipts
from flows.land.rotation import LakeKeys, load_lake_keys
from flows.land.tombstones import Tombstones
from flows.settings import Settings


class Conformers:
    """The conformers of each dataset met, the keys of pseudonyms that they share, and the keys of days: each made or
    loaded on first need. And who was erased, whose rows may not land."""

    def __init__(self, settings: Settings, receipts: Receipts) -> None:
        self._settings = settings
        self._landed_with = receipts.any_key_check()
        self.day_keys = DayKeys(settings)
        self.erased = Tombstones(settings)
        self.beside = BesideRows(settings)
        self._made: dict[str, list[Conformer]] = {}

    def __enter__(self) -> "Conformers":
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made.values():
            for conformer in made:
                conformer.close()

    @cached_property
    def _keys(self) -> LakeKeys:
        return load_lake_keys(
            self._settings, self._landed_with, "with another, every device and person would become a stranger"
        )

    @cached_property
    def earlier_days(self) -> EarlierDays:
        """What stands in rows of days before the key was changed."""
        return EarlierDays(self._keys.now, self._keys.boundaries)

    @property
    def key_checks(self) -> dict[str, str | None]:
        """What a receipt says of the keys."""
        later = self._keys.later
        return {"key_check": key_check(self._keys.now), "next_key_check": key_check(later) if later else None}

    def of(self, spec: DatasetSpec) -> list[Conformer]:
        if spec.name not in self._made:
            now = Pseudonymiser(self._keys.now)
            later = Pseudonymiser(self._keys.later) if self._keys.later else None
            are_ids_keyed = bool(self._keys.boundaries)
            self._made[spec.name] = [
                Conformer(spec, now, threads=1, later=later, are_ids_keyed=are_ids_keyed)
                for _ in range(self._settings.threads)
            ]
        return self._made[spec.name]


def conformed(parts: Iterator[Part], conformers: list[Conformer], batch_id: int) -> Iterator[Conformed]:
    """The chunks conformed, in order, as many at once as there are conformers; few more than that are held."""
    free: SimpleQueue[Conformer] = SimpleQueue()
    for conformer in conformers:
        free.put(conformer)

    def conform(part: Part) -> Conformed:
        conformer = free.get()
        try:
            chunk = part()
            return replace(conformer.conform(chunk, batch_id), ignored=chunk.ignored)
        finally:
            free.put(conformer)

    with ThreadPoolExecutor(len(conformers)) as pool:
        pending: deque[Future[Conformed]] = deque()
        for part in _shared_out(parts, len(conformers)):
            pending.append(pool.submit(conform, part))
            if len(pending) > len(conformers):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _shared_out(parts: Iterator[Part], workers: int) -> Iterator[Part]:
    """The chunks as they are; one that is the whole file, in as many pieces as there are workers."""
    first, second = next(parts, None), next(parts, None)
    if first is not None and second is None:
        for chunk in first().split(workers):
            yield decoded(chunk)
        return
    if first is not None and second is not None:
        yield first
        yield second
    yield from parts
