"""People of the sample, and what tests ask of a home after somebody was erased from it."""

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.contract.spec import load_specs
from flows.keys import load_key
from flows.land.inbox import deliveries
from flows.land.land import land
from flows.land.pseudonyms import Kind, Pseudonymiser
from flows.land.readers import read_chunks
from flows.privacy.byte_scan import Patterns, files_with, forms_of
from flows.settings import Settings
from tests.support.lake import Lake

KEYS = tuple(kind.column for kind in Kind)
# In a line of the sample, some of which are cut off.
NAMED = re.compile(r'"device_id":"([^"]+)","user_id":"([^"]+)"')


def key_in(settings: Settings, kind: Kind, id_: str) -> UUID:
    """The pseudonym of an id in a lake."""
    return UUID(bytes=Pseudonymiser(load_key(settings, "pseudonym", must_exist=True)).one(kind.column, id_))


def devices_of(settings: Settings) -> dict[str, set[str]]:
    """The devices on which each user of the inbox was logged in, all as their clients name them."""
    found: dict[str, set[str]] = {}
    spec = load_specs()["events"]
    for delivery in deliveries(settings.inbox):
        for chunk in read_chunks(delivery.path, spec) if delivery.dataset == "events" else ():
            if "raw" in chunk.table.schema.names:
                pairs = [pair for raw in chunk.table["raw"].to_pylist() for pair in NAMED.findall(raw)]
            else:
                pairs = [(row["device_id"], row["user_id"]) for row in chunk.table.to_pylist()]
            for device, user in pairs:
                if device and user:
                    found.setdefault(user, set()).add(device)
    return found


def copied(settings: Settings, home: Path) -> Settings:
    """A copy of a home, whose inbox was looked through once more, since its files are others now."""
    shutil.copytree(settings.home, home, symlinks=True)
    copy = settings.model_copy(update={"home": home})
    assert land(copy).receipts == []
    return copy


def without_what_is_built(settings: Settings) -> Settings:
    """A home whose warehouse and publications are gone: its lake is all that is left."""
    for folder in (settings.warehouse.parent, settings.published):
        shutil.rmtree(folder)
    return settings


def deliver_all_again(settings: Settings, inbox: Path, name: str) -> None:
    """Deliver every file of an inbox under another name and as other bytes, so that nothing of it was seen before."""
    for path in sorted(path for path in inbox.rglob("*") if path.is_file()):
        data = path.read_bytes()
        target = settings.inbox / path.relative_to(inbox)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            sink = pa.BufferOutputStream()
            pq.write_table(table.replace_schema_metadata({"again": name}), sink)
            data, suffix = sink.getvalue().to_pybytes(), ".parquet"
        elif path.suffix in (".gz", ".zst"):
            target.with_name(f"{name}-{path.name}").write_bytes(data + _nothing(path.suffix, name))
            continue
        else:
            data, suffix = gzip.compress(data, mtime=len(name) + sum(name.encode())), f"{path.suffix}.gz"
        target.with_name(f"{name}-{path.stem}{suffix}").write_bytes(data)


def _nothing(suffix: str, name: str) -> bytes:
    """A compressed member of no bytes, which differs by the name."""
    if suffix == ".gz":
        return gzip.compress(b"", mtime=sum(name.encode()))
    skipped = name.encode()
    return (0x184D2A50).to_bytes(4, "little") + len(skipped).to_bytes(4, "little") + skipped


def keys_landed(settings: Settings) -> set[UUID]:
    """Every pseudonym in any landed row."""
    rows = [row for dataset in ("events", "accounts") for row in Lake(settings.home).rows(dataset)]
    return {UUID(bytes=row[name]) for row in rows for name in KEYS if row.get(name)}


def places_of(settings: Settings, keys: set[UUID], ids: set[bytes] = frozenset()) -> list[str]:
    """Where any of these keys or ids stands: in a file's bytes, or in a value of a Parquet file or database."""
    home = settings.home
    patterns = Patterns([*ids, *(form for key in keys for form in forms_of(key))])
    found = {str(path.relative_to(home)) for path in files_with(patterns, home)}
    for path in home.rglob("*"):
        if path.is_file() and any(not keys.isdisjoint(some) for some in _keys_in(path)):
            found.add(str(path.relative_to(home)))
    return sorted(found)


def _keys_in(path: Path) -> Iterator[set[UUID]]:
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        for name in {*KEYS} & {*file.schema_arrow.names}:
            values = file.read([name]).column(name).to_pylist()
            yield {UUID(bytes=value) if isinstance(value, bytes) else UUID(str(value)) for value in values if value}
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as database:
            columns = database.execute(
                "select schema_name, table_name, column_name from duckdb_columns() "
                "where not internal and data_type = 'UUID'"
            ).fetchall()
            for schema, table, column in columns:
                rows = database.execute(f'select distinct "{column}" from "{schema}"."{table}"').fetchall()
                yield {value for (value,) in rows if value}
