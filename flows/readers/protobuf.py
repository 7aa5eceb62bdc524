"""Protobuf messages, each behind its length as a varint."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from flows.contract import DatasetSpec, descriptors
from flows.errors import FileRefusedError
from flows.readers import limits
from flows.readers.chunks import Chunk, Part, Reject, Unknown


def read_protobuf(pieces: Iterator[bytes], spec: DatasetSpec) -> Iterator[Part]:
    descriptor = descriptors().FindMessageTypeByName(spec.message)
    config = ptars.PtarsConfig(timestamp_tz=None, timestamp_unit="us")
    handler = ptars.HandlerPool([descriptor.file], config).get_for_message(descriptor)
    parse = message_factory.GetMessageClass(descriptor).FromString
    first = 1
    for messages in messages_in(pieces):
        yield partial(_protobuf_chunk, messages, first, handler, parse)
        first += len(messages)


def _protobuf_chunk(messages: list[bytes], first: int, handler: Any, parse: Callable[[bytes], Message]) -> Chunk:
    lines = np.arange(first, first + len(messages), dtype=np.int64)
    bad: list[int] = []
    try:
        batches = [handler.list_to_record_batch(messages)]
    except Exception:  # ptars refuses a whole list for one bad record and has no exception of its own
        batches = []
        for start in range(0, len(messages), limits.DOUBTFUL_RECORDS):
            some = messages[start : start + limits.DOUBTFUL_RECORDS]
            try:
                batches.append(handler.list_to_record_batch(some))
            except Exception:
                wrong = _undecodable(some, parse)
                bad += [start + position for position in wrong]
                batches.append(handler.list_to_record_batch([m for i, m in enumerate(some) if i not in wrong]))
    rejects = [Reject(first + position, "undecodable", None, messages[position]) for position in bad]
    good = messages
    if bad:
        lines, gone = np.delete(lines, bad), set(bad)
        good = [message for position, message in enumerate(messages) if position not in gone]
    table = pa.Table.from_batches(batches).combine_chunks()

    def raw_rows(positions: list[int]) -> list[bytes]:
        return [good[i] for i in positions]

    unknown = _unknown_numbers(handler, table, good, lines, parse)
    return Chunk(table.add_column(0, "_line", pa.array(lines)), raw_rows, rejects, unknown)


def _undecodable(messages: list[bytes], parse: Callable[[bytes], Message]) -> set[int]:
    """The positions of those that cannot be decoded."""
    found = set()
    for position, message in enumerate(messages):
        try:
            parse(message)
        except DecodeError:
            found.add(position)
    return found


def _unknown_numbers(
    handler: Any, table: pa.Table, messages: list[bytes], lines: np.ndarray, parse: Callable[[bytes], Message]
) -> list[Unknown]:
    """Fields that a newer contract's producer sent, by number.

    A message that is shorter when written again lost something on the way: only these are looked into.
    """
    sizes = [pc.binary_length(handler.record_batch_to_array(batch)) for batch in table.to_batches()]
    written = np.concatenate([np.zeros(0, np.int32), *sizes])
    delivered = np.fromiter(map(len, messages), np.int64, len(messages))
    unknown: list[Unknown] = []
    for position in np.flatnonzero(written != delivered).tolist():
        found = _unknown_of(parse(messages[position]), "")
        unknown += [Unknown(int(lines[position]), key, value) for key, value in found]
    return unknown


def _unknown_of(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    for unknown in UnknownFieldSet(message):
        data = unknown.data
        yield f"{prefix}{unknown.field_number}", json.dumps(data.hex() if isinstance(data, bytes) else str(data))
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and not descriptor.is_repeated:
            yield from _unknown_of(value, f"{prefix}{descriptor.name}.")


def messages_in(pieces: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Length-delimited messages (a varint, then that many bytes), in lists of at most CHUNK_RECORDS."""
    messages: list[bytes] = []
    size = 0
    rest = b""
    done = 0
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
