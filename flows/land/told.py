"""What rows tell of consent, on its way into the dataset ``consents``.

A batch whose rows tell of consent (:mod:`flows.land.consent`) has that in a file of its own, ``lake/told/<dataset>/
consents/<batch>.parquet``, which is committed with it. What a landing left there becomes one batch of ``consents``
before the landing ends, or before the next one begins; then the files go. Killed in between, some of it may be told
twice, which changes nothing: of what clients refuse the latest counts, and what a person declared is known already.

What accounts say they say with every extract. It lands in ``consents`` once.
"""

from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.contract.consent import CONSENTS
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.files import sync_folder
from flows.land.conform import ARROW_TYPES
from flows.land.consent import PERSONS, TOLD, distinct, latest, of_devices, told, with_ids
from flows.land.landed_files import LandedFiles
from flows.land.landed_sql import query_of
from flows.land.linking import next_column
from flows.land.receipt import LandedFile, Receipt, Status, batch_name
from flows.land.receipts import Receipts, work_folder
from flows.rights import PRIVATE, make_private
from flows.settings import Settings

ZONE = "told"
# Keys as UUIDs: compared as bytes, DuckDB may miss equal ones in files of its own.
# Of what a client refuses the latest is enough. What was delivered may be delivered otherwise, and does not count; nor
# does what was told before the later pseudonym was known.
NOT_KNOWN = """
with known as (
    select * from ({known}) semi join told_before on _batch_id = batch_id where valid_from >= timestamp '{since}'
),
numbered as (
    select *, row_number() over () as number from told
),
-- An inner join, since DuckDB compares each row with each other in an anti join that has an `or`.
known_already as (
    select distinct told.number
    from numbered as told
    inner join known on
        cast(told.device_key as uuid) is not distinct from known.device_key
        and cast(told.user_key as uuid) is not distinct from known.user_key
        and told.purpose = known.purpose
        and told.is_granted = known.is_granted
        and told.stated_in = known.stated_in
    where
        (told.device_key_next is null or told.device_key_next = known.device_key_next)
        and (told.user_key_next is null or told.user_key_next = known.user_key_next)
        and (
            told.valid_from = known.valid_from
            or told.valid_from < known.valid_from and list_contains({of_rows}, told.stated_in)
        )
)
select * exclude (number) from numbered anti join known_already using (number)
"""


class ToldFile:
    """What the rows of a batch tell of consent; ``files`` is its file below ``made`` once :meth:`finish` was called,
    and empty where they tell nothing."""

    def __init__(self, spec: DatasetSpec, batch_id: int, made: Path, landed_at: datetime) -> None:
        self.files: tuple[LandedFile, ...] = ()
        self._spec = spec
        self._batch_id = batch_id
        self._made = made
        self._landed_at = landed_at
        self._told = TOLD.empty_table()

    def write(self, rows: pa.Table) -> None:
        """Take in rows, with all that they say."""
        more = told(self._spec, rows, self._landed_at)
        if more.num_rows:
            self._told = pa.concat_tables([self._told, more])
            if self._spec.consent and self._spec.consent.of_each_row:
                self._told = latest(self._told)

    def write_of_devices(self, rows: pa.Table) -> None:
        """Take in rows that do not land, since the user whom they name was erased: what they say of consent of a device
        that others use too holds for it all the same."""
        if rows.num_rows and self._spec.name == CONSENTS:
            self._told = pa.concat_tables([self._told, of_devices(rows)])
        elif self._spec.consent and self._spec.consent.of_each_row:
            self.write(rows)

    def finish(self) -> None:
        """Write the file."""
        self.files = write_told(self._made, self._spec.name, self._batch_id, self._told)


def write_told(made: Path, dataset: str, batch_id: int, rows: pa.Table) -> tuple[LandedFile, ...]:
    """Write what a batch tells of consent below ``made``; none where that is nothing."""
    if not rows.num_rows:
        return ()
    name = f"{ZONE}/{dataset}/{CONSENTS}/{batch_name(batch_id)}.parquet"
    path = made / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=PRIVATE.file)
    pq.write_table(rows, path, compression="zstd", store_schema=False)
    return (LandedFile(path=name, rows=rows.num_rows, bytes=path.stat().st_size),)


def land_told(settings: Settings, specs: Mapping[str, DatasetSpec], receipts: Receipts) -> Receipt | None:
    """Land what committed batches tell of consent as one batch of ``consents``; None where they tell nothing.

    The caller holds the lock of landing.
    """
    files = sorted((settings.lake / ZONE).glob(f"*/{CONSENTS}/batch-*.parquet"))
    if not files or CONSENTS not in specs:
        return None
    read = pa.concat_tables([_read(settings, file) for file in files])
    made = land_records(settings, specs, read, receipts)
    for file in files:
        file.unlink()
    for folder in {file.parent for file in files}:
        sync_folder(folder)
    return made


