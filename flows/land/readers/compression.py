"""A file's bytes, decompressed and verified to the last one."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard
from isal import isal_zlib

from flows.errors import FileRefusedError
from flows.land.inbox import compression_of
from flows.land.readers import limits, signatures

# Two bytes in front and eight behind, by the format's definition: 16 + 15 bits say "with gzip's header and checksum".
GZIP_WINDOW = 31


def decompressed(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed and verified to the end, in pieces of at most PIECE_BYTES."""
    compression = compression_of(path.name)
    with path.open("rb") as file:
        head = file.read(signatures.HEAD_BYTES)
        file.seek(0)
        if compression == "gz":
            _check_name(head, "gzip", signatures.GZIP.startswith(head[:2]))
            yield from _gunzip(file)
        elif compression == "zst":
            _check_name(head, "zstd", len(head) < 4 or signatures.is_zstd(head))
            for piece in _unzstd(file):
                yield from cut(piece)
        else:
            while piece := file.read(limits.PIECE_BYTES):
                yield piece


def _check_name(head: bytes, promised: str, is_kept: bool) -> None:
    if not is_kept:
        raise FileRefusedError(
            f"the name promises {promised}, and the file is {signatures.described(head)}; deliver it again under the "
            "name that says what it is"
        )


def cut(piece: bytes) -> Iterator[bytes]:
    """The bytes in pieces of at most PIECE_BYTES."""
    if len(piece) <= limits.PIECE_BYTES:
        yield piece
        return
    for at in range(0, len(piece), limits.PIECE_BYTES):
        yield piece[at : at + limits.PIECE_BYTES]


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """Member by member: each one's checksum and length are checked, and that the last is complete."""
    member = isal_zlib.decompressobj(GZIP_WINDOW)
    data = b""
    try:
        while data := data or file.read(limits.PIECE_BYTES):
            if member.eof:
                # Zeros that fill up a block are allowed behind a member, as gzip has it.
                data = data.lstrip(b"\0")
                if len(data) == 1:
                    data += file.read(1)
                if not data:
                    continue
                if not data.startswith(signatures.GZIP):
                    raise FileRefusedError(_followed("gzip", data))
                member = isal_zlib.decompressobj(GZIP_WINDOW)
            # No more at once than asked for: a few kilobytes of a repetitive stream can grow a thousandfold.
            if piece := member.decompress(data, limits.PIECE_BYTES):
                yield piece
            data = member.unused_data if member.eof else member.unconsumed_tail
        while not member.eof and (piece := member.decompress(b"", limits.PIECE_BYTES)):
            yield piece
    except isal_zlib.error as error:  # type: ignore[misc]
        raise FileRefusedError(f"the gzip stream is corrupt ({error}); deliver it again") from error
    if not member.eof:
        raise FileRefusedError("the gzip stream is truncated: it ends before its checksum; deliver it again")


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame, since a reader over frames would take a truncated last frame for the end of the file."""
    frames = zstandard.ZstdDecompressor()
    frame = frames.decompressobj()
    begun = complete = False
    data = b""
    try:
        # Small bites: a few kilobytes of a repetitive stream can grow to hundreds of megabytes at once.
        while data := data or file.read(limits.BITE_BYTES):
            if complete:
                frame, complete = frames.decompressobj(), False
                data += file.read(4 - len(data)) if len(data) < 4 else b""
                if begun and not signatures.is_zstd(data) and not signatures.ZSTD.startswith(data):
                    raise FileRefusedError(_followed("zstd", data))
            begun = True
            piece = frame.decompress(data)
            complete = frame.eof
            data = frame.unused_data if complete else b""
            if piece:
                yield piece
    except zstandard.ZstdError as error:
        raise FileRefusedError(f"the zstd stream is corrupt ({error}); deliver it again") from error
    if not complete:
        raise FileRefusedError("the zstd stream is truncated; deliver it again")


def _followed(kind: str, data: bytes) -> str:
    what = signatures.described(data[: signatures.HEAD_BYTES])
    return f"the {kind} stream is whole, and bytes follow that do not belong to it ({what}); deliver it without them"


def blocks(pieces: Iterator[bytes], padding: bytes = b"", size: int | None = None) -> Iterator[bytes]:
    """The same bytes in blocks of whole lines, about ``size`` (CHUNK_BYTES) each, with the padding behind it."""
    wanted = limits.CHUNK_BYTES if size is None else size
    held: list[bytes | memoryview] = []
    held_bytes = 0
    for piece in pieces:
        held_bytes += len(piece)
        cut = piece.rfind(b"\n") + 1 if held_bytes >= wanted else 0
        if cut:
            view = memoryview(piece)
            yield b"".join([*held, view[:cut], padding])
            held, held_bytes = [view[cut:]], len(piece) - cut
        else:
            held.append(piece)
            if held_bytes > wanted + limits.MAX_RECORD_BYTES:
                raise FileRefusedError(_endless(b"".join(held)))
    if held_bytes:
        yield b"".join([*held, padding])


def _endless(data: bytes) -> str:
    end = data.rfind(b"\n") + 1
    if data.count(b"\r", end) > 1:
        return "its lines end in carriage returns alone; deliver it with line feeds"
    return f"a line is longer than {limits.MAX_RECORD_BYTES >> 20} MiB: not one row a line"
