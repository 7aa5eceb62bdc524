"""The pseudonyms that an id has in a lake, by all keys that are there.

While the key is changed two make pseudonyms, and on days of before a change rows that came late have some of their own
(flows/land/linking.py).
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from flows.land.linking import LAST_OF_ALL, EarlierDays
from flows.land.pseudonyms import Kind, Pseudonymiser
from flows.land.rotation import load_lake_keys
from flows.privacy.identity import Aliases, Given, Person, pseudonyms, resolve
from flows.privacy.landed import LandedRows
from flows.settings import Settings


class LakeSecrets:
    """What makes the pseudonyms of a lake. Raises :class:`~flows.errors.TidemarkError` where the key is missing or is
    another than the lake's: with another, everybody would look unknown."""

    def __init__(self, settings: Settings, landed: LandedRows) -> None:
        keys = load_lake_keys(settings, landed.key_check, "with another, nobody would be found", must_exist=True)
        self._landed = landed
        self._now = Pseudonymiser(keys.now)
        self._others = [Pseudonymiser(key) for key in (keys.later, keys.earlier) if key]
        self._earlier_days = EarlierDays(keys.now, keys.boundaries)

    def one(self, column: str, value: str) -> bytes:
        """The pseudonym of a value in a column such as ``device_key`` that rows land with."""
        return self._now.one(column, value)

    def all(self, column: str, value: str) -> tuple[UUID, ...]:
        """All pseudonyms that may stand for a value."""
        now = UUID(bytes=self.one(column, value))
        others = (UUID(bytes=other.one(column, value)) for other in self._others)
        return (now, *others, *self._earlier_days.forms(column, now))

    def person(self, given: Iterable[Given]) -> Person:
        """The person with these ids: all pseudonyms that stand for them."""
        given = [*given]
        return resolve(pseudonyms(given, self), self._landed, self._aliases_of(given))

    def _aliases_of(self, given: list[Given]) -> Aliases:
        of_given = {(one.kind, all_[0]): all_[1:] for one in given for all_ in [self.all(one.kind.column, one.id)]}

        def aliases_of(kind: Kind, keys: Collection[UUID]) -> frozenset[UUID]:
            found = {alias for key in keys for alias in of_given.get((kind, key), ())}
            found |= {
                form
                for key in keys
                if not key.bytes.startswith(LAST_OF_ALL)
                for form in self._earlier_days.forms(kind.column, key)
            }
            return frozenset(found | self._landed.later_of(kind, keys))

        return aliases_of

    def aliases_of(self, kind: Kind, keys: Collection[UUID]) -> frozenset[UUID]:
        """The other pseudonyms of what these stand for, as far as the lake tells."""
        return self._aliases_of([])(kind, keys)
