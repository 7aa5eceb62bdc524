"""Who is meant: from the ids that a person gives to all pseudonyms that stand for them.

An id leads to others by the rows in which both stand. An account's rows name its user; a user's rows name their other
accounts, and the devices on which they were logged in. It ends there: from a device no way leads on to its users, since
who holds a device need not be the person whose account was used on it.

**A device is not a person.** What happened on it while nobody was logged in may be another's doing. Such rows are kept
apart from a person's own, and where somebody else was ever logged in on the device too, it is *shared*, and nobody can
say whose they are: a copy must not adversely affect the rights of others (GDPR articles 15(4) and 20(4)), and a
controller that cannot tell who is meant need not guess (article 11). A device that is given by its id alone counts as
shared once more than one user was logged in on it.

**The same thing may have several pseudonyms**, where the key is being changed or was changed: its others are its
*aliases*, and what is said of one is said of them.

Whether whoever asks is that person is for people to check before.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from flows.land.pseudonyms import Kind


@dataclass(frozen=True)
class Given:
    """An id in clear, as the person gave it."""

    kind: Kind
    id: str


@dataclass(frozen=True)
class Person:
    """All pseudonyms that stand for a person. ``shared`` are those of the devices that others used too, ``aliases``
    those that stand for what another one stands for, too."""

    keys: dict[Kind, frozenset[UUID]]
    shared: frozenset[UUID]
    aliases: frozenset[UUID] = frozenset()

    def count(self, kind: Kind) -> int:
        """How many accounts, users or devices they are."""
        return len(self.keys[kind] - self.aliases)

    @property
    def unshared(self) -> frozenset[UUID]:
        """The devices on which nobody else was logged in."""
        return self.keys[Kind.DEVICE] - self.shared


class Links(Protocol):
    """Which pseudonyms stand together in a row."""

    def pairs(self, kind: Kind, keys: Collection[UUID], other: Kind) -> set[tuple[UUID, UUID]]:
        """Each of these keys of a kind with each key of another kind that stands in a row with it."""
        ...


class Makes(Protocol):
    """Makes pseudonyms of ids in clear: flows.land.pseudonyms.Pseudonymiser does."""

    def one(self, column: str, value: str) -> bytes:
        """The pseudonym of a value in a column such as ``device_key``."""
        ...


Aliases = Callable[[Kind, Collection[UUID]], frozenset[UUID]]


def no_aliases(_: Kind, __: Collection[UUID]) -> frozenset[UUID]:
    """Of a lake whose key was never changed."""
    return frozenset()


def pseudonyms(given: Iterable[Given], pseudonymiser: Makes) -> dict[Kind, frozenset[UUID]]:
    """The pseudonyms of the ids themselves."""
    made = [(one.kind, UUID(bytes=pseudonymiser.one(one.kind.column, one.id))) for one in given]
    return {kind: frozenset(key for of, key in made if of is kind) for kind in Kind}


def resolve(given: dict[Kind, frozenset[UUID]], links: Links, aliases_of: Aliases = no_aliases) -> Person:
    """The person whom these pseudonyms stand for."""
    aliases: set[UUID] = set()

    def all_of(kind: Kind, keys: frozenset[UUID]) -> frozenset[UUID]:
        others = aliases_of(kind, keys)
        aliases.update(others)
        return keys | others

    def linked(kind: Kind, keys: frozenset[UUID], other: Kind) -> frozenset[UUID]:
        return frozenset(found for _, found in links.pairs(kind, keys, other)) if keys else frozenset()

    first_accounts = all_of(Kind.ACCOUNT, given[Kind.ACCOUNT])
    users = all_of(Kind.USER, given[Kind.USER] | linked(Kind.ACCOUNT, first_accounts, Kind.USER))
    accounts = all_of(Kind.ACCOUNT, first_accounts | linked(Kind.USER, users, Kind.ACCOUNT))
    devices = given[Kind.DEVICE] | linked(Kind.USER, users, Kind.DEVICE) | linked(Kind.ACCOUNT, accounts, Kind.DEVICE)
    devices = all_of(Kind.DEVICE, devices)
    seen = links.pairs(Kind.DEVICE, devices, Kind.USER) if devices else set()
    shared = _shared(seen, users)
    keys = {Kind.ACCOUNT: accounts, Kind.USER: users, Kind.DEVICE: devices}
    return Person(keys, shared | aliases_of(Kind.DEVICE, shared), frozenset(aliases))


def _shared(seen: set[tuple[UUID, UUID]], users: frozenset[UUID]) -> frozenset[UUID]:
    others: dict[UUID, set[UUID]] = {}
    for device, user in seen:
        if user not in users:
            others.setdefault(device, set()).add(user)
    # Of a device given alone, the one user who was ever logged in on it is taken for the person.
    most = 0 if users else 1
    return frozenset(device for device, found in others.items() if len(found) > most)
