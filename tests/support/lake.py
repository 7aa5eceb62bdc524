"""A lake in a temporary folder, and the warehouse's own tables."""

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.build.warehouse import TABLES
from flows.contract.spec import DatasetSpec
from flows.land.day_keys import DayKeys
from flows.land.file_index import compacted_with
from flows.land.land import Landing, land
from flows.land.quarantine import opened
from flows.land.receipt import THROUGH, Receipt, Status, day_in
from flows.land.receipts import Receipts
from flows.land.text import read_text
from flows.settings import Settings

KEY = "a secret of the tests, long enough to be taken"


class Lake:
    """A lake in a temporary folder: deliver files, land, look at what came of it."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = Settings(**{"home": home, "settle_seconds": 0, "pseudonym_key": KEY} | settings)

    def deliver(self, name: str, data: bytes) -> Path:
        """Put a file into the inbox, renamed into place."""
        path = self.settings.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(data)
        return partial.rename(path)

    def land(self, specs: dict[str, DatasetSpec] | None = None) -> Landing:
        """Land, and hold every receipt against the conservation of rows."""
        done = land(self.settings, specs)
        for receipt in done.receipts:
            accounted = receipt.rows_landed + receipt.rows_rejected + receipt.rows_removed + receipt.rows_ignored
            assert receipt.rows_read == accounted, receipt.file
        return done

    def land_one(self, name: str, data: bytes, specs: dict[str, DatasetSpec] | None = None) -> Receipt:
        """Deliver one file and land it alone."""
        self.deliver(name, data)
        (receipt,) = self.land(specs).receipts
        return receipt

    def rows(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every landed row of a dataset, in order of batch and line."""
        with closing(Receipts(self.settings, read_only=True)) as receipts:
            paths = [self.settings.lake / file.path for file in receipts.files.in_force(dataset)]
        rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["_batch_id"], row["_line"]))

    def rejects(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every quarantined row, in order of batch and line."""
        paths = [p for p in self.settings.quarantine.glob(f"{dataset}/*.parquet") if ".unknown." not in p.name]
        rows = [row for path in paths for row in opened(path, DayKeys(self.settings)).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["_batch_id"], row["_line"]))

    def unknown(self, dataset: str = "events") -> list[dict[str, Any]]:
        """Every key set aside."""
        paths = sorted(self.settings.quarantine.glob(f"{dataset}/*.unknown.parquet"))
        return [row for path in paths for row in opened(path, DayKeys(self.settings)).read().to_pylist()]

    def texts(self, dataset: str = "calls") -> list[dict[str, Any]]:
        """Every row of the text store, in order of batch and line."""
        days = {day_in(folder) for folder in self.settings.text.glob(f"{dataset}/event_date=*")}
        rows = [row for day in days for table in read_text(self.settings, dataset, day) for row in table.to_pylist()]
        return sorted(rows, key=lambda row: (row["_batch_id"], row["_line"]))

    def receipts(self) -> list[Receipt]:
        """Every committed receipt by batch, read from the folders that are the truth."""
        found = [
            Receipt.model_validate_json(p.read_text()) for p in self.settings.landed.glob("*/batch-*/receipt.json")
        ]
        return sorted(found, key=lambda receipt: receipt.batch_id)

    def assert_whole(self, may_wait_to_be_told: bool = False) -> None:
        """No gap, no leftovers, every receipt's rows there, in its files or in compacted ones, and no other file. What
        rows tell of consent has landed, unless the disk was full: then the next landing begins with it."""
        receipts = self.receipts()
        assert [r.batch_id for r in receipts] == list(range(1, len(receipts) + 1))
        assert not (self.settings.lake / ".work").exists()
        waiting = [*(self.settings.lake / "told").rglob("*.parquet")]
        assert may_wait_to_be_told or not waiting, "what rows told of consent did not land"
        expected: dict[Path, int] = {}
        replaced = set()
        for receipt in receipts:
            assert sum(file.rows for file in receipt.files) == receipt.rows_landed
            assert (receipt.rejects_path is None) == (receipt.rows_rejected == 0)
            if receipt.rejects_path:
                expected[self.settings.lake / receipt.rejects_path] = receipt.rows_rejected
            for file in receipt.text_files:
                assert 0 < file.rows <= receipt.rows_landed
                expected[self.settings.lake / file.path] = file.rows
            for file in receipt.files:
                assert file.rows > 0
                own = self.settings.lake / file.path
                path = compacted_with(self.settings, receipt, file) or own
                expected[path] = expected.get(path, 0) + file.rows
                replaced |= {own} - {path}
        for path, rows in expected.items():
            assert pq.read_metadata(path).num_rows == rows
        settings = self.settings
        present = {
            path for zone in (settings.landed, settings.quarantine, settings.text) for path in zone.rglob("*.parquet")
        }
        older = {p for p in present if p.name.startswith(THROUGH)}
        assert {p for p in present if ".unknown." not in p.name} - replaced - older == expected.keys() - older
        batches = {r.batch_id for r in receipts if r.unknown_keys}
        assert {int(p.name[6:18]) for p in present if ".unknown." in p.name} == batches

    def assert_nothing_landed(self, receipt: Receipt) -> None:
        """The file was refused whole, with a reason, and left nothing behind."""
        assert receipt.status is Status.REFUSED
        assert receipt.reason
        assert (receipt.rows_landed, receipt.rows_rejected) == (0, 0)
        self.assert_whole()


def quarantined(path: Path) -> pa.Table:
    """A file of the quarantine, decrypted."""
    return opened(path, DayKeys(Settings(home=path.parents[3]))).read()


def make_warehouse_tables(db: duckdb.DuckDBPyConnection) -> None:
    """The warehouse's own tables, by the project's own statements."""
    db.execute(TABLES.read_text())
