"""How the lake, the warehouse and the publication stand: what waits, what failed, what readers see."""

import time
from dataclasses import dataclass, field

from flows.contract import load_specs
from flows.errors import TidemarkError
from flows.inbox import is_settled, new_deliveries, strays
from flows.publish import current_version, describe_causes, read_manifest, versions
from flows.receipts import Receipt, Receipts, Status
from flows.settings import Settings
from flows.warehouse import open_warehouse


@dataclass
class LakeStatus:
    """Lines for people by section, and whether one of them needs somebody."""

    inbox: list[str] = field(default_factory=list)
    landed: list[str] = field(default_factory=list)
    warehouse: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    needs_a_person: bool = False

    def sections(self) -> list[tuple[str, list[str]]]:
        """Heading and lines of each section."""
        return [
            ("inbox", self.inbox),
            ("landed", self.landed),
            ("warehouse", self.warehouse),
            ("published", self.published),
        ]


@dataclass(frozen=True)
class Totals:
    """What the warehouse holds: distinct events, delivered copies of them, and events that came late."""

    events: int
    copies: int
    late: int


def read_totals(settings: Settings) -> Totals:
    """Sum up the warehouse's events from the small tables that count them by day."""
    with open_warehouse(settings, read_only=True) as warehouse:
        row = warehouse.execute(
            """
            select
                (select coalesce(sum(events_count), 0) from ops.ops_late_arrivals),
                (select coalesce(sum(copies_count), 0) from intermediate.int_events__days_landed),
                (select coalesce(sum(late_events_count), 0) from ops.ops_late_arrivals)
            """
        ).fetchone()
    events, copies, late = row or (0, 0, 0)
    return Totals(int(events), int(copies), int(late))


def read_status(settings: Settings) -> LakeStatus:
    """Read how things stand; writes nothing but the landing index where it was behind."""
    status = LakeStatus()
    receipts = Receipts(settings)
    try:
        _inbox(settings, receipts, status)
        _landed(receipts, status)
        _warehouse(settings, receipts.last_batch_id(), status)
        _published(settings, receipts.last_batch_id(), status)
    finally:
        receipts.close()
    return status


def _inbox(settings: Settings, receipts: Receipts, status: LakeStatus) -> None:
    specs = load_specs()
    waiting = list(new_deliveries(settings.inbox, specs, receipts.is_unchanged))
    settled = [d for d in waiting if is_settled(d.stat, time.time(), settings.settle_seconds)]
    status.inbox.append(f"{len(settled):,} files wait for landing, {len(waiting) - len(settled):,} still being written")
    for stray in strays(settings.inbox, set(specs)):
        status.inbox.append(f"left alone: {stray}")
        status.needs_a_person = True


def _landed(receipts: Receipts, status: LakeStatus) -> None:
    last: dict[str, Receipt] = {}
    for dataset in load_specs():
        receipt = receipts.last_landed_of_dataset(dataset)
        if receipt is None:
            status.landed.append(f"{dataset}: nothing yet")
        else:
            last[dataset] = receipt
            status.landed.append(
                f"{dataset}: last at {receipt.landed_at:%Y-%m-%d %H:%M} UTC, {receipt.file} "
                f"({receipt.rows_landed:,} rows, {receipt.rows_rejected:,} rejected)"
            )
    for receipt in receipts.last_of_each_file(Status.REFUSED):
        status.landed.append(f"refused: {receipt.file}: {receipt.reason}")
        status.needs_a_person = True


def _warehouse(settings: Settings, last_batch_id: int, status: LakeStatus) -> None:
    if not settings.warehouse.exists():
        status.warehouse.append("not built yet; `tidemark build` makes it")
        return
    try:
        warehouse = open_warehouse(settings, read_only=True)
    except TidemarkError as error:
        status.warehouse.append(str(error))
        return
    with warehouse:
        has_runs = warehouse.execute("select 1 from duckdb_tables() where table_name = 'dbt_runs'").fetchone()
        run = (
            warehouse.execute(
                "select run_id, command, started_at, status from ops.dbt_runs order by started_at desc limit 1"
            ).fetchone()
            if has_runs
            else None
        )
        if run is None:
            status.warehouse.append("not built yet; `tidemark build` makes it")
            return
        known = warehouse.execute("select coalesce(max(batch_id), 0) from landed.landings").fetchone()
        run_id, command, started_at, how = run
        if how == "running":
            how = "was killed before its end (or runs in another process); the next build continues from there"
        status.warehouse.append(f"last run: {command} at {started_at:%Y-%m-%d %H:%M} UTC: {how}")
        status.warehouse.append(f"{last_batch_id - (known[0] if known else 0):,} landings not built yet")
        failed = warehouse.execute(
            "select resource_type, node_name, failures, message from ops.dbt_results "
            "where run_id = ? and status in ('error', 'fail', 'runtime error') order by all",
            [run_id],
        ).fetchall()
    for kind, name, failures, message in failed:
        found = f"{failures:,} rows" if failures else (message or "").strip()
        status.warehouse.append(f"failed: {kind} {name}: {found}; reproduce: tidemark build -- --select {name}")
        status.needs_a_person = True


def _published(settings: Settings, last_batch_id: int, status: LakeStatus) -> None:
    version = current_version(settings)
    if version is None:
        status.published.append("nothing yet; `tidemark publish` makes the first version")
        return
    manifest = read_manifest(settings, version)
    status.published.append(
        f"current is {version}: {len(manifest.tables)} tables, made {manifest.created_at:%Y-%m-%d %H:%M} UTC, "
        f"{last_batch_id - manifest.batch_high_water:,} landings behind"
    )
    for table in manifest.stale:
        status.published.append(
            f"stale: {table.name} since {table.stale_since:%Y-%m-%d %H:%M} UTC, rows as of "
            f"{table.as_of:%Y-%m-%d %H:%M} UTC: waits for {describe_causes(table.stale_because)}"
        )
    for missing in manifest.missing:
        status.published.append(f"missing: {missing.name}: waits for {describe_causes(missing.because)}")
    status.needs_a_person |= not manifest.is_fresh
    kept = versions(settings)
    if kept[-1] != version:
        status.published.append(f"rolled back: the newest version is {kept[-1]}")
    status.published.append(f"{len(kept)} versions kept")
