"""Protobuf messages, each behind its length as a varint."""

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from flows.contract.spec import DatasetSpec, descriptors
from flows.errors import FileRefusedError
from flows.land.readers import limits
from flows.land.readers.chunks import Chunk, Part, Reject, Unknown

# Kinds of values on the wire, and the bytes of those that have a fixed size.
VARINT, LENGTH, GROUP = 0, 2, 3
FIXED = {1: 8, 5: 4}


# Makes a chunk of messages, each with the number that it is to have.
Decoder = Callable[[list[bytes], np.ndarray], Chunk]


def read_protobuf(pieces: Iterator[bytes], spec: DatasetSpec) -> Iterator[Part]:
    decode = decoder_of(spec)
    first = 1
    for messages in messages_in(pieces):
        yield partial(decode, messages, np.arange(first, first + len(messages), dtype=np.int64))
        first += len(messages)


def decoder_of(spec: DatasetSpec) -> Decoder:
    """What makes chunks of the dataset's messages."""
    return _decoder(descriptors().FindMessageTypeByName(spec.message))


@cache  # to make it costs more than to decode some messages
def _decoder(descriptor: Descriptor) -> Decoder:
    config = ptars.PtarsConfig(timestamp_tz=None, timestamp_unit="us")
    handler = ptars.HandlerPool([descriptor.file], config).get_for_message(descriptor)
    parse = message_factory.GetMessageClass(descriptor).FromString
    return partial(_chunk, handler, parse)


def _chunk(handler: Any, parse: Callable[[bytes], Message], messages: list[bytes], lines: np.ndarray) -> Chunk:
    table, bad = _decoded(messages, handler, parse)
    places = np.delete(np.arange(len(messages)), bad)
    good = _without(messages, bad)
    unknown, doubtful = _unknown_numbers(handler, table, good, lines[places], parse)
    if doubtful:
        bad += places[doubtful].tolist()
        places, good = np.delete(places, doubtful), _without(good, doubtful)
        table = table.take(np.delete(np.arange(table.num_rows), doubtful)).combine_chunks()
    rejects = [Reject(int(lines[place]), "undecodable", None, messages[place]) for place in sorted(bad)]

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [good[i] for i in positions]

    return Chunk(table.add_column(0, "_line", pa.array(lines[places])), raw_rows, rejects, unknown)


def _without(messages: list[bytes], positions: list[int]) -> list[bytes]:
    gone = set(positions)
    return [message for i, message in enumerate(messages) if i not in gone] if gone else messages


def _decoded(messages: list[bytes], handler: Any, parse: Callable[[bytes], Message]) -> tuple[pa.Table, list[int]]:
    """The messages as a table, and the positions of those that are not in it, since they cannot be decoded."""
    batches, bad = [], []

    def decode(start: int, end: int) -> None:
        some = messages[start:end]
        try:
            batches.append(handler.list_to_record_batch(some))
            return
        except Exception:  # ptars refuses a whole list for one bad record and has no exception of its own
            if len(some) == 1:
                bad.append(start)
                return
        if len(some) > limits.DOUBTFUL_RECORDS:
            for at in range(start, end, limits.DOUBTFUL_RECORDS):
                decode(at, min(at + limits.DOUBTFUL_RECORDS, end))
            return
        wrong = [i for i, message in enumerate(some) if not _can_be_read(message, parse)]
        try:
            batches.append(handler.list_to_record_batch(_without(some, wrong)))
            bad.extend(start + i for i in wrong)
        except Exception:  # where the two decoders differ
            middle = (start + end) // 2
            decode(start, middle)
            decode(middle, end)

    decode(0, len(messages))
    return pa.Table.from_batches(batches or [handler.list_to_record_batch([])]).combine_chunks(), bad


def _can_be_read(message: bytes, parse: Callable[[bytes], Message]) -> bool:
    try:
        parse(message)
    except DecodeError:
        return False
    return True


def _unknown_numbers(
    handler: Any, table: pa.Table, messages: list[bytes], lines: np.ndarray, parse: Callable[[bytes], Message]
) -> tuple[list[Unknown], list[int]]:
    """Fields that a newer contract's producer sent, by number; and the positions of messages that are none after all.

    A message that is shorter when written again lost something on the way: only these are looked into, and they must
    be ones for Protobuf's own parser too, which knows what a group is.
    """
    sizes = [pc.binary_length(handler.record_batch_to_array(batch)) for batch in table.to_batches()]
    written = np.concatenate([np.zeros(0, np.int32), *sizes])
    delivered = np.fromiter(map(len, messages), np.int64, len(messages))
    unknown: list[Unknown] = []
    doubtful: list[int] = []
    for position in np.flatnonzero(written != delivered).tolist():
        try:
            found = _unknown_of(parse(messages[position]), "")
        except DecodeError:
            doubtful.append(position)
        else:
            unknown += [Unknown(int(lines[position]), key, value) for key, value in found]
    return unknown, doubtful


