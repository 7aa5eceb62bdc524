"""A place in an object store that one home alone writes to: a prefix with an object that says which home it is.

What is made once is put on the condition that it is not there, and what changes on the condition that it is what it
was. So two homes that write to one place find out, and an answer that was lost does no harm.
"""

import hashlib
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from flows.errors import TidemarkError
from flows.object_store import ChangedError, NotAllowedError, Object, Store, StoreError

PUBLISHER = "publisher.json"
_Record = TypeVar("_Record", bound=BaseModel)


class Publisher(BaseModel):
    """Which home publishes to a place."""

    model_config = ConfigDict(frozen=True)

    publisher: str


@dataclass(frozen=True)
class SentStatus:
    """What is at an object store, and why it is not what is here; None where no store is set, or it is."""

    there: str | None = None
    not_there: str | None = None


SENT_NOWHERE = SentStatus()


class Place:
    """A place in a store, for one call. ``claim`` is the key of the object that says whose it is."""

    def __init__(self, store: Store, claim: str, publisher: str) -> None:
        self._store = store
        self._claim = claim
        self._own = Publisher(publisher=publisher).model_dump_json().encode()
        # What was there when it was last looked at.
        self.there: dict[str, Object] = {}

    def refuse_versions(self) -> str | None:
        """A warning, where it cannot be told whether the bucket keeps what is deleted. Raises where it does."""
        try:
            status = self._store.versioning()
        except NotAllowedError as error:
            return f"whether the bucket keeps what is deleted is not known, and erasing relies on that ({error})"
        if status:
            raise StoreError(
                f"{self._store.url}: the bucket keeps versions of its objects ({status}), so what is erased would stay "
                "in it; name a bucket that never kept any"
            )
        return None

    def take(self) -> None:
        """See that this home alone publishes there. Two at once would remove each other's files."""
        if self._store.read(self._claim) is None:
            with suppress(ChangedError):  # another was quicker, or it was this one and the answer was lost
                self._store.put_new(self._claim, self._own)
        found = self._store.read(self._claim)
        if found is None or found[0] != self._own:
            raise StoreError(
                f"{self._store.url}: another home publishes there; choose another prefix, or, where that home is no "
                f"more, delete {self._claim} there"
            )

    def see_that_conditions_hold(self) -> None:
        """Raise :class:`StoreError` where the store pays no heed to conditions on a PUT."""
        puts: list[Callable[[], None]] = [
            lambda: self._store.put_new(self._claim, self._own),
            lambda: self._store.put_over(self._claim, self._own, '"0123456789abcdef0123456789abcdef"'),
        ]
        for put in puts:
            try:
                put()
            except ChangedError:
                continue
            self._store.delete([self._claim])
            raise StoreError(
                f"{self._store.url}: the store pays no heed to If-None-Match and If-Match of a PUT, without which "
                "nobody could tell that two publish there; use one that does"
            )

    def look(self, below: str = "") -> None:
        """See what is there."""
        self.there = {one.key: one for one in self._store.list(below)}

    def put_once(self, key: str, body: bytes | Path, sha256: str | None, size: int) -> None:
        """Have an object there whose key says what it holds."""
        if key not in self.there:
            try:
                self._store.put_new(key, body, sha256)
                return
            except ChangedError:  # the answer to an earlier try was lost
                self.there |= {one.key: one for one in self._store.list(key)}
        if self.there[key].size != size:
            raise StoreError(f"{self._store.url}/{key} has other bytes than its name says; delete it there")

    def put(self, key: str, body: bytes) -> None:
        """Put an object where there is none, or in the place of the one that was there when this began."""
        before = self.there.get(key)
        try:
            if before:
                self._store.put_over(key, body, before.etag)
            else:
                self._store.put_new(key, body)
        except ChangedError as error:
            found = self._store.read(key)
            if found is None or found[0] != body:  # else the answer to an earlier try was lost
                raise StoreError(f"{error}: does a copy of this home publish there too? Stop one of the two") from None

    def remove(self, first: Collection[str], then: Collection[str] = ()) -> None:
        """Delete objects, some of them before the others."""
        self._store.delete(first)
        self._store.delete(then)

    def see_that_gone(self, below: str, is_to_go: Callable[[str], bool]) -> None:
        """Raise :class:`StoreError` where something that was to be removed is still there."""
        if left := [one.key for one in self._store.list(below) if is_to_go(one.key)]:
            raise StoreError(f"{self._store.url}/{left[0]} is still there after it was deleted; nothing is erased yet")


def read_record(path: Path, kind: type[_Record], of: str) -> _Record | None:
    """The record of what was sent, None where nothing ever was; ``of`` is the setting that says where to.

    Raises :class:`TidemarkError` where it cannot be read.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TidemarkError(
            f"{path} cannot be read, which says what was sent to the object store: put it back from a backup; or "
            f"delete all that is below {of}, and then this file"
        ) from error


def sha256_of(data: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
