"""Keyed hashes in place of identifiers: the same person or device, the same key, and no way back without the secret.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104) over the column's name, a NUL byte and the value,
marked as a UUID of version 8 (RFC 9562).
"""

import hmac
import os
import secrets
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flows.errors import TidemarkError
from flows.settings import Settings

KEY_BYTES = 32
REMEMBERED_VALUES = 1_000_000


def load_key(settings: Settings, must_exist: bool) -> bytes:
    """The secret: from the environment, else from its file, which is made on first use with mode 0600.

    ``must_exist`` says that batches have landed with a secret already, so that a new one would tear every
    person in two; its absence then raises :class:`TidemarkError`.
    """
    if settings.pseudonym_key is not None:
        key = settings.pseudonym_key.get_secret_value().encode()
        if len(key) < KEY_BYTES:
            raise TidemarkError(
                f"TIDEMARK_PSEUDONYM_KEY is too short: give at least {KEY_BYTES} characters, "
                "for example from `openssl rand -hex 32`"
            )
        return key
    path = settings.key_file
    if path.exists():
        return _read_key(path)
    if must_exist:
        raise TidemarkError(
            f"the pseudonymisation key {path} is missing, but batches have landed with it; restore it from your "
            "backup or set TIDEMARK_PSEUDONYM_KEY: a new key would make every device and person a stranger"
        )
    return _make_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < KEY_BYTES:
        raise TidemarkError(f"the pseudonymisation key {path} is damaged (too short); restore it from your backup")
    return key


def _make_key(path: Path) -> bytes:
    """Write a new secret; another process that makes it at the same moment wins or loses whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
    return _read_key(path)


def key_check(key: bytes) -> str:
    """A check value that tells two secrets apart and reveals neither: kept with each batch."""
    return hmac.digest(key, b"tidemark key check value", "sha256").hex()[:12]


class Pseudonymiser:
    """Replaces values by their keyed hashes, remembering those it has made."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._made: dict[str, dict[str, bytes]] = {}

    def one(self, column: str, value: str) -> bytes:
        """The 16-byte pseudonym of a value in a column such as ``device_key``."""
        digest = bytearray(hmac.digest(self._key, f"{column}\0{value}".encode(), "sha256")[:16])
        digest[6] = 0x80 | (digest[6] & 0x0F)
        digest[8] = 0x80 | (digest[8] & 0x3F)
        return bytes(digest)

    def column(self, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The pseudonyms of a column of strings, as 16-byte values; NULL stays NULL."""
        made = self._made.setdefault(name, {})
        if len(made) > REMEMBERED_VALUES:
            made.clear()
        encoded = _one_dictionary(values)
        distinct = encoded.dictionary.to_pylist()
        pseudonyms = list(map(made.get, distinct))
        for position, pseudonym in enumerate(pseudonyms):
            if pseudonym is None:
                value = distinct[position]
                pseudonyms[position] = made[value] = self.one(name, value)
        return pa.array(pseudonyms, pa.binary(16)).take(encoded.indices)


def matches(values: pa.Array | pa.ChunkedArray, pattern: str) -> pa.Array:
    """Whether each string contains a match of the pattern, case ignored; NULL is no match."""
    encoded = _one_dictionary(values)
    found = pc.match_substring_regex(encoded.dictionary, pattern, ignore_case=True)
    return pc.fill_null(found.take(encoded.indices), False)


def _one_dictionary(values: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    if isinstance(values, pa.DictionaryArray):
        return values
    if isinstance(values, pa.Array):
        return values.cast(pa.string()).dictionary_encode()
    encoded = values.cast(pa.string()).dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no chunks at all
        return pa.array([], pa.string()).dictionary_encode()
    return encoded