def _unknown_of(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    rest = type(message)()
    rest.CopyFrom(message)
    for descriptor, value in message.ListFields():
        rest.ClearField(descriptor.name)
        if descriptor.message_type is not None and not descriptor.is_repeated:
            yield from _unknown_of(value, f"{prefix}{descriptor.name}.")
    # What is left are the unknown fields, byte by byte as they were sent.
    for number, value in wire_fields(rest.SerializePartialToString()):
        yield f"{prefix}{number}", json.dumps(value.hex() if isinstance(value, bytes) else str(value))


def wire_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a well-formed message by number: numbers as such, all else (strings, messages, groups) as bytes."""
    at = 0
    while at < len(data):
        tag, at = _long_varint(data, at)
        inner, end = _ends_of(data, tag, at)
        kind = tag & 7
        if kind == VARINT:
            yield tag >> 3, _long_varint(data, at)[0]
        elif kind in FIXED:
            yield tag >> 3, int.from_bytes(data[at:end], "little")
        elif kind == GROUP:
            # Without the tag that ends it, as strings come without their length.
            yield tag >> 3, data[at:inner]
        else:
            length, start = _long_varint(data, at)
            yield tag >> 3, data[start : start + length]
        at = end


def _ends_of(data: bytes, tag: int, at: int) -> tuple[int, int]:
    """Where the value of a tag ends, without and with the tag that ends a group."""
    open_groups, inner = 0, at
    while True:
        kind = tag & 7
        if kind == VARINT:
            at = _long_varint(data, at)[1]
        elif kind in FIXED:
            at += FIXED[kind]
        elif kind == LENGTH:
            length, at = _long_varint(data, at)
            at += length
        else:
            open_groups += 1 if kind == GROUP else -1
        if open_groups == 0:
            return inner, at
        inner = at
        tag, at = _long_varint(data, at)


def _long_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number of up to 64 bits there, and where it ends."""
    number = shift = 0
    while data[at] > 0x7F:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return (number | data[at] << shift) & 0xFFFF_FFFF_FFFF_FFFF, at + 1


def messages_in(pieces: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Length-delimited messages (a varint, then that many bytes), in lists of at most CHUNK_RECORDS."""
    messages: list[bytes] = []
    size = 0
    rest = b""
    done = empty = 0
    for piece in pieces:
        data = rest + piece
        end = len(data)
        at = 0
        while at < end:
            # Nearly all lengths take one byte or two.
            length, start = data[at], at + 1
            if length > 0x7F:
                if start < end and data[start] < 0x80:
                    length, start = length + (data[start] - 1 << 7), start + 1
                else:
                    length, start = varint(data, at)
                    if length > limits.MAX_RECORD_BYTES:
                        raise FileRefusedError(
                            f"record {done + len(messages) + 1} claims {length} bytes: not a length-delimited Protobuf "
                            "file, or corrupt from there on; deliver it again"
                        )
            if start + length > end:
                break
            if length:
                empty = 0
            else:
                empty += 1
                if empty > limits.MAX_EMPTY_RECORDS:
                    raise FileRefusedError(
                        f"from record {done + len(messages) + 2 - empty} on all records are empty: the file is filled "
                        "with zeros; deliver it again"
                    )
            messages.append(data[start : start + length])
            size += length
            at = start + length
            if len(messages) >= limits.CHUNK_RECORDS or size >= limits.CHUNK_BYTES:
                yield messages
                done += len(messages)
                messages, size = [], 0
        rest = data[at:]
    if rest:
        raise FileRefusedError(f"the file ends within record {done + len(messages) + 1}: truncated; deliver it again")
    if messages:
        yield messages


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number there and where it ends, which is beyond the data where the number is cut off."""
    number = shift = 0
    while at < len(data) and shift <= 28:
        number |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return number, at + 1
        at, shift = at + 1, shift + 7
    return (0, len(data) + 1) if shift <= 28 else (number | 1 << 35, at)