def land_records(
    settings: Settings, specs: Mapping[str, DatasetSpec], rows: pa.Table, receipts: Receipts
) -> Receipt | None:
    """Land the records of :data:`TOLD` that are not known as one batch of ``consents``; None where all are."""
    of_rows = {name for name, each in specs.items() if each.consent and each.consent.of_each_row}
    parts = [latest(part) if name in of_rows else distinct(part) for name, part in _by_dataset(rows)]
    rows = _not_known(settings, specs[CONSENTS], pa.concat_tables([TOLD.empty_table(), *parts]), receipts, of_rows)
    if not rows.num_rows:
        return None
    receipts.commit(*_made_batch(settings, specs[CONSENTS], rows, receipts))
    return receipts.one(receipts.last_batch_id())


def land_what_is_told(settings: Settings, specs: Mapping[str, DatasetSpec]) -> None:
    """As :func:`land_told`, for who has the lock of landing and no receipts open."""
    if next((settings.lake / ZONE).glob(f"*/{CONSENTS}/batch-*.parquet"), None):
        with closing(Receipts(settings)) as receipts:
            land_told(settings, specs, receipts)
            receipts.clean_up()


def _not_known(
    settings: Settings, spec: DatasetSpec, rows: pa.Table, receipts: Receipts, of_rows: Collection[str]
) -> pa.Table:
    """The rows that add something to what the dataset has. ``of_rows`` are the datasets whose rows speak of themselves
    alone."""
    files = receipts.files.in_force(spec.name)
    if not rows.num_rows:
        return rows
    with duckdb.connect() as engine:
        engine.register("told", rows)
        engine.register("told_before", pa.table({"batch_id": pa.array(receipts.told(spec.name), pa.int64())}))
        # Of the files that years of landings made, those are passed over that end before.
        since = pc.min(rows["valid_from"]).as_py()
        known = query_of(spec, settings.lake, files, [*map(next_column, PERSONS)])
        query = NOT_KNOWN.format(known=known, of_rows=sorted(of_rows), since=since)
        try:
            return engine.execute(query).to_arrow_table().cast(TOLD)
        except duckdb.Error:  # a file is damaged, as `tidemark audit` says: told twice is better than not at all
            return rows


def _read(settings: Settings, file: Path) -> pa.Table:
    try:
        return pq.read_table(file).cast(TOLD)
    except (OSError, pa.ArrowException, KeyError) as error:
        why = str(error).splitlines()[0]
        raise TidemarkError(
            f"{file.relative_to(settings.lake)} is damaged ({why}): it says what rows that landed tell of consent, and "
            "nothing lands before it does; restore it from a backup of the lake, or deliver again what landed as the "
            "batch of its name, under another name, and remove it"
        ) from error


def _by_dataset(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    names = sorted(rows["stated_in"].unique().to_pylist())
    return [(name, rows.filter(pc.equal(rows["stated_in"], name))) for name in names]


def _made_batch(settings: Settings, spec: DatasetSpec, rows: pa.Table, receipts: Receipts) -> tuple[Receipt, Path]:
    batch_id, made, now = receipts.last_batch_id() + 1, work_folder(settings) / ZONE, datetime.now(UTC)
    make_private(made)
    # In an order that says nothing: the one in which they were told shows, after a change of the key, who was who.
    rows = with_ids(rows).sort_by("consent_id")
    rows = rows.append_column("_batch_id", pa.repeat(pa.scalar(batch_id, pa.int64()), rows.num_rows))
    rows = rows.append_column("_line", pa.array(range(1, rows.num_rows + 1), pa.int64()))
    schema = pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in spec.columns()])
    columns = [
        rows[name].cast(schema.field(name).type) if name in rows.column_names else pa.nulls(rows.num_rows, kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    made_rows = pa.Table.from_arrays(columns, schema=schema)
    for name in map(next_column, PERSONS):
        if rows[name].null_count < rows.num_rows:
            made_rows = made_rows.append_column(name, rows[name])
    with LandedFiles(spec, batch_id, made) as landed:
        landed.write(made_rows)
    names = " and ".join(sorted(rows["stated_in"].unique().to_pylist()))
    receipt = Receipt(
        batch_id=batch_id,
        dataset=spec.name,
        source=spec.source,
        file=f"consent that rows of {names} tell of",
        sha256="",
        bytes=0,
        format="parquet",
        status=Status.LANDED,
        rows_read=landed.rows,
        rows_landed=landed.rows,
        files=tuple(landed.files),
        columns=landed.columns,
        contract=f"{spec.name}.{spec.version}",
        key_check=receipts.any_key_check() or "",
        delivered_at=now,
        landed_at=now,
    )
    return receipt, made
