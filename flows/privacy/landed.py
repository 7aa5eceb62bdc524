"""The landed rows of a lake as SQL, of one moment: what pseudonyms stand in, and which stand together."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import duckdb

from flows.contract.spec import DatasetSpec
from flows.land.field_sql import identifier
from flows.land.landed_sql import query_of
from flows.land.layout import check_layout
from flows.land.linking import next_column
from flows.land.pseudonyms import Kind
from flows.land.receipts import Receipts
from flows.land.remove import rows_in
from flows.privacy.rows import is_one_of
from flows.settings import Settings

# What DuckDB may use to put a person's rows in order; more goes to the disk meanwhile.
MEMORY = "512MB"
# Whether a later delivery took the place of the one in which a row came: it is held, and counts for nothing.
SUPERSEDED = "_is_superseded"


class LandedRows:
    """The rows of each dataset. ``last_batch_id`` is the last batch among them."""

    def __init__(self, settings: Settings, specs: dict[str, DatasetSpec], database: duckdb.DuckDBPyConnection) -> None:
        check_layout(settings, specs)
        self._settings = settings
        self._specs = specs
        self.database = database
        with closing(Receipts(settings, read_only=True)) as receipts, receipts.at_one_moment():
            self.last_batch_id = receipts.last_batch_id()
            self.key_check = receipts.any_key_check()
            files = {name: receipts.files.in_force(name) for name in specs}
            superseded = receipts.superseded()
        self._files = files
        listed = ", ".join(map(str, [-1, *superseded]))
        self._queries = {}
        for name, spec in specs.items():
            rows = query_of(spec, settings.lake, files[name])
            self._queries[name] = f"select *, _batch_id in ({listed}) as {SUPERSEDED} from ({rows})"

    def query(self, dataset: str) -> str:
        """A query of every landed row of a dataset: the contract's columns, and ``_is_superseded``."""
        return self._queries[dataset]

    def pairs(self, kind: Kind, keys: Collection[UUID], other: Kind) -> set[tuple[UUID, UUID]]:
        """As :class:`~flows.privacy.identity.Links` has it.

        A delivery that was corrected links nobody to whom it named by mistake: of a key count the rows in force, and
        where there are none, those of the last batch that named it.
        """
        found: list[tuple[UUID, UUID, tuple[bool, int]]] = []
        for name, spec in self._specs.items():
            if {kind.column, other.column} <= {column.name for column in spec.columns()}:
                rows = self.database.execute(
                    f"select {kind.column}, {other.column}, max((not {SUPERSEDED}, if({SUPERSEDED}, _batch_id, 0))) "
                    f"from ({self.query(name)}) where {is_one_of(kind.column, keys)} "
                    f"and {identifier(other.column)} is not null group by all"
                )
                found += rows.fetchall()
        best: dict[UUID, tuple[bool, int]] = {}
        for key, _, standing in found:
            best[key] = max(best.get(key, standing), standing)
        return {(key, to) for key, to, standing in found if standing == best[key]}

    def later_of(self, kind: Kind, keys: Collection[UUID]) -> frozenset[UUID]:
        """The pseudonyms by a later key that stand beside these, while the key is changed."""
        return self._later(kind, kind.column, keys)

    def later_there(self, kind: Kind, keys: Collection[UUID]) -> frozenset[UUID]:
        """Those of these keys that stand as pseudonyms by a later key."""
        return self._later(kind, next_column(kind.column), keys)

    def _later(self, kind: Kind, column: str, keys: Collection[UUID]) -> frozenset[UUID]:
        later = next_column(kind.column)
        found: set[UUID] = set()
        for name, spec in self._specs.items():
            files = [file for file in self._files[name] if later in file.columns]
            if keys and files:
                rows = self.database.execute(
                    f"select distinct cast({later} as uuid) from {rows_in(self._settings, spec, files)} "
                    f"where {later} is not null and {is_one_of(f'cast({column} as uuid)', keys)}"
                )
                found |= {key for (key,) in rows.fetchall()}
        return frozenset(found)


@contextmanager
def reading(settings: Settings, spills: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of nothing, to ask files by; what does not fit into memory goes to the folder ``spills`` meanwhile."""
    limits: dict[str, str | bool | int | float | list[str]]
    limits = {"memory_limit": MEMORY, "threads": settings.threads, "temp_directory": str(spills)}
    try:
        with duckdb.connect(config=limits) as database:
            database.execute("set TimeZone = 'UTC'")
            yield database
    finally:
        shutil.rmtree(spills, ignore_errors=True)
