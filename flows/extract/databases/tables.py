"""Tables of a database as files: whole, or a page at a time by a cursor, and lists of the keys that there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

from flows.contract.spec import DatasetSpec, Redelivery, load_specs
from flows.errors import TidemarkError
from flows.extract.columns import Found, compare
from flows.extract.databases.declared import Table
from flows.extract.databases.losses import check_losses
from flows.extract.databases.snapshot import Snapshot
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered, Folder
from flows.extract.errors import MayPassError
from flows.extract.position import Cursor, Kind, cursor_text, position, snapshot_name, window_name
from flows.settings import Settings

Note = Callable[[str], None]
# All rows of a table, and all keys of it: the newest file of this name counts.
ALL, KEYS = "all.parquet", "keys.parquet"
# Nearly as much time: a run of every day begins a little earlier or later than the day before.
NEARLY = 0.9
# What a calendar has no day for: PostgreSQL's -infinity, and years before the first one.
FIRST_DAY = date(1, 1, 1)


def deliver_tables(
    settings: Settings,
    declared: DeclaredSource,
    datasets: Sequence[str],
    note: Note,
    connected: Callable[[], AbstractContextManager[Snapshot]],
) -> Iterator[Delivered]:
    """Deliver these in one snapshot; where one fails, those after it are of another, and all that failed is raised."""
    left, failed = [*datasets], []
    while left:
        with connected() as database:
            while left:
                dataset = left.pop(0)
                table = declared.source.extracts[dataset]
                assert isinstance(table, Table)
                one = _Extracting(settings, declared, dataset, table, database, note)
                try:
                    yield from one.deliver()
                except MayPassError:
                    raise
                except TidemarkError as error:  # the server answers nothing more in a transaction that failed
                    said = str(error)
                    failed.append(said if said.startswith(one.name) else f"{one.name}: {said}")
                    break
    if failed:
        raise TidemarkError("; ".join(failed))


class _Extracting:
    """One table, as it becomes files of a dataset."""

    def __init__(
        self, settings: Settings, declared: DeclaredSource, dataset: str, table: Table, database: Snapshot, note: Note
    ) -> None:
        self.name = f"{declared.name}.{dataset}"
        specs = load_specs()
        self._settings, self._declared, self._table, self._database = settings, declared, table, database
        self._spec, self._note = specs[dataset], note
        self._keys = next((spec for spec in specs.values() if spec.keys_of == dataset), None)
        self._folder = Folder(settings, declared.name, dataset, table)
        self._of = database.table(table.table)

    def deliver(self) -> Iterator[Delivered]:
        """Deliver what is new of it, a file at a time, and then, where it is time, a list of its keys."""
        table = self._table
        found = self._database.columns(table.table)
        for column in compare(self.name, table.table, table.columns, table.ignored, found):
            kind = found[column].type
            self._note(
                f"{self.name}: {table.table} has a column {column} ({kind}) that extracts/ does not name; add it there"
            )
        select = f"select {', '.join(self._values(found))} from {self._of}"
        faults: list[str] = []
        if table.cursor is None:
            yield from self._all_rows(select)
        else:
            yield from self._by_cursor(select, table.cursor, found[table.cursor], faults)
        try:
            if table.compare_keys and self._keys:
                yield from self._list_of_keys(self._keys, found, table.compare_keys)
        except MayPassError:
            raise
        except TidemarkError as error:
            faults.append(str(error))
        if faults:
            raise TidemarkError("; ".join(faults))

    def _all_rows(self, select: str) -> Iterator[Delivered]:
        """All rows: where versions are kept, or rows of each delivery count, beside those that were delivered before;
        else in their place, so that what was deleted is gone."""
        query, versions = f"{select} order by {self._order()}", self._spec.history and self._spec.history.versions
        if versions or self._spec.redelivery is not Redelivery.NEWEST_WINS:
            if done := self._folder.deliver(snapshot_name(self._database.at), partial(self._database.write, query)):
                yield done
        elif done := self._replace(ALL, query, self._folder, self._spec):
            yield done

    def _list_of_keys(self, keys: DatasetSpec, found: Mapping[str, Found], every: timedelta) -> Iterator[Delivered]:
        """A list of all keys that there are; what was delivered before and is not in it counts as deleted."""
        folder = Folder(self._settings, self._declared.name, keys.name, self._table)
        last = folder.last_delivered(KEYS)
        is_due = last is None or datetime.now(UTC) - last >= every * NEARLY
        if not (is_due or self._declared.accepts_deletes):
            return
        (name,) = keys.key
        column = next(column for column, said in self._table.columns.items() if said.to == name)
        x = self._database.named(column)
        value = self._database.value(x, found[column].type, becomes_text=True)
        # A row without a key lands nowhere.
        there = f"{x} is not null and {value} <> ''"
        query = f"select {value} as {self._database.named(name)} from {self._of} where {there} order by {x}"
        if done := self._replace(KEYS, query, folder, keys):
            yield done

    def _replace(self, name: str, query: str, folder: Folder, spec: DatasetSpec) -> Delivered | None:
        """Deliver all that there is in the place of what there was; nothing where there was and is nothing."""

        def write(to: Path) -> int:
            rows = self._database.write(query, to)
            if not self._declared.accepts_deletes:
                check_losses(self.name, self._settings, folder, spec, to, self._declared.name, self._table.most_deleted)
            return rows

        return folder.deliver(name, write, replaces=folder.last_delivered(name) is not None)

    def _by_cursor(self, select: str, cursor: str, found: Found, faults: list[str]) -> Iterator[Delivered]:
        table, of = self._table, self._table.table
        kind = self._kind(cursor, found.type)
        pages = _Pages(self._database, self._of, table, kind)
        reached = None if self._declared.from_the_beginning else position(self._folder.names(), kind)
        if reached is not None and not pages.has_rows(f"{pages.cursor} >= {self._database.literal(reached)}"):
            self._note(
                f"{self.name}: no row of {of} has a {cursor} as late as {reached}, up to which it was "
                "extracted; where the table was emptied or restored, its rows up to there are not seen; "
                f"`tidemark extract {self.name} --from-the-beginning` delivers them"
            )
        # What comes again from the beginning takes no file's place, which may hold what rows were before.
        again = f"again-{cursor_text(self._database.at)}-" if self._declared.from_the_beginning else ""
        for after, up_to, rows in pages.since(_before(reached, table.overlap)):
            query = f"{select} where {rows} order by {self._order()}"
            name = f"{again}{window_name(after, up_to)}"
            if done := self._folder.deliver(name, partial(self._database.write, query)):
                yield done
        if found.may_be_null and pages.has_rows(f"{pages.cursor} is null"):
            faults.append(
                f"{self.name}: rows of {of} have no {cursor}, and so are in no page; the others were delivered; "
                "have it filled, or extract the table without a cursor"
            )
        if pages.is_before_time and pages.has_rows(pages.is_before_time):
            faults.append(
                f"{self.name}: rows of {of} have a {cursor} of -infinity or before the year 1, and so are in no page; "
                "the others were delivered; have it corrected, or extract the table without a cursor"
            )
        if pages.is_later and pages.has_rows(pages.is_later):
            self._note(f"{self.name}: rows of {of} have a {cursor} that is not over; they are delivered once it is")

    def _kind(self, cursor: str, type_: str) -> Kind:
        plain = type_.partition("(")[0] + (type_.rpartition(")")[2] if "(" in type_ else "")
        cursors = self._database.cursors
        if plain not in cursors:
            raise TidemarkError(f"{self.name}: cursor {cursor} is {type_}; one of {', '.join(cursors)} is needed")
        kind, overlap = cursors[plain], self._table.overlap
        wants_number = kind == "number"
        if isinstance(overlap, int) != wants_number and overlap not in (0, timedelta(), None):
            wanted = "a whole number" if wants_number else "a length of time, such as 15 min"
            raise TidemarkError(f"{self.name}: overlap: the cursor {cursor} is {type_}; write {wanted}")
        return kind

    def _values(self, found: Mapping[str, Found]) -> Iterator[str]:
        texts = {field.name for field in self._spec.fields if field.payload is None and field.type == "string"}
        named = self._database.named
        for column, said in self._table.columns.items():
            value = self._database.value(named(column), found[column].type, said.to in texts)
            yield f"{value} as {named(said.to)}"

    def _order(self) -> str:
        """What rows are in the order of: the same ones make the same file, which lands once."""
        names = {said.to: name for name, said in self._table.columns.items()}
        cursor = [self._table.cursor] if self._table.cursor else []
        columns = dict.fromkeys([*cursor, *(names[key] for key in self._spec.key)])
        # A name of a field, which stands for its value as text, must not hide that of a column.
        return ", ".join(f"{self._of}.{self._database.named(column)}" for column in columns)


class _Pages:
    """The rows of a table in pages by its cursor, to the moment of the snapshot, or the day before it: what is dated
    later may yet be passed by what comes before it."""

    def __init__(self, database: Snapshot, of: str, table: Table, kind: Kind) -> None:
        self.cursor = database.named(table.cursor or "")
        # None where values are no times: then all have come.
        self.is_later = self.is_before_time = None
        self._come: list[str] = []
        if kind != "number":
            is_moment = kind == "moment"
            first = database.literal(datetime.combine(FIRST_DAY, time(), UTC) if is_moment else FIRST_DAY)
            # Of today there will be more, with the same value.
            end = f"<= {database.literal(database.at)}" if is_moment else f"< {database.literal(database.at.date())}"
            self._come = [f"{self.cursor} >= {first}", f"{self.cursor} {end}"]
            self.is_later = f"{self.cursor} {end.replace('<=', '>', 1) if is_moment else end.replace('<', '>=', 1)}"
            self.is_before_time = f"{self.cursor} < {first}"
        self._database = database
        self._from = of
        self._rows = table.page_rows

    def since(self, after: Cursor | None) -> Iterator[tuple[Cursor | None, Cursor, str]]:
        """Each page after a value: that value, the one up to which it goes, and the condition of its rows."""
        while True:
            begun = [] if after is None else [f"{self.cursor} > {self._database.literal(after)}"]
            rows = " and ".join([*begun, *self._come]) or f"{self.cursor} is not null"
            page = f"select {self.cursor} from {self._from} where {rows} order by {self.cursor} limit {self._rows}"
            ((up_to,),) = self._database.rows(f"select max({self.cursor}) from ({page}) as page")
            if up_to is None:
                return
            # Moments without a zone are UTC, as everywhere here.
            is_bare = isinstance(up_to, datetime) and up_to.tzinfo is None
            up_to = up_to.replace(tzinfo=UTC) if is_bare else up_to
            yield after, up_to, f"{rows} and {self.cursor} <= {self._database.literal(up_to)}"
            after = up_to

    def has_rows(self, condition: str) -> bool:
        """Whether there are rows that meet a condition."""
        return bool(self._database.rows(f"select 1 from {self._from} where {condition} limit 1"))


def _before(reached: Cursor | None, overlap: timedelta | int | None) -> Cursor | None:
    if reached is None or not overlap:
        return reached
    try:
        return reached - overlap  # type: ignore[operator]
    except OverflowError:  # before the year 1
        return None
