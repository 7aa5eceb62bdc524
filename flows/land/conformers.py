"""Chunks conformed in several threads at once, by the conformers of their dataset."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.keys import key_check, load_key
from flows.land.conform import Conformed, Conformer
from flows.land.day_keys import DayKeys
from flows.land.pseudonyms import Pseudonymiser
from flows.land.readers import Part, decoded
from flows.land.receipts import Receipts
from flows.land.tombstones import Tombstones
from flows.settings import Settings


class Conformers:
    """The conformers of each dataset met, the key of pseudonyms that they share, and the keys of days: each made or
    loaded on first need. And who was erased, whose rows may not land."""

    def __init__(self, settings: Settings, receipts: Receipts) -> None:
        self._settings = settings
        self._check = receipts.any_key_check()
        self._key: bytes | None = None
        self.day_keys = DayKeys(settings)
        self.erased = Tombstones(settings)
        self._made: dict[str, list[Conformer]] = {}

    def __enter__(self) -> "Conformers":
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made.values():
            for conformer in made:
                conformer.close()

    @property
    def key(self) -> bytes:
        if self._key is None:
            key = load_key(self._settings, "pseudonym", must_exist=self._check is not None)
            if self._check not in (None, key_check(key)):
                raise TidemarkError(
                    "the pseudonymisation key is not the one that landed the batches before: every device and person "
                    f"would become a stranger; restore the earlier "
                    f"{self._settings.key_file('pseudonym')} or TIDEMARK_PSEUDONYM_KEY"
                )
            self._key = key
        return self._key

    def of(self, spec: DatasetSpec) -> list[Conformer]:
        if spec.name not in self._made:
            pseudonymiser = Pseudonymiser(self.key)
            self._made[spec.name] = [Conformer(spec, pseudonymiser, threads=1) for _ in range(self._settings.threads)]
        return self._made[spec.name]


def conformed(parts: Iterator[Part], conformers: list[Conformer], batch_id: int) -> Iterator[Conformed]:
    """The chunks conformed, in order, as many at once as there are conformers; few more than that are held."""
    free: SimpleQueue[Conformer] = SimpleQueue()
    for conformer in conformers:
        free.put(conformer)

    def conform(part: Part) -> Conformed:
        conformer = free.get()
        try:
            return conformer.conform(part(), batch_id)
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
