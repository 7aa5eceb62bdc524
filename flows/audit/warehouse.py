"""What is measured of the warehouse: the rows of each batch, model by model."""

from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from flows.audit.judge import (
    COPIES,
    DEDUPLICATED,
    DISPOSABLE,
    EVENTS,
    FILES,
    MISSING,
    Batch,
    Day,
    Finding,
    deduplicated_model,
    rebuild,
    staging_model,
)
from flows.audit.lake import by_batch, superseded
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.land.receipt import RECEIPT, Receipt, batch_name, removed_rows
from flows.settings import Settings


@dataclass(frozen=True)
class _Models:
    """Which of the models there are, each with the last batch it has seen."""

    there: dict[str, str]
    seen: dict[str, int]

    def upto(self, *names: str) -> int:
        """The last batch that all of these models have seen, 0 where one of them is not there."""
        return min(self.seen.get(name, 0) if name in self.there else 0 for name in names)


def measure_warehouse(
    settings: Settings,
    db: duckdb.DuckDBPyConnection,
    batches: list[Batch],
    every: dict[int, Receipt],
    accounted: set[int | None],
    specs: dict[str, DatasetSpec],
) -> tuple[list[Batch], list[Day], list[Finding], dict[str, bool]]:
    """The batches with what the warehouse holds of them, the days of events, rows of batches that are not accounted
    for, and which datasets end at staging."""
    models = _models(db, specs)
    if "landings" not in models.there or "model_progress" not in models.there:
        raise TidemarkError("nothing was built yet; `tidemark build` does it")
    batches = _entered(db, batches)
    days: list[Day] = []
    invented: list[Finding] = []
    ends: dict[str, bool] = {}
    for name, spec in specs.items():
        raw, staging = f"raw_{name}", staging_model(spec)
        ends[name] = deduplicated_model(name) is None
        if raw not in models.there:
            continue
        in_raw = rows_by_batch(db, models, raw)
        remedy = DISPOSABLE if spec.is_by_day else rebuild(raw)
        in_staging = rows_by_batch(db, models, staging) if staging in models.there else {}
        invented += [
            Finding(name, "raw", f"{raw} holds {rows:,} rows of batch {batch_id}, which has no receipt", remedy)
            for batch_id, rows in sorted(in_raw.items())
            if batch_id not in accounted and not _is_committed(settings, name, batch_id)
        ]
        upto = models.upto(raw)
        gone = by_batch(removed_rows(r for r in every.values() if r.batch_id <= upto))
        own = {
            b.receipt.batch_id: replace(
                b,
                raw=in_raw.get(b.receipt.batch_id, 0),
                removed_built=gone[b.receipt.batch_id],
                staging=in_staging.get(b.receipt.batch_id, 0) if staging in models.there else None,
            )
            for b in batches
            if b.receipt.dataset == name and b.receipt.batch_id <= upto
        }
        if deduplicated_model(name) in models.there and staging in models.there:
            own, more = _kept(db, models, spec, own, every)
            days += more
        batches = [own.get(b.receipt.batch_id, b) for b in batches]
    return batches, days, invented, ends


def _models(db: duckdb.DuckDBPyConnection, specs: dict[str, DatasetSpec]) -> _Models:
    there = {
        name: f'"{schema}"."{name}"'
        for schema, name in db.execute(
            "select schema_name, table_name from duckdb_tables() where not internal "
            "union all select schema_name, view_name from duckdb_views() where not internal"
        ).fetchall()
    }
    seen = {}
    if "model_progress" in there:
        seen = dict(db.execute("select model, batch_id from ops.model_progress").fetchall())
        # A view has seen what the model it reads has; one of the lake itself, what was entered.
        seen[DEDUPLICATED] = seen.get(COPIES, 0)
        (entered,) = db.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone() or (0,)
        seen |= {f"raw_{spec.name}": entered for spec in specs.values() if spec.is_by_day}
    return _Models(there, seen)


def _entered(db: duckdb.DuckDBPyConnection, batches: list[Batch]) -> list[Batch]:
    """What the warehouse knows of each batch; it enters them in order of number."""
    rows = db.execute("select batch_id, rows_landed, rows_rejected from landed.landings").fetchall()
    known = {batch_id: (landed, rejected) for batch_id, landed, rejected in rows}
    last = max(known, default=0)
    return [
        replace(b, entered=known.get(b.receipt.batch_id, MISSING)) if b.receipt.batch_id <= last else b for b in batches
    ]


def rows_by_batch(db: duckdb.DuckDBPyConnection, models: _Models, name: str) -> dict[int, int]:
    rows = db.execute(f"select _batch_id, count(*) from {models.there[name]} group by all").fetchall()
    return dict(rows)


