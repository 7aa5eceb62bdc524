"""Lay a lake out again: by other days, or by day at all, after the contract or the time zone changed.

The landed zone is written once more beside the one there is, batch by batch, and takes its place at the end. Until then
everything reads the old one. Stopped or killed anywhere, it goes on where it stopped when it is begun again. It needs
room for a second landed zone meanwhile.
"""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.files import sync_folder
from flows.land.compact import LOCK as COMPACTION_LOCK
from flows.land.conform import ARROW_TYPES, landed_schema
from flows.land.consent import without_what_is_withheld
from flows.land.day_keys import DayKeys
from flows.land.derived import event_dates, held_in_lists, truncated
from flows.land.file_index import compacted_with
from flows.land.land import LOCK as LANDING_LOCK
from flows.land.landed_files import LandedFiles
from flows.land.landing_index import INDEX
from flows.land.layout import BEFORE, Layout, has_batches, layout_after, read_layout, write_layout
from flows.land.quarantine import encrypt_what_is_in_clear
from flows.land.receipt import RECEIPT, Receipt, Status, removed_rows
from flows.land.receipts import Receipts, work_folder
from flows.land.redaction.redact import redact_column
from flows.land.rotation import FILE as ROTATIONS
from flows.land.rotation import read_rotations, write_rotations
from flows.land.taken_over import link, linked
from flows.land.text import STORE, TextFiles, read_text_file
from flows.land.told import ZONE as TOLD
from flows.land.told import ToldFile, land_what_is_told
from flows.locks import held
from flows.rights import make_private
from flows.settings import Settings

# The home of the lake that is being made, below the lake.
TARGET = ".repartitioned"
READ_ROWS = 262_144


@dataclass(frozen=True)
class Repartitioned:
    """What was laid out again, batches, rows and files, and by which layout."""

    layout: Layout
    batches: int
    rows: int
    files: int


