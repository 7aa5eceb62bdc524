"""How messages become records of a file: without a registry's header, one a line or each behind its length."""

from collections import Counter
from dataclasses import dataclass, field

from flows.extract.kafka.declared import Topic
from flows.land.readers import signatures

# Before each message that a registry's client wrote: a zero, the number of the schema, and for Protobuf which message.
MAGIC, HEADER_BYTES = 0, 5
# Begins a text of JSON where one follows another (RFC 7464), and with it nothing else that is known.
RECORD_SEPARATOR = b"\x1e "
NO_ROWS = b"[]"


@dataclass
class Seen:
    """What people should know of messages that were read: how many, and where the first was."""

    partition: int = 0
    counts: Counter[str | int] = field(default_factory=Counter)
    first: dict[str | int, str] = field(default_factory=dict)

    def note(self, what: str | int, offset: int, count: int = 1) -> None:
        """Count some: of a schema by its number, or of these below."""
        self.counts[what] += count
        if what not in self.first:
            self.first[what] = f"partition {self.partition}, offset {offset}"


WITHOUT_VALUE, UNFRAMED, OTHER_MESSAGE, TOO_LONG, HIDDEN = "no value", "unframed", "other", "too long", "hidden"


class Encoder:
    """Makes records of a topic's messages; what is not as declared it notes in ``seen``."""

    def __init__(self, topic: Topic, seen: Seen) -> None:
        self._topic = topic
        self._seen = seen
        self._is_json = topic.format == "json"
        self._is_framed = topic.framing == "registry"

    def one(self, value: bytes | None, offset: int) -> bytes:
        """The record of the message at an offset; nothing where it is no row."""
        if value and self._is_framed:
            value = _without_header(value, self._topic, self._seen, offset)
        record = (_json_line if self._is_json else _behind_length)(value) if value else b""
        if not record:
            self._seen.note(WITHOUT_VALUE, offset)
        return record

    def plain(self, values: list[bytes | None]) -> bytes | None:
        """The records of messages that are all as most are, which is quicker; None where one is not."""
        if self._is_framed or not values or not all(values):
            return None
        if not self._is_json:
            return b"".join(map(_behind_length, values))  # type: ignore[arg-type]
        lines = b"\n".join(values) + b"\n"  # type: ignore[arg-type]
        is_one_a_line = lines.count(b"\n") == len(values)
        return lines if is_one_a_line and lines.startswith(b"{") and lines.count(b"\n{") == len(values) - 1 else None


def beginning(first: bytes, is_json: bool) -> bytes:
    """The first records of a file, so that the whole is taken for what it is, whatever somebody sent.

    Landing looks at how a file begins: an open bracket makes it one document, and some bytes another format. Only what
    is no object of JSON gets something before it, and that is rejected in any case.
    """
    if is_json:
        text = first.partition(b"\n")[0].strip()
        is_object = text.startswith(b"{") and text.endswith(b"}") and 0 not in text[: signatures.HEAD_BYTES]
        return first if is_object else RECORD_SEPARATOR + first
    if signatures.kind_of(first[: signatures.HEAD_BYTES]) is None:
        return first
    length, start = _varint(first, 0)
    return _written(length)[:-1] + bytes([_written(length)[-1] | 0x80, 0]) + first[start:]


def _json_line(value: bytes) -> bytes:
    """A message on a line of its own. Within JSON a line end is a blank between two tokens, and so is the space."""
    if b"\n" in value:
        value = value.replace(b"\n", b" ")
    return b"" if value.isspace() else value + b"\n"


def _behind_length(value: bytes) -> bytes:
    return _written(len(value)) + value


def _written(number: int) -> bytes:
    """A number as a varint."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends. Raises IndexError where it is cut off."""
    number = shift = 0
    while data[at] > 0x7F:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise IndexError
    return number | data[at] << shift, at + 1


def _without_header(value: bytes, topic: Topic, seen: Seen, offset: int) -> bytes:
    """A message without a registry's header; as it came where it has none, or is another message than declared."""
    try:
        if value[0] != MAGIC or len(value) < HEADER_BYTES:
            raise IndexError
        message, start = _message(value) if topic.format == "protobuf" else (topic.message, HEADER_BYTES)
    except IndexError:
        seen.note(UNFRAMED, offset)
        return value
    if message != topic.message:
        seen.note(OTHER_MESSAGE, offset)
        return value  # as it came, it begins with a zero, as no message does: it is rejected, and not misread
    schema = int.from_bytes(value[1:HEADER_BYTES])
    if schema not in topic.schemas:
        seen.note(schema, offset)
    return value[start:]


def _message(value: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of a schema it is, and where it begins. Raises IndexError where the header is cut off."""
    count, at = _signed(value, HEADER_BYTES)
    if count == 0:
        return (0,), at
    if not 0 < count < len(value):
        raise IndexError
    path = []
    for _ in range(count):
        index, at = _signed(value, at)
        path.append(index)
    return tuple(path), at


def _signed(value: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(value, at)
    return (number >> 1) ^ -(number & 1), at
