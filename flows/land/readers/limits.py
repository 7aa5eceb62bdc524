"""How much is read, held and compared at once."""

CHUNK_BYTES = 32 << 20
CHUNK_RECORDS = 120_000
# So much of a JSON array is taken apart at once.
DOCUMENT_BYTES = 4 << 20
# Values held at once of a file with very many columns.
CHUNK_CELLS = 6_000_000
MAX_COLUMNS = 100_000
MAX_RECORD_BYTES = 16 << 20
# A CSV row has no more lines than this, however long its text.
MAX_RECORD_LINES = 10_000
# A quote that swallowed fewer lines costs those lines; one that swallowed more, the file.
SWALLOWED_LINES = 20
# Empty Protobuf records in a row that are no rows but a file filled up with zeros.
MAX_EMPTY_RECORDS = 1_000
PIECE_BYTES = 1 << 20
BITE_BYTES = 1 << 11
# Bytes looked through at once: they stay in the processor's cache, and so does what is made of them.
SCAN_BYTES = 1 << 18
# Behind the lines of a chunk, for those who compare more than a line's end is away.
PADDING = bytes(256)
SPLIT_ROWS = 5_000
# Where one of many Protobuf records cannot be decoded, it is looked for among this many.
DOUBTFUL_RECORDS = 1_000
