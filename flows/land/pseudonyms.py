"""Keyed hashes in place of identifiers: the same person or device, the same key, and no way back without the secret.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104) over the column's name, a NUL byte and the value,
marked as a UUID of version 8 (RFC 9562).
"""

import hmac
from enum import StrEnum
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

REMEMBERED_VALUES = 1_000_000


class Kind(StrEnum):
    """What an id names."""

    ACCOUNT = "account"
    USER = "user"
    DEVICE = "device"

    @property
    def column(self) -> str:
        """The column of its pseudonyms, wherever they stand."""
        return f"{self}_key"


# A row that names one of these is that person's; a device alone is nobody.
PERSONAL = (Kind.ACCOUNT, Kind.USER)


class Pseudonymiser:
    """Replaces values by their keyed hashes, remembering those it has made."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._made: dict[str, dict[str, bytes]] = {}

    def one(self, column: str, value: str) -> bytes:
        """The 16-byte pseudonym of a value in a column such as ``device_key``."""
        return pseudonym_of(self._key, column, value.encode())

    def column(self, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The pseudonyms of a column of strings, as 16-byte values; NULL stays NULL."""
        encoded = _one_dictionary(values)
        return pa.array(self._made_of(name, encoded), pa.binary(16)).take(encoded.indices)

    def texts(self, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The same as text, for a column that holds text."""
        encoded = _one_dictionary(values)
        made = [str(UUID(bytes=pseudonym)) for pseudonym in self._made_of(name, encoded)]
        return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(made, pa.string()))

    def _made_of(self, name: str, encoded: pa.DictionaryArray) -> list[bytes]:
        made = self._made.setdefault(name, {})
        if len(made) > REMEMBERED_VALUES:
            made.clear()
        distinct = encoded.dictionary.to_pylist()
        for value in distinct:
            if value not in made:
                made[value] = self.one(name, value)
        return [made[value] for value in distinct]


def pseudonym_of(secret: bytes, column: str, value: bytes) -> bytes:
    """The keyed hash of a value of a column, as a UUID of version 8."""
    digest = bytearray(hmac.digest(secret, column.encode() + b"\0" + value, "sha256")[:16])
    digest[6] = 0x80 | (digest[6] & 0x0F)
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return bytes(digest)


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
