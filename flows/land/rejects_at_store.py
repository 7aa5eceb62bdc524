"""What the object store has of quarantine: where each rejected row stood and why it did not fit, and not what it said.

A build counts rejected rows by that. What they said stays here, encrypted with keys that are here: it ends when these
are destroyed. A restored lake has the rows as those of an erased person are, which say nothing and fit no contract.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.files import sync_file, sync_folder
from flows.land.quarantine import REJECTS_SCHEMA, STORE
from flows.land.receipt import batch_name
from flows.rights import PRIVATE, make_private
from flows.settings import Settings

# Beside a batch's receipt.
REJECTS = "rejects.parquet"
SAID = "raw"
WHY = [name for name in REJECTS_SCHEMA.names if name != SAID]


def rejects_path(settings: Settings, dataset: str, batch_id: int) -> Path:
    """Where the rejected rows of a batch stand here."""
    return settings.lake / STORE / dataset / f"{batch_name(batch_id)}.parquet"


def without_words(path: Path) -> bytes:
    """A file of rejected rows without what they said. It takes no key to read the rest."""
    rows = pq.read_table(path, columns=WHY)
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata(), sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue().to_pybytes())


def put_back(fetched: Path, to: Path) -> bool:
    """Have rejected rows that say nothing where they stood; False where there is a file, as from a backup."""
    if to.exists():
        return False
    rows = pq.read_table(fetched)
    said = pa.array([b""] * rows.num_rows, pa.binary())
    make_private(to.parents[1], to.parent.name)
    partial = to.with_name(f".{to.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=PRIVATE.file)
    pq.write_table(rows.append_column(SAID, said).cast(REJECTS_SCHEMA), partial, compression="zstd")
    sync_file(partial)
    partial.replace(to)
    sync_folder(to.parent)
    return True
