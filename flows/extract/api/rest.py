"""Rows of a REST API as Parquet, whose columns are texts: the contract says what becomes of them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.extract.api.client import Client
from flows.extract.api.cursors import Progress, before, latest_end, reached_by, sent
from flows.extract.api.declared import Api, CursorPaging, Endpoint, LinkPaging, PagePaging
from flows.extract.api.paging import Reading, pages
from flows.extract.api.rows import Shape
from flows.extract.api.spool import Spool
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered, Folder
from flows.extract.errors import MayPassError
from flows.extract.position import Cursor, snapshot_name, window_name
from flows.settings import Settings


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver these one after the other; what failed is raised once the others were delivered."""
    connection = declared.source.connection
    assert isinstance(connection, Api)
    specs = load_specs()
    failed: list[TidemarkError] = []
    with Client(declared.name, connection) as client:
        for dataset in datasets:
            name, endpoint = f"{declared.name}.{dataset}", declared.source.extracts[dataset]
            assert isinstance(endpoint, Endpoint)
            folder = Folder(settings, declared.name, dataset, endpoint)
            try:
                yield from extract_list(client, folder, name, endpoint, specs[dataset], note)
            except TidemarkError as error:
                failed.append(error)
    if failed:
        may_pass = any(isinstance(error, MayPassError) for error in failed)
        raise (MayPassError if may_pass else TidemarkError)("; ".join(map(str, failed)))


def extract_list(
    client: Client, folder: Folder, name: str, endpoint: Endpoint, spec: DatasetSpec, note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver what is new of a list."""
    shape = Shape(name, endpoint)
    fields = [column.to for column in endpoint.columns.values()]
    key = tuple(at for at, field in enumerate(fields) if field in spec.key) or tuple(range(len(fields)))
    try:
        with Spool(folder.partial("rows"), fields) as spool:
            if endpoint.cursor is None:
                yield from _all(Reading(client, name, endpoint, shape, key, None, note), folder, spool)
            else:
                is_number = endpoint.types(endpoint.cursor) == ("integer",)
                after = before(reached_by(folder.names(), is_number), endpoint.overlap)
                reading = Reading(client, name, endpoint, shape, key, sent(after), note)
                yield from _new(reading, folder, spool, endpoint.cursor, is_number, after)
    finally:
        if others := shape.others():
            note(others)


def _all(reading: Reading, folder: Folder, spool: Spool) -> Iterator[Delivered]:
    """All rows of a list, as one file."""
    at = datetime.now(UTC)
    for page in pages(reading):
        for row in page:
            spool.add(row)
    yield from _delivered(folder, snapshot_name(at), spool, reading.shape)


def _new(
    reading: Reading, folder: Folder, spool: Spool, cursor: str, is_number: bool, after: Cursor | None
) -> Iterator[Delivered]:
    """The rows of a list after a value of the cursor, in files by it."""
    endpoint, shape, started = reading.endpoint, reading.shape, datetime.now(UTC)
    at = [*endpoint.columns].index(cursor)
    progress = Progress(reading.name, cursor, is_number, endpoint.order, after)

    def end(of: Cursor) -> Cursor:
        return min(of, latest_end(started - reading.client.ahead, of))

    for page in pages(reading):
        if not isinstance(endpoint.paging, CursorPaging | LinkPaging):
            progress.begin_page()
        for row in page:
            last: Cursor | None = progress.greatest
            value = progress.take(row[at])
            if last is not None and spool.rows >= endpoint.file_rows and _may_end(endpoint, last, value, end(last)):
                yield from _delivered(folder, window_name(after, last), spool, shape)
                after = last
            spool.add(row)
    if progress.greatest is not None:
        yield from _delivered(folder, window_name(after, _not_before(after, end(progress.greatest))), spool, shape)


def _may_end(endpoint: Endpoint, last: Cursor, value: Cursor, latest: Cursor) -> bool:
    """Whether a file may end between these two values: all rows up to there were read, and none of it is open."""
    is_read_twice = isinstance(endpoint.paging, PagePaging) and not endpoint.paging.is_varied
    return endpoint.order == "ascending" and not is_read_twice and last < value and last <= latest  # type: ignore[operator]


def _not_before(after: Cursor | None, value: Cursor) -> Cursor:
    return value if after is None else max(after, value)


def _delivered(folder: Folder, name: str, spool: Spool, shape: Shape) -> Iterator[Delivered]:
    if spool.rows:
        shape.check_all_there()
    if done := folder.deliver(name, spool.move):
        yield done
