"""Fetch objects of a bucket into the inbox: each as a file of its own, byte by byte as it is.

What has come is known from the files in the inbox and those that landed, and from the ETag that each had; an object
that was overwritten under its key comes again, under the same name. One that cannot be fetched stops no other.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from flows.errors import TidemarkError
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered, Folder
from flows.extract.errors import MayPassError
from flows.extract.object_store.declared import Bucket, Objects
from flows.extract.object_store.names import Seen, inbox_name, is_left_for_good, is_temporary
from flows.land.inbox import COMPRESSIONS, FORMATS, STUCK_SECONDS, file_format
from flows.object_store import Access, Body, NotThereError, Object, Store, StoreAwayError, StoreError, split_url
from flows.settings import Settings
from flows.text import counted

# So many at a time: most of the time of a small one is spent waiting.
AT_ONCE = 4
# So many are looked for before they are fetched: a bucket may have millions.
MOST_WAITING = 500
READS = 3
# After so many in a row that the store does not give, no more are asked for.
MOST_AWAY = 5
EXAMPLES = 3

ENDINGS = ", ".join(f".{name}" for name in FORMATS)


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver what is new or was overwritten; where something cannot be fetched, all the rest is, and that raised.

    Raises :class:`MayPassError` where nothing was wrong but that the store did not answer.
    """
    store = _store(declared)
    failed: list[TidemarkError] = []
    for dataset in datasets:
        extract = declared.source.extracts[dataset]
        assert isinstance(extract, Objects)
        fetching = _Fetching(settings, declared.name, dataset, extract, store, note)
        try:
            yield from fetching.run()
        except StoreError as error:  # the next one may be given
            is_away = isinstance(error, StoreAwayError)
            failed.append((MayPassError if is_away else TidemarkError)(f"{declared.name}.{dataset}: {error}"))
        except TidemarkError as error:
            failed.append(error)
    if failed:
        may_pass = all(isinstance(error, MayPassError) for error in failed)
        raise (MayPassError if may_pass else TidemarkError)("; ".join(map(str, failed)))


def _store(declared: DeclaredSource) -> Store:
    connection = declared.source.connection
    assert isinstance(connection, Bucket)
    url = connection.value(declared.name, connection.url_from)
    try:
        split_url(url)
    except ValueError as error:
        raise TidemarkError(f"{declared.name}: {connection.url_from} {error}") from None
    named = (
        connection.endpoint_url_from,
        connection.region_from,
        connection.access_key_id_from,
        connection.secret_access_key_from,
        connection.session_token_from,
    )
    access = Access(*(connection.value(declared.name, name) if name else None for name in named))
    try:
        return Store(url, access)
    except StoreError as error:
        raise TidemarkError(f"{declared.name}: {error}") from None


