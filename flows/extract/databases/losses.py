"""What a source would delete: keys that landed of it and that it has no more, counted before anything says so.

An empty or a cut-off table, a wrong database or a user that may see few rows would otherwise delete all else.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import DatasetSpec, FieldSpec, Treatment, load_specs
from flows.errors import TidemarkError
from flows.extract.delivery import Folder
from flows.keys import key_check, load_key
from flows.land.field_sql import identifier
from flows.land.landed_sql import query_of
from flows.land.pseudonyms import Pseudonymiser
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from flows.settings import Settings

# So many things may go at once, however few there are; but never all.
FEW = 10


def check_losses(
    name: str, settings: Settings, folder: Folder, spec: DatasetSpec, now: Path, source: str, most: float
) -> None:
    """Raise :class:`TidemarkError` where a Parquet file of what there is ``now`` lacks too much of what landed.

    ``spec`` is the dataset it is to be delivered as, ``folder`` where its earlier deliveries are; ``most`` is the share
    that may go at once. Of lists of keys, where none has landed yet, it is compared with the rows whose keys they are.
    """
    if spec.keys_of:
        of = load_specs()[spec.keys_of]
        known = _landed(settings, spec, lambda all_: _newest(receipt for receipt in all_ if receipt.source == source))
        if known is None:
            known = _landed(settings, of, lambda all_: [receipt for receipt in all_ if receipt.source == source])
    else:
        known = _landed(settings, spec, lambda all_: [each for each in all_ if each.file.startswith(folder.name)])
    if known is None:
        return
    present = _as_landed(settings, _key(spec), now)
    if present is None:  # no more than their number can be compared
        gone, all_ = max(0, len(known) - pq.read_metadata(now).num_rows), len(known)
    else:
        with duckdb.connect() as database:
            database.register("known", known)
            database.register("present", pa.table({"key": present}))
            found = database.execute("select count(*) from known where key not in (select key from present)")
            ((gone,),), all_ = found.fetchall(), len(known)
    if gone == all_ > 0 or gone > max(FEW, all_ * most):
        raise TidemarkError(
            f"{name}: {gone:,} of {all_:,} that landed are not there any more; nothing was delivered that would delete "
            f"them; where they were deleted indeed, run `tidemark extract {name} --accept-deletes`"
        )


def _key(spec: DatasetSpec) -> FieldSpec:
    return next(field for field in spec.fields if field.name in spec.key)


def _newest(receipts: Iterable[Receipt]) -> list[Receipt]:
    found = sorted(receipts, key=lambda receipt: receipt.delivered_at)
    return found[-1:]


def _landed(settings: Settings, spec: DatasetSpec, chosen: Callable[[list[Receipt]], list[Receipt]]) -> pa.Table | None:
    """The keys of the batches that are chosen of those in force; None where there is no such batch."""
    with closing(Receipts(settings, read_only=True)) as receipts, receipts.at_one_moment():
        batches = [receipt.batch_id for receipt in chosen(receipts.in_force(spec.name))]
        files = receipts.files.in_force(spec.name)
    if not batches:
        return None
    rows, column = query_of(spec, settings.lake, files), identifier(_key(spec).column)
    with duckdb.connect(config={"threads": settings.threads}) as database:
        found = database.execute(
            f"select distinct cast({column} as varchar) as key from ({rows}) "
            f"where list_contains($1, _batch_id) and {column} is not null",
            [batches],
        )
        return found.to_arrow_table()


def _as_landed(settings: Settings, field: FieldSpec, now: Path) -> pa.Array | pa.ChunkedArray | None:
    """The keys in a file of a source, as they stand in what landed; None where this process has not the key that made
    the pseudonyms there, as where another one lands, or while the key is changed."""
    values = pq.read_table(now, columns=[field.name])[field.name].cast(pa.string()).drop_null()
    if field.treatment is not Treatment.PSEUDONYMISE:
        return values
    try:
        key = load_key(settings, "pseudonym", must_exist=True)
    except TidemarkError:
        return None
    with closing(Receipts(settings, read_only=True)) as receipts:
        if receipts.any_key_check() != key_check(key):
            return None
    return Pseudonymiser(key).texts(field.column, values).cast(pa.string())
