"""Requests to erase people: a queue of files, ``lake/erasures/<id>.json``, for their owner alone.

A request goes through its states in order, and is written after each: killed anywhere, it goes on where it was. What it
is to do is fixed when it is received (which people, whether shared devices are taken for theirs), so a policy that
changes meanwhile changes no request that has begun. Who is meant is encrypted until the end, and then gone: what stays
is a receipt that names nobody.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, Field

from flows.errors import TidemarkError
from flows.files import replace_private
from flows.keys import derived, load_key
from flows.land.pseudonyms import Kind
from flows.locks import held
from flows.privacy.identity import Given, Person
from flows.privacy.ids import is_a_word
from flows.rights import make_private
from flows.settings import Settings

NONCE_BYTES = 12
LOCK = ".lock"


class State(StrEnum):
    """How far a request is."""

    # It is in the queue.
    RECEIVED = "received"
    # The pseudonyms that stand for the people are known.
    RESOLVED = "resolved"
    # What is to go is counted, and rows of them do not land any more.
    PLANNED = "planned"
    # Inbox, landed zone, quarantine and text store hold nothing of them.
    REWRITTEN = "rewritten"
    # Neither do the warehouse and what is published.
    PUBLISHED = "published"
    # It was looked everywhere, and nothing was found.
    PROVEN = "proven"


class Secret(BaseModel):
    """Who is meant: the ids of each person as they were given, their pseudonyms, those of devices that others used too,
    those that stand for the same as others, and the moment up to which what happened is to go."""

    given: list[list[tuple[Kind, str]]]
    keys: dict[Kind, set[UUID]] = {}
    shared: set[UUID] = set()
    aliases: set[UUID] = set()
    until: datetime | None = None

    @property
    def people(self) -> list[tuple[Given, ...]]:
        """The ids of each person."""
        return [tuple(Given(kind, id_) for kind, id_ in one) for one in self.given]

    @property
    def words(self) -> list[str]:
        """The ids in clear that can be looked for as words: a short number stands for anything."""
        return [id_ for one in self.given for _, id_ in one if is_a_word(id_)]

    @property
    def short(self) -> int:
        """How many ids are too short to be looked for as words."""
        return sum(map(len, self.given)) - len(self.words)

    @property
    def person(self) -> Person:
        """All that is to go, as if it were of one person."""
        keys = {kind: frozenset(self.keys.get(kind, ())) for kind in Kind}
        return Person(keys, frozenset(self.shared), frozenset(self.aliases))


class Request(BaseModel):
    """A request as it is kept. ``found`` is what becomes the receipt; ``sealed`` is the secret, encrypted."""

    id: str
    state: State = State.RECEIVED
    people: int
    with_shared: bool
    received_at: datetime
    reached: dict[State, datetime] = Field(default_factory=dict)
    found: dict[str, Any] = Field(default_factory=dict)
    sealed: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do."""
        return self.state is not State.PROVEN


class Queue:
    """The requests of a lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.lake / "erasures"

    @contextmanager
    def worked_on(self) -> Iterator[None]:
        """Work on the requests, one process at a time: each begins with what the one before left."""
        make_private(self._folder)
        with held(self._folder / LOCK, "erasing people"):
            yield

    def receive(self, people: list[tuple[Given, ...]], with_shared: bool) -> Request:
        """Put a request into the queue: it is on the disk when this returns."""
        now = datetime.now(UTC)
        request = Request(
            id=f"{now:%Y%m%dT%H%M%S}-{token_hex(3)}",
            people=len(people),
            with_shared=with_shared,
            received_at=now,
            reached={State.RECEIVED: now},
        )
        secret = Secret(given=[[(one.kind, one.id) for one in person] for person in people])
        self.write(request, secret)
        return request

    def write(self, request: Request, secret: Secret | None) -> None:
        """Write a request, with who is meant; without, that is gone from then on."""
        make_private(self._folder)
        request.sealed = self._seal(request, secret) if secret else None
        replace_private(self.path(request), request.model_dump_json(indent=1).encode())

    def reach(self, request: Request, state: State, secret: Secret | None) -> None:
        """Write that a request has come to a state."""
        request.state = state
        request.reached[state] = datetime.now(UTC)
        self.write(request, secret)

    def path(self, request: Request) -> Path:
        """The file of a request."""
        return self._folder / f"{request.id}.json"

    def all(self) -> list[Request]:
        """Every request, the oldest first. Raises :class:`TidemarkError` where one is damaged."""
        return sorted(self._read(), key=lambda request: request.received_at)

    def _read(self) -> Iterator[Request]:
        for path in sorted(self._folder.glob("[0-9]*.json")):
            try:
                yield Request.model_validate_json(path.read_bytes())
            except ValueError as error:
                raise TidemarkError(f"{path} is damaged; restore it from a backup of the lake") from error

    def secret(self, request: Request) -> Secret:
        """Who is meant by an open request."""
        raw = base64.b64decode(request.sealed or "")
        try:
            said = self._cipher(must_exist=True).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], request.id.encode())
        except (InvalidTag, ValueError) as error:
            raise TidemarkError(
                f"who is meant by {self.path(request)} cannot be read: the file is damaged, or the master key is "
                f"another; restore the earlier {self._settings.key_file('master')} or TIDEMARK_MASTER_KEY"
            ) from error
        return Secret.model_validate(json.loads(said))

    def _seal(self, request: Request, secret: Secret) -> str:
        nonce = token_bytes(NONCE_BYTES)
        sealed = self._cipher(must_exist=False).encrypt(nonce, secret.model_dump_json().encode(), request.id.encode())
        return base64.b64encode(nonce + sealed).decode()

    def _cipher(self, must_exist: bool) -> AESGCM:
        master = load_key(self._settings, "master", must_exist=must_exist)
        return AESGCM(derived(master, "erasure requests"))