def repartition(
    settings: Settings,
    specs: dict[str, DatasetSpec] | None = None,
    progress: Callable[[Receipt], None] = lambda receipt: None,
    nobody_reads: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Repartitioned | None:
    """Lay the lake out as the contract and the project ask; None where it is so already.

    Landings and compactions wait meanwhile. ``nobody_reads`` gives a context in which no build is at work and nobody
    reads the warehouse: the new landed zone takes the place of the old one within it. Raises :class:`TidemarkError`
    where a file cannot be read, naming each, and changes nothing then.
    """
    specs = load_specs() if specs is None else specs
    settings.lake.mkdir(parents=True, exist_ok=True)
    work = "repartitioning"
    try:
        with held(settings.lake / LANDING_LOCK, work), held(settings.lake / COMPACTION_LOCK, work):
            _finish_swap(settings)
            encrypt_what_is_in_clear(settings, DayKeys(settings))
            layout, done = layout_after(settings, specs), None
            if layout is None:
                _remove_leftovers(settings)
            else:
                done = _lay_out(settings, specs, layout, progress)
                with nobody_reads():
                    _swap(settings)
            land_what_is_told(settings, specs)
            return done
    except (OSError, sqlite3.Error) as error:
        raise TidemarkError(
            f"repartitioning stopped ({error}); no row is lost; fix the cause (a full disk: it needs room for a second "
            "landed zone) and run `tidemark repartition` again, which goes on where it stopped"
        ) from error


def _target(settings: Settings) -> Settings:
    return settings.model_copy(update={"home": settings.lake / TARGET})


def _lay_out(
    settings: Settings, specs: dict[str, DatasetSpec], layout: Layout, progress: Callable[[Receipt], None]
) -> Repartitioned:
    """Write the new landed zone, whole, beside the old one."""
    target = _target(settings)
    if read_layout(target.landed) != layout:
        shutil.rmtree(target.home, ignore_errors=True)
        for folder in (target.home, target.landed, target.quarantine):
            make_private(folder)
        write_layout(target.landed, layout)
    faults: list[str] = []
    before = read_layout(settings.landed)
    paths = sorted(settings.landed.glob(f"*/batch-*/{RECEIPT}"), key=lambda path: path.parent.name)
    gone = removed_rows(map(_receipt, paths))
    with closing(Receipts(target)) as receipts:
        receipts.clean_up()
        for path in paths:
            old = _receipt(path)
            if old.batch_id <= receipts.last_batch_id():
                continue  # laid out before this was stopped
            made = work_folder(target) / path.parent.name
            shutil.rmtree(made, ignore_errors=True)
            try:
                old, without = _as_left(old, gone)
                asked = before.with_consent.get(old.dataset, ()) if before else ()
                new = _lay_out_batch(settings, specs.get(old.dataset), old, layout, made, without, asked)
            except (FileNotFoundError, pa.ArrowException, TidemarkError) as error:
                faults.append(f"batch {old.batch_id} of {old.dataset} ({old.file}): {str(error).splitlines()[0]}")
                continue
            if not faults:  # else the others are only looked at: batches stand in order of number
                receipts.commit(new, made)
                progress(new)
        receipts.clean_up()
        if faults:
            more = f" and {len(faults) - 3:,} more" if len(faults) > 3 else ""
            raise TidemarkError(
                f"the lake cannot be laid out again, for {len(faults):,} of its batches cannot be read: "
                f"{'; '.join(faults[:3])}{more}; nothing was changed; restore their files from a backup of the lake "
                "(`tidemark audit` names each) and run `tidemark repartition` again"
            )
        done = list(receipts.after(0))
        _copy_seen(settings, target)
    rows, files = sum(receipt.rows_landed for receipt in done), sum(len(receipt.files) for receipt in done)
    return Repartitioned(layout, len(done), rows, files)


def _receipt(path: Path) -> Receipt:
    """A receipt, also one of before there was a layout: that named one file, ``data_path``, and no columns."""
    said = json.loads(path.read_text(encoding="utf-8"))
    if old_path := said.pop("data_path", None):
        size = (path.parents[3] / old_path).stat().st_size if (path.parents[3] / old_path).exists() else 0
        said["files"] = [{"path": old_path, "rows": said["rows_landed"], "bytes": size}]
    return Receipt.model_validate(said)


def _as_left(old: Receipt, gone: Counter[tuple[int, date | None]]) -> tuple[Receipt, bool]:
    """A receipt without the rows that were removed since, and whether those were any. What a removal did is done: of it
    the number alone is left."""
    if old.status is Status.REMOVED:
        return old.model_copy(update={"files": (), "removed": (), "columns": ()}), False
    landed = old.rows_by_day
    removed = sum(gone[old.batch_id, day] for day in landed)
    if not removed:
        return old, False
    update = {
        "files": tuple(f for f in old.files if landed[f.event_date] > gone[old.batch_id, f.event_date]),
        "rows_landed": old.rows_landed - removed,
        "rows_removed": old.rows_removed + removed,
    }
    return old.model_copy(update=update), True


def _lay_out_batch(
    settings: Settings,
    spec: DatasetSpec | None,
    old: Receipt,
    layout: Layout,
    made: Path,
    without: bool,
    asked: Sequence[str],
) -> Receipt:
    """Write a batch's files below ``made``; its receipt, which names them. ``without`` says that rows of it were
    removed: its files are then no more what they were. ``asked`` are the columns that landed with consent alone."""
    keys = DayKeys(settings)
    # Text whose key was destroyed ended with it; any other that is missing stops this.
    kept = tuple(
        f for f in old.text_files if not (f.event_date and keys.is_destroyed(STORE, old.dataset, f.event_date))
    )
    # What its rows told of consent is no part of the landed zone: it landed since, or waits where it stands.
    old = old.model_copy(update={"text_files": kept, "told_files": ()})
    if not old.files:  # all of its rows were removed, and its text may be there still
        return linked(settings, old, made)
    by_day_before = any(file.event_date for file in old.files)
    if spec is None or not (without or by_day_before or spec.is_by_day or _is_of_old_form(settings, spec, old)):
        return linked(settings, old, made)
    landed = LandedFiles(spec, old.batch_id, made)
    texts = TextFiles(spec, old.batch_id, made, keys, old.landed_at)
    told = ToldFile(spec, old.batch_id, made, old.landed_at)
    asks_now = not {*spec.with_consent_alone} <= {*asked}
    in_store: dict[int, dict[str, str | None]] | None = None
    withheld = 0
    with landed, texts:
        for rows in _rows_of(settings, old):
            wanted = as_wanted(rows, spec, layout.timezone)
            if asks_now:
                told.write(wanted)
                wanted, more = without_what_is_withheld(spec, wanted)
                withheld += more
            landed.write(wanted)
            if spec.in_no_landed_file.isdisjoint(rows.schema.names):
                continue
            if in_store is None:
                in_store = _text_in_store(settings, keys, old)
            texts.write(_with_texts(wanted, rows, spec, in_store))
    if landed.rows != old.rows_landed:
        raise TidemarkError(f"its files hold {landed.rows:,} rows, and its receipt says {old.rows_landed:,}")
    if in_store is None:
        for file in old.text_files:
            link(settings, file.path, made)
    told.finish()
    return old.model_copy(
        update={
            "files": tuple(landed.files),
            "columns": landed.columns,
            "text_files": tuple(texts.files) if in_store is not None else old.text_files,
            "told_files": told.files,
            "rows_withheld": old.rows_withheld + withheld,
        }
    )


def _text_in_store(settings: Settings, keys: DayKeys, old: Receipt) -> dict[int, dict[str, str | None]]:
    """The text that a batch has in the store, by line: a field of text that is new stands beside it."""
    found: dict[int, dict[str, str | None]] = {}
    for file in old.text_files:
        for row in read_text_file(settings, keys, old.dataset, file).to_pylist():
            found[row["_line"]] = row
    return found


def _with_texts(
    wanted: pa.Table, rows: pa.Table, spec: DatasetSpec, in_store: dict[int, dict[str, str | None]]
) -> pa.Table:
    """Rows with their free text: that which they landed with in clear, redacted, and that which is in the store."""
    for field in spec.texts:
        if field.name in rows.schema.names:
            texts = redact_column(rows[field.name])[0]
        else:
            lines = rows["_line"].to_pylist()
            texts = pa.array([in_store.get(line, {}).get(field.name) for line in lines], pa.string())
        wanted = wanted.append_column(field.name, texts)
    return wanted


def _is_of_old_form(settings: Settings, spec: DatasetSpec, old: Receipt) -> bool:
    """Whether its files hold what no landed file holds any more."""
    (file,) = old.files
    path = compacted_with(settings, old, file) or settings.lake / file.path
    before = _in_other_form(spec)
    return bool(before) and not before.isdisjoint(pq.read_schema(path).names)


def _in_other_form(spec: DatasetSpec) -> frozenset[str]:
    """Fields that no longer land under their name: lists of accepted values, free text, and what is truncated."""
    lists = (column.holds.field for column in spec.columns() if column.holds)
    return frozenset((*lists, *spec.in_no_landed_file, *(field.name for field in spec.truncated)))


def _rows_of(settings: Settings, old: Receipt) -> Iterator[pa.Table]:
    """The rows of a batch, from its own files or from those that compaction made of them."""
    paths: dict[Path, bool] = {}
    for file in old.files:
        compacted = compacted_with(settings, old, file)
        paths[compacted or settings.lake / file.path] = compacted is not None
    for path, is_of_many in paths.items():
        if not path.exists():
            raise FileNotFoundError(f"{path.relative_to(settings.lake)} is missing")
        own = pads.field("_batch_id") == old.batch_id if is_of_many else None
        for batch in pads.dataset(path, format="parquet").to_batches(filter=own, batch_size=READ_ROWS):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def as_wanted(rows: pa.Table, spec: DatasetSpec, zone: str) -> pa.Table:
    """Landed rows with the columns of the contract as it is now, and their days in a time zone.

    A column that it did not have then is NULL; one that it has no more is kept, after the others.
    """
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    elsewhere = {"event_date"} | _in_other_form(spec)
    in_clear = {f.column: (f.name, f.truncate.to) for f in spec.fields if f.truncate and f.name in rows.schema.names}
    for column in spec.columns():
        wanted = ARROW_TYPES[column.type]
        if column.name == "event_date":
            columns[column.name] = event_dates(rows[spec.day_of], rows.num_rows, zone)
        elif column.name in rows.schema.names:
            values = rows[column.name]
            columns[column.name] = values.dictionary_encode() if pa.types.is_dictionary(wanted) else values.cast(wanted)
        elif column.name in in_clear:
            name, to = in_clear[column.name]
            columns[column.name] = truncated(rows[name], to)
        elif column.holds and column.holds.field in rows.schema.names:
            # Of before such lists landed as a column a value.
            columns |= held_in_lists(spec, column.holds.field, rows[column.holds.field], rows.num_rows)
        else:
            columns[column.name] = pa.nulls(rows.num_rows, wanted)
    others = [name for name in rows.schema.names if name not in columns and name not in elsewhere]
    of_contract = landed_schema(spec)
    columns |= {name: rows[name] for name in others}
    schema = pa.schema([*of_contract, *(rows.schema.field(name) for name in others)])
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _copy_seen(settings: Settings, target: Settings) -> None:
    """What is known of the inbox: without it, each of its files would be read once more."""
    if not (settings.landed / INDEX).exists():
        return
    with closing(sqlite3.connect(target.landed / INDEX, isolation_level=None)) as index:
        index.execute("attach ? as before", (str(settings.landed / INDEX),))
        if index.execute("select 1 from before.sqlite_master where name = 'seen'").fetchone():
            index.execute("insert or ignore into seen select * from before.seen")


def _swap(settings: Settings) -> None:
    """The new landed zone in the place of the old one: between the two renames nothing lands or builds.

    Text goes first, and what rows told of consent: until the landed zone follows, no receipt names it.
    """
    made = _target(settings).lake
    for zone in (STORE, TOLD):
        for path in (made / zone).glob("*/*/*.parquet"):
            to = settings.lake / path.relative_to(made)
            make_private(settings.lake / zone, *to.parent.relative_to(settings.lake / zone).parts)
            path.replace(to)
            sync_folder(to.parent)
    if (settings.landed / ROTATIONS).exists():
        write_rotations(_target(settings), read_rotations(settings))
    settings.landed.rename(settings.lake / BEFORE)
    sync_folder(settings.lake)
    _finish_swap(settings)


def _finish_swap(settings: Settings) -> None:
    """Put the new landed zone in the place of the old one, which was moved aside; nothing where none was."""
    before, made = settings.lake / BEFORE, _target(settings).landed
    if not before.exists():
        return
    if not has_batches(settings.landed):  # killed between the two renames; somebody may have looked, and found nothing
        shutil.rmtree(settings.landed, ignore_errors=True)
        (made if made.exists() else before).rename(settings.landed)
        sync_folder(settings.lake)
        _remove_leftovers(settings)
    if before.exists():
        shutil.rmtree(before)


def _remove_leftovers(settings: Settings) -> None:
    """What an earlier one began and nobody asks for any more."""
    shutil.rmtree(_target(settings).home, ignore_errors=True)
