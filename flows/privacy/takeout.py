"""A takeout: what is held of a person, with what each field means (GDPR articles 15 and 20).

The rows come from the lake, which is the source of truth, as every delivery left them: copies and superseded rows are
held too, and so they are shown. Beside them stand the rows worked out from them in the publication that readers see.
What the warehouse keeps on the way there is counted, for it says the same once more. Where the id stands in clear, in
the inbox or in quarantine, is named by file and line.

It holds no key and no secret, and in clear only the ids that were given.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import duckdb

from flows.build.dbt import read_project
from flows.build.project import Project
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.land.field_sql import identifier
from flows.land.pseudonyms import Kind
from flows.privacy.fields import (
    FIELDS_HEADER,
    Meaning,
    lines_of,
    meaning_of_dataset,
    meaning_of_mart,
)
from flows.privacy.holdings import (
    Count,
    Holding,
    count_warehouse,
    modelled,
    opened_publication,
    pseudonyms_of,
    searched,
    tables_in,
)
from flows.privacy.identity import Given, Person
from flows.privacy.lake_secrets import LakeSecrets
from flows.privacy.landed import LandedRows, reading
from flows.privacy.mentions import Mention, Unsearched, mentions
from flows.privacy.private_folder import PrivateFolder, check_target, private_folder
from flows.privacy.rows import others_left_out, share_of_row
from flows.privacy.sheets import SHARE, write_rows
from flows.settings import Settings

DOCUMENT, FIELDS, MENTIONS, README = "person.json", "fields.csv", "mentions.csv", "README.md"
# Where DuckDB puts what does not fit into memory; never in a finished takeout.
SPILLS = ".spills"
README_TEXT = Path(__file__).parent / "takeout_readme.md"


@dataclass(frozen=True)
class Takeout:
    """What was found. ``path`` is where it was written, None where there was nothing.

    ``landed``, ``published`` and ``warehouse`` have the rows of each table by name; ``warehouse_note`` says why those
    of the warehouse could not be counted, ``mentions`` in how many lines of each store an id stands in clear,
    ``not_linked`` names the tables in which no row can be found to be anybody's.
    """

    path: Path | None
    person: Person
    landed: dict[str, Count]
    published: dict[str, Count]
    version: str | None
    warehouse: dict[str, Count]
    warehouse_note: str | None
    mentions: dict[str, int]
    unsearched: tuple[Unsearched, ...]
    not_linked: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held of the person anywhere."""
        counts = [*self.landed.values(), *self.published.values(), *self.warehouse.values()]
        return all(count.is_empty for count in counts) and not sum(self.mentions.values())


def export_person(
    settings: Settings,
    given: tuple[Given, ...],
    target: Path,
    with_shared: bool = False,
    specs: dict[str, DatasetSpec] | None = None,
    project: Project | None = None,
) -> Takeout:
    """Write what is held of the person with these ids to a folder, which must be new or empty.

    ``with_shared`` adds what happened on shared devices while nobody was logged in. Nothing is written where nothing is
    held. Raises :class:`TidemarkError` where the lake is empty, the key is missing or another, or the folder is in use.
    """
    target = check_target(target, settings.home)
    specs = load_specs() if specs is None else specs
    with private_folder(target) as folder:
        with reading(settings, folder.path / SPILLS) as database:
            landed = LandedRows(settings, specs, database)
            if not landed.last_batch_id:
                raise TidemarkError(f"nothing has landed in {settings.lake}; run `tidemark land`, or set TIDEMARK_HOME")
            person = LakeSecrets(settings, landed).person(given)
            holdings = modelled(project or read_project(settings))
            done = _Writer(settings, specs, folder, given, person, with_shared).write(landed, holdings, target)
        if done.path:
            folder.finish()
        return done


