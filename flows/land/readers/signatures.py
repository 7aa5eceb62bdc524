"""What bytes are, by how they begin: for saying what a file is that its name does not promise."""

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"
# As many bytes are enough to tell.
HEAD_BYTES = 64

_BEGINNINGS = (
    (GZIP + b"\x08", "gzip"),
    (ZSTD, "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "a ZIP archive or a workbook"),
    (b"PAR1\x15", "Parquet"),
    (b"Obj\x01", "Avro"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"%PDF-", "PDF"),
)
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def is_zstd(head: bytes) -> bool:
    """Whether a zstd frame begins here, be it one to skip."""
    return head[:4] == ZSTD or (head[1:4] == SKIPPABLE and head[0] >> 4 == 5)


def kind_of(head: bytes) -> str | None:
    """What a binary file is, by its first bytes; None for text and what is not known."""
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bzip2"
    return next((name for beginning, name in _BEGINNINGS if head.startswith(beginning)), None)


def wide_encoding(head: bytes) -> str | None:
    """The encoding of text in units of two bytes or four, with a byte order mark or, for ASCII, without."""
    for mark, name in _WIDE:
        if head.startswith(mark):
            text = head[: len(head) // 4 * 4].decode(name, "replace")
            # What is cut off at the end of the head is no fault of the text.
            is_clean = "\ufffd" not in (text[:-1] if len(head) >= HEAD_BYTES else text)
            return name if is_clean else None
    even, odd = head[0:8:2], head[1:8:2]
    if len(head) >= 8 and ((all(odd) and not any(even)) or (all(even) and not any(odd))):
        return "UTF-16"
    return None


def described(head: bytes) -> str:
    """The same in words, for any file."""
    if kind := kind_of(head):
        return kind
    if wide := wide_encoding(head):
        return f"text in {wide}"
    is_text = head.removeprefix(b"\xef\xbb\xbf").isascii() and not any(c < 32 and c not in b"\t\n\r" for c in head)
    return "plain text" if is_text else "something else"
