"""Which days of events new records of consent change: those on which the persons used what is now forbidden, or not.

A withdrawal is about days that are long built. They are found where landings are entered, in what the warehouse keeps
of the days on which each person had consent (``int_consents__days_used``), and are entered with the batch that told of
it: to the models they are days with new rows. A day too many is no fault, one too few would be. So the days of batches
that this model has not seen are among them, and a record that a person declared, which may forbid or allow, changes
all days of that person. A record that is known already, as sources deliver all of them again and again, changes
nothing; one that is gone, ended or with an erased person, does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from flows.build.warehouse import has_table
from flows.contract.consent import CONSENTS
from flows.contract.spec import DatasetSpec
from flows.land.file_index import FileInForce
from flows.land.landed_sql import query_of
from flows.land.receipt import Receipt

EVENTS = "events"
DAYS, PERSONS = "int_consents__days_used", "int_consents__persons_settled"
RECORDS = "raw_consents"
PURPOSES = ("analytics", "personalisation", "advertising")
CHANGED = pa.schema([("batch_id", pa.int64()), ("dataset", pa.string()), ("event_date", pa.date32())])


def days_changed(
    warehouse: duckdb.DuckDBPyConnection,
    specs: Mapping[str, DatasetSpec],
    lake: Path,
    new: Sequence[Receipt],
    files: Mapping[str, Sequence[FileInForce]],
) -> pa.Table:
    """The days of events that these batches change by what they say of consent, each with the batch, which is about to
    be entered. ``files`` are those that hold the landed rows of each dataset."""
    changing = _changing(warehouse, [receipt for receipt in new if receipt.dataset == CONSENTS])
    built = (("intermediate", DAYS), ("intermediate", PERSONS), ("raw", RECORDS))
    if not changing or not all(has_table(warehouse, schema, name) for schema, name in built):
        return CHANGED.empty_table()  # nothing is built that could change
    takes_away = any(receipt.removed for receipt in new if receipt.dataset == CONSENTS)
    # A file may hold many batches; none holds a batch after its own.
    read = [file for file in files[CONSENTS] if takes_away or file.batch_id >= min(changing)]
    numbers = pa.table({"batch_id": [*changing], "changed_by": [*changing.values()]})
    warehouse.register("changing", numbers)
    query = CHANGED_DAYS.format(gone=GONE if takes_away else "")
    found = warehouse.execute(f"with told as ({query_of(specs[CONSENTS], lake, read)}), {query}")
    return found.to_arrow_table().cast(CHANGED)


def _changing(warehouse: duckdb.DuckDBPyConnection, new: Sequence[Receipt]) -> dict[int, int]:
    """The batches whose records count from now on, or do so no more, each with the new one that brings this about."""
    replaced = {receipt.supersedes_batch_id: receipt.batch_id for receipt in new if receipt.supersedes_batch_id}
    # With a delivery goes what landed of it later, by retries of what it had rejected.
    known = warehouse.execute("select batch_id, retries_batch_id from landed.landings where dataset = ?", [CONSENTS])
    retries = [*known.fetchall(), *((receipt.batch_id, receipt.retries_batch_id) for receipt in new)]
    replaced |= {batch_id: replaced[first] for batch_id, first in retries if first in replaced}
    return {receipt.batch_id: receipt.batch_id for receipt in new} | replaced


def _by_purpose(column: str) -> str:
    cases = " ".join(f"when '{purpose}' then {column.format(purpose)}" for purpose in PURPOSES)
    return f"case records.purpose {cases} end"


def _of(key: str) -> str:
    """Of the records that name a person by this key: the days on which that person had consent, where that changes.

    What a client refused forbids what was between the last refusal that is known and this one. Days are the
    organisation's and moments UTC, so one more on either side is taken.
    """
    known = _by_purpose("known.{}_from")
    return f"""
    select records.changed_by, days.event_date
    from records
    inner join intermediate.{DAYS} as days on records.{key} = days.{key}
    left join intermediate.{PERSONS} as known on records.{key} = known.{key}
    where
        {_by_purpose("days.has_{}_consent")}
        and (
            records.is_declared
            or (
                days.event_date <= cast(records.valid_from as date) + 1
                and coalesce(days.event_date >= cast({known} as date) - 1, true)
                and coalesce(records.valid_from >= {known}, true)
            )
        )"""


# Records that the lake has no more, of whatever they spoke: what they forbade may be used again.
GONE = f"""
    union all by name
    select known.* exclude (_line), (select max(changed_by) from changing) as changed_by, true as is_declared
    from raw.{RECORDS} as known
    anti join told on known._batch_id = told._batch_id and known._line = told._line"""
CHANGED_DAYS = f"""
records_changing as (
    select told.*, changing.changed_by, coalesce(told.stated_in, '{CONSENTS}') <> '{EVENTS}' as is_declared
    from told inner join changing on told._batch_id = changing.batch_id
),
count_no_more as (
    select batch_id from landed.landings
    where coalesce(retries_batch_id, batch_id) in (select supersedes_batch_id from landed.landings)
    union all
    select batch_id from changing
),
known_records as (
    select *, coalesce(stated_in, '{CONSENTS}') <> '{EVENTS}' as is_declared
    from raw.{RECORDS}
    where _batch_id not in (select batch_id from count_no_more)
),
records as (
    select records_changing.* exclude (_line)
    from records_changing
    anti join known_records as known on
        records_changing.device_key is not distinct from known.device_key
        and records_changing.user_key is not distinct from known.user_key
        and records_changing.purpose = known.purpose
        and records_changing.is_granted = known.is_granted
        and records_changing.valid_from = known.valid_from
        and records_changing.is_declared = known.is_declared
    {{gone}}
),
days_of_persons as ({_of("device_key")}
    union all {_of("user_key")}
),
days_not_seen as (
    select (select max(changed_by) from changing) as changed_by, event_date
    from landed.landed_files
    where
        dataset = '{EVENTS}'
        and event_date is not null
        and batch_id > (select coalesce(max(batch_id), 0) from ops.model_progress where model = '{DAYS}')
)
select distinct changed_by as batch_id, '{EVENTS}' as dataset, event_date
from (select * from days_of_persons union all select * from days_not_seen)
order by all
"""