@dataclass(frozen=True)
class _Writer:
    """Writes one takeout."""

    settings: Settings
    specs: dict[str, DatasetSpec]
    folder: PrivateFolder
    given: tuple[Given, ...]
    person: Person
    with_shared: bool

    def write(self, landed: LandedRows, holdings: list[Holding], target: Path) -> Takeout:
        # A list of keys says nothing that the rows do not whose keys they are.
        specs = [spec for spec in self.specs.values() if spec.keys_of is None]
        datasets = [spec for spec in specs if searched(pseudonyms_of(spec))]
        linked = [holding for holding in holdings if holding.keys]
        not_linked = {spec.name: spec.description for spec in specs if spec not in datasets}
        not_linked |= {holding.name: holding.description for holding in holdings if not holding.keys}
        with opened_publication(self.settings) as opened, self.folder.file(DOCUMENT) as document:
            version, marts = opened or (None, None)
            there = {name for _, name in tables_in(marts)} if marts else set()
            tables = [holding for holding in linked if holding.name in there]
            meanings = [*map(meaning_of_dataset, datasets), *(meaning_of_mart(one, self.specs) for one in tables)]
            self._begin(document, landed, version, meanings, not_linked)
            of_lake: dict[str, Count] = {}
            published: dict[str, Count] = {}
            for spec in datasets:
                _next(document, bool(of_lake))
                of_lake[spec.name] = self._landed_rows(document, landed, spec)
            for holding in tables:
                assert marts is not None  # it has these tables
                _next(document, bool(of_lake or published))
                published[holding.name] = self._published_rows(document, marts, holding)
            warehouse, note = count_warehouse(self.settings, linked, self.person, self.with_shared)
            lines, unsearched = self._mentions()
            done = Takeout(
                path=target,
                person=self.person,
                landed=of_lake,
                published=published,
                version=version,
                warehouse=warehouse,
                warehouse_note=note,
                mentions={store: sum(n for (of, *_), n in lines.items() if of == store) for store, *_ in lines},
                unsearched=tuple(unsearched),
                not_linked=tuple(not_linked),
            )
            self._end(document, done, lines)
        self._explain(meanings)
        return replace(done, path=None) if done.is_empty else done

    def _landed_rows(self, document: TextIO, landed: LandedRows, spec: DatasetSpec) -> Count:
        share = share_of_row(searched(pseudonyms_of(spec)), self.person, self.with_shared)
        rows = f"select {share} as {SHARE}, * from ({landed.query(spec.name)})"
        query = f"select * from ({rows}) where {SHARE} is not null order by {SHARE}, _batch_id, _line"
        return write_rows(self.folder, document, landed.database, spec.name, query)

    def _published_rows(self, document: TextIO, marts: duckdb.DuckDBPyConnection, holding: Holding) -> Count:
        share = share_of_row(holding.keys, self.person, self.with_shared)
        columns = [name for name, *_ in marts.execute(f"describe {identifier(holding.name)}").fetchall()]
        shown = others_left_out(columns, self.person)
        rows = f"select {share} as {SHARE}, {shown} from {identifier(holding.name)}"
        query = f"select * from ({rows}) where {SHARE} is not null order by all"
        return write_rows(self.folder, document, marts, holding.name, query)

    def _begin(
        self,
        document: TextIO,
        landed: LandedRows,
        version: str | None,
        meanings: list[Meaning],
        not_linked: dict[str, str],
    ) -> None:
        """What is known before any row is: who is meant, when, by which contract, and what everything means."""
        about: dict[str, Any] = {
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "asked_about": [{"kind": str(one.kind), "id": one.id} for one in self.given],
            "pseudonyms": {kind.column: sorted(map(str, self.person.keys[kind])) for kind in Kind},
            "shared_devices": sorted(map(str, self.person.shared)),
            "with_shared_devices": self.with_shared,
            "contract": {spec.name: spec.version for spec in self.specs.values()},
            "last_batch": landed.last_batch_id,
            "published_version": version,
            "tables": [asdict(table) for table in meanings],
            "not_linked": [{"name": name, "description": text} for name, text in not_linked.items()],
        }
        document.write("{\n")
        for name, value in about.items():
            document.write(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},\n")
        document.write('"rows": {\n')

    def _end(self, document: TextIO, done: Takeout, lines: "Counter[tuple[str, str, str]]") -> None:
        """What is known once every row was seen."""
        counts = {"lake": done.landed, "published": done.published, "warehouse": done.warehouse}
        found: dict[str, Any] = {
            "counts": {
                store: {name: asdict(count) for name, count in tables.items()} for store, tables in counts.items()
            },
            "warehouse_note": done.warehouse_note,
            "mentions": [
                {"store": store, "dataset": dataset, "file": file, "lines": number}
                for (store, dataset, file), number in lines.items()
            ],
            "unsearched": [asdict(one) for one in done.unsearched],
        }
        members = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in found.items())
        document.write("\n},\n" + ",\n".join(members) + "\n}\n")

    def _mentions(self) -> tuple["Counter[tuple[str, str, str]]", list[Unsearched]]:
        """Write where the ids stand in clear; returns in how many lines of each file, and what was not searched."""
        lines: Counter[tuple[str, str, str]] = Counter()
        unsearched = []
        with self.folder.file(MENTIONS) as file:
            sheet = csv.writer(file, lineterminator="\n")
            sheet.writerow(("store", "dataset", "file", "line", "batch_id"))
            for one in mentions(self.settings, self.specs, [given.id for given in self.given]):
                if isinstance(one, Mention):
                    lines[one.store, one.dataset, one.file] += 1
                    sheet.writerow((one.store, one.dataset, one.file, one.line, one.batch_id or ""))
                else:
                    unsearched.append(one)
        return lines, unsearched

    def _explain(self, meanings: Iterable[Meaning]) -> None:
        with self.folder.file(FIELDS) as file:
            sheet = csv.writer(file, lineterminator="\n")
            sheet.writerow(FIELDS_HEADER)
            sheet.writerows(lines_of(meanings))
        with self.folder.file(README) as file:
            file.write(README_TEXT.read_text(encoding="utf-8"))


def _next(document: TextIO, is_further: bool) -> None:
    if is_further:
        document.write(",\n")
