"""The status of lake, warehouse and publication in lines for people."""

from collections.abc import Iterator
from datetime import timedelta

from flows.build.reasons import found
from flows.clock import ago, duration, minute
from flows.land.receipt import FILE_REMEDY
from flows.status.key_change import describe_key_change
from flows.status.lake import LakeStatus, PublishedStatus, WarehouseStatus
from flows.text import counted, one_line

Section = tuple[str, list[str]]


def describe_lake(status: LakeStatus) -> list[Section]:
    """The status in lines for people, by section."""
    return [
        ("inbox", [*_describe_inbox(status)]),
        ("landed", [*_describe_landed(status)]),
        ("warehouse", [*_describe_warehouse(status.warehouse)]),
        ("published", [*_describe_published(status.published, _is_good(status.warehouse))]),
        *([("keys", [describe_key_change(status.key_change)])] if status.key_change else []),
        *([("rights", [*_describe_rights(status.open_to_others)])] if status.open_to_others else []),
    ]


def _describe_inbox(status: LakeStatus) -> Iterator[str]:
    waiting = sum(d.waiting_files for d in status.datasets)
    yield f"{counted(waiting, 'file')} waiting to land, {status.still_being_written:,} still being written"
    for d in status.datasets:
        if d.waiting_since:
            oldest = ago(d.waiting_since, status.read_at)
            yield f"{d.dataset}: {counted(d.waiting_files, 'file')} waiting, the oldest for {oldest}"
    if status.left_alone:
        yield f"{len(status.left_alone):,} left alone:"
    for line in status.left_alone:
        yield f"left alone: {line}"


def _describe_landed(status: LakeStatus) -> Iterator[str]:
    now = status.read_at
    for d in status.datasets:
        if d.last is None:
            yield f"{d.dataset}: nothing yet"
            continue
        yield (
            f"{d.dataset}: last at {minute(d.last.landed_at)}, {ago(d.last.landed_at, now)} ago, {d.last.file} "
            f"({counted(d.last.rows_landed, 'row')}, {d.last.rows_rejected:,} quarantined)"
        )
        if d.unpublished_batches:
            lag = duration(timedelta(seconds=d.lag_seconds))
            seen = f"what landed up to {minute(d.readers_see)}" if d.readers_see else "nothing of it"
            batches = "1 batch" if d.unpublished_batches == 1 else f"{d.unpublished_batches:,} batches"
            yield f"{d.dataset}: {batches} not published, the oldest for {lag}; readers see {seen}"
    if status.landed_sent.there:
        yield status.landed_sent.there
    if status.landed_sent.not_there:
        yield f"NOT SENT: {status.landed_sent.not_there}; `tidemark land` tries again"
    for receipt in status.refused:
        yield f"refused: {receipt.file}: {receipt.reason}"
    for unfit in status.unfit:
        yield f"NO ROW FITS: {unfit.file}: {unfit.reason} (owner: {unfit.owner})"
    if status.refused or status.unfit:
        yield f"remedy: {FILE_REMEDY}"


def _describe_warehouse(warehouse: WarehouseStatus) -> Iterator[str]:
    if warehouse.note or warehouse.last_run_at is None:
        yield warehouse.note or "not built yet"
        return
    ended = warehouse.last_run_ended
    if ended == "running":
        ended = "was killed before its end (or runs in another process); the next build continues from there"
    yield f"last run: {warehouse.last_run} at {minute(warehouse.last_run_at)}: {ended}"
    outdated = warehouse.models_behind
    models = f", {counted(outdated, 'model')} outdated; `tidemark build --retry` or the next run builds them"
    yield f"{counted(warehouse.landings_not_built, 'landing')} not built yet{models if outdated else ''}"
    for node in warehouse.failed:
        what = one_line(" ".join(found(node.rows, node.message)))
        yield f"failed: {node.kind} {node.name}: {what}; reproduce: tidemark build -- --select {node.name}"


def _describe_rights(open_to_others: tuple[str, ...]) -> Iterator[str]:
    for path in open_to_others:
        yield f"OPEN TO OTHERS: {path}: every user of this machine may use it"
    yield (
        "remedy: `tidemark run` closes what it lands, builds and publishes; else `chmod o= PATH`. Where that does not "
        "last, the file system keeps no modes: put the home on another"
    )


def _is_good(warehouse: WarehouseStatus) -> bool:
    """Whether nothing failed when it last ran, and everything that landed is built."""
    return not (warehouse.failed or warehouse.models_behind or warehouse.landings_not_built)


def _describe_published(published: PublishedStatus, is_good: bool) -> Iterator[str]:
    if published.version is None:
        yield "nothing yet; `tidemark publish` makes the first version"
        return
    if published.note or published.created_at is None:
        yield f"current is {published.version}: {published.note}"
        return
    yield (
        f"current is {published.version}: {counted(published.tables, 'table')}, published "
        f"{minute(published.created_at)}, {counted(published.landings_behind, 'landing')} behind"
    )
    if published.moved_from:
        yield (
            f"MOVED: its views still point to files in {published.moved_from}, where it was published: readers get "
            "errors or other rows; `tidemark run` fixes it"
        )
    if damaged := published.damaged:
        more = f" and {len(damaged) - 1:,} more" if len(damaged) > 1 else ""
        yield f"DAMAGED: {damaged[0]}{more} missing or of another size; `tidemark publish --force` writes them again"
    for table in published.not_good:
        if table.since:
            as_of = minute(table.as_of) if table.as_of else "before"
            yield f"stale: {table.table} since {minute(table.since)}, rows as of {as_of}: waits for {table.because}"
        else:
            yield f"missing: {table.table}: waits for {table.because}"
    if published.not_good and is_good:
        yield "nothing fails any more: `tidemark publish` shows readers these tables"
    if published.newest_version != published.version:
        yield f"rolled back: the newest version is {published.newest_version}"
    if published.sent:
        yield published.sent
    if published.not_sent:
        yield f"NOT SENT: {published.not_sent}; `tidemark publish` tries again"
    yield f"{counted(published.versions_kept, 'version')} kept"
