"""The atomic commit of batches: what a receipt names is whole on the disk before the receipt counts.

Batches are made in a folder of work, where their files stand as they will below the lake. Those that come one after the
other share the waiting for the disk: all their files are synced at once, and put into the folders of their days. Then
one batch's folder after the other is renamed into place, and that rename is on the disk before the next one's.
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from flows.files import sync_file, sync_folder
from flows.land.receipt import RECEIPT, Receipt, batch_name

# Batches that are begun before they are committed: after a kill, what is left of so many is looked for.
MOST_BEGUN = 64
# Syncs waited for at once: a file system writes its journal once for all of them.
SYNCS = 8


@dataclass(frozen=True)
class Begun:
    """A batch that is made and not committed: its receipt, and the folder below which its files stand."""

    receipt: Receipt
    made: Path

    @property
    def folder(self) -> Path:
        """The folder whose rename will commit it."""
        return self.made / self.receipt.folder


def begin(receipt: Receipt, made: Path) -> Begun:
    """Write a batch's receipt beside its files."""
    begun = Begun(receipt, made)
    begun.folder.mkdir(parents=True, exist_ok=True)
    (begun.folder / RECEIPT).write_text(receipt.model_dump_json(indent=2), encoding="utf-8")
    return begun


def commit_all(lake: Path, batches: Sequence[Begun]) -> None:
    """Commit batches in order. Where it is stopped, the first of them are committed, and the others are not."""
    files = [begun.made / file.path for begun in batches for file in begun.receipt.all_files]
    _at_once(sync_file, [*files, *(begun.folder / RECEIPT for begun in batches)])
    _at_once(sync_folder, [begun.folder for begun in batches])
    changed: set[Path] = set()
    for begun in batches:
        changed |= _made_where_missing((lake / begun.receipt.folder).parent)
        own = f"{begun.receipt.folder}/"  # comes with the folder
        for path in (file.path for file in begun.receipt.all_files if not file.path.startswith(own)):
            changed |= {(lake / path).parent, *_made_where_missing((lake / path).parent)}
            (begun.made / path).rename(lake / path)
    _at_once(sync_folder, changed)
    for begun in batches:
        target = lake / begun.receipt.folder
        begun.folder.rename(target)
        sync_folder(target.parent)


def abandon(receipt: Receipt, made: Path) -> None:
    """Take away what is made of a batch that will not be committed; those made beside it stay."""
    shutil.rmtree(made / receipt.folder, ignore_errors=True)
    for path in made.glob(f"*/{receipt.dataset}/*/{batch_name(receipt.batch_id)}*.parquet"):
        path.unlink()


def take_back(lake: Path, work: Path) -> None:
    """Remove the files of batches that a killed landing had begun from where it had put them already."""
    for file in begun_files(lake, work):
        (lake / file).unlink(missing_ok=True)


def begun_files(lake: Path, work: Path) -> set[str]:
    """The files, below the lake, of batches that were begun and are not committed: they do not count."""
    files: set[str] = set()
    for path in work.glob(f"*/landed/*/batch-*/{RECEIPT}"):
        try:
            receipt = Receipt.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError:  # half written: then none of its files was put into place yet
            continue
        if not (lake / receipt.folder).exists():
            files.update(file.path for file in receipt.all_files)
    return files


def _at_once(sync: Callable[[Path], None], paths: Collection[Path]) -> None:
    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(sync, paths))


def _made_where_missing(folder: Path) -> set[Path]:
    """Make a folder, with those above it; the folders that changed by that."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return {each.parent for each in missing}