def _is_committed(settings: Settings, dataset: str, batch_id: int) -> bool:
    """Whether a batch landed since the receipts were read."""
    return (settings.landed / dataset / batch_name(batch_id) / RECEIPT).exists()


def _kept(
    db: duckdb.DuckDBPyConnection,
    models: _Models,
    spec: DatasetSpec,
    own: dict[int, Batch],
    every: dict[int, Receipt],
) -> tuple[dict[int, Batch], list[Day]]:
    model = deduplicated_model(spec.name) or ""
    upto = models.upto(f"raw_{spec.name}", model)
    seen = {batch_id for batch_id in own if batch_id <= upto}
    kept = rows_by_batch(db, models, model)
    own = {i: replace(b, kept=kept.get(i, 0)) if i in seen else b for i, b in own.items()}
    if spec.name != EVENTS:
        gone = superseded(every.values(), upto)
        expected = _rows_that_count(db, models, spec, every, gone, upto)
        for i in seen:
            is_gone = own[i].receipt.delivery_batch_id in gone
            own[i] = replace(own[i], expected=expected.get(i, 0), superseded=(own[i].staging or 0) * is_gone)
        return own, []
    conflicts = dict(
        db.execute(
            f"select _batch_id, count(*) from {models.there[COPIES]} where differs_in <> '' group by all"
        ).fetchall()
    )
    own = {i: replace(b, conflicts=conflicts.get(i, 0)) if i in seen else b for i, b in own.items()}
    noted = dict(db.execute(f"select batch_id, sum(rows_landed) from {FILES} group by all").fetchall())
    own = {i: replace(b, noted=int(noted.get(i, 0))) if i in seen else b for i, b in own.items()}
    return own, _days(db, models, spec, seen, upto)


def _rows_that_count(
    db: duckdb.DuckDBPyConnection,
    models: _Models,
    spec: DatasetSpec,
    every: dict[int, Receipt],
    gone: dict[int, int],
    upto: int,
) -> dict[int, int]:
    """Of each batch the states it must give: of those delivered under one key and, where the dataset has it,
    updated_at the newest, by the delivery they came in and their line; none of a superseded delivery."""
    rows = [
        {"batch_id": r.batch_id, "delivery": r.delivery_batch_id, "is_gone": r.delivery_batch_id in gone}
        for r in every.values()
        if r.batch_id <= upto
    ]
    schema = pa.schema([("batch_id", pa.int64()), ("delivery", pa.int64()), ("is_gone", pa.bool_())])
    db.register("batches", pa.Table.from_pylist(rows, schema))
    columns = [f.column for f in spec.fields if f.name in (*spec.key, "updated_at")]
    key = ", ".join(f's."{name}"' for name in columns)
    try:
        found = db.execute(
            f"""
            with counting as (
                select s._batch_id
                from {models.there[staging_model(spec)]} as s
                inner join batches on s._batch_id = batches.batch_id
                where not batches.is_gone
                qualify row_number() over (partition by {key} order by batches.delivery desc, s._line desc) = 1
            )
            select _batch_id, count(*) from counting group by all
            """
        ).fetchall()
    finally:
        db.unregister("batches")
    return dict(found)


def _days(db: duckdb.DuckDBPyConnection, models: _Models, spec: DatasetSpec, batches: set[int], upto: int) -> list[Day]:
    """The days that the batches hold events of, and days on which deduplication keeps events of them."""
    staging, deduplicated = models.there[staging_model(spec)], models.there[DEDUPLICATED]
    db.register("chosen", pa.table({"batch_id": pa.array(sorted(batches), pa.int64())}))
    try:
        rows = db.execute(
            f"""
            with touched as (
                select event_date, list(distinct _batch_id) as batches
                from (
                    select event_date, _batch_id from {staging}
                    union all select event_date, _batch_id from {deduplicated}
                )
                where _batch_id in (select batch_id from chosen)
                group by all
            ),
            delivered as (
                select event_date, count(*) as copies, count(distinct event_id) as events
                from {staging}
                where _batch_id <= {upto} and event_date in (select event_date from touched)
                group by all
            ),
            kept as (
                select event_date, sum(copies_count) as copies, count(*) as events
                from {deduplicated}
                where _batch_id <= {upto} and event_date in (select event_date from touched)
                group by all
            )
            select
                touched.event_date, coalesce(delivered.copies, 0), coalesce(kept.copies, 0),
                coalesce(delivered.events, 0), coalesce(kept.events, 0), touched.batches
            from touched
            left join delivered using (event_date)
            left join kept using (event_date)
            order by touched.event_date
            """
        ).fetchall()
    finally:
        db.unregister("chosen")
    return [
        Day(day, copies, int(counted), events, kept, tuple(own)) for day, copies, counted, events, kept, own in rows
    ]
