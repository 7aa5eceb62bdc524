"""What landed, entered into the warehouse: a row a landing and file, and the views over the files themselves."""

from contextlib import closing

import duckdb
import pyarrow as pa

from flows.build.consents import days_changed
from flows.build.lent import last_days, point_at, read_lent, refuse_removed
from flows.build.rewrite import note_rewritten
from flows.build.warehouse import TABLES, check_format, has_table, last_batch, open_warehouse
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.land.field_sql import identifier, literal
from flows.land.file_index import FileInForce
from flows.land.landed_sql import failing_query, query_of
from flows.land.landing_index import INDEX
from flows.land.layout import Layout, check_layout
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from flows.settings import Settings

LAKE_ONLY = {
    "files", "text_files", "texts_too_late", "told_files", "columns", "removed", "key_check", "next_key_check",
}  # fmt: skip
LANDING = sorted({*Receipt.model_fields} - LAKE_ONLY)
FILES = pa.schema(
    [
        ("batch_id", pa.int64()),
        ("dataset", pa.string()),
        ("event_date", pa.date32()),
        ("path", pa.string()),
        ("rows_landed", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
REMOVALS = pa.schema(
    [
        ("removed_by", pa.int64()),
        ("dataset", pa.string()),
        ("event_date", pa.date32()),
        ("path", pa.string()),
        ("batch_id", pa.int64()),
        ("rows", pa.int64()),
    ]
)


def enter_landings(settings: Settings, specs: dict[str, DatasetSpec] | None = None) -> int:
    """Enter the receipts of batches the warehouse does not know; returns how many.

    Makes the tables that are missing before, and the views over the files of datasets that are laid out by day. What
    these read is fixed until the next call: files that landed or were compacted meanwhile are not seen by a build that
    is at work. Raises :class:`TidemarkError` where the lake is laid out otherwise than the contract and the project
    want, and where the warehouse is another's. Of a developer's home the lake is another's, and only looked at.
    """
    specs = load_specs() if specs is None else specs
    lent = read_lent(settings)
    of_lake = lent.settings if lent else settings
    if lent:
        refuse_removed(settings, lent)
    layout = check_layout(of_lake, specs)
    is_new = not settings.warehouse.exists()
    with open_warehouse(settings) as warehouse, closing(Receipts(of_lake, read_only=bool(lent))) as receipts:
        if has_table(warehouse, "landed", "landings"):
            check_format(settings, warehouse)
        try:
            warehouse.execute(f"begin; {TABLES.read_text(encoding='utf-8')} commit;")
        except duckdb.CatalogException as error:
            raise TidemarkError(
                f"the tables of the warehouse {settings.warehouse} could not be made: {error}; fix the cause and run "
                "the same again"
            ) from error
        if _is_laid_out_again(warehouse, layout):
            warehouse.execute(FORGET.format(number=layout.number, timezone=literal(layout.timezone)))
        by_day = [spec for spec in specs.values() if spec.is_by_day]
        # Of one moment: a batch that lands in between would count as entered, and no view would read its files.
        with receipts.at_one_moment():
            new = list(receipts.after(last_batch(warehouse)))
            files = {name: receipts.files.in_force(name) for name in specs}
        if lent:
            files |= {spec.name: last_days(files[spec.name], lent.days) for spec in by_day}
        _enter(warehouse, new, days_changed(warehouse, specs, of_lake.lake, new, files))
        for spec in by_day:
            _make_view(warehouse, of_lake, spec, files[spec.name])
        if lent:
            point_at(warehouse, lent, files)
        else:
            # Nobody else has the warehouse open, so nobody reads what the views read before.
            for name, in_force in files.items():
                receipts.files.remove_replaced(name, {file.path for file in in_force})
        if is_new:
            note_rewritten(settings, last_batch(warehouse))
        return len(new)


def _is_laid_out_again(warehouse: duckdb.DuckDBPyConnection, layout: Layout) -> bool:
    row = warehouse.execute("select number, timezone from landed.layout").fetchone()
    return row != (layout.number, layout.timezone)


def _enter(warehouse: duckdb.DuckDBPyConnection, new: list[Receipt], changed_days: pa.Table) -> None:
    if new:
        rows = [receipt.model_dump(mode="json", include={*LANDING}) for receipt in new]
        files = [
            {
                "batch_id": receipt.batch_id,
                "dataset": receipt.dataset,
                "event_date": file.event_date,
                "path": file.path,
                "rows_landed": file.rows,
                "bytes": file.bytes,
            }
            for receipt in new
            for file in receipt.files
            if not receipt.removed  # what a removal left landed with other batches
        ]
        removed = [
            {"removed_by": receipt.batch_id, "dataset": receipt.dataset, "path": path, **rows.model_dump()}
            for receipt in new
            # Where there are no days, one file has the place of those of all batches before.
            for path in ["".join(file.path for file in receipt.files if file.event_date is None)]
            for rows in receipt.removed
        ]
        warehouse.register("new", pa.Table.from_pylist(rows))
        warehouse.register("new_files", pa.Table.from_pylist(files, FILES))
        warehouse.register("new_removals", pa.Table.from_pylist(removed, REMOVALS))
        warehouse.register("changed_days", changed_days)
        warehouse.execute(ENTER.format(known=last_batch(warehouse)))


def _make_view(
    warehouse: duckdb.DuckDBPyConnection, settings: Settings, spec: DatasetSpec, files: list[FileInForce]
) -> None:
    """The view ``landed.<dataset>``, made again only where it would read other files than before.

    Where one of them is gone, whatever reads the view fails with what to do; models of other datasets go on.
    """
    gone = [file.path for file in files if not (settings.lake / file.path).exists()]
    definition = failing_query(spec, _cannot_be_found(settings, gone)) if gone else query_of(spec, settings.lake, files)
    known = warehouse.execute("select definition from landed.views where dataset = ?", [spec.name]).fetchone()
    if known == (definition,):
        return
    warehouse.execute("begin")
    warehouse.execute(f"create or replace view landed.{identifier(spec.name)} as {definition}")
    warehouse.execute("delete from landed.views where dataset = ?", [spec.name])
    warehouse.execute("insert into landed.views values (?, ?)", [spec.name, definition])
    warehouse.execute("commit")


def _cannot_be_found(settings: Settings, gone: list[str]) -> str:
    more = f" and {len(gone) - 3:,} more" if len(gone) > 3 else ""
    return (
        f"{', '.join(gone[:3])}{more} below {settings.lake} cannot be found: `tidemark audit` says whether rows are "
        "lost and what to restore; where it finds nothing wrong, the index is older than the files: delete "
        f"{settings.landed / INDEX} and build again"
    )


# What was known of a lake that is laid out again is of no use: other days, other files. Every model is built whole.
FORGET = """
begin;
delete from landed.landings;
delete from landed.landed_files;
delete from landed.layout;
insert into landed.layout values ({number}, {timezone});
delete from ops.model_progress;
delete from ops.test_progress;
delete from ops.changes;
commit;
"""

# A model that had seen every landing so far has also seen those of datasets it does not read: all new ones before
# the first that it does.
ENTER = """
begin;
insert into landed.landings by name
select * replace (
    cast(cast(delivered_at as timestamptz) at time zone 'UTC' as timestamp) as delivered_at,
    cast(cast(landed_at as timestamptz) at time zone 'UTC' as timestamp) as landed_at
)
from new;

insert into landed.landed_files by name select * from new_files;

-- Removed rows count as fewer of the batch they landed with. The removal itself holds the day, which models make again.
insert into landed.landed_files
select batch_id, dataset, event_date, path, -rows as rows_landed, 0 as bytes from new_removals
union all
select distinct removed_by, dataset, event_date, path, 0 as rows_landed, 0 as bytes from new_removals;

-- A record of consent lands elsewhere, and holds the days of events that it changes.
insert into landed.landed_files
select batch_id, dataset, event_date, '' as path, 0 as rows_landed, 0 as bytes from changed_days;

update landed.landed_files set path = removal.path
from (
    select dataset, max(removed_by) as removed_by, max_by(path, removed_by) as path
    from new_removals where event_date is null group by dataset
) as removal
where landed_files.dataset = removal.dataset and landed_files.batch_id < removal.removed_by;

update ops.model_progress set batch_id = coalesce(
    (
        select min(new.batch_id) - 1 from new
        where list_contains(model_progress.datasets, new.dataset) or list_contains(model_progress.datasets, '*')
    ),
    (select max(batch_id) from new)
)
where batch_id = {known};

create or replace temp table days as
select distinct cast(landed_at as date) as day from landed.landings
where
    batch_id > {known}
    or coalesce(retries_batch_id, batch_id) in (
        select unnest([supersedes_batch_id, retries_batch_id]) from landed.landings where batch_id > {known}
    );

create or replace temp table changed as
select model, day
from days cross join (values ('ops_landings'), ('ops_rejects')) as by_day (model)
union all
select distinct 'raw_' || dataset, event_date from new_files where event_date is not null
union
select distinct 'raw_' || dataset, event_date from new_removals where event_date is not null;

-- By its dataset too: a test of one dataset alone need not look again for another's landings.
create or replace temp table changed_landings as
select 'landings' as model
union all
select distinct 'landings of ' || dataset from new;

delete from ops.changes
where
    exists (select 1 from changed_landings where changed_landings.model = changes.model)
    or exists (select 1 from changed where changed.model = changes.model and changed.day = changes.day);

insert into ops.changes
select model, day, nextval('ops.change_number') from changed
union all
select model, null, nextval('ops.change_number') from changed_landings;
commit;
"""
