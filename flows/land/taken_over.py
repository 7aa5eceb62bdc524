"""Take over the files of a batch into a landed zone that is being made, as they are."""

import os
import shutil
from pathlib import Path

import pyarrow.dataset as pads
import pyarrow.parquet as pq

from flows.land.file_index import compacted_with
from flows.land.receipt import LandedFile, Receipt
from flows.settings import Settings


def linked(settings: Settings, old: Receipt, made: Path) -> Receipt:
    """The files of a batch as they are: they need not be written again. Of one whose place another took, its rows."""
    files: list[LandedFile] = []
    read: set[Path] = set()
    for text in old.text_files:
        link(settings, text.path, made)
    for file in old.files:
        compacted = compacted_with(settings, old, file)
        if compacted is None:
            link(settings, file.path, made)
            files.append(file)
        elif compacted not in read:  # else its rows were written with those of another file of the batch
            read.add(compacted)
            files.append(file.model_copy(update=_write_own(compacted, old.batch_id, made / file.path)))
    columns = () if read else old.columns
    if files and not columns:
        columns = tuple(pq.read_schema(made / files[0].path).names)
    return old.model_copy(update={"columns": columns, "files": tuple(files)})


def _write_own(compacted: Path, batch_id: int, path: Path) -> dict[str, int]:
    """Write the rows of one batch from a file of many; how many rows and bytes that are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pads.dataset(compacted, format="parquet").scanner(filter=pads.field("_batch_id") == batch_id)
    written = 0
    with pq.ParquetWriter(path, rows.projected_schema, compression="zstd") as writer:
        for batch in rows.to_batches():
            if batch.num_rows:
                writer.write_batch(batch)
                written += batch.num_rows
    return {"rows": written, "bytes": path.stat().st_size}


def link(settings: Settings, file: str, made: Path) -> Path:
    """A file of the lake, once more below ``made``."""
    path = made / file
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(settings.lake / file, path)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(settings.lake / file, path)
    return path
