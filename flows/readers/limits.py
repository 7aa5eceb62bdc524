"""How much is read, held and compared at once."""

CHUNK_BYTES = 32 << 20
CHUNK_RECORDS = 120_000
MAX_RECORD_BYTES = 16 << 20
PIECE_BYTES = 1 << 20
BITE_BYTES = 1 << 13
# So much is looked through at once: it stays in the processor's cache, and so does what is made of it.
SCAN_BYTES = 1 << 18
# Behind the lines of a chunk, for those who compare more than a line's end is away.
PADDING = bytes(256)
SPLIT_ROWS = 5_000
# Where one of many Protobuf records cannot be decoded, it is looked for among so many.
DOUBTFUL_RECORDS = 1_000
