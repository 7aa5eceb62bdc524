"""Take people out of the lake: text first, then landed rows, then the files of the inbox and the lines of quarantine.

In this order, since what comes later is found by what goes before. Done again, each step does nothing more.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import duckdb

from flows.contract.consent import CONSENTS
from flows.contract.spec import DatasetSpec
from flows.files import sha256, sync_folder
from flows.land.consent import of_devices
from flows.land.day_keys import DayKeys
from flows.land.feeds import feed_beside, feed_of
from flows.land.field_sql import identifier
from flows.land.inbox import deliveries
from flows.land.linking import next_column
from flows.land.pseudonyms import Kind
from flows.land.quarantine import Quarantined, blank_lines, read_rejects, read_unknown
from flows.land.receipt import Receipt, batch_name
from flows.land.receipts import Receipts
from flows.land.remove import remove_rows, rows_in
from flows.land.text import STORE as TEXT
from flows.land.text import blank_text
from flows.land.told import land_records
from flows.land.tombstones import moment_column
from flows.privacy.holdings import pseudonyms_of, searched
from flows.privacy.identity import Person
from flows.privacy.ids import Ids, is_a_word, members_of, values_in
from flows.privacy.lake_secrets import LakeSecrets
from flows.privacy.mentions import Mention, Unsearched
from flows.privacy.rows import Share, is_one_of, share_of_row
from flows.settings import Settings

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ChangedFile:
    """A file that was rewritten or removed: in which store, where below the lake, its digest before, and its own or
    that of the file that took its place after; None where none did."""

    store: str
    path: str
    sha256_before: str
    sha256_after: str | None


def is_theirs(spec: DatasetSpec, person: Person, with_shared: bool, superseded: Collection[int]) -> str:
    """The condition of SQL that a landed row of a dataset is the person's, and goes with them.

    A row that names somebody else, too, goes with them only where it is of a superseded batch: nothing counts it.
    """
    share = share_of_row(searched(pseudonyms_of(spec)), person, with_shared, as_bytes=True)
    counts_for_nothing = f"_batch_id in ({', '.join(map(str, [-1, *superseded]))})"
    # The share stands there once: it is worked out as often as it does.
    return f"coalesce({share} <= if({counts_for_nothing}, {Share.WITHHELD}, {Share.BY_DEVICE}), false)"


def last_moment(
    database: duckdb.DuckDBPyConnection, receipts: Receipts, settings: Settings, spec: DatasetSpec, is_taken: str
) -> datetime | None:
    """When the last of the rows to take happened, by the clock of whoever sent it, which may run ahead of ours."""
    column = moment_column(spec)
    if column is None:
        return None
    found = _found(database, receipts, settings, spec, is_taken, f"select max({identifier(column)}) from {{rows}}")
    return found[0][0] if found else None


def erase_texts(
    database: duckdb.DuckDBPyConnection, receipts: Receipts, settings: Settings, spec: DatasetSpec, is_taken: str
) -> Iterator[ChangedFile]:
    """Take away the free text of the rows to take of a dataset."""
    keys = DayKeys(settings)
    query = "select _batch_id, list(_line) from {rows} group by all"
    for batch_id, lines in _found(database, receipts, settings, spec, is_taken, query) if spec.texts else ():
        for file in receipts.one(batch_id).text_files:
            if file.event_date is None or keys.is_destroyed(TEXT, spec.name, file.event_date):
                continue
            before = sha256(settings.lake / file.path)
            if blank_text(settings, keys, spec.name, file, lines):
                yield ChangedFile("text", file.path, before, sha256(settings.lake / file.path))


def erase_landed(
    receipts: Receipts, settings: Settings, spec: DatasetSpec, is_taken: str, why: str, progress: Progress
) -> list[ChangedFile]:
    """Take rows out of a dataset; the files that changed."""
    before: dict[date | None, list[str]] = {}
    for file in receipts.files.in_force(spec.name):
        before.setdefault(file.event_date, []).append(file.path)
    removal = remove_rows(receipts, settings, spec, is_taken, why, progress)
    if removal is None:
        return []
    after = {file.event_date: sha256(settings.lake / file.path) for file in removal.files}
    days = sorted({rows.event_date for rows in removal.removed}, key=str)
    # The files themselves go once no build reads them any more.
    return [
        ChangedFile("landed", path, sha256(settings.lake / path), after.get(day))
        for day in days
        for path in before[day]
    ]


def keep_for_devices(
    database: duckdb.DuckDBPyConnection,
    receipts: Receipts,
    settings: Settings,
    specs: dict[str, DatasetSpec],
    is_taken: str,
    devices: Collection[UUID],
) -> int:
    """Before records of consent go: land what those to take say of a device that stays, without the person. The number
    of these records.

    ``devices`` are those that go with the person. Done again, this lands nothing more.
    """
    files = receipts.files.in_force(CONSENTS)
    in_force = [receipt.batch_id for receipt in receipts.in_force(CONSENTS)]
    later = next_column("device_key")
    keys = ["device_key", *([later] if any(later in file.columns for file in files) else [])]
    columns = ", ".join([*keys, "purpose", "is_granted", "valid_from", "received_at", "stated_in"])
    query = (
        f"select {columns} from {{rows}} and device_key is not null "
        f"and not {is_one_of('cast(device_key as uuid)', devices)} "
        f"and _batch_id in ({', '.join(map(str, in_force)) or 'null'})"
    )
    if not files:
        return 0
    rows = database.execute(query.format(rows=f"{rows_in(settings, specs[CONSENTS], files)} where {is_taken}"))
    kept = of_devices(rows.to_arrow_table())
    land_records(settings, specs, kept, receipts)
    return int(kept.num_rows)


def lines_in_quarantine(
    receipts: Receipts,
    settings: Settings,
    specs: dict[str, DatasetSpec],
    ids: Collection[str],
    secrets: LakeSecrets,
    person: Person,
) -> Iterator[tuple[Receipt, set[int]] | Unsearched]:
    """The lines of each batch in quarantine in which an id stands, or what a pseudonym of the person stands for.

    Rejected rows have no pseudonyms: each value in them is tried. A short number is anybody's, but in a field of ids.
    """
    keys = {kind.column: person.keys[kind] - person.shared for kind in Kind if person.keys[kind] - person.shared}
    wanted = Ids(ids)
    for receipt in receipts.after(0):
        if not (receipt.rows_rejected or receipt.unknown_keys):
            continue
        lines: set[int] = set()
        spec = specs.get(receipt.dataset)
        for row in (*read_rejects(settings, [receipt]), *read_unknown(settings, [receipt])):
            if row.text is None:
                yield Unsearched(receipt.file, row.fault)
            elif wanted.are_in(f"{row.fault} {row.text}") or _stands_for(row, spec, secrets, keys):
                lines.add(row.line)
        if lines:
            yield receipt, lines


def _stands_for(
    row: Quarantined, spec: DatasetSpec | None, secrets: LakeSecrets, keys: dict[str, frozenset[UUID]]
) -> bool:
    values = {value for value in values_in(row.fault) | values_in(row.text or "") if is_a_word(value)}
    columns = {field.name: field.column for field in spec.fields if field.column in keys} if spec else {}
    tried = [(column, value) for column in keys for value in values]
    tried += [(columns[name], value) for name, value in members_of(row.text or "") if name in columns]
    return any(not keys[column].isdisjoint(secrets.all(column, value)) for column, value in tried)


def erase_quarantine(settings: Settings, found: Iterable[tuple[Receipt, set[int]]]) -> Iterator[ChangedFile]:
    """Take away what these lines say."""
    keys = DayKeys(settings)
    for receipt, lines in found:
        stem = f"quarantine/{receipt.dataset}/{batch_name(receipt.batch_id)}"
        paths = [f"{stem}.parquet", f"{stem}.unknown.parquet"]
        before = {path: sha256(settings.lake / path) for path in paths if (settings.lake / path).exists()}
        for path in blank_lines(settings, keys, receipt, lines):
            yield ChangedFile("quarantine", path, before[path], sha256(settings.lake / path))


def erase_inbox(
    receipts: Receipts, settings: Settings, batches: Collection[int], named: Collection[Mention]
) -> Iterator[ChangedFile | Unsearched]:
    """Remove the delivered files that brought rows of the person, or that name an id: what they brought has landed.

    A file that waits to land is named instead; once it has landed, the next call removes it.
    """
    names = {mention.file for mention in named}
    brought = [receipts.one(batch_id) for batch_id in sorted(batches)]
    contents = {(receipt.dataset, receipt.sha256) for receipt in brought}
    names |= {r.file for r in receipts.after(0) if (r.dataset, r.sha256) in contents}
    # Beside these rows may stand more ids of theirs; which rows of such files are of whom is known by nobody any more.
    beside = {(feed.name, name.partition("/")[0]) for name in names if (feed := feed_of(name))}
    for found in deliveries(settings.inbox):
        of = feed_beside(found.name)
        if found.name not in names and not (of and (of.name, found.source) in beside):
            continue
        if not receipts.is_unchanged(found.name, found.stat):
            yield Unsearched(found.name, "waits to land: it is removed once it has")
            continue
        with suppress(FileNotFoundError):
            before = sha256(found.path)
            found.path.unlink()
            sync_folder(found.path.parent)
            yield ChangedFile("inbox", f"inbox/{found.name}", before, None)


def _found(
    database: duckdb.DuckDBPyConnection,
    receipts: Receipts,
    settings: Settings,
    spec: DatasetSpec,
    is_taken: str,
    what: str,
) -> list[tuple[Any, ...]]:
    """What is asked of the rows to take of a dataset; nothing where it has no files."""
    files = receipts.files.in_force(spec.name)
    if not files:
        return []
    return database.execute(what.format(rows=f"{rows_in(settings, spec, files)} where {is_taken}")).fetchall()