class _Fetching:
    """What is fetched for one dataset."""

    def __init__(
        self,
        settings: Settings,
        source: str,
        dataset: str,
        extract: Objects,
        store: Store,
        note: Callable[[str], None],
    ) -> None:
        from fsspec.utils import glob_translate  # noqa: PLC0415 (it comes with the client)

        self._name = f"{source}.{dataset}"
        self._path = extract.path
        self._is_meant = re.compile(glob_translate(extract.path)).match
        self._store = store
        self._note = note
        self._folder = Folder(settings, source, dataset, extract)
        # Beside the lock and not in the inbox, where landing would take it for an upload that was given up.
        self._seen = Seen(settings.lake / f".extract.{source}.{dataset}.{extract.mark()}.etags")
        self._passed_over: dict[str, list[str]] = defaultdict(list)
        self._failed: list[StoreError] = []
        self._away = 0

    def run(self) -> Iterator[Delivered]:
        """Fetch all that is new. Raises :class:`TidemarkError` with what could not be fetched."""
        new = self._new()
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                while some := [*islice(new, MOST_WAITING)]:
                    yield from self._fetch_all(pool, some)
        finally:
            for why, keys in self._passed_over.items():
                self._note(f"{self._name}: {why}: {_named(keys)}")
        if self._failed:
            said = "; ".join(map(str, self._failed[:EXAMPLES]))
            more = len(self._failed) - EXAMPLES
            may_pass = all(isinstance(error, StoreAwayError) for error in self._failed)
            raise (MayPassError if may_pass else TidemarkError)(
                f"{self._name}: {counted(len(self._failed), 'object')} could not be fetched, all others were: {said}"
                + (f"; and {more:,} more" if more > 0 else "")
            )

    def _fetch_all(self, pool: ThreadPoolExecutor, some: list[Object]) -> Iterator[Delivered]:
        waiting = [(one, pool.submit(self._fetch, one)) for one in some]
        away = None
        try:
            for one, done in waiting:
                try:
                    delivered = done.result()
                    self._away = 0
                except CancelledError:
                    continue
                except NotThereError:
                    self._pass_over("objects that were deleted before they could be read", one.key)
                    continue
                except StoreError as error:
                    self._failed.append(error)
                    self._away = self._away + 1 if isinstance(error, StoreAwayError) else 0
                    if self._away == MOST_AWAY:
                        away = error
                        self._cancel(waiting)  # what has begun may stand in the inbox, and is said
                    continue
                if delivered:
                    yield delivered
        finally:
            self._cancel(waiting)
        if away:
            raise away

    def _cancel(self, waiting: Sequence[tuple[Object, Future[Delivered | None]]]) -> None:
        for _, done in waiting:
            done.cancel()

    def _new(self) -> Iterator[Object]:
        """The objects that are files of the dataset and have not come as they are now."""
        taken = {PurePosixPath(name).name for name in self._folder.names()}
        fixed = re.split(r"[*?\[]", self._path, maxsplit=1)[0]
        before = None
        for one in self._store.list(fixed):
            if one.key == before:  # a page that comes twice
                continue
            before = one.key
            if not self._is_meant(one.key) or (one.key.endswith("/") and not one.size):  # a folder, as consoles make
                continue
            if why := _why_not(one):
                self._pass_over(why, one.key)
            elif not is_temporary(one.key):
                name = inbox_name(one.key)
                # A refused one is not in `taken`; as long as it lies there, it need not come again.
                if not (self._seen.has(name, one.etag) and (name in taken or self._folder.has(name))):
                    yield one

    def _pass_over(self, why: str, key: str) -> None:
        if len(self._passed_over[why]) <= EXAMPLES:  # there may be millions
            self._passed_over[why].append(key)

    def _fetch(self, one: Object) -> Delivered | None:
        name = inbox_name(one.key)
        for left in reversed(range(READS)):
            with self._store.opened(one.key) as body:
                try:
                    delivered = self._folder.deliver(name, partial(self._write, one.key, body))
                except StoreAwayError:  # what it began with was well: not for long, or not all of it
                    if not left:
                        raise
                    continue
            self._seen.add(name, body.etag)
            return delivered
        return None

    def _write(self, key: str, body: Body, to: Path) -> None:
        """Write an object's bytes. Raises :class:`StoreAwayError` where they are not those that the store says."""
        md5, size = hashlib.md5(usedforsecurity=False), 0
        with to.open("wb") as file:
            for chunk in body.chunks:
                file.write(chunk)
                md5.update(chunk)
                size += len(chunk)
        where = f"{self._store.url}/{key}"
        if size != body.size:
            raise StoreAwayError(f"{where} ended after {size:,} of {body.size:,} bytes")
        if body.md5 and md5.hexdigest() != body.md5:
            raise StoreAwayError(f"{where} came with other bytes than its checksum says")


def _why_not(one: Object) -> str | None:
    """Why an object is passed over, where people should know of it."""
    if is_temporary(one.key):
        age = (datetime.now(UTC) - one.changed_at).total_seconds()
        if is_left_for_good(one.key) or age < STUCK_SECONDS:
            return None
        return "objects under temporary names, which have not changed for an hour, are passed over"
    if one.key.endswith("/"):
        return "objects whose names end with a slash are passed over"
    if file_format(one.key) is None:
        return f"objects that are not {ENDINGS}, plain or with .{' or .'.join(COMPRESSIONS)}, are passed over"
    return None


def _named(keys: Sequence[str]) -> str:
    # Without their number: what is said of the same ones is the same each time.
    return ", ".join(map(repr, keys[:EXAMPLES])) + (" and others" if len(keys) > EXAMPLES else "")
