"""What landed, file by file: receipts, the index over them, and the atomic commit of a batch.

Every delivered file becomes one batch: a folder ``landed/<dataset>/batch-<number>/`` that holds its receipt. Its rows
stand in that folder too, or in a dataset laid out by day in the folders of their days. All is made elsewhere and
renamed into place, the folder last (:mod:`flows.land.commit`): that rename is the commit, and files that no receipt
names do not count. The receipts are the truth. ``landed/index.sqlite`` only saves looking through them; it can be
deleted at any time.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from flows.land.commit import MOST_BEGUN, Begun, begin, begun_files, commit_all, take_back
from flows.land.file_index import FileIndex
from flows.land.landing_index import INDEX, TABLES, is_as_now, opened_to_read
from flows.land.receipt import RECEIPT, LandedBatch, Receipt, Status, batch_name
from flows.rights import make_private
from flows.settings import Settings


class Receipts:
    """The receipts of a lake, found through the index. One landing at a time may write.

    One that is ``read_only`` changes and makes nothing, for those who only look and may have no right to write. Where
    the index is missing or behind, it reads the receipts themselves.
    """

    def __init__(self, settings: Settings, read_only: bool = False) -> None:
        self._settings = settings
        self._begun: list[Begun] = []
        index = settings.landed / INDEX
        if read_only:
            self._database = opened_to_read(index)
            if is_as_now(self._database) and self._find(self.last_batch_id() + 1) is None:
                self.files = FileIndex(settings, self._database)
                return
            behind, self._database = self._database, sqlite3.connect(":memory:")
            if is_as_now(behind):
                behind.backup(self._database)
            behind.close()
        else:
            make_private(settings.landed)
            self._database = sqlite3.connect(index, timeout=30)
            self._database.executescript("pragma journal_mode = wal; pragma synchronous = normal;")
            if not is_as_now(self._database):
                # Made by an earlier Tidemark. The receipts say it all but what was seen in the inbox, which stays.
                self._database.executescript(
                    "drop table if exists receipts; drop table if exists files; drop table if exists compactions;"
                )
        try:
            self._database.executescript(TABLES)
            self.files = FileIndex(settings, self._database)
            self._catch_up()
        except BaseException:
            self._database.close()  # or others would wait for what it began
            raise

    def close(self) -> None:
        """Close the index."""
        self._database.close()

    def _catch_up(self) -> None:
        """Enter batches that were committed but not indexed: all of them where the index was deleted, else the one
        whose landing was killed between the two."""
        self._database.rollback()  # what an interrupt left, and batches begun that are not committed
        self._begun.clear()
        last = self.last_batch_id()
        if last == 0:
            found = sorted(self._settings.landed.glob(f"*/batch-*/{RECEIPT}"), key=lambda p: p.parent.name)
        else:
            found = []
            while path := self._find(last + len(found) + 1):
                found.append(path)
        for path in found:
            self._enter(Receipt.model_validate_json(path.read_text(encoding="utf-8")))
        if last == 0:
            self.files.find_compacted(begun_files(self._settings.lake, work_folder(self._settings)))
        self._database.commit()

    def _find(self, batch_id: int) -> Path | None:
        return next(self._settings.landed.glob(f"*/{batch_name(batch_id)}/{RECEIPT}"), None)

    def _enter(self, receipt: Receipt) -> None:
        self._database.execute(
            "insert or ignore into receipts values (?, ?, ?, ?, ?, ?, null, ?, ?)",
            (
                receipt.batch_id,
                receipt.dataset,
                receipt.file,
                receipt.sha256,
                receipt.status,
                receipt.rows_rejected,
                receipt.model_dump_json(),
                receipt.retries_batch_id,
            ),
        )
        self.files.enter(receipt)
        self._database.execute(
            "update receipts set superseded_by = ? where batch_id = ?",
            (receipt.batch_id, receipt.supersedes_batch_id),
        )

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Whatever is read within is of one moment, whatever lands or is compacted meanwhile."""
        self._database.execute("begin")
        try:
            yield
        finally:
            self._database.rollback()

    def last_batch_id(self) -> int:
        """The greatest batch number so far, 0 before the first."""
        return int(self._database.execute("select coalesce(max(batch_id), 0) from receipts").fetchone()[0])

    def after(self, batch_id: int) -> Iterator[Receipt]:
        """The receipts of later batches, in order."""
        for (text,) in self._database.execute(
            "select receipt from receipts where batch_id > ? order by batch_id", (batch_id,)
        ):
            yield Receipt.model_validate_json(text)

    def last_of_file(self, file: str) -> Receipt | None:
        """What became of the last delivery under this name; a retry is none."""
        return self._one("file = ? and retries is null order by batch_id desc", file)

    def landed_content(self, dataset: str, sha256: str) -> Receipt | None:
        """The batch in which these bytes landed and still count, in this dataset."""
        return self._one(
            f"dataset = ? and sha256 = ? and status = '{Status.LANDED}' and superseded_by is null "
            "and retries is null order by batch_id",
            dataset,
            sha256,
        )

    def replaced_by_redelivery(self, file: str) -> Receipt | None:
        """The batch that a new delivery of this name takes the place of: the one the name stands for, landed or as a
        duplicate, unless another name stands for it too. What was retried of that batch goes with it."""
        last = self._one(f"file = ? and status <> '{Status.REFUSED}' and retries is null order by batch_id desc", file)
        batch = self._stands_for(last) if last else None
        if last is None or batch is None:
            return None
        others = self._database.execute(
            "select receipt from receipts as r where dataset = ? and sha256 = ? and file <> ? and retries is null "
            "and not exists (select 1 from receipts as later where later.file = r.file and later.retries is null "
            f"and later.batch_id > r.batch_id and later.status <> '{Status.REFUSED}')",
            (batch.dataset, batch.sha256, file),
        )
        held = any(self._stands_for(Receipt.model_validate_json(text)) == batch for (text,) in others.fetchall())
        return None if held else batch

    def _stands_for(self, receipt: Receipt) -> Receipt | None:
        if receipt.status is Status.DUPLICATE:
            return self.landed_content(receipt.dataset, receipt.sha256)
        return self._one("batch_id = ? and superseded_by is null", str(receipt.batch_id))

    def last_landed_of_dataset(self, dataset: str, up_to: int | None = None) -> Receipt | None:
        """The last batch in which a delivery of a dataset landed, among all or those ``up_to`` a number."""
        last = self.last_batch_id() if up_to is None else up_to
        return self._one(
            f"dataset = ? and batch_id <= ? and status = '{Status.LANDED}' and retries is null order by batch_id desc",
            dataset,
            last,
        )

    def taken_below(self, folder: str) -> list[str]:
        """The names of files below a folder of the inbox that landed, or whose content had landed before."""
        rows = self._database.execute(
            "select distinct file from receipts where file >= ? and file < ? and status in (?, ?)",
            (folder, f"{folder}\U0010ffff", Status.LANDED, Status.DUPLICATE),
        )
        return [file for (file,) in rows]

    def landed_after(self, dataset: str, batch_id: int) -> list[LandedBatch]:
        """The later batches of a dataset in which rows landed, in order."""
        rows = self._database.execute(
            "select batch_id, json_extract(receipt, '$.landed_at'), sha256 <> '' from receipts "
            f"where dataset = ? and batch_id > ? and status = '{Status.LANDED}' "
            "and json_extract(receipt, '$.rows_landed') > 0 order by batch_id",
            (dataset, batch_id),
        )
        return [
            LandedBatch(number, datetime.fromisoformat(landed_at), is_file=bool(is_file))
            for number, landed_at, is_file in rows
        ]

    def deliveries_with_rows(self, dataset: str, after: int, last: int) -> Iterator[tuple[str, datetime]]:
        """The files of a dataset that brought rows, in the batches after one and up to another: the name of each, and
        when it was written. That is its modification time, but not after it landed, since a copy may carry any. A
        duplicate brought the rows that its bytes had landed with before."""
        rows = self._database.execute(
            "select file, json_extract(receipt, '$.delivered_at'), json_extract(receipt, '$.landed_at') "
            f"from receipts as r where dataset = ? and batch_id > ? and batch_id <= ? and (status = '{Status.LANDED}' "
            "and json_extract(receipt, '$.rows_landed') > 0 "
            f"or status = '{Status.DUPLICATE}' and exists (select 1 from receipts as first "
            f"where first.dataset = r.dataset and first.sha256 = r.sha256 and first.status = '{Status.LANDED}' "
            "and json_extract(first.receipt, '$.rows_landed') > 0)) order by batch_id",
            (dataset, after, last),
        )
        for file, delivered_at, landed_at in rows:
            yield file, min(datetime.fromisoformat(delivered_at), datetime.fromisoformat(landed_at))

    def told(self, dataset: str) -> list[int]:
        """The batches of a dataset that no file brought: what rows of others tell (flows/land/told.py)."""
        rows = self._database.execute(
            f"select batch_id from receipts where dataset = ? and sha256 = '' and status = '{Status.LANDED}'",
            (dataset,),
        )
        return [batch_id for (batch_id,) in rows]

    def delivered_after(self, batch_id: int) -> Iterator[tuple[str, str, datetime]]:
        """The deliveries in later batches, in order, whatever became of them: source, dataset, and when each was
        written. As in :meth:`deliveries_with_rows`, that is not after it landed. A retry is no delivery, nor is what
        rows tell of consent."""
        rows = self._database.execute(
            "select json_extract(receipt, '$.source'), dataset, json_extract(receipt, '$.delivered_at'), "
            "json_extract(receipt, '$.landed_at') from receipts where batch_id > ? and retries is null "
            f"and status <> '{Status.REMOVED}' and sha256 <> '' order by batch_id",
            (batch_id,),
        )
        for source, dataset, delivered_at, landed_at in rows:
            yield source, dataset, min(datetime.fromisoformat(delivered_at), datetime.fromisoformat(landed_at))

    def last_of_each_file(self, status: Status) -> list[Receipt]:
        """The files whose last delivery came to this status, by name."""
        rows = self._database.execute(
            "select receipt from receipts as r where status = ? and retries is null and not exists (select 1 "
            "from receipts as later where later.file = r.file and later.retries is null "
            "and later.batch_id > r.batch_id) order by file",
            (status,),
        )
        return [Receipt.model_validate_json(text) for (text,) in rows]

    def last_without_a_fit(self) -> list[Receipt]:
        """The files of which, as they were last delivered, no row fitted, nor does any since after a retry; by name."""
        rows = self._database.execute(
            f"select receipt from receipts as r where status = '{Status.LANDED}' and rejected > 0 and retries is null "
            "and json_extract(receipt, '$.rows_landed') = 0 "
            "and coalesce(json_extract(receipt, '$.rows_removed'), 0) = 0 "
            "and not exists (select 1 from receipts as later where later.file = r.file and later.retries is null "
            "and later.batch_id > r.batch_id) "
            "and not exists (select 1 from receipts as again where again.retries = r.batch_id) order by file"
        )
        return [Receipt.model_validate_json(text) for (text,) in rows]

    def last_with_rejects(self, dataset: str | None = None) -> list[tuple[Receipt, int | None]]:
        """The batches whose rejects stand, in order: of each delivered file the last, where it left rows in
        quarantine. With each the later batch that superseded the file, if any did."""
        rows = self._database.execute(
            "select r.receipt, first.superseded_by from receipts as r "
            "join receipts as first on first.batch_id = coalesce(r.retries, r.batch_id) "
            "where r.rejected > 0 and (? is null or r.dataset = ?) and not exists (select 1 from receipts as later "
            "where later.retries = first.batch_id and later.batch_id > r.batch_id) order by r.batch_id",
            (dataset, dataset),
        )
        return [(Receipt.model_validate_json(text), superseded_by) for text, superseded_by in rows]

    def in_force(self, dataset: str) -> list[Receipt]:
        """The batches of a dataset whose rows count, in order: not those that a later delivery superseded."""
        rows = self._database.execute(
            "select r.receipt from receipts as r "
            "join receipts as first on first.batch_id = coalesce(r.retries, r.batch_id) "
            f"where r.dataset = ? and r.status = '{Status.LANDED}' and first.superseded_by is null order by r.batch_id",
            (dataset,),
        )
        return [Receipt.model_validate_json(text) for (text,) in rows]

    def with_unknown_keys(self, dataset: str | None = None) -> list[Receipt]:
        """The batches with values of keys that the contract did not know, in order."""
        rows = self._database.execute(
            "select receipt from receipts where (? is null or dataset = ?) "
            "and json_extract(receipt, '$.unknown_keys') > 0 order by batch_id",
            (dataset, dataset),
        )
        return [Receipt.model_validate_json(text) for (text,) in rows]

    def superseded(self) -> list[int]:
        """The batches that a later delivery superseded, and the retries of these, in order."""
        rows = self._database.execute(
            "select r.batch_id from receipts as r join receipts as first "
            "on first.batch_id = coalesce(r.retries, r.batch_id) "
            "where first.superseded_by is not null order by r.batch_id"
        )
        return [batch_id for (batch_id,) in rows]

    def one(self, batch_id: int) -> Receipt:
        """The receipt of a batch. Raises LookupError where there is none."""
        if receipt := self._one("batch_id = ?", batch_id):
            return receipt
        raise LookupError(f"there is no batch {batch_id}")

    def committed(self) -> list[tuple[int, str, int]]:
        """Every batch, in order: its number, its dataset, and how many rows it left in quarantine."""
        return list(self._database.execute("select batch_id, dataset, rejected from receipts order by batch_id"))

    def removals(self) -> list[tuple[int, str]]:
        """The batches that took rows out of the lake, in order, each with its dataset."""
        rows = self._database.execute(
            f"select batch_id, dataset from receipts where status = '{Status.REMOVED}' order by batch_id"
        )
        return [(batch_id, dataset) for batch_id, dataset in rows]

    def any_key_check(self) -> str | None:
        """The check value of the secret that landed the last batch."""
        last = self._one("status = 'landed' order by batch_id desc")
        return last.key_check if last else None

    def _one(self, condition: str, *values: str | int) -> Receipt | None:
        row = self._database.execute(f"select receipt from receipts where {condition} limit 1", values).fetchone()
        return Receipt.model_validate_json(row[0]) if row else None

    def is_unchanged(self, file: str, stat: os.stat_result) -> bool:
        """Whether the file was dealt with before and its inode says that nothing changed since."""
        row = self._database.execute("select bytes, mtime_ns, ctime_ns from seen where file = ?", (file,)).fetchone()
        return bool(row == (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))

    def remember(self, file: str, stat: os.stat_result) -> None:
        """Note that the file, as it is, was dealt with; where batches are begun, once these are committed."""
        self._database.execute(
            "insert or replace into seen values (?, ?, ?, ?)",
            (file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns),
        )
        if not self._begun:
            self._database.commit()

    def begin(self, receipt: Receipt, made: Path) -> None:
        """Begin to commit a batch whose files stand below the folder ``made`` as they will below the lake.

        It counts for what is asked here from now on, and for others once :meth:`commit_begun` is called. That is to be
        soon, after MOST_BEGUN batches at the latest: nobody else can write to the index meanwhile.
        """
        begun = begin(receipt, made)
        if not self._database.in_transaction:
            self._database.execute("begin")  # or the end of the first savepoint would commit
        self._database.execute("savepoint batch")
        try:
            self._enter(receipt)
        except BaseException:
            self._database.execute("rollback to batch")  # a batch entered in part would never be read whole
            raise
        finally:
            self._database.execute("release batch")
        self._begun.append(begun)

    def commit_begun(self) -> list[Receipt]:
        """Commit the batches begun, in order, and return their receipts."""
        if not self._begun:
            return []
        commit_all(self._settings.lake, self._begun)
        self._database.commit()
        done, self._begun = [begun.receipt for begun in self._begun], []
        return done

    def commit(self, receipt: Receipt, made: Path) -> None:
        """Commit one batch: :meth:`begin` and :meth:`commit_begun`."""
        self.begin(receipt, made)
        self.commit_begun()

    def clean_up(self) -> None:
        """Remove what a killed landing left behind: half-made batches, and files of batches never committed."""
        # First what needs no room: the index may be unable to take anything in, on a full disk.
        take_back(self._settings.lake, work_folder(self._settings))
        shutil.rmtree(work_folder(self._settings), ignore_errors=True)
        self._catch_up()  # or a batch that was committed and not indexed would be taken for one that was not
        last = self.last_batch_id()
        begun = [batch_name(last + 1 + number) for number in range(MOST_BEGUN)]
        for folder in self._settings.quarantine.iterdir():
            for name in begun:
                (folder / f"{name}.parquet").unlink(missing_ok=True)
                (folder / f"{name}.unknown.parquet").unlink(missing_ok=True)


def work_folder(settings: Settings) -> Path:
    """Where batches are made; on the landed zone's file system, so that a rename is atomic."""
    return settings.lake / ".work"
