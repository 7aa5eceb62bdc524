"""The keys of days: one for each store, dataset and day, which encrypts what may hold personal data in clear.

A day's key stands in the lake, wrapped with the master key (RFC 3394), as ``lake/keys/<store>/<dataset>/<day>.json``;
the stores are ``text`` and ``quarantine``. Where a key is destroyed, what it encrypted is gone, in every copy that has
no copy of the key: that is how the text of a day ends when its time is over.

Files are Parquet, encrypted as the format itself provides (Parquet modular encryption, AES-GCM): each file has a key of
its own, which stands in it wrapped with its day's key.
"""

import base64
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pyarrow.parquet.encryption as pe
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.keys import derived, key_check, load_key, write_once
from flows.rights import make_private
from flows.settings import Settings

BITS = 256
DESTROYED = "the key {path} was destroyed when the time of its day was over: what it encrypted cannot be read any more"


class DestroyedKeyError(TidemarkError):
    """The key of a day was destroyed: what it encrypted cannot be read any more."""


class DayKeys:
    """The keys of a lake's days. The master key is loaded when the first of them is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, bytes] = {}
        self._master: bytes | None = None
        self._check = ""

    def to_write(self, store: str, dataset: str, day: date, columns: Collection[str]) -> Any:
        """What a Parquet writer needs to encrypt these columns of a file for a day.

        Whoever has no key can read the other columns and count the rows. The day's key is made where there is none.
        Raises :class:`DestroyedKeyError` where it was destroyed.
        """
        name = name_of(store, dataset, day)
        self._make(name)
        config = pe.EncryptionConfiguration(
            name,
            column_keys={name: [*columns]},
            plaintext_footer=True,
            data_key_length_bits=BITS,
            double_wrapping=False,
        )
        return self._factory(name).file_encryption_properties(pe.KmsConnectionConfig(), config)

    def to_read(self, only: str | None = None) -> Any:
        """What a Parquet reader needs for files of any day, encrypted or not; or ``only`` of those of one key."""
        return self._factory(only).file_decryption_properties(pe.KmsConnectionConfig())

    def key(self, name: str) -> bytes:
        """The key of a name.

        Raises :class:`DestroyedKeyError` where it was destroyed, :class:`TidemarkError` where it cannot be read.
        """
        if name not in self._known:
            self._known[name] = self._unwrapped(name)
        return self._known[name]

    def is_destroyed(self, store: str, dataset: str, day: date) -> bool:
        """Whether the key of a day was destroyed; one that is damaged was not."""
        with suppress(TidemarkError):
            return "destroyed_at" in self._said(name_of(store, dataset, day))
        return False

    def fault(self, store: str, dataset: str, day: date) -> str | None:
        """Why the key of a day cannot be used, without the master key; None where it can, or was destroyed."""
        name = name_of(store, dataset, day)
        try:
            said = self._said(name)
        except TidemarkError as error:
            return str(error)
        return None if said else f"{self._path(name)} is missing"

    def destroy(self, store: str, dataset: str, day: date) -> None:
        """Destroy the key of a day. What stays in its place says that, so that it is not taken for lost."""
        name = name_of(store, dataset, day)
        self._known.pop(name, None)
        path = self._path(name)
        make_private(self._settings.day_keys, *name.split("/")[:-1])
        partial = path.with_name(f".{path.name}.destroyed")
        partial.write_text(json.dumps({"destroyed_at": datetime.now(UTC).isoformat()}), encoding="utf-8")
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)

    def days(self, store: str, dataset: str) -> Iterator[date]:
        """The days of which there is a key."""
        for path in (self._settings.day_keys / store / dataset).glob("*.json"):
            with suppress(ValueError):  # no day: somebody else's
                day = date.fromisoformat(path.stem)
                if not self.is_destroyed(store, dataset, day):
                    yield day

    def _path(self, name: str) -> Path:
        return self._settings.day_keys / f"{name}.json"

    def _said(self, name: str) -> dict[str, str]:
        """What the file of a key says, nothing where there is none. Raises TidemarkError where it is damaged."""
        path = self._path(name)
        try:
            said = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            said = None
        if not isinstance(said, dict) or not ({"key", "master_key_check"} <= said.keys() or "destroyed_at" in said):
            raise TidemarkError(f"{path} is damaged; restore it from a backup of the lake")
        return said

    def _make(self, name: str) -> None:
        said = self._said(name)
        if "destroyed_at" in said:
            raise DestroyedKeyError(DESTROYED.format(path=self._path(name)))
        if not said:
            self._known.pop(name, None)
            wrapped = aes_key_wrap(self._wrapping_key(), token_bytes(BITS // 8))
            made = {"key": base64.b64encode(wrapped).decode(), "master_key_check": self._check}
            make_private(self._settings.day_keys, *name.split("/")[:-1])
            write_once(self._path(name), json.dumps(made).encode())

    def _unwrapped(self, name: str) -> bytes:
        said, path = self._said(name), self._path(name)
        if "destroyed_at" in said:
            raise DestroyedKeyError(DESTROYED.format(path=path))
        if not said:
            raise TidemarkError(f"the key {path} is missing; restore it from a backup of the lake")
        wrapping = self._wrapping_key()
        self._refuse_another(said, path)
        try:
            return aes_key_unwrap(wrapping, base64.b64decode(said["key"]))
        except (InvalidUnwrap, ValueError) as error:
            raise TidemarkError(f"{path} is damaged; restore it from a backup of the lake") from error

    def _refuse_another(self, said: dict[str, str], path: Path) -> None:
        if said.get("master_key_check", self._check) != self._check:
            raise TidemarkError(
                f"the master key is not the one that wrapped {path}; restore the earlier "
                f"{self._settings.key_file('master')} or TIDEMARK_MASTER_KEY"
            )

    def _wrapping_key(self) -> bytes:
        """The key that locks those of days."""
        if self._master is None:
            path = next(self._settings.day_keys.glob("*/*/[0-9]*.json"), None)
            master = load_key(self._settings, "master", must_exist=path is not None)
            self._check = key_check(master)
            if path is not None:  # or two shells with two keys would go on side by side
                with suppress(ValueError, OSError):
                    said = json.loads(path.read_bytes())
                    self._refuse_another(said if isinstance(said, dict) else {}, path)
            self._master = derived(master, "day keys")
        return self._master

    def _factory(self, only: str | None) -> Any:
        return pe.CryptoFactory(lambda _: _Wrapping(self, only))


def name_of(store: str, dataset: str, day: date) -> str:
    """The name of a day's key, which stands in each file that it encrypts."""
    return f"{store}/{dataset}/{day}"


class _Wrapping(pe.KmsClient):  # type: ignore[misc]
    """Wraps the keys of files with those of days. What Parquet calls a master key is the key of a day here."""

    def __init__(self, keys: DayKeys, only: str | None) -> None:
        super().__init__()
        self._keys = keys
        self._only = only

    def wrap_key(self, key: bytes, name: str) -> bytes:
        return base64.b64encode(aes_key_wrap(self._keys.key(name), key))

    def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
        if self._only not in (None, name):
            raise TidemarkError(f"the file is of {name}, and stands where one of {self._only} should")
        try:
            return aes_key_unwrap(self._keys.key(name), base64.b64decode(wrapped))
        except (InvalidUnwrap, ValueError) as error:
            raise TidemarkError(f"the key of a file of {name} cannot be unwrapped: the file is damaged") from error
