"""The keys of days: one for each store, dataset and day, which encrypts what may hold personal data in clear.

A day's key stands in the lake, wrapped with the master key (RFC 3394), as ``lake/keys/<store>/<dataset>/<day>.json``;
the stores are ``text`` and ``quarantine``. Where a key is destroyed, what it encrypted is gone from every copy and
backup at once: that is how the text of a day ends when its time is over.

Files are Parquet, encrypted as the format itself provides (Parquet modular encryption, AES-GCM): each file has a key of
its own, which stands in it wrapped with its day's key.
"""

import base64
import json
from collections.abc import Collection
from datetime import date
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pyarrow.parquet.encryption as pe
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from flows.errors import TidemarkError
from flows.files import make_private, sync_folder
from flows.keys import key_check, load_key, write_once
from flows.settings import Settings

BITS = 256


class DestroyedKeyError(TidemarkError):
    """The key of a day is not there: what it encrypted cannot be read any more."""


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
        """
        name = f"{store}/{dataset}/{day}"
        self._make(name)
        config = pe.EncryptionConfiguration(
            name,
            column_keys={name: [*columns]},
            plaintext_footer=True,
            data_key_length_bits=BITS,
            double_wrapping=False,
        )
        return self._factory().file_encryption_properties(pe.KmsConnectionConfig(), config)

    def to_read(self) -> Any:
        """What a Parquet reader needs for files of any day, encrypted or not."""
        return self._factory().file_decryption_properties(pe.KmsConnectionConfig())

    def key(self, name: str) -> bytes:
        """The key named ``<store>/<dataset>/<day>``.

        Raises :class:`DestroyedKeyError` where it is gone, :class:`TidemarkError` where it cannot be read.
        """
        if name not in self._known:
            self._known[name] = self._unwrapped(self._path(name))
        return self._known[name]

    def exists(self, store: str, dataset: str, day: date) -> bool:
        """Whether the key of a day is there."""
        return self._path(f"{store}/{dataset}/{day}").exists()

    def destroy(self, store: str, dataset: str, day: date) -> None:
        """Destroy the key of a day, where there is one."""
        name = f"{store}/{dataset}/{day}"
        self._known.pop(name, None)
        path = self._path(name)
        if path.exists():
            path.unlink()
            sync_folder(path.parent)

    def _path(self, name: str) -> Path:
        return self._settings.day_keys / f"{name}.json"

    def _make(self, name: str) -> None:
        path = self._path(name)
        if not path.exists():
            wrapped = aes_key_wrap(self._wrapping_key(), token_bytes(BITS // 8))
            said = {"key": base64.b64encode(wrapped).decode(), "master_key_check": self._check}
            make_private(self._settings.day_keys, *name.split("/")[:-1])
            write_once(path, json.dumps(said).encode())

    def _unwrapped(self, path: Path) -> bytes:
        try:
            said = json.loads(path.read_bytes())
            wrapped, check = base64.b64decode(said["key"]), said["master_key_check"]
        except FileNotFoundError:
            raise DestroyedKeyError(
                f"{path} is gone, as it is when the time of its day is over: what it encrypted cannot be read any more"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise TidemarkError(f"{path} is damaged; restore it from a backup of the lake") from error
        wrapping = self._wrapping_key()
        if check != self._check:
            raise TidemarkError(
                f"the master key is not the one that wrapped {path}; restore the earlier "
                f"{self._settings.key_file('master')} or TIDEMARK_MASTER_KEY"
            )
        try:
            return aes_key_unwrap(wrapping, wrapped)
        except (InvalidUnwrap, ValueError) as error:
            raise TidemarkError(f"{path} is damaged; restore it from a backup of the lake") from error

    def _wrapping_key(self) -> bytes:
        """The master key as one of AES (HKDF, RFC 5869): it may be given as text of any length."""
        if self._master is None:
            exists = next(self._settings.day_keys.glob("*/*/*.json"), None) is not None
            master = load_key(self._settings, "master", must_exist=exists)
            self._check = key_check(master)
            self._master = HKDF(SHA256(), BITS // 8, salt=None, info=b"tidemark day keys").derive(master)
        return self._master

    def _factory(self) -> Any:
        return pe.CryptoFactory(lambda _: _Wrapping(self))


class _Wrapping(pe.KmsClient):  # type: ignore[misc]
    """Wraps the keys of files with those of days. What Parquet calls a master key is the key of a day here."""

    def __init__(self, keys: DayKeys) -> None:
        super().__init__()
        self._keys = keys

    def wrap_key(self, key: bytes, name: str) -> bytes:
        return base64.b64encode(aes_key_wrap(self._keys.key(name), key))

    def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
        try:
            return aes_key_unwrap(self._keys.key(name), base64.b64decode(wrapped))
        except (InvalidUnwrap, ValueError) as error:
            raise TidemarkError(f"the key of a file of {name} cannot be unwrapped: the file is damaged") from error
