"""A file's bytes, decompressed and verified to the last one."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard
from isal import igzip, isal_zlib

from flows.errors import FileRefusedError
from flows.readers import limits


def decompressed(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed and verified to the end, in pieces of about PIECE_BYTES."""
    with path.open("rb") as file:
        if path.name.endswith(".gz"):
            yield from _gunzip(file)
        elif path.name.endswith(".zst"):
            yield from _unzstd(file)
        else:
            while piece := file.read(limits.PIECE_BYTES):
                yield piece


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """igzip checks each member's CRC and length, and that the last is complete."""
    try:
        with igzip.IGzipFile(fileobj=file, mode="rb") as stream:  # type: ignore[no-untyped-call]
            while piece := stream.read(limits.PIECE_BYTES):
                yield piece
    except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc]
        raise FileRefusedError(f"the gzip stream is truncated or corrupt ({error}); deliver it again") from error


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame, since a reader over frames would take a truncated last frame for the end of the file."""
    frames = zstandard.ZstdDecompressor()
    frame = frames.decompressobj()
    complete = False
    try:
        # Small bites: a few kilobytes of a repetitive stream can grow to hundreds of megabytes at once.
        while data := file.read(limits.BITE_BYTES):
            while data:
                if complete:
                    frame, complete = frames.decompressobj(), False
                piece = frame.decompress(data)
                complete = frame.eof
                data = frame.unused_data if complete else b""
                if piece:
                    yield piece
    except zstandard.ZstdError as error:
        raise FileRefusedError(f"the zstd stream is corrupt ({error}); deliver it again") from error
    if not complete:
        raise FileRefusedError("the zstd stream is truncated; deliver it again")


def blocks(pieces: Iterator[bytes], padding: bytes = b"") -> Iterator[bytes]:
    """The same bytes in blocks of whole lines, about CHUNK_BYTES each, every block with the padding behind it."""
    held: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        cut = piece.rfind(b"\n") + 1 if size >= limits.CHUNK_BYTES else 0
        if cut:
            view = memoryview(piece)
            yield b"".join([*held, view[:cut], padding])
            held, size = [view[cut:]], len(piece) - cut
        else:
            held.append(piece)
            if size > limits.CHUNK_BYTES + limits.MAX_RECORD_BYTES:
                raise FileRefusedError(f"a line is longer than {limits.MAX_RECORD_BYTES >> 20} MiB: not one row a line")
    if size:
        yield b"".join([*held, padding])
